import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LocalAgent, type StepRun, unpackVsix } from '../../../localAgent/index.ts';
import { isLong } from '../form.ts';
import { NatsCluster, startNatsCluster, startNatsServer } from './natsServer.ts';
import { Admin } from './testStream.ts';

/** Far more than are in flight at a time. */
export const LINES = isLong ? 50_000 : 20_000;
const STREAM = 'BATCH';
const SUBJECT = `${STREAM}.line.v1`;
const READ_MS = 60_000;

/** One kill in the middle of a batch. */
export interface Kill {
  /** `leader`: of the stream, in a cluster of three servers with three replicas. */
  readonly of: 'single server' | 'leader';
  /** The server's line, for the table. */
  readonly version: string;
  readonly binary: string;
  /** The part of the lines after which the server is killed. */
  readonly at: number;
  /** How long it stays down. */
  readonly downMs: number;
}

/** The result of the batch, as a row of a table. */
export type Outcome = Readonly<Record<string, string | number>>;

/**
 * Publishes a file of {@link LINES} lines with the packed task and kills the server in the middle.
 * Throws unless each line is stored exactly once and in order, or the step names the exceptions.
 */
export async function killInBatch(kill: Kill): Promise<Outcome> {
  const { of, binary } = kill;
  await using nats = of === 'leader' ? await startNatsCluster({ binary }) : await startNatsServer({ binary });
  const urls = nats instanceof NatsCluster ? nats.urls : [nats.url];
  await using admin = await Admin.connect(urls);
  await admin.stream(STREAM, { num_replicas: urls.length });
  const killAndRestart = async () => {
    const server = nats instanceof NatsCluster ? await nats.leaderOf(STREAM) : nats;
    await server.kill();
    await delay(kill.downMs);
    await server.restart();
  };
  let isBack: Promise<void> | undefined;
  let count = 0;
  admin.connection.subscribe(SUBJECT, {
    callback: () => {
      if (++count === Math.round(kill.at * LINES)) isBack = killAndRestart();
    },
  });
  await admin.connection.flush();
  const step = await publishLines(urls);
  assert.ok(isBack, `no server was killed:\n${step.logText}`);
  await isBack;
  const stored = await readNumbers(admin);
  return judge(kill, step, stored);
}

/** Runs kills one after the other, prints the results, and returns the reasons for failures. */
export async function printKills(kills: readonly Kill[]): Promise<unknown[]> {
  const outcomes: Outcome[] = [];
  const failures: unknown[] = [];
  for (const kill of kills) {
    await killInBatch(kill).then(
      (outcome) => outcomes.push(outcome),
      (error: unknown) => failures.push(error),
    );
  }
  console.table(outcomes);
  return failures;
}

async function publishLines([url = '', ...others]: readonly string[]): Promise<StepRun> {
  const agent = new LocalAgent({
    extension: unpackVsix(),
    connections: { nats: { url, scheme: 'None', data: { servers: others.join(',') } } },
  });
  const payloadFile = path.join(agent.folders.temp, 'events.ndjson');
  writeFileSync(payloadFile, Array.from({ length: LINES }, (_, index) => `${index + 1}\n`).join(''));
  return agent.runTask({
    task: 'PublishNatsEvent@1',
    inputs: { natsConnection: 'nats', subject: SUBJECT, payloadFrom: 'lines', payloadFile, timeout: '90s' },
  });
}

/** Everything in the stream, in order. */
async function readNumbers({ connection, manager }: Admin): Promise<number[]> {
  const numbers: number[] = [];
  const { state } = await untilAnswered(() => manager.streams.info(STREAM));
  if (state.messages === 0) return numbers;
  const consumer = await untilAnswered(() => connection.jetstream({ checkAPI: false }).consumers.get(STREAM));
  const messages = await consumer.consume({ max_messages: 5_000 });
  const timer = setTimeout(() => messages.stop(), READ_MS);
  for await (const message of messages) {
    numbers.push(Number(message.string()));
    if (message.info.streamSequence === state.last_seq) break;
  }
  clearTimeout(timer);
  assert.equal(numbers.length, state.messages, 'not all messages of the stream could be read');
  return numbers;
}

/** A server that has just come back may not answer at once. */
async function untilAnswered<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  for (const deadline = Date.now() + READ_MS; ;) {
    try {
      return await ask();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await delay(100);
    }
  }
}

function judge(kill: Kill, step: StepRun, stored: readonly number[]): Outcome {
  const story = `${JSON.stringify(kill)} ${step.durationMs} ms\n${step.logText}`;
  const held = new Set(stored);
  assert.equal(held.size, stored.length, `lines are stored twice: ${story}`);

  const missing = Array.from({ length: LINES }, (_, index) => index + 1).filter((line) => !held.has(line));
  const unconfirmed = linesIn(
    /Unconfirmed lines: ([^.]*)\./.exec(step.errors.join()),
    /Not sent: ([^.]*)\./.exec(step.errors.join()),
  );
  if (step.result === 'Failed') {
    assert.match(step.errors.join(), /^Incomplete: /, story);
    assert.equal(step.outputs.get('count'), String(LINES - unconfirmed.size), story);
  } else {
    assert.equal(step.result, 'Succeeded', story);
    assert.equal(step.outputs.get('count'), String(LINES), story);
  }
  assert.deepEqual(
    missing.filter((line) => !unconfirmed.has(line)),
    [],
    `confirmed lines are missing: ${story}`,
  );

  const early = earlyLines(stored);
  const warned = linesIn(/before a line that had to be sent again: ([^.]*)\./.exec(step.warnings.join('\n')));
  assert.deepEqual([...warned], early, `the order is not as the step says: ${story}`);
  return {
    killed: kill.of,
    version: kill.version,
    'after line': Math.round(kill.at * LINES),
    'away (ms)': kill.downMs,
    result: step.result,
    stored: stored.length,
    'acknowledged as duplicates': Number(step.outputs.get('duplicateCount')),
    unconfirmed: unconfirmed.size,
    'stored early': early.length,
    'took (ms)': step.durationMs,
  };
}

/** Lines stored before one that precedes them in the file, in ascending order. */
function earlyLines(stored: readonly number[]): number[] {
  const early: number[] = [];
  let lowest = Infinity;
  for (const line of stored.toReversed()) {
    if (line > lowest) early.push(line);
    lowest = Math.min(lowest, line);
  }
  return early.sort((one, other) => one - other);
}

/** The lines in texts such as `4, 10-12`. */
function linesIn(...matches: readonly (RegExpExecArray | null)[]): Set<number> {
  const lines = new Set<number>();
  for (const part of matches.flatMap((match) => match?.[1]?.split(', ') ?? [])) {
    const [from = Number.NaN, to = from] = part.split('-').map(Number);
    for (let line = from; line <= to; line++) lines.add(line);
  }
  return lines;
}
