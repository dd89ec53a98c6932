import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect, headers as newHeaders } from 'nats';
import type { JetStreamManager, MsgHdrs, NatsConnection, StoredMsg, StreamConfig } from 'nats';
import type { ErrorCode } from '../../../shared/errors.ts';
import { LocalAgent, nodeBinary, pipelineTime, temporaryFolder, unpackVsix } from '../../../localAgent/index.ts';
import type {
  Connection,
  Handler,
  LocalAgentOptions,
  Machine,
  StepRun,
  TaskRequest,
} from '../../../localAgent/index.ts';
import { startNatsServer } from '../nats/natsServer.ts';
import type { NatsServer, NatsServerOptions } from '../nats/natsServer.ts';
import { assertReceipt } from './receipts.ts';

/** Header fields as a test writes them: a name may have several values. */
export type HeaderFields = Readonly<Record<string, string | readonly string[]>>;
type Inputs = Readonly<Record<string, string>>;
type SignIn = string | { readonly user?: string; readonly pass?: string };
type StepOptions = Omit<TaskRequest, 'task' | 'inputs'>;

/** The default timeout of steps: no scenario needs longer. */
const TIMEOUT = '30s';
/** One copy for all agents of a test file, made when it starts. */
const EXTENSION = unpackVsix();

/** A test's own nats-server, a plain client, and agents whose service connection `nats` points to that server. */
export class Scenario implements AsyncDisposable {
  server!: NatsServer;
  client!: NatsConnection;
  manager!: JetStreamManager;
  /** The Node that the agents run tasks with, instead of the tests' own. */
  nodes: Partial<Record<Handler, string>> | undefined;
  /** The machine they run on; this one if absent. */
  machine: Machine | undefined;
  readonly #runStart = pipelineTime(new Date());
  #streams = 0;

  /** @param signIn the client's token, or user and password, if the options require one */
  static async start(options: NatsServerOptions = {}, signIn: SignIn = {}): Promise<Scenario> {
    const scene = new Scenario();
    await scene.#start(options, signIn);
    return scene;
  }

  /** Like {@link start}, but for all tests of the calling describe block. */
  static shared(options: NatsServerOptions = {}, signIn: SignIn = {}): Scenario {
    const scene = new Scenario();
    before(() => scene.#start(options, signIn));
    after(() => scene[Symbol.asyncDispose]());
    return scene;
  }

  async #start(options: NatsServerOptions, signIn: SignIn): Promise<void> {
    this.server = await startNatsServer(options);
    const credentials = typeof signIn === 'string' ? { token: signIn } : signIn;
    this.client = await connect({ servers: this.server.url, ...credentials });
    this.manager = await this.client.jetstreamManager();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    await this.server.stop();
  }

  /** A new stream, `T1`, `T2` and so on, which captures `t1.>`, `t2.>` and so on. */
  async stream(config: Partial<StreamConfig> = {}): Promise<TestStream> {
    const number = ++this.#streams;
    const stream = new TestStream(this.client, this.manager, `T${number}`, `t${number}`);
    await this.manager.streams.add({ name: stream.name, subjects: [`${stream.prefix}.>`], ...config });
    return stream;
  }

  /** An agent for one job of the run that began with the scenario. `connection` replaces parts of the service connection. */
  agent({
    connection,
    ...options
  }: LocalAgentOptions & { readonly connection?: Partial<Connection> } = {}): LocalAgent {
    return new LocalAgent({
      extension: EXTENSION,
      ...(this.nodes && { nodes: this.nodes }),
      machine: this.machine,
      ...options,
      variables: { 'System.PipelineStartTime': this.#runStart, ...options.variables },
      connections: { nats: { url: this.server.url, scheme: 'None', ...connection } },
    });
  }
}

/** A test's own stream, so that its sequences start at 1. */
export class TestStream {
  constructor(
    private readonly client: NatsConnection,
    private readonly manager: JetStreamManager,
    readonly name: string,
    readonly prefix: string,
  ) {}

  /** A subject the stream captures. */
  subject(suffix: string): string {
    return `${this.prefix}.${suffix}`;
  }

  /** Publishes like any other NATS client; resolves with the sequence. Anything but bytes and text is sent as JSON. */
  async put(suffix: string, payload: unknown = '', headers: HeaderFields = {}): Promise<number> {
    const bytes = payload instanceof Uint8Array || typeof payload === 'string' ? payload : JSON.stringify(payload);
    const { seq } = await this.client
      .jetstream()
      .publish(this.subject(suffix), bytes, { headers: natsHeaders(headers) });
    return seq;
  }

  /** A message as stored in the stream. */
  stored(sequence: number): Promise<StoredMsg> {
    return this.manager.streams.getMessage(this.name, { seq: sequence });
  }

  async lastSequence(): Promise<number> {
    return (await this.manager.streams.info(this.name)).state.last_seq;
  }

  /** How many consumers the stream has. */
  async consumers(): Promise<number> {
    return (await this.manager.streams.info(this.name)).state.consumer_count;
  }
}

export function natsHeaders(fields: HeaderFields): MsgHdrs {
  const headers = newHeaders();
  for (const [name, values] of Object.entries(fields)) {
    for (const value of typeof values === 'string' ? [values] : values) headers.append(name, value);
  }
  return headers;
}

/** Name and value of every header, in message order. */
export function headerFields(headers: MsgHdrs): [string, string][] {
  return [...headers].flatMap(([name, values]) => values.map((value): [string, string] => [name, value]));
}

/** Runs a PublishNatsEvent step to its end, and checks its receipt against the schema. */
export async function publish(agent: LocalAgent, inputs: Inputs, options: StepOptions = {}): Promise<StepRun> {
  const step = await agent.runTask({
    name: 'publish',
    ...options,
    task: 'PublishNatsEvent@1',
    inputs: { natsConnection: 'nats', subjectVersion: 'off', timeout: TIMEOUT, ...inputs },
  });
  assertReceipt(step, 'publish');
  return step;
}

/** Runs a WaitForNatsEvent step to its end, like {@link publish}. */
export async function wait(agent: LocalAgent, inputs: Inputs, options: StepOptions = {}): Promise<StepRun> {
  const step = await agent.runTask({
    name: 'wait',
    ...options,
    task: 'WaitForNatsEvent@1',
    inputs: { natsConnection: 'nats', timeout: TIMEOUT, ...inputs },
  });
  assertReceipt(step, 'wait');
  return step;
}

/** Starts a WaitForNatsEvent step; once it's waiting, resolves with a promise of its end. */
export async function beginWait(
  agent: LocalAgent,
  inputs: Inputs,
  options: StepOptions = {},
): Promise<{ readonly ended: Promise<StepRun> }> {
  return new Promise((resolve, reject) => {
    const onLine: StepOptions['onLine'] = ({ text }) => {
      if (text.startsWith('waiting ')) resolve({ ended });
    };
    const ended = wait(agent, inputs, { ...options, onLine });
    ended.then(({ logText }) => reject(new Error(`The step ended before it was waiting:\n${logText}`)), reject);
  });
}

/** A folder with these files, for `sources` of an agent. */
export function sourcesWith(files: Readonly<Record<string, unknown>>): string {
  const folder = temporaryFolder('sources-');
  for (const [name, content] of Object.entries(files)) {
    const plain = typeof content === 'string' || content instanceof Uint8Array;
    writeFileSync(path.join(folder, name), plain ? content : JSON.stringify(content));
  }
  return folder;
}

/** The outputs of a step. */
export function outputsOf(step: StepRun): Record<string, string> {
  return Object.fromEntries(step.outputs);
}

/** Asserts that the step set these outputs to these values. */
export function assertOutputs(step: StepRun, expected: Readonly<Record<string, string>>): void {
  const set = Object.keys(expected).map((name) => [name, step.outputs.get(name)]);
  assert.deepEqual(Object.fromEntries(set), expected);
}

/** The JSON in the file that an output names. */
export function jsonFile(step: StepRun, output: 'eventFile' | 'receiptFile'): unknown {
  return JSON.parse(readFileSync(step.fileOf(output), 'utf8'));
}

/** An event in `eventFile`. */
export interface EventInFile {
  readonly subject: string;
  readonly data: unknown;
  readonly dataBase64: string | null;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly event: Readonly<Record<string, string>>;
  readonly stream: string;
  readonly sequence: number;
  readonly time: string | null;
}

export function eventsOf(step: StepRun): EventInFile[] {
  return jsonFile(step, 'eventFile') as EventInFile[];
}

/** How many events of each kind a wait saw, from its receipt, without those that are zero. */
export function countsOf(step: StepRun): Record<string, number> {
  const { counts } = (jsonFile(step, 'receiptFile') as { result: { counts: Record<string, number> } }).result;
  return Object.fromEntries(Object.entries(counts).filter(([, number]) => number > 0));
}

export function assertSucceeded(step: StepRun): void {
  assert.equal(step.result, 'Succeeded', step.logText);
}

/** Asserts that the step failed with this code, and with these texts in its message. */
export function assertFailed(step: StepRun, code: ErrorCode, ...texts: readonly string[]): void {
  assert.equal(step.result, 'Failed', step.logText);
  const message = step.errors.join('\n');
  for (const text of [`${code}: `, ...texts]) assert.ok(message.includes(text), `"${text}" is not in: ${message}`);
}

/** Declares a test, like `it` of Node's test runner. */
type It = (name: string, test: () => Promise<void>) => void;

/**
 * Declares the tests for each Node that agents run tasks with. Each Node has its own scenario; they run concurrently.
 * In the long form (`test/long/tasks.test.ts`) and on another machine, each Node runs all tests; otherwise the
 * tests are dealt out to the Nodes in turn.
 *
 * @param machine where the tasks run, with its Nodes; this machine if absent
 */
export function underEachNode(
  title: string,
  declare: (scene: Scenario, it: It) => void,
  machine?: Machine & { node(major: '20' | '24'): string },
): void {
  const isWhole = machine !== undefined || process.env['HOSTILE_FORM'] === 'long';
  const nodes = [
    ['Node20_1', '20'],
    ['Node24', '24'],
  ] as const;
  describe(title, { concurrency: 2 }, () => {
    for (const [index, [handler, major]] of nodes.entries()) {
      describe(`under Node ${major}`, { concurrency: 3 }, () => {
        const scene = Scenario.shared();
        scene.machine = machine;
        scene.nodes = { [handler]: machine?.node(major) ?? nodeBinary(major) };
        let count = 0;
        declare(scene, (name, test) => {
          if (isWhole || count++ % nodes.length === index) void it(name, test);
        });
      });
    }
  });
}
