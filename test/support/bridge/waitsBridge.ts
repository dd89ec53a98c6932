import { auditOf } from '../../../bridge/audit/audit.ts';
import { AzureDevOps } from '../../../bridge/azureDevOps/client.ts';
import { readConfiguration } from '../../../bridge/config/configuration.ts';
import type { Functions } from '../../../bridge/functions.ts';
import { PublicServer } from '../../../bridge/http/publicServer.ts';
import { JetStream } from '../../../bridge/jetStream/api.ts';
import { EventLog } from '../../../bridge/log.ts';
import { Metrics } from '../../../bridge/metrics.ts';
import { plansOf, startWaits, type Plans } from '../../../bridge/waits/waits.ts';
import { openServiceBus, type ServiceBus } from '../../../shared/nats/serviceBus.ts';
import type { AzureDevOps as StandIn } from '../azureDevOps/azureDevOps.ts';
import { TestWorld } from './hooksBridge.ts';
import { BEARER, PROJECT, SEALING_KEY, taskBody, taskHeaders } from './waitsReceiver.ts';

export const WAITS_ENV = { PAT: 'pat', WAITS_TOKEN: BEARER, SEALING_KEY: SEALING_KEY.toString('base64') };

/** A configuration that accepts waits on `ci.shop.>`. */
export function waitsConfiguration(nats: string, more = ''): string {
  return `nats: { servers: [${nats}]${more} }
azureDevOps:
  organization: https://dev.azure.com/contoso/
  identity: { kind: pat, patEnv: PAT }
http: { listen: 127.0.0.1:0 }
waits:
  organizations: [https://dev.azure.com/contoso/]
  tokenEnvs: [WAITS_TOKEN]
  sealingKeyEnvs: [SEALING_KEY]
  rules: [{ projects: [Shop], pipelines: ['*'], subjects: [ci.shop.>] }]
`;
}

/** A world whose environment has the variables that {@link waitsConfiguration} names. */
export class WaitsWorld extends TestWorld {
  override readonly env = { SECRET: '', ...WAITS_ENV };
}

/** The same for an organization of a stand-in. */
export function waitsConfigurationOf(azure: StandIn, nats: string): string {
  return waitsConfiguration(nats).replaceAll('https://dev.azure.com/contoso/', azure.url);
}

/** One replica of a bridge that accepts waits on its public port. */
export class WaitsBridge implements AsyncDisposable {
  private constructor(
    readonly world: WaitsWorld,
    private readonly nats: ServiceBus,
    private readonly server: PublicServer,
    private readonly functions: Functions,
    private readonly client: AzureDevOps | undefined,
  ) {}

  /** @param azure its Azure DevOps; default: one that knows a single plan, whoever asks */
  static async start(file: string, azure?: StandIn): Promise<WaitsBridge> {
    const world = new WaitsWorld();
    const now = () => world.now();
    const env = azure === undefined ? WAITS_ENV : { ...WAITS_ENV, PAT: azure.pat };
    const { settings } = readConfiguration(file, { env, now, onFileTrouble: () => {} });
    const log = new EventLog((line) => world.err(line), now);
    const nats = await openServiceBus(() => settings.nats(), new AbortController().signal, log.texts('nats'));
    const jetStream = new JetStream(nats, undefined, settings.timing.jetStream);
    const metrics = new Metrics();
    const { timing } = settings;
    const client =
      azure && new AzureDevOps({ settings: settings.azureDevOps, timing, metrics, version: world.version, now });
    const azureDevOps =
      client ?? ({ ask: () => Promise.resolve({ kind: 'ok', body: { name: 'Shop' } }) } as unknown as AzureDevOps);
    const parts = { settings, contracts: {}, nats, azureDevOps, metrics, log, now };
    const plans: Plans = client === undefined ? trustingPlans() : plansOf(settings.waits!, client);
    const functions = startWaits(
      settings.waits!,
      parts,
      plans,
      auditOf(parts, world.version),
      jetStream,
      world.version,
    );
    const server = new PublicServer({ listen: settings.http.listen, tls: undefined, timing, log, now });
    await server.listen();
    server.serve(functions.routes);
    return new WaitsBridge(world, nats, server, functions, client);
  }

  /** The URL of its public port. */
  get url(): string {
    return `http://127.0.0.1:${this.server.port}`;
  }

  get isLinkUp(): boolean {
    return this.nats.isLinkUp;
  }

  execute(inputs: Readonly<Record<string, string>>, headers = taskHeaders()) {
    return this.post('/v1/waits', headers, taskBody(inputs));
  }

  async post(path: string, headers = taskHeaders(), body: Uint8Array = Buffer.alloc(0)) {
    const answer = await fetch(`${this.url}${path}`, {
      method: 'POST',
      headers: { ...(headers as Record<string, string>), connection: 'close' },
      body,
    });
    return { status: answer.status, body: (await answer.json()) as { key?: string; error?: { message: string } } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
    await this.functions.stop(new AbortController().signal);
    await this.client?.close();
    await this.nats.close();
  }
}

/** An Azure DevOps that knows a single plan, whoever asks, and records every completion. */
function trustingPlans(): Plans {
  const value = { project: PROJECT, pipeline: { id: 42, name: 'web' }, version: 13 };
  return {
    allowPlanUrl: (url) => ({ url }),
    caller: {
      plan: () => Promise.resolve({ kind: 'ok', value }),
      idToken: () => Promise.resolve({ kind: 'refused', reason: 'there are none' }),
    },
    tells: () => Promise.resolve({ kind: 'done' }),
  };
}
