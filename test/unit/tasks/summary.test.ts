import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ReceivedMessage } from '../../../shared/bus.ts';
import { TaskError } from '../../../shared/errors.ts';
import type { Clock } from '../../../shared/clock.ts';
import { readPublish } from '../../../tasks/PublishNatsEvent/inputs.ts';
import { prepare, type Published } from '../../../tasks/PublishNatsEvent/publish.ts';
import { publishSummary } from '../../../tasks/PublishNatsEvent/summary.ts';
import { readWait, type WaitStep } from '../../../tasks/WaitForNatsEvent/inputs.ts';
import { Judge } from '../../../shared/waiting/judge.ts';
import { waitSummary } from '../../../tasks/WaitForNatsEvent/summary.ts';
import type { Verdict } from '../../../shared/waiting/verdict.ts';
import type { WaitOutcome } from '../../../shared/waiting/wait.ts';
import { cloudEvent, messageOf } from '../../support/event.ts';
import { connectedAgent, type FakeAgent } from '../../support/agent/fakeAgent.ts';

const BEGAN = Date.UTC(2026, 4, 31, 8, 0, 0);
const DIGEST = `sha256:${'0a1b2c3d4e5f6978'.repeat(4)}`;
const OWNER = {
  azporganization: 'contoso',
  azpproject: 'Shop Floor',
  azppipeline: 'build',
  azprunid: '42',
  azprequester: 'Ada Lovelace',
};
const VERDICTS: readonly Verdict[] = [
  ...(['matched', 'negative', 'timedOut', 'connectionLost', 'contractViolation', 'denied'] as const),
  ...(['cancelled', 'error'] as const),
];
const HOSTILE =
  'a|b`c``](javascript:alert(1))<img src=x onerror=alert(1)>![x](http://evil.example/x.png)\n\n# big\n```\n| x |\u202eabc @x #1 www.evil.example';

describe('The summary of a wait', () => {
  test('the essentials come first: the verdict, what happened, what to do', () => {
    const [title, happened, todo] = summaryOf({ subject: 'ci.built' }, [event()]).split('\n\n');
    assert.equal(title, '## ✅ Matched: the wait succeeded');
    assert.equal(happened, '**What happened:** The event on `ci.built` came, 25 ms after it was published.');
    assert.equal(todo, "**What to do:** Nothing. Later steps can read the event from this step's outputs.");
  });

  for (const verdict of VERDICTS) {
    test(`says ${verdict} in its title, what happened and what to do`, () => {
      const error = verdict === 'matched' ? undefined : new TaskError('Internal', 'It went so', 'Do that.');
      const [title = '', happened = '', todo = ''] = summaryOf({}, [event()], { verdict, error }).split('\n\n');
      assert.match(title, /^## \S+ [A-Z][a-z]+.*: .{10}/u);
      assert.match(happened, error === undefined ? /The event/ : /It went so\./);
      assert.match(todo, verdict === 'matched' || verdict === 'cancelled' ? /Nothing/ : /Do that\./);
    });
  }

  test('one event is listed from top to bottom', () => {
    const summary = summaryOf({ schemaFile: import.meta.filename }, [event({ id: 'e-1', ...OWNER })], {
      schemaDigest: DIGEST,
    });
    for (const row of [
      '| Event | 1: ✅ matched |',
      '| Subject | `ci.built` |',
      '| Message id | `e-1` |',
      '| Sequence | `CI` 7 |',
      '| Owner (claimed) | `contoso / Shop Floor / build / run 42 / Ada Lovelace` |',
      '| Published | 2026-05-31 08:00:01.000Z |',
      '| Received | 2026-05-31 08:00:01.025Z |',
      '| Latency | 25 ms |',
      '| Schema | fits `sha256:0a1b2c3d4e5f…` |',
      '| Signature | none |',
    ])
      assert.ok(summary.includes(`${row}\n`), `${row} is not in:\n${summary}`);
    assert.ok(
      summary.includes(`\`summary.test.ts\` (\`${DIGEST}\`)`),
      'the summary lacks the file and its whole digest',
    );
  });

  test('an event published before the step is marked, and the timeline counts back to it', () => {
    const summary = summaryOf({}, [event({}, { storedAt: BEGAN - 90_000 })]);
    assert.match(summary, /was published before this step began/);
    assert.match(summary, /-90\.000 s {2}event 1 published\n/);
  });

  test('several events are rows of one table, which lists the last 20', () => {
    const events = Array.from({ length: 25 }, (_, index) =>
      event({ id: `e-${index}` }, { place: { stream: 'CI', sequence: index + 1 } }),
    );
    const summary = summaryOf({ count: '25' }, events);
    assert.match(summary, /^\| Event \| Subject \| Message id \| Sequence \| Owner \(claimed\) \| Published \| /m);
    assert.equal(summary.match(/✅ matched/g)?.length, 20);
    assert.ok(!summary.includes('`e-4`') && summary.includes('`e-5`') && summary.includes('`e-24`'));
    assert.match(summary, /These are the last 20 of 25 events; the receipt lists all\./);
  });

  test('all events are counted by decision', () => {
    const events = [event({ correlationid: 'other' }), event({ correlationid: 'c' }), event({ correlationid: 'c' })];
    const summary = summaryOf({ correlationId: 'c', count: '3' }, events, { verdict: 'timedOut' });
    assert.match(summary, /^\| Events seen \| Matched \| Repeated \| With another correlation id \|$/m);
    assert.match(summary, /^\| 3 \| 1 \| 1 \| 1 \|$/m);
    assert.match(summary, /^\*\*Missing:\*\* 2 of 3 events$/m);
  });

  test('missing values, the requested wait and broken links are shown', () => {
    const inputs = { distinctBy: 'data.region', expect: 'eu\nus', match: 'data.n > `5` || data.all', timeout: '90s' };
    const linkBreaks = { count: 2, totalMs: 3_400 };
    const summary = summaryOf(inputs, [], { verdict: 'timedOut', linkBreaks });
    assert.match(summary, /^\*\*Missing:\*\* `eu`, `us`$/m);
    assert.match(summary, /\*\*Events seen:\*\* none/);
    assert.match(summary, /broke 2 times, down for 3s in all/);
    assert.ok(summary.includes('where `` data.n > `5` || data.all ``, distinct by `data.region`'), summary);
    assert.match(summary, /for at most 1m30s\./);
  });

  test('missing permissions can be copied from it', () => {
    const details = ['permissions: {', '  publish: { allow: ["a.`b"] }', '}'];
    const error = new TaskError('Denied', 'No', 'Grant it.', { details });
    const summary = summaryOf({}, [], { verdict: 'denied', error });
    assert.ok(summary.includes('```text\npermissions: {\n  publish: { allow: ["a.\\u{60}b"] }\n}\n```'), summary);
  });

  test("a timeout that doesn't fail the step says that the job continues", () => {
    const error = new TaskError('Timeout', 'Nothing came', 'Look.');
    assert.match(summaryOf({ onTimeout: 'warn' }, [], { verdict: 'timedOut', error }), /Look\. The job continues/);
    assert.doesNotMatch(summaryOf({}, [], { verdict: 'timedOut', error }), /goes on/);
  });

  test("an unchecked signature isn't shown as one, and the owner stays a claim", () => {
    const message = event(OWNER);
    const headers = new Map([...message.headers, ['event-signature', ['x..y']] as const]);
    const summary = summaryOf({}, [{ ...message, headers }]);
    assert.match(summary, /\| Signature \| present, not checked \|/);
    assert.match(summary, /\| Owner \(claimed\) \|/);
  });

  test('nothing in an event becomes markup', () => {
    const attributes = { id: HOSTILE, source: HOSTILE, azporganization: HOSTILE, azprequester: HOSTILE };
    const encoded = Object.fromEntries(Object.entries(attributes).map(([name, text]) => [name, encodeURI(text)]));
    const message = event(encoded, { subject: `ci.${HOSTILE}`, place: { stream: HOSTILE, sequence: 7 } });
    const error = new TaskError('Negative', `The event says ${HOSTILE}`, `Ask ${HOSTILE}.`);
    for (const events of [[message], [message, { ...message, place: { stream: HOSTILE, sequence: 8 } }]]) {
      const summary = summaryOf({ count: String(events.length) }, events, { verdict: 'negative', error });
      assertOnlyOurMarkup(summary, 2);
    }
  });

  test('its size is bounded, whatever arrives', () => {
    const expect = Array.from({ length: 1_000 }, (_, index) => `${'x'.repeat(1_000)}${index}`).join('\n');
    const subject = Array.from({ length: 200 }, (_, index) => `ci.${'y'.repeat(500)}${index}`).join('\n');
    const events = Array.from({ length: 30 }, (_, index) =>
      event({ id: 'z'.repeat(60_000) }, { place: { stream: 'CI', sequence: index + 1 } }),
    );
    const error = new TaskError('Timeout', ''.repeat(100_000), '#'.repeat(100_000));
    const summary = summaryOf({ expect, subject, distinctBy: 'sequence' }, events, { verdict: 'timedOut', error });
    assert.ok(summary.length < 100_000, String(summary.length));
    assert.match(summary, / and 980 more/);
  });
});

describe('The summary of a publishing step', () => {
  test('says what was stored where', async () => {
    const summary = await publishedSummary({}, { ack: { stream: 'CI', sequence: 7, duplicate: false } });
    assert.match(summary, /^## ✅ Published: stored in the stream\n\n\*\*What happened:\*\* The event on `ci\.built`/);
    assert.match(
      summary,
      /is in the stream `CI` as sequence 7, confirmed after 12 ms\.\n\n\*\*What to do:\*\* Nothing\./,
    );
    for (const row of ['| Message id | `m-1` |', '| Sequence | `CI` 7 |', '| Duplicate | no |', '| Signature | none |'])
      assert.ok(summary.includes(`${row}\n`), `${row} is not in:\n${summary}`);
  });

  test('says that a duplicate was not stored again', async () => {
    const ack = { stream: 'CI', sequence: 7, duplicate: true };
    const summary = await publishedSummary({}, { ack, duplicates: 1 });
    assert.match(summary, /^## ✅ Already published/);
    assert.match(summary, /was already in the stream `CI`, so nothing was stored again/);
  });

  test('says that with core NATS nobody may have listened', async () => {
    assert.match(await publishedSummary({ delivery: 'core' }, {}), /doesn't say whether anyone was listening/);
  });

  test('says where the reply to a request is', async () => {
    const reply = { headers: new Map(), payload: Buffer.from('abc') };
    const summary = await publishedSummary({ delivery: 'request' }, { reply });
    assert.match(summary, /^## ✅ Answered/);
    assert.match(summary, /\| Answer \| 3 bytes \|/);
    assert.match(summary, /output `replyFile`/);
  });

  for (const [code, title] of [
    ['Timeout', '❌ Not confirmed: the event may or may not have arrived'],
    ['Incomplete', '❌ Incomplete: 1 of 1 events confirmed'],
    ['NoStream', '❌ Not published (NoStream)'],
    ['Cancelled', '🚫 Cancelled: the run was cancelled while this step was publishing'],
  ] as const) {
    test(`explains ${code}: what happened and what to do`, async () => {
      const summary = await publishedSummary({}, {}, new TaskError(code, `It is ${HOSTILE}.`, 'Do that.'));
      assert.ok(summary.startsWith(`## ${title}\n\n**What happened:** It is a&#124;b`), summary);
      assert.match(summary, /^\*\*What to do:\*\* Do that\.$/m);
      assertOnlyOurMarkup(summary, 2);
    });
  }

  test('says that nothing was sent, and gives the reason', () => {
    const step = readPublish(publisher({}));
    const error = new TaskError('ContractViolation', 'The payload breaks the schema', 'Correct it.');
    assert.equal(
      publishSummary(step, undefined, error, clockOf(30_000)),
      [
        '## ❌ Not published: nothing was sent (ContractViolation)',
        '**What happened:** The payload breaks the schema.',
        '**What to do:** Correct it.',
        '**Subject:** `ci.built`\n',
      ].join('\n\n'),
    );
  });
});

/**
 * Every line outside of our code blocks is what it is meant to be: beside code spans and character references there is
 * no markup but ours, and a heading, a table or a block begins only where we begin one.
 */
function assertOnlyOurMarkup(summary: string, fences: number): void {
  const lines = summary.split('\n');
  assert.equal(lines.filter((line) => /^\s*```/.test(line)).length, fences);
  assert.equal(lines.filter((line) => /^\s*#/.test(line)).length, 1);
  for (const line of summary
    .replace(/^```text\n[^`]*^```$/gm, '')
    .split('\n')
    .slice(1)) {
    const plain = line.replace(/(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)/g, '').replace(/&#\d+;/g, ' ');
    assert.doesNotMatch(plain, /[<>`[\]~\\]|:\/\/|@\w|www\.\w|#/, line);
    if (plain.startsWith('|')) assert.match(plain, /^\|( [^|]* \|)+$/, line);
    else assert.doesNotMatch(plain, /\|/, line);
  }
  assert.doesNotMatch(summary, /[\u202e\r\u0000-\u0009]/);
}

function event(
  attributes: Readonly<Record<string, string>> = {},
  overrides: Partial<ReceivedMessage> = {},
): ReceivedMessage {
  return messageOf('{}', cloudEvent(attributes), { subject: 'ci.built', ...overrides });
}

function clockOf(timeoutMs: number): Clock {
  return {
    signal: new AbortController().signal,
    startedAt: BEGAN,
    deadline: BEGAN + timeoutMs,
    now: () => BEGAN + 2_000,
  };
}

/** The summary of a wait with these inputs after these events. */
function summaryOf(
  inputs: Readonly<Record<string, string>>,
  events: readonly ReceivedMessage[],
  ending: Partial<WaitOutcome> = {},
): string {
  const step: WaitStep = readWait(connectedAgent({ subject: 'ci.>', startFrom: 'all', ...inputs }));
  const judge = new Judge(step.request, undefined, { now: Date.now, deadline: Infinity }, () => {});
  for (const assessed of judge.assess(events)) judge.decide(assessed);
  const outcome: WaitOutcome = {
    verdict: 'matched',
    error: undefined,
    deciding: judge.matched.at(-1),
    matched: judge.matched,
    counts: judge.counts,
    missing: judge.missing,
    stream: 'CI',
    linkBreaks: { count: 0, totalMs: 0 },
    schemaDigest: undefined,
    ...ending,
  };
  return waitSummary(step, outcome, clockOf(step.timeoutMs));
}

function publisher(inputs: Readonly<Record<string, string>>): FakeAgent {
  return connectedAgent({ subject: 'ci.built', payload: '{}', messageId: 'm-1', ...inputs });
}

/** The summary of a step that has sent one event, which took 12 ms. */
async function publishedSummary(
  inputs: Readonly<Record<string, string>>,
  result: Partial<Published>,
  error?: TaskError,
): Promise<string> {
  const step = readPublish(publisher(inputs));
  const clock = clockOf(step.timeoutMs);
  const published: Published = {
    sentAt: BEGAN + 100,
    endedAt: BEGAN + 112,
    ack: undefined,
    sent: 1,
    confirmed: 1,
    duplicates: 0,
    outOfOrder: [],
    unconfirmed: [],
    reply: undefined,
    error,
    ...result,
  };
  const prepared = await prepare(step.request, undefined, undefined, clock);
  return publishSummary(step, { prepared, published }, error, clock);
}
