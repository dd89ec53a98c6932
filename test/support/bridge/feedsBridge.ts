import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { AzureDevOps } from '../azureDevOps/azureDevOps.ts';
import type { Feed, PackageChange } from '../azureDevOps/feeds.ts';
import type { Project } from '../azureDevOps/projects.ts';
import { startNatsServer, type NatsServer } from '../nats/natsServer.ts';
import { Admin } from '../nats/testStream.ts';
import { BridgeProcess, runBridge, type BridgeOptions, type CommandRun } from './bridgeProcess.ts';
import { setUp } from './commandsHere.ts';

/** Fast, but with leases that a busy machine can keep. */
const TIMING =
  'scale: 0.02, azureDevOps: 10s, takeover: 11s, drain: 5s, jetStream: 5s, connect: 10s, leaseRenewal: 200ms, leaseStale: 2s, feedRefused: 300ms';
const PATIENCE_MS = 60_000;

/** An event as stored in the stream. */
export interface StoredEvent {
  readonly subject: string;
  readonly data: string;
  readonly header: (name: string) => string;
}

/** A NATS server, an organization with feeds, and the configuration of a bridge that reads them. */
export class FeedsScene implements AsyncDisposable {
  private constructor(
    readonly server: NatsServer,
    readonly azure: AzureDevOps,
    readonly admin: Admin,
    readonly project: Project,
    /** The feed `packages` of the project `Shop`. */
    readonly feed: Feed,
    private readonly feeds: string,
  ) {}

  /** @param feeds the value of `hooks.feeds` */
  static async open(feeds = '[{ project: Shop, feed: packages, every: 100ms }]'): Promise<FeedsScene> {
    const [server, azure] = await Promise.all([startNatsServer({ config: 'max_payload: 3MB' }), AzureDevOps.start()]);
    const admin = await Admin.connect([server.url]);
    const project = azure.organization.projects[0]!;
    const scene = new FeedsScene(server, azure, admin, project, azure.feeds.add('packages', project), feeds);
    await setUp(scene.configuration, scene.options);
    return scene;
  }

  get configuration(): string {
    return `nats: { servers: ["${this.server.url}"] }
azureDevOps: { organization: "${this.azure.url}", identity: { kind: pat, patEnv: PAT } }
http: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }
hooks: { feeds: ${this.feeds} }
timing: { ${TIMING} }
`;
  }

  get options(): BridgeOptions {
    return { env: { PAT: this.azure.pat } };
  }

  command(...args: readonly string[]): Promise<CommandRun> {
    return runBridge(args, this.configuration, this.options);
  }

  start(): Promise<BridgeProcess> {
    return BridgeProcess.start(this.configuration, this.options);
  }

  /** Starts a bridge; resolves once it reads the feeds. */
  async startReader(feeds = 1): Promise<BridgeProcess> {
    const bridge = await this.start();
    await bridge.until('feeds that are read', () => (reads(bridge).length >= feeds ? true : undefined));
    return bridge;
  }

  async stored(): Promise<number> {
    return (await this.admin.manager.streams.info('AZDO')).state.messages;
  }

  async events(): Promise<StoredEvent[]> {
    return (await this.admin.stored('AZDO')).map(({ subject, data, header }) => ({
      subject,
      data: Buffer.from(data).toString(),
      header: (name) => header.get(name),
    }));
  }

  /** Resolves once the stream has this many events and these changes, once each and in order. */
  async has(changes: readonly PackageChange[]): Promise<void> {
    await this.until(`${changes.length} events`, async () => (await this.stored()) >= changes.length);
    assert.deepEqual(
      (await this.events()).map(({ data }) => data),
      changes.map((change) => JSON.stringify(change)),
    );
    const { state } = await this.admin.manager.streams.info('BRIDGE_DEAD');
    assert.equal(state.messages, 0);
  }

  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    for (const deadline = Date.now() + PATIENCE_MS; !(await holds());) {
      if (Date.now() > deadline) throw new Error(`No ${what} within ${PATIENCE_MS / 1_000} s.`);
      await delay(10);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.admin[Symbol.asyncDispose]();
    await this.azure[Symbol.asyncDispose]();
    await this.server.stop();
  }
}

/** The lines in which a bridge says that it starts or resumes reading a feed. */
export function reads(bridge: BridgeProcess): unknown[] {
  return bridge.lines.filter(({ event, state }) => event === 'feed' && state === 'reading');
}

/** A metric of a feed. */
export async function feedMetric(bridge: BridgeProcess, name: string, labels: string): Promise<number> {
  const { text } = await bridge.admin('/metrics');
  const line = text.split('\n').find((one) => one.startsWith(`nats_bridge_${name}{${labels}} `));
  return Number(line?.split(' ').at(-1) ?? 0);
}
