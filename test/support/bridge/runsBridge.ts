import { setTimeout as delay } from 'node:timers/promises';
import { headers } from 'nats';
import { AzureDevOps } from '../azureDevOps/azureDevOps.ts';
import type { Pipeline, PipelineDeclaration } from '../azureDevOps/pipelines.ts';
import { startNatsServer, type NatsServer } from '../nats/natsServer.ts';
import { Admin } from '../nats/testStream.ts';
import { BridgeProcess, runBridge, type BridgeOptions, type CommandRun } from './bridgeProcess.ts';

/** Everything fifty times as fast, but for what a test says. */
const TIMING = 'scale: 0.02, azureDevOps: 2s, takeover: 3s, drain: 5s, jetStream: 5s, connect: 10s';
const PATIENCE_MS = 20_000;

export const EVENT_ID = { name: 'natsEventId', type: 'string', default: '' } as const;

export interface RunsWorldOptions {
  readonly pipeline?: PipelineDeclaration;
  /** Lines of the route besides those that it has to have. */
  readonly route?: readonly string[];
  /** More of the configuration. */
  readonly more?: string;
  /** Configuration of the server, with the users `admin` and `bridge` of the password `pw`. */
  readonly users?: string;
  /** Instead of the usual ones. */
  readonly timing?: string;
}

/** A NATS server, an organisation of Azure DevOps and the configuration of a bridge between them, with one route. */
export class RunsScene implements AsyncDisposable {
  private constructor(
    readonly server: NatsServer,
    readonly azure: AzureDevOps,
    readonly admin: Admin,
    readonly pipeline: Pipeline,
    private readonly given: RunsWorldOptions,
  ) {}

  static async open(given: RunsWorldOptions = {}): Promise<RunsScene> {
    const { users } = given;
    const starting = startNatsServer(users === undefined ? {} : { config: users });
    const [server, azure] = await Promise.all([starting, AzureDevOps.start()]);
    const admin = await Admin.connect([server.url], users === undefined ? {} : { user: 'admin', pass: 'pw' });
    const image = { name: 'image', type: 'string', default: '' } as const;
    const pipeline = azure.pipelines.declare(given.pipeline ?? { parameters: [EVENT_ID, image] });
    const scene = new RunsScene(server, azure, admin, pipeline, given);
    await admin.stream('ci');
    const { status, stderr } = await scene.command(['setup', '--apply']);
    if (status !== 0) throw new Error(`setup --apply: ${stderr}`);
    return scene;
  }

  /** @param route lines instead of those of the scene */
  configuration(route: readonly string[] = this.given.route ?? []): string {
    const { more = '', timing = TIMING } = this.given;
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
    const own = lines.filter(
      (line) => !route.some((other) => other !== line && other.split(':')[0] === line.split(':')[0]),
    );
    const signIn = this.given.users === undefined ? '' : ', user: bridge, passwordEnv: PASSWORD';
    return `nats: { servers: ["${this.server.url}"]${signIn} }
azureDevOps: { organization: "${this.azure.url}", identity: { kind: pat, patEnv: PAT } }
http: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }
timing: { ${timing} }
${more}
runs:
  - ${own.join('\n    ')}
`;
  }

  get options(): BridgeOptions {
    return { env: { PAT: this.azure.pat, PASSWORD: 'pw' } };
  }

  command(args: readonly string[], route?: readonly string[]): Promise<CommandRun> {
    return runBridge(args, this.configuration(route), this.options);
  }

  start(): Promise<BridgeProcess> {
    return BridgeProcess.start(this.configuration(), this.options);
  }

  /** Publishes a CloudEvent; its id is also that of the message. */
  async publish(
    id: string,
    data: unknown = { image: 'web:1' },
    attributes: Readonly<Record<string, string>> = {},
  ): Promise<number> {
    const given = headers();
    const all = { specversion: '1.0', id, source: '/tests', type: 'image-ready', ...attributes };
    for (const [name, value] of Object.entries(all)) given.set(`ce-${name}`, value);
    return (await this.admin.connection.jetstream().publish('ci.done', JSON.stringify(data), { headers: given })).seq;
  }

  /** Resolves once all events of the route are acknowledged. */
  async settled(): Promise<void> {
    await this.until('events that are all acknowledged', async () => {
      const { num_pending, num_ack_pending } = await this.admin.manager.consumers.info('ci', 'bridge-deploy');
      return num_pending + num_ack_pending === 0;
    });
  }

  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    for (const deadline = Date.now() + PATIENCE_MS; !(await holds());) {
      if (Date.now() > deadline) throw new Error(`No ${what} within ${PATIENCE_MS / 1_000} s.`);
      await delay(20);
    }
  }

  /** What was decided on the route's events, oldest first. */
  async decisions(): Promise<
    { decision: string; reason?: string; event?: { id: string }; followed?: Record<string, unknown> }[]
  > {
    return (await this.messages('BRIDGE_AUDIT', 'bridge.decisions.runs.')).map(({ data }) => JSON.parse(data));
  }

  /** What persons have ordered, oldest first. */
  async orders(): Promise<{ name: string; decision: string; reason?: string; user?: string }[]> {
    return (await this.messages('BRIDGE_AUDIT', 'bridge.decisions.orders.')).map(({ data }) => JSON.parse(data));
  }

  /** The dead letters of the route, oldest first. */
  letters(): Promise<{ data: string; header: (name: string) => string }[]> {
    return this.messages('BRIDGE_DEAD', 'bridge.dead.runs.');
  }

  private async messages(stream: string, prefix: string) {
    const { state } = await this.admin.manager.streams.info(stream);
    const found: { data: string; header: (name: string) => string }[] = [];
    for (let seq = Math.max(1, state.first_seq); seq <= state.last_seq; seq++) {
      const message = await this.admin.manager.streams.getMessage(stream, { seq });
      if (!message.subject.startsWith(prefix)) continue;
      found.push({ data: Buffer.from(message.data).toString(), header: (name) => message.header.get(name) });
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.admin[Symbol.asyncDispose]();
    await this.azure[Symbol.asyncDispose]();
    await this.server.stop();
  }
}
