import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Facts, type DecisionFact, type EventFact } from '../../../../bridge/audit/facts.ts';
import { flattened, traceOf, type Trace } from '../../../../bridge/audit/trace.ts';
import { why, type History } from '../../../../bridge/audit/why.ts';
import { silentRoutes } from '../../../../bridge/commands/silentRoutes.ts';
import type { RouteSettings } from '../../../../bridge/settings.ts';

const NOW = Date.UTC(2026, 10, 29);
const HOUR_MS = 3_600_000;

function event(sequence: number, at: number, run?: string, id = `event-${sequence}`): EventFact {
  return { kind: 'event', id, subject: 'ci.x', place: { stream: 'CI', sequence }, run, pipeline: '', at };
}

function decision(sequence: number, at: number, on: EventFact | undefined, run?: string, others = {}): DecisionFact {
  return {
    ...{
      kind: 'decision',
      function: 'runs',
      name: 'deploy',
      route: 'deploy',
      decision: run === undefined ? 'duplicate' : 'started',
    },
    ...{ reason: '', user: '', sequence, at, through: undefined, deadLetter: undefined },
    event: { id: on?.id ?? '', subject: '', place: on?.place },
    run: run === undefined ? undefined : { id: run, url: `https://dev.azure.com/${run}` },
    ...others,
  };
}

/** A history that is read one fact at a time. */
class Past implements History {
  reachedAt = Infinity;

  constructor(
    private readonly facts: Facts,
    readonly unread: (EventFact | DecisionFact)[],
  ) {
    unread.sort((one, next) => one.at - next.at);
  }

  async stepBack(): Promise<void> {
    const fact = this.unread.pop();
    if (fact === undefined) this.reachedAt = -Infinity;
    else if (fact.kind === 'event') this.facts.addEvent(fact);
    else this.facts.addDecision(fact);
    this.reachedAt = fact?.at ?? -Infinity;
  }
}

interface World {
  readonly trace: Trace;
  /** For example `event 1`, `decision 1`, `run 7`. */
  readonly chain: readonly string[];
  readonly unread: number;
}

async function ask(
  id: string,
  events: readonly EventFact[],
  decisions: readonly DecisionFact[],
  more: { remembered?: readonly DecisionFact[] | 'unknown'; isSpent?: boolean; gone?: boolean } = {},
): Promise<World> {
  const facts = new Facts();
  const histories = [new Past(facts, [...events]), new Past(facts, [...decisions])];
  const trace = await why(id, {
    facts,
    histories,
    budget: { isSpent: more.isSpent === true },
    event: async (place) =>
      more.gone === true ? undefined : events.find((one) => one.place?.sequence === place.sequence),
    start: async (run) => {
      const { remembered = decisions } = more;
      return remembered === 'unknown' ? remembered : remembered.find((start) => start.run?.id === run);
    },
    now: () => NOW,
  });
  const nameOf = (fact: (typeof chain)[number]) =>
    fact.kind === 'run'
      ? `run ${fact.id}`
      : `${fact.kind} ${fact.kind === 'event' ? fact.place?.sequence : fact.sequence}`;
  const chain = flattened(trace.roots);
  return { trace, chain: chain.map(nameOf), unread: histories[0]!.unread.length + histories[1]!.unread.length };
}

const FIRST = event(1, NOW - 5 * HOUR_MS, '100');
const SECOND = event(2, NOW - 3 * HOUR_MS, '7');
const THIRD = event(3, NOW - HOUR_MS, '8');
const EVENTS = [FIRST, SECOND, THIRD];
const DECISIONS = [
  decision(1, NOW - 5 * HOUR_MS + 1, FIRST, '7'),
  decision(2, NOW - 3 * HOUR_MS + 1, SECOND, '8'),
  decision(3, NOW - HOUR_MS + 1, THIRD),
];
const ALL = ['event 1', 'decision 1', 'run 7', 'event 2', 'decision 2', 'run 8', 'event 3', 'decision 3'];

for (const [what, id] of [
  ['its first event', 'event-1'],
  ['an event in the middle', 'event-2'],
  ['its last event', 'event-3'],
  ["an event's place", 'CI:2'],
  ['a run', '8'],
] as const)
  test(`the whole chain is found from ${what}, oldest first`, async () => {
    assert.deepEqual((await ask(id, EVENTS, DECISIONS)).chain, ALL);
  });

test('a route whose summary covers the event and one that came of it has decided on both', async () => {
  const summary = decision(4, NOW - HOUR_MS + 2, FIRST, undefined, { name: 'web', through: 3 });
  const routes = ['deploy', 'web'].map((name) => ({ name, mode: 'on', stream: 'CI', subjects: ['ci.>'] }));
  for (const id of ['CI:1', 'CI:2', 'CI:3']) {
    const { trace, chain } = await ask(id, EVENTS, [...DECISIONS, summary]);
    assert.equal(chain.filter((one) => one === 'decision 4').length, 1);
    assert.deepEqual(silentRoutes(id, trace, routes as unknown as RouteSettings[]), [], id);
  }
});

test('several events with the same id are shown oldest first, whatever was found first', () => {
  const asked = [THIRD, FIRST].map((one) => ({ kind: 'event', event: one }) as const);
  const { roots } = traceOf(asked, new Facts(), () => FIRST);
  assert.deepEqual(
    roots.map(({ fact }) => fact),
    [FIRST, THIRD],
  );
});

test('an unknown id finds nothing, after the whole history is read', async () => {
  const { trace, unread } = await ask('event-9', EVENTS, DECISIONS);
  assert.deepEqual([trace.roots, unread], [[], 0]);
});

test('history is read back only as far as the question needs', async () => {
  const old = event(0, NOW - 400 * HOUR_MS);
  const left = new Map();
  for (const remembered of [DECISIONS, 'unknown'] as const) {
    const { chain, unread } = await ask('event-3', [old, ...EVENTS], [decision(0, old.at, old), ...DECISIONS], {
      remembered,
    });
    assert.deepEqual(chain, ALL);
    left.set(remembered, unread);
  }
  // The first event was looked up; only the whole history shows that nobody started a run unless that's remembered.
  assert.deepEqual([...left.values()], [3, 0]);
  const young = event(4, NOW - 1, '999');
  const older = Array.from({ length: 50 }, (_, index) => event(-index, NOW - 300 * HOUR_MS - index));
  const recent = await ask('event-4', [...older, ...EVENTS, young], DECISIONS);
  assert.deepEqual(recent.chain, ['event 4']);
  assert.ok(recent.unread >= 50, `${recent.unread}`);
});

test('a side branch of the chain is not shown', async () => {
  const beside = event(5, NOW - 2 * HOUR_MS, '7');
  const { chain } = await ask('event-2', [...EVENTS, beside], [...DECISIONS, decision(9, beside.at + 1, beside)]);
  assert.deepEqual(chain, ALL);
});

test('a run that the bridge did not start is found by its events', async () => {
  const { chain } = await ask('100', EVENTS, DECISIONS);
  assert.deepEqual(chain, ['run 100', ...ALL]);
});

test('a run whose decision is not in the audit stream is found by what the bridge remembers', async () => {
  const [start, ...others] = DECISIONS;
  const { chain } = await ask('7', EVENTS, others, { remembered: [start!] });
  assert.deepEqual(chain, ALL);
  const alone = await ask('7', [FIRST], [], { remembered: [start!] });
  assert.deepEqual(alone.chain, ['event 1', 'decision 1', 'run 7']);
});

test('an event that its stream no longer has is found by the decisions about it', async () => {
  for (const id of ['CI:1', 'event-1'])
    assert.deepEqual((await ask(id, [SECOND, THIRD], DECISIONS, { gone: true })).chain, ALL, id);
});

test('a hook that became a dead letter has an event without a place', async () => {
  const letter = decision(4, NOW - 1, undefined, undefined, { event: { id: 'hook', subject: '', place: undefined } });
  assert.deepEqual((await ask('hook', EVENTS, [...DECISIONS, letter])).chain, ['event undefined', 'decision 4']);
});

test('a summary covers the events between its first and its last, except those with decisions of their own', async () => {
  const summary = decision(5, NOW - 1, FIRST, undefined, { decision: 'notMatching', through: 2 });
  assert.deepEqual((await ask('CI:3', EVENTS, [summary])).chain, ['event 3']);
  const bare = [event(1, FIRST.at), event(2, SECOND.at), event(3, THIRD.at)];
  assert.deepEqual((await ask('CI:2', bare, [summary])).chain, ['event 2', 'decision 5']);
  const own = decision(6, NOW - 2, bare[1]);
  assert.deepEqual((await ask('CI:2', bare, [summary, own])).chain, ['event 2', 'decision 6']);
  const others = decision(6, NOW - 2, bare[1], undefined, { name: 'other' });
  assert.deepEqual((await ask('CI:2', bare, [summary, others])).chain, ['event 2', 'decision 6', 'decision 5']);
});

test("runs that start each other in a circle don't make the search endless", async () => {
  const [one, two] = [event(1, NOW - 10, '8'), event(2, NOW - 5, '7')];
  const { chain } = await ask('event-1', [one, two], [decision(1, NOW - 9, one, '7'), decision(2, NOW - 4, two, '8')]);
  assert.deepEqual([...chain].sort(), ['decision 1', 'decision 2', 'event 1', 'event 2', 'run 7', 'run 8']);
});

test('a chain of more than ten thousand links is cut, and says so', async () => {
  const many = Array.from({ length: 10_010 }, (_, index) => event(index + 10, NOW - HOUR_MS, '7'));
  const { trace, chain } = await ask('event-1', [FIRST, ...many], DECISIONS);
  assert.ok(trace.isCut);
  assert.ok(chain.length <= 10_000 && chain.length > 9_990, `${chain.length}`);
  assert.ok(!(await ask('event-1', EVENTS, DECISIONS)).trace.isCut);
});

test('a search whose budget is spent reads no further', async () => {
  const { unread } = await ask('event-1', EVENTS, DECISIONS, { isSpent: true });
  assert.equal(unread, 6);
});
