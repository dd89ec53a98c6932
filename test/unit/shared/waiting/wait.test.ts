import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  LookBack,
  ReceivedMessage,
  StartPosition,
  Subscription,
  SubscriptionEvents,
} from '../../../../shared/bus.ts';
import { TaskError } from '../../../../shared/errors.ts';
import type { WaitCriteria } from '../../../../shared/waiting/criteria.ts';
import { Judge } from '../../../../shared/waiting/judge.ts';
import { waitForEvent, type EventSource } from '../../../../shared/waiting/wait.ts';
import { criteriaOf as anyCriteria, messageOf, named } from '../../../support/event.ts';

const criteriaOf = (others: Partial<WaitCriteria> = {}): WaitCriteria =>
  anyCriteria({ match: named('data.ok'), failWhen: named('data.failed'), ...others });

const message = (sequence: number, data: unknown): ReceivedMessage =>
  messageOf(JSON.stringify(data), {}, { subject: 'ci.done', place: { stream: 'CI', sequence } });

/** An in-memory stream that a test scripts, and the clock of the wait on it. */
class Script implements EventSource {
  readonly start: StartPosition = { from: 'all' };
  readonly lines: string[] = [];
  isClosed = false;
  isStopped = false;
  /** The time by the wait's clock. */
  time = 10_000;
  /** The messages in the stream. */
  held: LookBack | undefined;
  lookBacks = 0;
  near: readonly string[] = [];
  nearLooks = 0;
  readonly #controller = new AbortController();
  #messages: ReceivedMessage[] = [];
  #events: SubscriptionEvents | undefined;

  constructor(private readonly play: (script: Script) => void) {}

  wait(criteria: WaitCriteria) {
    const clock = {
      signal: this.#controller.signal,
      startedAt: this.time,
      deadline: this.time + criteria.timeoutMs,
      now: () => this.time,
    };
    const note = (text: string) => void this.lines.push(text);
    return waitForEvent(criteria, undefined, this, clock, { info: note, warning: note, debug: note });
  }

  connect(): Promise<void> {
    return Promise.resolve();
  }

  async read(events: SubscriptionEvents): Promise<Subscription> {
    this.#events = events;
    setImmediate(() => this.play(this));
    return {
      stream: 'CI',
      lookBack: async () => {
        this.lookBacks++;
        setImmediate(() => (this.time += 1_000));
        return this.held;
      },
      nearSubjects: async () => {
        this.nearLooks++;
        return this.near;
      },
      stop: async () => {
        this.isStopped = true;
      },
    };
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }

  get events(): SubscriptionEvents {
    assert.ok(this.#events);
    return this.#events;
  }

  send(...messages: readonly ReceivedMessage[]): void {
    for (const one of messages) {
      const length = this.#messages.push(one);
      this.events.arrived({ length, take: () => this.#messages.splice(0) });
    }
  }

  /** The step's deadline passes, or the agent cancels it. */
  end(code: 'Timeout' | 'Cancelled'): void {
    this.#controller.abort(new TaskError(code, 'It is over'));
  }
}

test('the first matching event ends the wait, and its subscription is cleaned up', async () => {
  const script = new Script((it) =>
    it.send(message(1, { ok: false }), message(2, { ok: true }), message(3, { ok: true })),
  );
  const outcome = await script.wait(criteriaOf());
  assert.equal(outcome.verdict, 'matched');
  assert.equal(outcome.error, undefined);
  assert.deepEqual(outcome.deciding?.event.place, { stream: 'CI', sequence: 2 });
  assert.deepEqual([outcome.counts.seen, outcome.counts.matched, outcome.counts.notMatching], [2, 1, 1]);
  assert.deepEqual([script.isStopped, script.isClosed], [true, true]);
  assert.equal(JSON.parse(JSON.stringify(outcome)).verdict, 'matched', 'the outcome cannot be written as JSON');
});

test('failWhen decides before a later match, in the order of the stream', async () => {
  const script = new Script((it) => it.send(message(1, { failed: true, ok: true }), message(2, { ok: true })));
  const { verdict, error, deciding, matched } = await script.wait(criteriaOf());
  assert.equal(verdict, 'negative');
  assert.match(error?.message ?? '', /^Negative: The event CI 1 on "ci.done" met failWhen/);
  assert.equal(deciding?.event.place?.sequence, 1);
  assert.deepEqual(matched, []);
});

test('a timeout says what is missing, what was seen, and what to compare', async () => {
  const script = new Script((it) => {
    it.send(message(1, { ok: true, region: 'eu' }), message(2, { ok: false }));
    setImmediate(() => setImmediate(() => it.end('Timeout')));
  });
  const expect = ['eu', 'us'];
  const { verdict, error, missing } = await script.wait(
    criteriaOf({ count: 2, distinctBy: named('data.region'), expect }),
  );
  assert.equal(verdict, 'timedOut');
  assert.deepEqual(missing, ['us']);
  assert.equal(
    error?.message,
    'Timeout: Not all of eu, us came on ci.> within 1m. Seen 2: 1 matched, 1 not matching. Arrived: eu. Missing: us. ' +
      'The last one that didn\'t count (CI 2 on "ci.done"): data.ok was false (data.ok = false). ' +
      'Compare what the sender published with the conditions of this step.',
  );
});

test("an event that arrived before the deadline but is judged after it doesn't count", async () => {
  const script = new Script((it) => {
    it.time += 60_000;
    it.send(message(1, { ok: true }));
    setImmediate(() => setImmediate(() => it.end('Timeout')));
  });
  const { verdict, counts } = await script.wait(criteriaOf());
  assert.deepEqual([verdict, counts.seen], ['timedOut', 0]);
});

test('a deadline while the link is down is a lost connection', async () => {
  const script = new Script((it) => {
    it.events.linkDown('the server closed the connection');
    it.end('Timeout');
  });
  const { verdict, error, linkBreaks } = await script.wait(criteriaOf());
  assert.equal(verdict, 'connectionLost');
  assert.match(
    error?.message ?? '',
    /^ConnectionLost: .*down \(the server closed the connection\)\. No event came at all/,
  );
  assert.equal(linkBreaks.count, 1);
});

test('a failed subscription ends the wait once all events that had arrived are judged', async () => {
  const denied = new TaskError('Denied', 'Not any more');
  const matching = new Script((it) => {
    it.send(message(1, { ok: true }));
    it.events.failed(denied);
  });
  assert.equal((await matching.wait(criteriaOf())).verdict, 'matched');
  const script = new Script((it) => {
    it.send(message(1, { ok: false }));
    it.events.failed(denied);
  });
  const { verdict, error, counts } = await script.wait(criteriaOf());
  assert.deepEqual([verdict, error?.code, counts.seen], ['denied', 'Denied', 1]);
});

test("a cancel ends the wait at once, and a wait that couldn't connect has a verdict, too", async () => {
  const script = new Script((it) => it.end('Cancelled'));
  assert.equal((await script.wait(criteriaOf())).verdict, 'cancelled');
  class Unreachable extends Script {
    override async connect(): Promise<void> {
      throw new TaskError('Unreachable', 'Nobody there');
    }
  }
  const { verdict, error, stream } = await new Unreachable(() => {}).wait(criteriaOf());
  assert.deepEqual([verdict, error?.code, stream], ['error', 'Unreachable', undefined]);
});

test('no event for the idle time ends the wait, however long the timeout', async () => {
  const script = new Script((it) => {
    it.time += 5_000;
  });
  const { verdict, error } = await script.wait(criteriaOf({ idleTimeoutMs: 5_000 }));
  assert.equal(verdict, 'timedOut');
  assert.match(error?.message ?? '', /The wait was idle: no event at all came for 5s \(idleTimeout\)/);
});

test('a wait that saw nothing says where it looked, and what the stream holds on its subjects', async () => {
  const last = { subject: 'ci.\u202edone', place: { stream: 'CI', sequence: 7 }, storedAt: 0 };
  const nothing = { last: undefined, stored: 9, removed: 0, near: [], elsewhere: undefined };
  const read = 'The stream "CI" was read from its first event on (startFrom: all).';
  for (const [held, told] of [
    [undefined, read],
    [{ ...nothing, stored: 0 }, `${read} Nothing has ever been stored in it.`],
    [nothing, `${read} It holds no event on these subjects, only on others.`],
    [
      { ...nothing, near: ['ci.dome', 'CI.done'] },
      `Did you mean "ci.dome" or "CI.done"? The stream "CI" holds events there. ${read}`,
    ],
    [{ ...nothing, last: 'unknown' }, read],
    [{ ...nothing, last: 'unknown', elsewhere: 'It moves them' }, `${read} It moves them.`],
    [
      { ...nothing, last: { ...last, isBeforeStart: false } },
      `${read} The last event there is CI 7 of 1970-01-01T00:00:00.000Z on "ci.\u202edone", which came too late to be judged.`,
    ],
  ] as const) {
    const script = new Script((it) => {
      it.held = held;
      it.time += 800;
    });
    const { error } = await script.wait(criteriaOf({ idleTimeoutMs: 1_000 }));
    assert.ok(error?.message.includes(`(idleTimeout). No event came at all. ${told} Check that`), error?.message);
    assert.equal(script.lookBacks, 1);
  }
});

test('a wait that has seen nothing for a while asks once for the subject that was meant', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const hint = 'No event has come yet. Did you mean "ci.dome"? The stream "CI" holds events there.';
  for (const [near, arrived, looks, hints] of [
    [['ci.dome'], [], 1, [hint]],
    [[], [], 1, []],
    [['ci.dome'], [message(1, { ok: false })], 0, []],
  ] as const) {
    const script = new Script((it) => {
      it.near = near;
      it.send(...arrived);
      setImmediate(() => {
        t.mock.timers.tick(19_000);
        assert.equal(it.nearLooks, 0);
        t.mock.timers.tick(30_000);
        setImmediate(() => it.end('Timeout'));
      });
    });
    await script.wait(criteriaOf());
    assert.equal(script.nearLooks, looks);
    assert.deepEqual(
      script.lines.slice(1).filter((line) => line.startsWith('No event')),
      hints,
    );
  }
});

test("a wait that saw events doesn't ask what else the stream holds", async () => {
  const script = new Script((it) => {
    it.send(message(1, { ok: false }));
    setImmediate(() => setImmediate(() => (it.time += 5_000)));
  });
  const { error, counts } = await script.wait(criteriaOf({ idleTimeoutMs: 1_000 }));
  assert.equal(counts.seen, 1);
  assert.doesNotMatch(error?.message ?? '', /was read/);
  assert.equal(script.lookBacks, 0);
});

test('a wait that matched nothing says which field no event had, and which ones there are', async () => {
  const many = Object.fromEntries(Array.from({ length: 25 }, (_, index) => [`f${index}`, index]));
  for (const [match, events, told] of [
    [
      "data.regoin == 'eu'",
      [{ region: 'us' }, { region: 'secret-value', 'a b': 1, '\u202e##vso[x]': 2 }],
      'No event had data.regoin (did you mean data.region?). In the last one, data has region, "a b", "\u202e##vso[x]". Compare',
    ],
    ["data.region == 'eu'", [{}, { region: null }], undefined],
    ["data.region == 'eu'", [{ region: 'us' }, {}], undefined],
    [
      "data.image.tags == 'x'",
      [{ image: { tag: 'y' } }],
      '(did you mean data.image.tag?). In the last one, data.image has tag.',
    ],
    [
      'data.image.tag',
      [{ image: 'web' }],
      'No event had data.image.tag. In the last one, data.image is not an object.',
    ],
    [
      'data.image.tag',
      [{ Image: {} }],
      'No event had data.image.tag (did you mean data.Image?). In the last one, data has Image.',
    ],
    ['data.other', [many], 'data.other. In the last one, data has f0, f1, f2,'],
    ['data.items[0].tag', [{ items: [] }], undefined],
    ['data.items[0].tag', [{}], 'No event had data.items. In'],
    ["contains(data.tags, 'x')", [{}], 'No event had data.tags. In the last one, data has nothing.'],
    ["subject == 'x'", [{}], undefined],
  ] as const) {
    const script = new Script((it) => {
      it.send(...events.map((data, index) => message(index + 1, data)));
      setImmediate(() => setImmediate(() => it.end('Timeout')));
    });
    const { error, counts } = await script.wait(criteriaOf({ match: named(match), failWhen: undefined }));
    assert.equal(counts.seen, events.length);
    const said = error?.message ?? '';
    if (told === undefined) assert.doesNotMatch(said, /No event had/, match);
    else assert.ok(said.includes(told), `${match}: ${said}`);
    assert.ok(!said.includes('f20'), said);
    assert.ok(!/In the last one.*secret-value/.test(said), said);
  }
});

test('a wait whose events have no value for distinctBy says which fields there are', async () => {
  for (const [distinctBy, data, told] of [
    [
      'data.by',
      { region: 'secret-value', id: 1 },
      'No event had data.by. In the last one, data has region, id. Compare',
    ],
    ['data.by', { bye: 1 }, 'no value for distinctBy (data.by; did you mean data.bye?). Compare'],
    ['data.by || data.id', { by: null }, 'No event had data.id. In the last one, data has by. Compare'],
  ] as const) {
    const script = new Script((it) => {
      it.send(message(1, data));
      setImmediate(() => setImmediate(() => it.end('Timeout')));
    });
    const criteria = criteriaOf({ match: undefined, failWhen: undefined, distinctBy: named(distinctBy) });
    const said = (await script.wait(criteria)).error?.message ?? '';
    assert.ok(said.includes(told), said);
    assert.doesNotMatch(said, /secret-value/);
  }
});

test("a field that the condition names as well isn't asked for", async () => {
  const script = new Script((it) => {
    it.send(message(1, { state: 'no' }));
    setImmediate(() => setImmediate(() => it.end('Timeout')));
  });
  await script.wait(criteriaOf({ match: named('data.stat || data.state == `1`'), failWhen: undefined }));
  assert.doesNotMatch(script.lines.join('\n'), /did you mean/);
});

test('the first line on an event that lacks a field but has a similar one asks for that, and no other line does', async () => {
  const script = new Script((it) => {
    it.send(...[{}, { currency: 'USD' }, { currency: 'GBP' }].map((data, index) => message(index + 1, data)));
    setImmediate(() => setImmediate(() => it.end('Timeout')));
  });
  await script.wait(criteriaOf({ match: named("data.curency == 'EUR'"), failWhen: undefined }));
  const reasons = script.lines.flatMap((line) => /^notMatching .*reason="(.*)"$/.exec(line)?.[1] ?? []);
  const plain = "data.curency == 'EUR' was false (data.curency = null)";
  assert.deepEqual(reasons, [plain, `${plain}: did you mean data.currency?`, plain]);
});

test('a judge continues where another stopped: nothing is counted twice or lost', () => {
  const criteria = criteriaOf({ count: 3, distinctBy: named('data.region') });
  const clock = { now: () => 0, deadline: Infinity };
  const judge = () => new Judge(criteria, undefined, clock, () => {});
  const events = ['eu', 'us', 'eu', 'asia'].map((region, index) => message(index + 1, { ok: true, region }));
  const whole = judge();
  for (const one of whole.assess(events)) whole.decide(one);
  const first = judge();
  for (const one of first.assess(events.slice(0, 2))) first.decide(one);
  const second = judge();
  second.resume(JSON.parse(JSON.stringify(first.progress)));
  assert.equal(second.isSatisfied, false);
  assert.equal(second.missing, 1);
  for (const one of second.assess(events.slice(2))) second.decide(one);
  assert.deepEqual(second.progress, whole.progress);
  assert.equal(second.isSatisfied, true);
});

test('reasons for a mismatch are worked out only for events listed in the log', async () => {
  let explained = 0;
  let timeout: NodeJS.Timeout | undefined;
  const match = named('data.ok');
  const counting = {
    ...match,
    nearMiss: (...view: Parameters<typeof match.nearMiss>) => (explained++, match.nearMiss(...view)),
  };
  const script = new Script((it) => {
    it.send(...Array.from({ length: 500 }, (_, index) => message(index + 1, { ok: index === 499 })));
    // Without it, a wait for which nothing matches would never end.
    timeout = setTimeout(() => it.end('Timeout'), 10_000);
  });
  const { verdict, counts } = await script.wait(criteriaOf({ match: counting, failWhen: undefined }));
  clearTimeout(timeout);
  assert.deepEqual([verdict, counts.notMatching], ['matched', 499]);
  assert.ok(explained <= 20, `${explained} reasons`);
});
