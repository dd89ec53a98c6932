import { setTimeout as delay } from 'node:timers/promises';
import { headers } from 'nats';
import type { Decision } from '../../../bridge/audit/decisions.ts';
import type { OutgoingMessage } from '../../../shared/bus.ts';
import { parseUserSeed } from '../../../shared/nkey.ts';
import { signMessage } from '../../../shared/signing/signature.ts';
import { AzureDevOps } from '../azureDevOps/azureDevOps.ts';
import type { Pipeline, PipelineDeclaration } from '../azureDevOps/pipelines.ts';
import { natsServerBinary, startNatsServer, type NatsServer } from '../nats/natsServer.ts';
import { Admin } from '../nats/testStream.ts';
import { BridgeProcess, runBridge, type BridgeOptions, type CommandRun } from './bridgeProcess.ts';
import { setUp } from './commandsHere.ts';

/** Everything fifty times as fast, unless a test says otherwise. */
const TIMING = 'scale: 0.02, azureDevOps: 2s, takeover: 3s, drain: 5s, jetStream: 5s, connect: 10s';
const PATIENCE_MS = 20_000;

export const EVENT_ID = { name: 'natsEventId', type: 'string', default: '' } as const;

export interface RunsWorldOptions {
  readonly pipeline?: PipelineDeclaration;
  /** Lines of the route besides the required ones. */
  readonly route?: readonly string[];
  /** More of the configuration. */
  readonly more?: string;
  /** Configuration of the server, with the users `admin` and `bridge` and the password `pw`. */
  readonly users?: string;
  /** Instead of the usual ones. */
  readonly timing?: string;
  /** Contents of files next to the configuration, by name. */
  readonly files?: Readonly<Record<string, string>>;
  /** Of Node.js and of nats-server; 20 and Debian's if absent. */
  readonly node?: BridgeOptions['node'];
  readonly line?: Parameters<typeof natsServerBinary>[0];
}

export interface PublishOptions {
  /** Default `ci.done`. */
  readonly subject?: string;
  /** Seed of the key that signs it; unsigned if absent. */
  readonly seed?: string;
}

/** A NATS server, an organization of Azure DevOps and the configuration of a bridge between them, with one route. */
export class RunsScene implements AsyncDisposable {
  private constructor(
    readonly server: NatsServer,
    readonly azure: AzureDevOps,
    readonly admin: Admin,
    readonly pipeline: Pipeline,
    private readonly given: RunsWorldOptions,
  ) {}

  static async open(given: RunsWorldOptions = {}): Promise<RunsScene> {
    const { users, line } = given;
    const binary = line === undefined ? {} : { binary: natsServerBinary(line) };
    const starting = startNatsServer({ ...binary, ...(users === undefined ? {} : { config: users }) });
    const [server, azure] = await Promise.all([starting, AzureDevOps.start()]);
    const admin = await Admin.connect([server.url], users === undefined ? {} : { user: 'admin', pass: 'pw' });
    const image = { name: 'image', type: 'string', default: '' } as const;
    const pipeline = azure.pipelines.declare(given.pipeline ?? { parameters: [EVENT_ID, image] });
    const scene = new RunsScene(server, azure, admin, pipeline, given);
    try {
      await admin.stream('ci');
      await scene.setUp();
      return scene;
    } catch (error) {
      // Otherwise the servers keep the test from ending.
      await scene[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** @param routes lines of each route, instead of those of the scene */
  configuration(...routes: readonly (readonly string[])[]): string {
    const { more = '', timing = TIMING, users, route = [] } = this.given;
    const signIn = users === undefined ? '' : ', user: bridge, passwordEnv: PASSWORD';
    const all = routes.length === 0 ? [route] : routes;
    return `nats: { servers: ["${this.server.url}"]${signIn} }
azureDevOps: { organization: "${this.azure.url}", identity: { kind: pat, patEnv: PAT } }
http: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }
timing: { ${timing} }
${more}
runs:
${all.map((lines) => `  - ${this.#routeOf(lines).join('\n    ')}\n`).join('')}`;
  }

  #routeOf(route: readonly string[]): string[] {
    const lines = [
      'name: deploy',
      'subject: ci.>',
      'stream: ci',
      `pipeline: { project: ${this.pipeline.project.name}, id: ${this.pipeline.id}, branch: refs/heads/main }`,
      ...(route.some((line) => line.startsWith('parameters:'))
        ? []
        : ['parameters: { natsEventId: event.id, image: data.image }']),
      ...route,
    ];
    return lines.filter((line) => !route.some((other) => other !== line && other.split(':')[0] === line.split(':')[0]));
  }

  get options(): BridgeOptions {
    const { files = {}, node = '20' } = this.given;
    return { files, node, env: { PAT: this.azure.pat, PASSWORD: 'pw' } };
  }

  command(args: readonly string[], ...routes: readonly (readonly string[])[]): Promise<CommandRun> {
    return runBridge(args, this.configuration(...routes), this.options);
  }

  start(...routes: readonly (readonly string[])[]): Promise<BridgeProcess> {
    return BridgeProcess.start(this.configuration(...routes), this.options);
  }

  /** Creates what these routes need. */
  setUp(...routes: readonly (readonly string[])[]): Promise<void> {
    return setUp(this.configuration(...routes), this.options);
  }

  /** Publishes a CloudEvent; its id is also that of the message. */
  async publish(
    id: string,
    data: unknown = { image: 'web:1' },
    attributes: Readonly<Record<string, string>> = {},
    { subject = 'ci.done', seed }: PublishOptions = {},
  ): Promise<number> {
    const all = { specversion: '1.0', id, source: '/tests', type: 'image-ready', ...attributes };
    const attributeHeaders = Object.entries(all).map(([name, value]) => [`ce-${name}`, value] as const);
    const plain: OutgoingMessage = {
      subject,
      // Only a signed event needs one: the stream must store an event twice if it's published twice.
      headers: [...attributeHeaders, ...(seed === undefined ? [] : [['Nats-Msg-Id', id] as const])],
      payload: Buffer.from(JSON.stringify(data)),
    };
    const message = seed === undefined ? plain : signMessage(plain, parseUserSeed(seed), new Date());
    const given = headers();
    for (const [name, value] of message.headers) given.set(name, value);
    return (await this.admin.connection.jetstream().publish(subject, message.payload, { headers: given })).seq;
  }

  /** Unacked events of a route, including those that a replica holds. */
  async left(route = 'deploy'): Promise<{ all: number; held: number }> {
    const { num_pending, num_ack_pending } = await this.admin.manager.consumers.info('ci', `bridge-${route}`);
    return { all: num_pending + num_ack_pending, held: num_ack_pending };
  }

  /** Resolves once all events of the route are acked; fails if 20 s pass without another ack. */
  async settled(route = 'deploy'): Promise<void> {
    for (let left = (await this.left(route)).all; left > 0;)
      await this.until('event that is acknowledged', async () => {
        const before = left;
        return (left = (await this.left(route)).all) < before;
      });
  }

  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    for (const deadline = Date.now() + PATIENCE_MS; !(await holds());) {
      if (Date.now() > deadline) throw new Error(`No ${what} within ${PATIENCE_MS / 1_000} s.`);
      await delay(20);
    }
  }

  /** The decisions on events of all routes or of one, oldest first. */
  async decisions(
    route = '',
  ): Promise<Pick<Decision, 'decision' | 'reason' | 'event' | 'followed' | 'schemaDigest'>[]> {
    return (await this.messages('BRIDGE_AUDIT', `bridge.decisions.runs.${route}`)).map(({ data }) => JSON.parse(data));
  }

  /** The operators' orders, oldest first. */
  async orders(): Promise<{ name: string; decision: string; reason?: string; user?: string }[]> {
    return (await this.messages('BRIDGE_AUDIT', 'bridge.decisions.orders.')).map(({ data }) => JSON.parse(data));
  }

  /** The dead letters of all routes or of one, oldest first. */
  async letters(route?: string): Promise<{ seq: number; data: string; header: (name: string) => string }[]> {
    const letters = await this.messages('BRIDGE_DEAD', 'bridge.dead.runs.');
    return letters.filter(({ header }) => route === undefined || header('Bridge-Route') === route);
  }

  private async messages(stream: string, prefix: string) {
    const stored = (await this.admin.stored(stream)).filter(({ subject }) => subject.startsWith(prefix));
    return stored.map(({ seq, data, header }) => ({
      seq,
      data: Buffer.from(data).toString(),
      header: (name: string) => header.get(name),
    }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.admin[Symbol.asyncDispose]();
    await this.azure[Symbol.asyncDispose]();
    await this.server.stop();
  }
}
