import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { headers, type NatsConnection } from 'nats';
import { Agent, request } from 'undici';
import { INPUT_NAMES } from '../../bridge/waits/criteria.ts';
import { StreamServer } from '../../localAgent/streamServer.ts';
import { BenchBridge } from './bridgeProcess.ts';
import { planNumber, planTask, PROJECT, type PlanNote } from './planTask.ts';
import { median, percentile, type Row } from './table.ts';

const WAITS = 50_000;
const STREAM = 'BENCH';
const SUBJECT = 'bench.done';
/** Calls under way at each replica. */
const CONNECTIONS = 16;
const PER_SECOND = 200;
const PACED = 10_000;
/** Interval of events after the leader was killed, until one is judged. */
const PROBE_MS = 50;
const LOOK_MS = 200;
const PATIENCE_MS = 60_000;
const MEGABYTE = 1_024 * 1_024;
const BEARER = 'the-token-of-the-connection';

/** Of what {@link measureWaits} measures. */
export const WAITS_TITLE = `Waits: two replicas on one stream, ${WAITS.toLocaleString('en')} plans with one task each and a token of 1,000 characters, told apart by their correlation ids`;

/**
 * How many waits the packed bridge takes a second, what they cost, how soon their tasks are completed, and how soon another
 * replica judges when the leader is killed.
 *
 * @param long whether all events come at {@link PER_SECOND}; otherwise the last ones come as fast as their tasks are completed
 */
export async function measureWaits(long: boolean, waits = WAITS): Promise<Row[]> {
  await using server = await StreamServer.start(STREAM, `${SUBJECT}.>`, { config: 'max_payload: 3MB' });
  await using plans = await PlanServer.start();
  const start = () => startBridge(server.url, plans.url, waits);
  await using first = await start();
  await using second = await start();
  const replicas = [first, second];

  const processor = () => first.processorSeconds + second.processorSeconds;
  const processorBefore = processor();
  const accepted = await executeAll(replicas, plans.url, waits);
  const acceptance = (processor() - processorBefore) / waits;
  const consumers = await consumersOf(server.client);
  const bucketBytes = await bytesOfBucket(server.client);
  const held = Math.max(...replicas.map(({ peakMegabytes }) => peakMegabytes));

  const [leader, other] = (await isLeading(first)) ? [first, second] : [second, first];
  const events = new Events(server.client, plans);
  const killedAt = now();
  await leader.die();
  const judgingAgain = await events.untilJudged(killedAt);
  await using third = await start();
  const readyAt = now();
  await until(() => isReady(third), 'the new replica is ready');
  const catchingUp = now() - readyAt;

  const [busy, idle] = (await isLeading(other)) ? [other, third] : [third, other];
  const [busyBefore, idleBefore, last] = [
    busy.processorSeconds,
    idle.processorSeconds,
    long ? waits : Math.min(waits, PACED),
  ];
  const paced = await events.paced(last);
  const [ending, following] = [busy.processorSeconds - busyBefore, idle.processorSeconds - idleBefore].map(
    (seconds) => seconds / paced.length,
  );
  const rest = await events.rest(waits);
  const peak = Math.max(held, other.peakMegabytes, third.peakMegabytes);
  return [
    { what: 'waits accepted', figure: accepted.perSecond, unit: 'waits/s', required: { atLeast: 300 } },
    { what: 'p99 of an acceptance', figure: accepted.p99, unit: 'ms' },
    { what: 'acceptances not answered in time', figure: accepted.late, unit: 'calls', required: { atMost: 0 } },
    {
      what: `consumers of the server with ${amount(waits)} waits`,
      figure: consumers,
      unit: 'consumers',
      required: { atMost: 5 },
    },
    { what: `the bucket with ${amount(waits)} waits`, figure: bucketBytes / MEGABYTE, unit: 'MB' },
    {
      what: 'from the kill of the leader to the first task completed',
      figure: judgingAgain / 1_000,
      unit: 's',
      required: { atMost: 15 },
    },
    { what: 'a new replica learning what waits there are', figure: catchingUp / 1_000, unit: 's' },
    {
      what: `from an event to TaskCompleted at ${PER_SECOND} a second`,
      figure: median(paced),
      unit: 'ms',
      required: { atMost: 60 },
    },
    { what: 'the same, p99', figure: percentile(paced, 0.99), unit: 'ms' },
    ...(rest === undefined
      ? []
      : [{ what: 'waits ended when all events come at once', figure: rest, unit: 'waits/s' }]),
    { what: 'processor time of both replicas for an acceptance', figure: acceptance * 1_000, unit: 'ms' },
    { what: 'processor time of the leader for an end', figure: (ending ?? 0) * 1_000, unit: 'ms' },
    { what: 'processor time of the other replica for an end', figure: (following ?? 0) * 1_000, unit: 'ms' },
    { what: 'peak memory of a replica with the waits open', figure: held, unit: 'MB' },
    { what: 'peak memory of a replica', figure: peak, unit: 'MB', required: { atMost: 300 } },
  ];
}

function amount(number: number): string {
  return number.toLocaleString('en');
}

/** Milliseconds since the epoch, finer than the clock's. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

function startBridge(nats: string, organization: string, waits: number): Promise<BenchBridge> {
  const configuration = `nats: { servers: ["${nats}"] }
azureDevOps: { organization: "${organization}", identity: { kind: pat, patFile: pat } }
http: { listen: "127.0.0.1:0", admin: "127.0.0.1:0" }
waits:
  organizations: ["${organization}"]
  tokenFiles: [bearer]
  sealingKeyFiles: [key]
  rules: [{ projects: ['${PROJECT}'], pipelines: ['*'], subjects: ['${SUBJECT}.>'], maxOpen: ${waits} }]
`;
  const key = Buffer.alloc(32, 1).toString('base64');
  return BenchBridge.start(configuration, { pat: 'the token of the benchmark', bearer: BEARER, key });
}

/** Stands for Azure DevOps, and records when each task was completed. */
class PlanServer implements AsyncDisposable {
  /** By the plan's number, when its task was completed first. */
  readonly completedAt = new Map<number, number>();
  #wake = () => {};

  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
  ) {}

  static async start(): Promise<PlanServer> {
    const script = path.join(import.meta.dirname, 'planServer.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout });
    const [url] = (await once(lines, 'line')) as [string];
    const server = new PlanServer(child, url);
    lines.on('line', (line) => server.#note(JSON.parse(line) as PlanNote));
    return server;
  }

  /** Resolves once the tasks of all these plans are completed. */
  async completed(plans: readonly number[]): Promise<void> {
    let missing = plans;
    for (;;) {
      missing = missing.filter((plan) => !this.completedAt.has(plan));
      if (missing.length === 0) return;
      const { size } = this.completedAt;
      await this.more(PATIENCE_MS);
      if (this.completedAt.size === size)
        throw new Error(`${missing.length} tasks were never completed: none within ${PATIENCE_MS} ms.`);
      await delay(LOOK_MS);
    }
  }

  /** Resolves when a task is completed, or after this many milliseconds. */
  async more(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #note({ plan, at, result }: PlanNote): void {
    const number = planNumber(plan) ?? -1;
    if (result !== 'succeeded') throw new Error(`The task of the plan ${number} has ended: ${result}.`);
    // A second time is possible after a kill, and Azure DevOps ignores it.
    if (!this.completedAt.has(number)) this.completedAt.set(number, at);
    this.#wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill();
    await once(this.child, 'close');
  }
}

/** Sends Execute for the tasks of all plans, each replica its share. */
async function executeAll(
  replicas: readonly BenchBridge[],
  planUrl: string,
  waits: number,
): Promise<{ readonly perSecond: number; readonly p99: number; readonly late: number }> {
  const dispatcher = new Agent({ connections: CONNECTIONS, pipelining: 1 });
  const runStart = new Date().toISOString();
  const took: number[] = [];
  let [number, late] = [0, 0];
  const begin = performance.now();
  await Promise.all(
    replicas.flatMap(({ url }) =>
      Array.from({ length: CONNECTIONS }, async () => {
        while (number < waits) {
          const call = executeOf(++number, planUrl, runStart);
          const sentAt = performance.now();
          for (;;) {
            const { statusCode, body } = await request(`${url}/v1/waits`, { method: 'POST', dispatcher, ...call });
            const answer = await body.text();
            if (statusCode === 200) break;
            if (statusCode !== 503) throw new Error(`${statusCode}: ${answer}`);
            // Azure DevOps wouldn't ask again: the job would fail.
            late++;
          }
          took.push(performance.now() - sentAt);
        }
      }),
    ),
  );
  const ms = performance.now() - begin;
  await dispatcher.close();
  return { perSecond: (waits / ms) * 1_000, p99: percentile(took, 0.99), late };
}

/** The request as the task's template renders it. */
function executeOf(number: number, planUrl: string, runStart: string) {
  const { plan, timeline, job, instance, token } = planTask(number);
  const given: Readonly<Record<string, string>> = {
    ...{ subject: `${SUBJECT}.v1`, correlationId: correlationOf(number), timeout: '12h', count: '1' },
  };
  const blocks = INPUT_NAMES.map((name) => `--${plan} ${name}\n${given[name] ?? ''}\n`);
  return {
    headers: {
      ...{ authorization: `Bearer ${BEARER}`, 'content-type': 'text/plain', 'x-plan-url': planUrl },
      ...{ 'x-project-id': PROJECT, 'x-hub-name': 'build', 'x-plan-id': plan, 'x-job-id': job },
      ...{ 'x-timeline-id': timeline, 'x-task-instance-id': instance, 'x-run-start': runStart, 'x-job-token': token },
    },
    body: `${blocks.join('')}--${plan} end\n`,
  };
}

function correlationOf(number: number): string {
  return `run-${number}`;
}

/** The events that the waits wait for, one after the other. */
class Events {
  #last = 0;

  constructor(
    private readonly client: NatsConnection,
    private readonly plans: PlanServer,
  ) {}

  /** Milliseconds from then to the first task that is completed for an event that came later. */
  async untilJudged(killedAt: number): Promise<number> {
    const end = performance.now() + PATIENCE_MS;
    const first = this.#last + 1;
    while (!this.plans.completedAt.has(first)) {
      if (performance.now() > end) throw new Error('Nobody judges any more.');
      await this.#publish();
      await delay(PROBE_MS);
    }
    const judgedAt = this.plans.completedAt.get(first) ?? Number.NaN;
    await this.plans.completed(range(first, this.#last));
    return judgedAt - killedAt;
  }

  /** For each event up to this one, milliseconds until its task is completed. */
  async paced(last: number): Promise<number[]> {
    const begin = performance.now();
    const first = this.#last + 1;
    const sentAt: number[] = [];
    for (let number = first; number <= last; number++) {
      const due = begin + ((number - first) * 1_000) / PER_SECOND;
      if (due > performance.now()) await delay(due - performance.now());
      sentAt.push(now());
      void this.#publish();
    }
    await this.plans.completed(range(first, last));
    return sentAt.map((at, index) => (this.plans.completedAt.get(first + index) ?? Number.NaN) - at);
  }

  /** The other events at once; returns how many tasks are completed a second. Undefined where there are none. */
  async rest(last: number): Promise<number | undefined> {
    const first = this.#last + 1;
    if (first > last) return undefined;
    const begin = performance.now();
    while (this.#last < last) {
      const published = this.#publish();
      if (this.#last % 1_000 === 0) await published;
    }
    await this.plans.completed(range(first, last));
    return ((last - first + 1) / (performance.now() - begin)) * 1_000;
  }

  /** Publishes the next event; resolves once it is stored. */
  async #publish(): Promise<void> {
    const number = ++this.#last;
    const header = headers();
    const attributes = { specversion: '1.0', id: String(number), source: 'bench', type: 'bench.done.v1' };
    for (const [name, value] of Object.entries({ ...attributes, correlationid: correlationOf(number) }))
      header.set(`ce-${name}`, value);
    header.set('Content-Type', 'application/json');
    await this.client.jetstream().publish(`${SUBJECT}.v1`, `{"number":${number}}`, { headers: header });
  }
}

function range(first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index);
}

/** Consumers of all streams. */
async function consumersOf(client: NatsConnection): Promise<number> {
  let consumers = 0;
  for await (const { state } of (await client.jetstreamManager()).streams.list()) consumers += state.consumer_count;
  return consumers;
}

async function bytesOfBucket(client: NatsConnection): Promise<number> {
  return (await (await client.jetstreamManager()).streams.info('KV_BRIDGE_WAITS')).state.bytes;
}

async function isLeading({ admin }: BenchBridge): Promise<boolean> {
  const { body } = await request(`${admin}/metrics`);
  return (await body.text()).includes(`nats_bridge_leader{stream="${STREAM}"} 1`);
}

async function isReady({ admin }: BenchBridge): Promise<boolean> {
  const { statusCode, body } = await request(`${admin}/readyz`);
  await body.dump();
  return statusCode === 200;
}

async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`Not within ${PATIENCE_MS} ms: ${what}.`);
    await delay(100);
  }
}
