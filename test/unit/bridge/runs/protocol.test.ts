import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseObject } from '../../../../shared/text/json.ts';
import { Intents } from '../../../../bridge/runs/intents.ts';
import {
  Protocol,
  type Failure,
  type FindOutcome,
  type ProtocolSettings,
  type Result,
  type StartOutcome,
  type Work,
} from '../../../../bridge/runs/protocol.ts';
import { TIMING } from '../../../../bridge/timing.ts';
import { MemoryBucket } from '../../../support/bridge/memoryNats.ts';
import { FAIR, RunsWorld, type Weather } from '../../../support/bridge/runsWorld.ts';

const SEEDS = Number(process.env['RUNS_SEEDS'] ?? 300);
const FIRST_SEED = Number(process.env['RUNS_FIRST_SEED'] ?? 1);

function workOf(route: string, event: number): Work {
  return {
    key: `${route}.${event}`,
    intent: { route, eventId: `e-${event}`, stream: 'CI', sequence: event, hops: 0 },
    parameters: {},
  };
}

/** A world's story, for the message of a failure. */
function describeWorld(seed: number, world: RunsWorld): string {
  return `seed ${seed}\n${world.story.join('\n')}\n${world.warnings.join('\n')}`;
}

/** Plays many worlds. Returns what happened in them, so that a test can't pass if nothing failed. */
async function playAll(
  weather: Weather,
  fill: (world: RunsWorld) => void,
  check: (world: RunsWorld, message: string) => void,
): Promise<{ runs: number; buried: number; crashes: number }> {
  const seen = { runs: 0, buried: 0, crashes: 0 };
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    const world = new RunsWorld(seed, weather);
    fill(world);
    await world.play(2 + world.random.below(2)).catch((error: unknown) => {
      throw new Error(`${String(error)} ${describeWorld(seed, world)}`);
    });
    check(world, describeWorld(seed, world));
    seen.runs += world.runs.length;
    seen.buried += world.buried.length;
    seen.crashes += world.crashes;
  }
  return seen;
}

/** Two events, one of them published twice. */
function threeMessages(world: RunsWorld): void {
  world.add(workOf('deploy', 1));
  world.add(workOf('deploy', 2));
  world.add(workOf('deploy', 1));
}

function runsOf(world: RunsWorld, event: number): number[] {
  return world.runs.filter(({ eventId }) => eventId === `e-${event}`).map(({ id }) => id);
}

/** The intent's final `done`. */
function doneOf(world: RunsWorld, key: string): unknown {
  return parseObject(Buffer.from(world.values.get(key)?.value ?? '').toString())?.['done'];
}

function checkOneRunEach(world: RunsWorld, message: string): void {
  for (const event of [1, 2]) {
    const key = `deploy.${event}`;
    const [run, ...others] = runsOf(world, event);
    assert.deepEqual(others, [], `Two runs for event ${event}. ${message}`);
    const done = doneOf(world, key);
    const letters = world.buried.filter((letter) => letter.key === key);
    if (letters.length > 0) assert.ok(done !== undefined, message);
    else assert.deepEqual(done, { run: { id: run, url: `https://dev.azure.com/run/${run}` } }, message);
    if (letters.length === 0) assert.ok(world.values.has(`run.${run}`), message);
  }
}

describe('One event starts exactly one run', () => {
  test('when nothing fails and the event is published twice', async () => {
    const seen = await playAll(FAIR, threeMessages, checkOneRunEach);
    assert.deepEqual(seen, { runs: 2 * SEEDS, buried: 0, crashes: 0 });
  });

  test('while responses are lost and requests fail or are postponed', async () => {
    const weather = { ...FAIR, postponed: 15, failed: 15, lost: 20, listFailed: 20 };
    const { runs } = await playAll(weather, threeMessages, checkOneRunEach);
    assert.ok(runs > SEEDS);
  });

  test('while replicas die at any step', async () => {
    const { crashes } = await playAll({ ...FAIR, crash: 30 }, threeMessages, checkOneRunEach);
    assert.ok(crashes > SEEDS);
  });

  test('while NATS loses requests and replies', async () => {
    await playAll({ ...FAIR, natsFailure: 20 }, threeMessages, checkOneRunEach);
  });

  test('while all of that happens', async () => {
    const weather = { crash: 30, natsFailure: 10, postponed: 10, failed: 10, lost: 15, listFailed: 15 };
    const { crashes } = await playAll(weather, threeMessages, checkOneRunEach);
    assert.ok(crashes > SEEDS / 2);
  });

  test('per route, if two routes send the same event to the same pipeline', async () => {
    const both = (world: RunsWorld) => {
      world.add(workOf('one', 1));
      world.add(workOf('two', 1));
    };
    await playAll({ ...FAIR, crash: 5, lost: 30 }, both, (world, message) => {
      assert.equal(new Set(world.runs.map(({ id }) => id)).size, 2, message);
      assert.notDeepEqual(doneOf(world, 'one.1'), doneOf(world, 'two.1'), message);
    });
  });
});

/** One replica with its own clock, and an Azure DevOps that the test scripts. */
class Alone {
  readonly bucket = new MemoryBucket();
  readonly outcomes: StartOutcome[] = [];
  readonly lists: FindOutcome[] = [];
  /** The calls to Azure DevOps, with their milliseconds since the start. */
  readonly asked: string[] = [];
  readonly letters: Failure[] = [];
  now = START;
  isFindable = true;

  constructor(readonly replica = 'one') {}

  run(others: Partial<ProtocolSettings> = {}): Promise<Result> {
    const note = (what: string) => void this.asked.push(`${what} ${this.now - START}`);
    const protocol = new Protocol(
      {
        intents: new Intents(this.bucket),
        start: async () => {
          note('start');
          return this.outcomes.shift() ?? { kind: 'started', run: RUN };
        },
        find: async () => {
          note('find');
          return this.lists.shift() ?? { kind: 'list', runs: [] };
        },
        turn: async () => {},
        open: async () => {},
        bury: async (failure) => void this.letters.push(failure),
        sleep: async (ms) => void (this.now += ms),
        now: () => this.now,
        warn: () => {},
      },
      { replica: this.replica, maxDeliver: 3, isFindable: () => this.isFindable, timing: TIMING, ...others },
    );
    return protocol.run(workOf('deploy', 1));
  }
}

const START = Date.UTC(2026, 4, 31);
const RUN = { id: 7, url: 'https://dev.azure.com/contoso/Shop/_build/results?buildId=7' };
const OPEN: StartOutcome = { kind: 'open', message: 'reset', isFree: false };
const STARTED = { kind: 'started', run: RUN, isFound: false } as const;

describe('An event', () => {
  test('that comes again does not start another run', async () => {
    const alone = new Alone();
    assert.deepEqual(await alone.run(), STARTED);
    assert.deepEqual(await alone.run(), { kind: 'duplicate', done: { run: RUN } });
    assert.deepEqual(alone.asked, ['start 0']);
    const { 'deploy.1': intent, 'run.7': run } = alone.bucket.texts;
    assert.deepEqual(JSON.parse(intent!), {
      ...{ route: 'deploy', eventId: 'e-1', stream: 'CI', sequence: 1, hops: 0 },
      createdAt: '2026-05-31T00:00:00.000Z',
      posting: { replica: 'one', attempt: 1, time: '2026-05-31T00:00:00.000Z' },
      done: { run: RUN },
    });
    assert.deepEqual(JSON.parse(run!), {
      ...{ intent: 'deploy.1', route: 'deploy', hops: 0, time: '2026-05-31T00:00:00.000Z', isFound: false },
    });
  });

  test('whose response was lost: its run is looked for after 2, 5 and 10 seconds, then requested again', async () => {
    const alone = new Alone();
    alone.outcomes.push(OPEN);
    assert.deepEqual(await alone.run(), STARTED);
    assert.deepEqual(alone.asked, ['start 0', 'find 2000', 'find 7000', 'find 17000', 'start 17000']);
  });

  test('whose run is found that way is not requested again', async () => {
    const alone = new Alone();
    alone.outcomes.push(OPEN);
    alone.lists.push({ kind: 'list', runs: [] }, { kind: 'list', runs: [RUN] });
    assert.deepEqual(await alone.run(), { ...STARTED, isFound: true });
    assert.deepEqual(alone.asked, ['start 0', 'find 2000', 'find 7000']);
  });

  test('that is refused is a dead letter at once, and a duplicate afterwards', async () => {
    const alone = new Alone();
    alone.outcomes.push({ kind: 'refused', message: 'no such parameter' });
    const failure = { reason: 'refused', detail: 'no such parameter' };
    assert.deepEqual(await alone.run(), { kind: 'failed', ...failure });
    assert.deepEqual(alone.letters, [failure]);
    assert.deepEqual(await alone.run(), { kind: 'duplicate', done: { deadLetter: 'refused' } });
  });

  test('that fails too often is a dead letter', async () => {
    const alone = new Alone();
    alone.outcomes.push(OPEN, OPEN, OPEN);
    const result = await alone.run();
    assert.deepEqual(result, { kind: 'failed', reason: 'attempts', detail: '3 attempts failed; the last one: reset' });
    assert.equal(alone.asked.filter((what) => what.startsWith('start')).length, 3);
    assert.equal(alone.asked.at(-1), 'find 51000');
  });

  test('that is postponed has not failed, however often', async () => {
    const alone = new Alone();
    const postponed: StartOutcome = { kind: 'postponed', message: '429' };
    const free: StartOutcome = { kind: 'open', message: '503', isFree: true };
    alone.outcomes.push(...Array.from({ length: 20 }, () => postponed), free, free, free, free);
    assert.deepEqual(await alone.run(), STARTED);
    assert.equal(JSON.parse(alone.bucket.texts['deploy.1']!).posting.attempt, 1);
  });

  test('that another replica is requesting a run for is left to it for 60 seconds; then the run is looked for', async () => {
    const [one, other] = [new Alone('one'), new Alone('other')];
    const posting = { replica: 'one', attempt: 1, time: START };
    await new Intents(other.bucket).create('deploy.1', {
      ...workOf('deploy', 1).intent,
      ...{ createdAt: START, posting },
    });
    other.now = START + 59_000;
    assert.deepEqual(await other.run(), { kind: 'elsewhere', forMs: 1_000 });
    other.now = START + 60_000;
    other.lists.push({ kind: 'list', runs: [RUN] });
    assert.deepEqual(await other.run(), { ...STARTED, isFound: true });
    assert.deepEqual([...one.asked, ...other.asked], ['find 60000']);
  });

  test('whose last attempt has no known outcome has used up that attempt', async () => {
    const alone = new Alone('other');
    const posting = { replica: 'one', attempt: 3, time: START };
    await new Intents(alone.bucket).create('deploy.1', {
      ...workOf('deploy', 1).intent,
      ...{ createdAt: START, posting },
    });
    alone.now = START + 60_000;
    const result = await alone.run();
    assert.deepEqual([result.kind, alone.asked], ['failed', ['find 60000']]);
  });

  test('whose runs cannot be listed gets no second request', async () => {
    const alone = new Alone();
    alone.outcomes.push(OPEN);
    alone.lists.push({ kind: 'refused', message: 'no permission (status 403)' });
    const detail = "can't find out whether a run was started: no permission (status 403)";
    assert.deepEqual(await alone.run(), { kind: 'failed', reason: 'unknown', detail });
    assert.deepEqual(alone.asked, ['start 0', 'find 2000']);
  });

  test('for a pipeline without natsEventId gets a second request without a look', async () => {
    const alone = new Alone();
    alone.isFindable = false;
    alone.outcomes.push(OPEN);
    assert.deepEqual(await alone.run(), STARTED);
    assert.deepEqual(alone.asked, ['start 0', 'start 17000']);
  });

  test('that a person replays may fail and be replayed again', async () => {
    const alone = new Alone();
    alone.outcomes.push({ kind: 'refused', message: 'no' });
    assert.equal((await alone.run({ forgetsFailures: true })).kind, 'failed');
    assert.deepEqual(await alone.run({ forgetsFailures: true }), STARTED);
  });

  test('starts its run even if a record of an older run has the same id', async () => {
    const alone = new Alone();
    const stale = { intent: 'other', route: 'other', hops: 0, time: START - 1, isFound: true };
    await new Intents(alone.bucket).createRun(RUN.id, stale);
    assert.deepEqual(await alone.run(), STARTED);
    assert.equal(JSON.parse(alone.bucket.texts['run.7']!).intent, 'deploy.1');
  });
});
