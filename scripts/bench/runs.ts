import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { AckPolicy } from 'nats';
import { closeServer } from '../../localAgent/closeServer.ts';
import { StreamServer } from '../../localAgent/streamServer.ts';
import { runBaseline } from './baseline.ts';
import { BenchBridge } from './bridgeProcess.ts';
import { EVENT_BYTES, fill } from './load.ts';
import { median, type Row } from './table.ts';

const EVENTS = 200_000;
const MANY_EVENTS = 1_000_000;
const ROUNDS = 3;
const PACED_EVENTS = 200;
const PACE_MS = 20;
const PATIENCE_MS = 300_000;

/** Of what {@link measureRuns} measures; the rows say how many events. */
export const RUNS_TITLE = `Runs: ${PACED_EVENTS} events, one every ${PACE_MS} ms, for the request; a condition on the payload of ${EVENT_BYTES} bytes for the backlog; baseline: consume() of the nats package by a durable consumer, acknowledging each event, parsing nothing; medians of ${ROUNDS}`;

/**
 * How soon the packed bridge requests an event's run, and how fast it skips events that start none.
 *
 * @param long whether to read a backlog of a million events
 */
export async function measureRuns(long: boolean): Promise<Row[]> {
  await using server = await StreamServer.start('BENCH', 'bench.>');
  await using pipelines = await PipelineServer.start();
  const events = long ? MANY_EVENTS : EVENTS;
  const paced = ['name: paced', 'subject: bench.paced'];
  const late = await whileServing(server, pipelines, paced, () => latenessOf(server, pipelines));
  await fill(server.client, 'bench.backlog', events);
  const [rates, baselines]: [number[], number[]] = [[], []];
  for (let round = 1; round <= ROUNDS; round++) {
    rates.push((events / (await readWithRoute(server, pipelines, round, events))) * 1_000);
    baselines.push((events / runBaseline('durable.ts', server.url, 'BENCH', `bare-${round}`, String(events))) * 1_000);
  }
  return [
    {
      what: 'from the receipt of an event by a bare consumer to the request for its run',
      figure: late,
      unit: 'ms',
      required: { atMost: 15 },
    },
    {
      what: `a route reading a backlog of ${events.toLocaleString('en')} events to the one that matches`,
      figure: median(rates),
      unit: 'events/s',
      baseline: median(baselines),
      required: { atLeast: 0.5 },
    },
  ];
}

/** Stands for Azure DevOps: accepts every run, and records when each was requested. */
class PipelineServer implements AsyncDisposable {
  /** By the event's id, when the request came. */
  readonly asked = new Map<string, number>();
  readonly #server: Server;
  #waiting: { readonly id: string; readonly wake: () => void } | undefined;

  private constructor() {
    this.#server = createServer((request, response) => {
      const at = performance.now();
      void this.#note(request, at).then((answer) => {
        response.setHeader('Content-Type', 'application/json').end(JSON.stringify(answer));
      });
    });
  }

  static async start(): Promise<PipelineServer> {
    const server = new PipelineServer();
    await once(server.#server.listen(0, '127.0.0.1'), 'listening');
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/contoso/`;
  }

  /** Resolves with the time when the run of an event was asked for; rejects after five minutes. */
  async run(id: string): Promise<number> {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    await new Promise<void>((wake, reject) => {
      signal.addEventListener('abort', () => reject(new Error(`Nobody has asked for the run of ${id}.`)));
      this.#waiting = { id, wake };
      if (this.asked.has(id)) wake();
    });
    return this.asked.get(id) ?? Number.NaN;
  }

  async #note(request: IncomingMessage, at: number): Promise<unknown> {
    const { previewRun, templateParameters } = JSON.parse((await text(request)) || '{}') as {
      previewRun?: boolean;
      templateParameters?: { natsEventId?: string };
    };
    const id = templateParameters?.natsEventId;
    if (previewRun === true || id === undefined) return { finalYaml: '' };
    this.asked.set(id, at);
    if (this.#waiting?.id === id) this.#waiting.wake();
    return { id: this.asked.size, url: this.url };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeServer(this.#server);
  }
}

/** Measures something while a bridge with a route serves. */
async function whileServing(
  server: StreamServer,
  { url }: PipelineServer,
  route: readonly string[],
  measure: () => Promise<number>,
): Promise<number> {
  const configuration = `nats: { servers: ["${server.url}"] }
azureDevOps: { organization: "${url}", identity: { kind: pat, patFile: pat } }
http: { listen: "127.0.0.1:0", admin: "127.0.0.1:0" }
runs:
  - stream: BENCH
    pipeline: { project: Shop, id: 42 }
    parameters: { natsEventId: event.id }
    maxPerMinute: 10000
    ${route.join('\n    ')}
`;
  const bridge = await BenchBridge.start(configuration, { pat: 'the token of the benchmark' });
  try {
    return await measure();
  } finally {
    await bridge[Symbol.asyncDispose]();
  }
}

/** The median of what passes between the receipt of an event here and the request for its run, in milliseconds. */
async function latenessOf({ client }: StreamServer, pipelines: PipelineServer): Promise<number> {
  const received = new Map<string, number>();
  const manager = await client.jetstreamManager();
  await manager.consumers.add('BENCH', { durable_name: 'bare', ack_policy: AckPolicy.Explicit });
  const messages = await (
    await client.jetstream().consumers.get('BENCH', 'bare')
  ).consume({
    callback: (message) => {
      received.set(message.headers?.get('Nats-Msg-Id') ?? '', performance.now());
      message.ack();
    },
  });
  const idOf = (number: number) => `paced-${number}`;
  for (let number = 1; number <= PACED_EVENTS; number++) {
    await client.jetstream().publish('bench.paced', '{}', { msgID: idOf(number) });
    await delay(PACE_MS);
  }
  const differences: number[] = [];
  for (let number = 1; number <= PACED_EVENTS; number++)
    differences.push((await pipelines.run(idOf(number))) - (received.get(idOf(number)) ?? Number.NaN));
  await messages.close();
  await manager.streams.purge('BENCH');
  return median(differences);
}

/** Milliseconds from when the bridge serves to the request for the run of the backlog's last event. */
async function readWithRoute(
  server: StreamServer,
  pipelines: PipelineServer,
  round: number,
  events: number,
): Promise<number> {
  const match = `match: "data.number == \`${events}\`"`;
  const route = [`name: backlog-${round}`, 'subject: bench.backlog', 'startFrom: all', match];
  pipelines.asked.clear();
  return whileServing(server, pipelines, route, async () => {
    const begin = performance.now();
    return (await pipelines.run(`BENCH:${PACED_EVENTS + events}`)) - begin;
  });
}
