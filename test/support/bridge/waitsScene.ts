import { setTimeout as delay } from 'node:timers/promises';
import { headers } from 'nats';
import type { Decision } from '../../../bridge/audit/decisions.ts';
import type { WaitRecord } from '../../../bridge/waits/record.ts';
import { unseal } from '../../../bridge/waits/sealing.ts';
import type { OutgoingMessage } from '../../../shared/bus.ts';
import { parseUserSeed } from '../../../shared/nkey.ts';
import { signMessage } from '../../../shared/signing/signature.ts';
import { AgentlessTask, type AgentlessTaskOptions } from '../azureDevOps/agentlessTask.ts';
import { AzureDevOps } from '../azureDevOps/azureDevOps.ts';
import { natsServerBinary, startNatsCluster, startNatsServer, type NatsServer } from '../nats/natsServer.ts';
import { Admin } from '../nats/testStream.ts';
import { BridgeProcess, type BridgeOptions } from './bridgeProcess.ts';
import { setUp } from './commandsHere.ts';
import { BEARER, SEALING_KEY } from './waitsReceiver.ts';

/** As short as a loaded machine allows. */
const TIMING =
  'azureDevOps: 2s, takeover: 3s, drain: 5s, checkpoint: 100ms, idleStream: 400ms, leaseRenewal: 200ms, ' +
  'leaseStale: 2s, firstPause: 50ms, longestPause: 500ms, natsRetry: 100ms, readiness: 20ms';
const PATIENCE_MS = 20_000;
const BUCKET = 'BRIDGE_WAITS';
const OF_BUCKET = `$KV.${BUCKET}.`;

export interface WaitsSceneOptions {
  /** Of three servers. */
  readonly isCluster?: boolean;
  /** More of the configuration. */
  readonly more?: string | ((azure: AzureDevOps) => string);
  /** More of the section `waits`. */
  readonly waits?: string;
  /** Rules instead of the one that lets every pipeline of `Shop` wait on `ci.>`. */
  readonly rules?: string;
  readonly timing?: string;
  /** Contents of files next to the configuration, by name. */
  readonly files?: Readonly<Record<string, string>>;
}

export interface EventOptions {
  /** Default `ci.done`. */
  readonly subject?: string;
  /** Attributes of a CloudEvent in binary mode; null: it isn't one. */
  readonly attributes?: Readonly<Record<string, string>> | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** Seed of the key that signs it; unsigned if absent. */
  readonly seed?: string;
  /** Default: now. */
  readonly signedAt?: Date;
}

/** NATS, an Azure DevOps organization and replicas of the bundle that accept waits, each as its own process. */
export class WaitsScene implements AsyncDisposable {
  readonly #bridges: BridgeProcess[] = [];
  #events = 0;

  private constructor(
    readonly servers: readonly NatsServer[],
    readonly azure: AzureDevOps,
    readonly admin: Admin,
    private readonly given: WaitsSceneOptions,
  ) {}

  static async open(given: WaitsSceneOptions = {}): Promise<WaitsScene> {
    const starting =
      given.isCluster === true
        ? // In a 2.9 cluster, two writes to the same revision of a key may both succeed.
          startNatsCluster({ binary: natsServerBinary('2.10') }).then(({ servers }) => servers)
        : startNatsServer().then((server) => [server]);
    const [servers, azure] = await Promise.all([starting, AzureDevOps.start()]);
    const admin = await Admin.connect(servers.map(({ url }) => url));
    const scene = new WaitsScene(servers, azure, admin, given);
    try {
      await admin.stream('CI', { subjects: ['ci.>'], num_replicas: servers.length });
      await setUp(scene.configuration(), scene.options);
      return scene;
    } catch (error) {
      // Otherwise the servers keep the test from ending.
      await scene[Symbol.asyncDispose]();
      throw error;
    }
  }

  get server(): NatsServer {
    return this.servers[0]!;
  }

  /** @param urls of NATS, if it isn't reached directly */
  configuration(urls = this.servers.map(({ url }) => url)): string {
    const { more = '', waits = '', timing = TIMING } = this.given;
    const { rules = "[{ projects: [Shop], pipelines: ['*'], subjects: [ci.>], maxOpen: 10000 }]" } = this.given;
    return `nats: { servers: ${JSON.stringify(urls)} }
azureDevOps: { organization: "${this.azure.url}", identity: { kind: pat, patEnv: PAT } }
http: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }
timing: { ${timing} }
streams: { replicas: ${this.servers.length} }
${typeof more === 'string' ? more : more(this.azure)}
waits:
  organizations: ["${this.azure.url}"]
  tokenEnvs: [WAITS_TOKEN]
  sealingKeyEnvs: [SEALING_KEY]
  rules: ${rules}
  ${waits}
`;
  }

  get options(): BridgeOptions {
    const { files = {} } = this.given;
    const env = {
      NODE_OPTIONS: '--trace-warnings',
      PAT: this.azure.pat,
      WAITS_TOKEN: BEARER,
      SEALING_KEY: SEALING_KEY.toString('base64'),
    };
    return { files, env };
  }

  /** Starts one more replica; resolves once it listens. It ends with the scene at the latest. */
  async begin(urls?: readonly string[]): Promise<BridgeProcess> {
    const bridge = await BridgeProcess.start(this.configuration(urls && [...urls]), this.options);
    this.#bridges.push(bridge);
    return bridge;
  }

  /** The same; resolves once it is ready. */
  async start(urls?: readonly string[]): Promise<BridgeProcess> {
    const bridge = await this.begin(urls);
    await bridge.ready(200);
    return bridge;
  }

  task(bridge: BridgeProcess, options: Partial<AgentlessTaskOptions> = {}): AgentlessTask {
    return new AgentlessTask(this.azure, { bridge: bridge.publicUrl, bearer: BEARER, ...options });
  }

  /** Starts a wait, which must be accepted. @returns its task, and the key of its record */
  async wait(bridge: BridgeProcess, inputs: Readonly<Record<string, string>>, options?: Partial<AgentlessTaskOptions>) {
    const task = this.task(bridge, options);
    const { status, text, json } = await task.execute({ subject: 'ci.done', ...inputs });
    if (status !== 200) throw new Error(`The wait was not taken: ${status} ${text}`);
    return { task, key: (json as { key: string }).key };
  }

  /** Publishes an event; resolves with its sequence. Text and bytes are sent unchanged, anything else as JSON. */
  async publish(
    data: unknown,
    { subject = 'ci.done', attributes = {}, headers: more = {}, seed, signedAt = new Date() }: EventOptions = {},
  ): Promise<number> {
    const id = `e-${++this.#events}`;
    const all: Readonly<Record<string, string>> =
      attributes === null ? {} : { specversion: '1.0', id, source: '/tests', type: 'test', ...attributes };
    const payload = typeof data === 'string' || data instanceof Uint8Array ? data : JSON.stringify(data);
    const plain: OutgoingMessage = {
      subject,
      headers: [
        ...Object.entries(all).map(([name, value]) => [`ce-${name}`, value] as const),
        ...Object.entries(more),
        ...(seed === undefined ? [] : [['Nats-Msg-Id', id] as const]),
      ],
      payload: Buffer.from(payload),
    };
    const message = seed === undefined ? plain : signMessage(plain, parseUserSeed(seed), signedAt);
    const given = headers();
    for (const [name, value] of message.headers) given.append(name, value);
    return (await this.admin.connection.jetstream().publish(subject, message.payload, { headers: given })).seq;
  }

  /** The bucket's values under keys of waits. */
  async records(): Promise<Map<string, WaitRecord>> {
    const found = new Map<string, WaitRecord>();
    for (const [key, bytes] of await this.entries()) {
      const record = key.startsWith('wait.') ? unseal(key, bytes, [SEALING_KEY]) : undefined;
      if (record !== undefined) found.set(key, record);
    }
    return found;
  }

  /** The bucket's value for one wait. */
  async record(key: string): Promise<WaitRecord | undefined> {
    const bytes = await this.#entry(key);
    return bytes && unseal(key, bytes, [SEALING_KEY]);
  }

  /** The bucket's values, by key. */
  async entries(): Promise<Map<string, Uint8Array>> {
    // Not with the library's list of keys, which creates a consumer.
    const filter = { subjects_filter: `${OF_BUCKET}>` };
    const { state } = await this.admin.manager.streams.info(`KV_${BUCKET}`, filter);
    const read = async (subject: string) => {
      const key = subject.slice(OF_BUCKET.length);
      const bytes = await this.#entry(key);
      return bytes === undefined ? [] : [[key, bytes] as const];
    };
    return new Map((await Promise.all(Object.keys(state.subjects ?? {}).map(read))).flat());
  }

  async #entry(key: string): Promise<Uint8Array | undefined> {
    const { streams } = this.admin.manager;
    return streams.getMessage(`KV_${BUCKET}`, { last_by_subj: OF_BUCKET + key }).then(
      ({ data }) => data,
      () => undefined,
    );
  }

  /** Names of the consumers of a stream. */
  async consumers(stream = 'CI'): Promise<string[]> {
    return (await this.admin.manager.consumers.list(stream).next()).map(({ name }) => name);
  }

  /** The decisions on waits, oldest first. */
  async decisions(): Promise<Decision[]> {
    const stored = await this.admin.stored('BRIDGE_AUDIT');
    return stored.map(({ data }) => JSON.parse(Buffer.from(data).toString()) as Decision);
  }

  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    for (const deadline = Date.now() + PATIENCE_MS; !(await holds());) {
      if (Date.now() > deadline)
        throw new Error(
          `Not within ${PATIENCE_MS / 1_000} s: ${what}.\n${this.#bridges.map(({ text }) => text).join('\n')}`,
        );
      await delay(20);
    }
  }

  /** The task's result, with a generous time limit. */
  async ended(task: AgentlessTask): Promise<string> {
    await this.until('the task hears of its end', () => task.task.state === 'completed');
    return task.completed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const bridge of this.#bridges) await bridge[Symbol.asyncDispose]();
    await this.admin[Symbol.asyncDispose]();
    await this.azure[Symbol.asyncDispose]();
    for (const server of this.servers) await server.stop();
  }
}
