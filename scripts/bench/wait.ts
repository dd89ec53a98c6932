import type { NatsConnection } from 'nats';
import { LocalAgent } from '../../localAgent/index.ts';
import { StreamServer } from '../../localAgent/streamServer.ts';
import { runBaseline } from './baseline.ts';
import { EVENT_BYTES, fill } from './load.ts';
import { measuringPeak, peakOf } from './peakMemory.ts';
import { median, type Benchmark, type Row } from './table.ts';

const EVENTS = 1_000_000;
const ROUNDS = 3;
const LATENCY_ROUNDS = 9;

/** A wait of the packed task for the last event of a backlog, against a `consume()` loop of the `nats` package; and how soon a wait ends. */
export const wait: Benchmark = {
  title: `One event matching on its payload at the end of ${EVENTS.toLocaleString('en')} of ${EVENT_BYTES} bytes; baseline: consume() of the nats package, max_messages 10,000, parsing nothing; medians of ${ROUNDS}, and of ${LATENCY_ROUNDS} for the latency`,
  async run() {
    await using server = await StreamServer.start('BENCH', 'bench.>');
    const { client } = server;
    await fill(client, 'bench.v1', EVENTS);
    const steps: Backlog[] = [];
    const baselines: number[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      steps.push(await readWithTask(server.url));
      baselines.push(runBaseline('consume.ts', server.url, 'BENCH', String(EVENTS)));
    }
    const perSecond = (ms: number) => (EVENTS / ms) * 1_000;
    const latencies: number[] = [];
    const roundTrips: number[] = [];
    for (let round = 1; round <= LATENCY_ROUNDS; round++) {
      latencies.push(await fromPublicationToExit(server.url, client));
      roundTrips.push(await roundTrip(client));
    }
    const rows: Row[] = [
      {
        what: 'reading the backlog to the event that matches',
        figure: perSecond(median(steps.map(({ ms }) => ms))),
        unit: 'events/s',
        baseline: perSecond(median(baselines)),
        required: { atLeast: 0.8 },
      },
      {
        what: 'peak memory of the step',
        figure: Math.max(...steps.map(({ peakMegabytes }) => peakMegabytes)),
        unit: 'MB',
        required: { atMost: 150 },
      },
      {
        what: 'from the publication of an event to the exit of the step, above the round trip of a publication',
        figure: median(latencies) - median(roundTrips),
        unit: 'ms',
        required: { atMost: 50 },
      },
    ];
    return rows;
  },
};

interface Backlog {
  /** From the line that the step waits to the line that its event has come. */
  readonly ms: number;
  readonly peakMegabytes: number;
}

async function readWithTask(url: string): Promise<Backlog> {
  const memory = measuringPeak();
  let beginsAt = 0;
  let endsAt = 0;
  const step = await agentOf(url).runTask({
    task: 'WaitForNatsEvent@1',
    inputs: {
      ...WAIT,
      subject: 'bench.v1',
      startFrom: 'all',
      match: `data.number == \`${EVENTS}\``,
    },
    env: memory.env,
    onLine: ({ text }) => {
      if (text.startsWith('waiting ')) beginsAt = performance.now();
      if (text.startsWith('matched ')) endsAt = performance.now();
    },
  });
  if (step.outputs.get('sequence') !== String(EVENTS)) throw new Error(step.logText);
  return { ms: endsAt - beginsAt, peakMegabytes: peakOf(memory) };
}

async function fromPublicationToExit(url: string, connection: NatsConnection): Promise<number> {
  let publishedAt = 0;
  const step = await agentOf(url).runTask({
    task: 'WaitForNatsEvent@1',
    inputs: { ...WAIT, subject: 'bench.now', startFrom: 'now' },
    onLine: ({ text }) => {
      if (!text.startsWith('waiting ')) return;
      publishedAt = performance.now();
      connection.publish('bench.now', '{}');
    },
  });
  const ms = performance.now() - publishedAt;
  if (step.outputs.get('verdict') !== 'matched') throw new Error(step.logText);
  return ms;
}

/** Milliseconds from the publication of an event to the acknowledgement of the stream. */
async function roundTrip(connection: NatsConnection): Promise<number> {
  const begin = performance.now();
  await connection.jetstream().publish('bench.now', '{}');
  return performance.now() - begin;
}

const WAIT = { natsConnection: 'nats', timeout: '5m' };

function agentOf(url: string): LocalAgent {
  return new LocalAgent({ connections: { nats: { url, scheme: 'None' } } });
}
