import { auditOf } from '../../../bridge/audit/audit.ts';
import type { AzureDevOps } from '../../../bridge/azureDevOps/client.ts';
import { readConfiguration } from '../../../bridge/config/configuration.ts';
import { PublicServer } from '../../../bridge/http/publicServer.ts';
import { JetStream } from '../../../bridge/jetStream/api.ts';
import { EventLog } from '../../../bridge/log.ts';
import { Metrics } from '../../../bridge/metrics.ts';
import type { ProvesCaller } from '../../../bridge/waits/caller.ts';
import { startWaits } from '../../../bridge/waits/waits.ts';
import { openServiceBus, type ServiceBus } from '../../../shared/nats/serviceBus.ts';
import { TestWorld } from './hooksBridge.ts';
import { BEARER, PROJECT, SEALING_KEY, taskBody, taskHeaders } from './waitsReceiver.ts';

export const WAITS_ENV = { PAT: 'pat', WAITS_TOKEN: BEARER, SEALING_KEY: SEALING_KEY.toString('base64') };

/** A configuration that takes waits on `ci.shop.>`. */
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

/** A world whose environment has what {@link waitsConfiguration} names. */
export class WaitsWorld extends TestWorld {
  override readonly env = { SECRET: '', ...WAITS_ENV };
}

/** One replica of a bridge that takes waits on its public port; its Azure DevOps knows one plan. */
export class WaitsBridge implements AsyncDisposable {
  private constructor(
    readonly world: WaitsWorld,
    private readonly nats: ServiceBus,
    private readonly server: PublicServer,
  ) {}

  static async start(file: string): Promise<WaitsBridge> {
    const world = new WaitsWorld();
    const now = () => world.now();
    const { settings } = readConfiguration(file, { env: WAITS_ENV, now, onSecretTrouble: () => {} });
    const log = new EventLog((line) => world.err(line), now);
    const nats = await openServiceBus(() => settings.nats(), new AbortController().signal, log.texts('nats'));
    const jetStream = new JetStream(nats, undefined, settings.timing.jetStream);
    const azureDevOps = {
      ask: () => Promise.resolve({ kind: 'ok', body: { name: 'Shop' } }),
    } as unknown as AzureDevOps;
    const parts = { settings, contracts: {}, nats, azureDevOps, metrics: new Metrics(), log, now };
    const value = { project: PROJECT, pipeline: { id: 42, name: 'web' }, version: 13 };
    const caller: ProvesCaller = {
      plan: () => Promise.resolve({ kind: 'ok', value }),
      idToken: () => Promise.resolve({ kind: 'refused', reason: 'there are none' }),
    };
    const counts = { openOf: () => 0, uncorrelated: () => 0 };
    const waitParts = { allowPlanUrl: (url: string) => ({ url }), caller, counts };
    const { routes } = startWaits(
      settings.waits!,
      parts,
      waitParts,
      auditOf(parts, world.version),
      jetStream,
      world.version,
    );
    const { http, timing } = settings;
    const server = new PublicServer({ listen: http.listen, tls: undefined, timing, log, now });
    await server.listen();
    server.serve(routes);
    return new WaitsBridge(world, nats, server);
  }

  get isLinkUp(): boolean {
    return this.nats.isLinkUp;
  }

  execute(inputs: Readonly<Record<string, string>>, headers = taskHeaders()) {
    return this.post('/v1/waits', headers, taskBody(inputs));
  }

  async post(path: string, headers = taskHeaders(), body: Uint8Array = Buffer.alloc(0)) {
    const answer = await fetch(`http://127.0.0.1:${this.server.port}${path}`, {
      method: 'POST',
      headers: { ...(headers as Record<string, string>), connection: 'close' },
      body,
    });
    return { status: answer.status, body: (await answer.json()) as { key?: string; error?: { message: string } } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
    await this.nats.close();
  }
}
