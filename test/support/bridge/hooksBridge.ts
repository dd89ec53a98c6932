import { readConfiguration } from '../../../bridge/config/configuration.ts';
import type { AzureDevOps } from '../../../bridge/azureDevOps/client.ts';
import type { Functions } from '../../../bridge/functions.ts';
import type { HttpAnswer, HttpRequest } from '../../../bridge/http/route.ts';
import { EventLog } from '../../../bridge/log.ts';
import { Metrics } from '../../../bridge/metrics.ts';
import { startFunctions } from '../../../bridge/startFunctions.ts';
import type { World } from '../../../bridge/world.ts';
import { openServiceBus, type ServiceBus } from '../../../shared/nats/serviceBus.ts';
import { SHOP } from './hookPosts.ts';
import { SECRET, signedIn } from './hookReceiver.ts';

export const ENV = { SECRET, PAT: 'pat' };

/** A configuration that accepts hooks. */
export function hooksConfiguration(nats: string, events: string, more = ''): string {
  return `nats: { servers: [${nats}]${more} }
azureDevOps:
  organization: https://dev.azure.com/contoso/
  identity: { kind: pat, patEnv: PAT }
hooks:
  passwordEnvs: [SECRET]
  events: ${events}
`;
}

/** The world of a bridge in a test, and its output. */
export class TestWorld implements World {
  readonly user = 'tester';
  readonly version = '1.2.3';
  readonly env = ENV;
  readonly isTerminal = true;
  readonly openNats = openServiceBus;
  stdout = '';
  stderr = '';

  now(): number {
    return Date.now();
  }

  out(data: string | Uint8Array): void {
    this.stdout += Buffer.from(data as string).toString();
  }

  err(text: string): void {
    this.stderr += text;
  }

  onStop(): void {
    // A test is never asked to stop.
  }
}

/** One replica of a bridge that accepts hooks, without its ports: the test passes in what they would receive. */
export class HooksBridge implements AsyncDisposable {
  readonly #closing = new AbortController();

  private constructor(
    readonly world: TestWorld,
    readonly metrics: Metrics,
    private readonly nats: ServiceBus,
    private readonly functions: Functions,
  ) {}

  static async start(file: string): Promise<HooksBridge> {
    const world = new TestWorld();
    const { settings } = readConfiguration(file, { env: ENV, now: Date.now, onFileTrouble: () => {} });
    const log = new EventLog(
      (line) => world.err(line),
      () => world.now(),
    );
    const nats = await openServiceBus(() => settings.nats(), new AbortController().signal, log.texts('nats'));
    const metrics = new Metrics();
    const azureDevOps = {
      ask: () => Promise.resolve({ kind: 'unreachable', message: 'there is none' }),
    } as unknown as AzureDevOps;
    const parts = { settings, contracts: {}, nats, azureDevOps, metrics, log, now: () => world.now() };
    return new HooksBridge(world, metrics, nats, startFunctions(parts, world.version, new Map()));
  }

  get isLinkUp(): boolean {
    return this.nats.isLinkUp;
  }

  async post(body: Uint8Array, headers: HttpRequest['headers'] = signedIn(SHOP.id)): Promise<HttpAnswer> {
    const [route] = this.functions.routes;
    const { signal } = this.#closing;
    return route!.authenticate(headers) ?? route!.handle({ headers, body, signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.functions.stop(AbortSignal.timeout(1_000));
    await this.nats.close();
  }
}
