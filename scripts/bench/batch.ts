import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { LocalAgent, temporaryFolder } from '../../localAgent/index.ts';
import { natsServerBinary } from '../../localAgent/natsServer.ts';
import { StreamServer } from '../../localAgent/streamServer.ts';
import { runBaseline } from './baseline.ts';
import { measuringPeak, peakOf } from './peakMemory.ts';
import { median, type Benchmark, type Row } from './table.ts';

const LINES = 200_000;
const LONG_LINES = 1_000_000;
const LINE_BYTES = 200;
const ROUNDS = 5;
/** The line that Debian stable carries. */
const NATS_SERVER = '2.10';
const MOST_MEGABYTES = 150;

/** `payloadFrom: lines` of the packed task against `js.publish` of the `nats` package, both into a file-backed stream. */
export const batch: Benchmark = {
  title: `${LINES.toLocaleString('en')} events of ${LINE_BYTES} bytes from a file into a file-backed stream of nats-server ${NATS_SERVER}; baseline: js.publish of the nats package, windows of 1,000, default options; medians of ${ROUNDS}`,
  async run(long) {
    const folder = temporaryFolder('bench-');
    const file = writeLines(path.join(folder, 'events.ndjson'), LINES);
    const steps: Measured[] = [];
    const baselines: number[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      steps.push(await onFreshStream((url) => publishFile(url, file, LINES)));
      baselines.push(await onFreshStream((url) => runBaseline('jsPublish.ts', url, 'bench.v1', file)));
    }
    const perSecond = (ms: number) => (LINES / ms) * 1_000;
    const baseline = perSecond(median(baselines));
    const rows: Row[] = [
      {
        what: 'sending, each event acknowledged',
        figure: perSecond(median(steps.map((step) => step.sendingMs))),
        unit: 'events/s',
        baseline,
        required: { atLeast: 3 },
      },
      {
        what: 'the whole step, with its start and the check of all lines',
        figure: perSecond(median(steps.map((step) => step.stepMs))),
        unit: 'events/s',
        baseline,
      },
      peakRow(LINES, Math.max(...steps.map((step) => step.peakMegabytes))),
    ];
    if (long) {
      const longFile = writeLines(path.join(folder, 'many.ndjson'), LONG_LINES);
      const { peakMegabytes } = await onFreshStream((url) => publishFile(url, longFile, LONG_LINES));
      rows.push(peakRow(LONG_LINES, peakMegabytes));
    }
    return rows;
  },
};

interface Measured {
  readonly stepMs: number;
  readonly sendingMs: number;
  readonly peakMegabytes: number;
}

function peakRow(lines: number, figure: number): Row {
  return {
    what: `peak memory of the step, ${lines.toLocaleString('en')} lines`,
    figure,
    unit: 'MB',
    required: { atMost: MOST_MEGABYTES },
  };
}

function writeLines(file: string, count: number): string {
  const out = openSync(file, 'w');
  for (let number = 1; number <= count;) {
    let chunk = '';
    const last = Math.min(count, number + 9_999);
    for (; number <= last; number++) {
      const start = `{"number":${number},"text":"`;
      chunk += `${start.padEnd(LINE_BYTES - 2, 'x')}"}\n`;
    }
    writeSync(out, chunk);
  }
  closeSync(out);
  return file;
}

/** Each measurement has a server and a stream of its own, so that none runs on what another left behind. */
async function onFreshStream<Result>(measure: (url: string) => Result | Promise<Result>): Promise<Result> {
  await using server = await StreamServer.start('BENCH', 'bench.>', { binary: natsServerBinary(NATS_SERVER) });
  return await measure(server.url);
}

async function publishFile(url: string, file: string, count: number): Promise<Measured> {
  const agent = new LocalAgent({ connections: { nats: { url, scheme: 'None' } } });
  const memory = measuringPeak();
  const step = await agent.runTask({
    task: 'PublishNatsEvent@1',
    inputs: { natsConnection: 'nats', subject: 'bench.v1', payloadFrom: 'lines', payloadFile: file, timeout: '10m' },
    env: memory.env,
  });
  if (step.outputs.get('count') !== String(count)) throw new Error(step.logText);
  const { when } = JSON.parse(readFileSync(step.outputs.get('receiptFile') ?? '', 'utf8')) as {
    when: { sentAt: string; endedAt: string };
  };
  return {
    stepMs: step.durationMs,
    sendingMs: Date.parse(when.endedAt) - Date.parse(when.sentAt),
    peakMegabytes: peakOf(memory),
  };
}
