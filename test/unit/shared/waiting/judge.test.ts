import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ReceivedMessage } from '../../../../shared/bus.ts';
import type { Contract } from '../../../../shared/contract/contract.ts';
import { loadContract } from '../../../../shared/contract/load.ts';
import { parseUserSeed } from '../../../../shared/nkey.ts';
import { parseTrustedKeys, signMessage } from '../../../../shared/signing/signature.ts';
import type { WaitCriteria } from '../../../../shared/waiting/criteria.ts';
import {
  Judge,
  type Decision,
  type JudgedEvent,
  STEP_LIMITS,
  type JudgeLimits,
} from '../../../../shared/waiting/judge.ts';
import { temporaryFolder } from '../../../../localAgent/vsix.ts';
import { cloudEvent, criteriaOf, messageOf, named as expression } from '../../../support/event.ts';
import { createNKey } from '../../../support/nats/natsAccounts.ts';

const RECEIVED_AT = Date.UTC(2026, 4, 31, 8, 0, 10);
const STORED_AT = Date.UTC(2026, 4, 31, 8, 0, 0);

const SCHEMA = {
  type: ['object', 'null'],
  properties: { status: { type: 'string', pattern: '^(x+)+$' } },
};
const schemaFile = path.join(temporaryFolder('judge-'), 'schema.json');
writeFileSync(schemaFile, JSON.stringify(SCHEMA));
const contract = await loadContract(schemaFile);
/** Its check against the schema would practically never end. */
const SLOW = { status: `${'x'.repeat(40)}!` };

/** A judge that gets one event after the other, with time to spare. */
class OneByOne extends Judge {
  judge(message: ReceivedMessage): JudgedEvent {
    const [assessed] = this.assess([message]);
    assert.ok(assessed);
    return this.decide(assessed);
  }
}

/** A judge of a request, and the warnings it gave. */
function judgeOf(
  request: Partial<WaitCriteria>,
  schema?: Contract,
  limits: Partial<JudgeLimits> = {},
  deadline = Infinity,
) {
  const clock = { now: Date.now, deadline };
  const warnings: string[] = [];
  const judge = new OneByOne(criteriaOf(request), schema, clock, (text) => warnings.push(text), {
    ...STEP_LIMITS,
    ...limits,
  });
  return { judge, warnings };
}

let sequence = 0;

function event(
  data: unknown,
  attributes: Readonly<Record<string, string>> = {},
  overrides: Partial<ReceivedMessage> = {},
): ReceivedMessage {
  const id = `e-${String(sequence + 1)}`;
  const payload = typeof data === 'string' ? data : JSON.stringify(data);
  return plain(payload, cloudEvent({ id, ...attributes }), overrides);
}

/** A message that isn't a CloudEvent, unless its headers make it one. */
function plain(
  payload: string,
  headers: Readonly<Record<string, string>> = {},
  overrides: Partial<ReceivedMessage> = {},
): ReceivedMessage {
  sequence++;
  const place = { stream: 'CI', sequence };
  return messageOf(payload, headers, { place, storedAt: STORED_AT, receivedAt: RECEIVED_AT, ...overrides });
}

const signer = createNKey();
const stranger = createNKey();
const trustedKeys = parseTrustedKeys(signer.publicKey).keys;

function signed(message: ReceivedMessage, seed: string, at: number): ReceivedMessage {
  const headers = [
    ['nats-msg-id', 'm-1'] as const,
    ...[...message.headers].flatMap(([name, values]) => values.map((value) => [name, value] as const)),
  ];
  const out = signMessage(
    { subject: message.subject, headers, payload: message.payload },
    parseUserSeed(seed),
    new Date(at),
  );
  return { ...message, headers: new Map(out.headers.map(([name, value]) => [name.toLowerCase(), [value]])) };
}

const WRONG_ENVELOPE = { correlationid: 'ours', specversion: '0.3' };
const OURS = { correlationid: 'ours' };
const signedNow = (data: unknown, attributes: Readonly<Record<string, string>> = OURS, at = RECEIVED_AT) =>
  signed(event(data, attributes), signer.seed, at);

/** An event that fails every check, fixed step by step in the order of the checks. */
const LADDER: readonly (readonly [Decision, () => ReceivedMessage])[] = [
  ['foreign', () => event({ failed: true, ok: false }, { ...WRONG_ENVELOPE, correlationid: 'theirs' })],
  ['untrusted', () => event({ failed: true, ok: false }, WRONG_ENVELOPE)],
  ['expired', () => signedNow({ failed: true, ok: false }, WRONG_ENVELOPE, RECEIVED_AT - 60_000)],
  ['invalid', () => signedNow({ failed: true, ok: false }, WRONG_ENVELOPE)],
  ['negative', () => signedNow({ failed: true, ok: false, region: 'eu' })],
  ['notMatching', () => signedNow({ ok: false, region: 'eu' })],
  ['matched', () => signedNow({ ok: true, region: 'eu' })],
  ['repeated', () => signedNow({ ok: true, region: 'eu' })],
];

test('an event is judged by correlation, signature, age, envelope, failWhen, match and distinctBy, in this order', () => {
  const { judge } = judgeOf({
    correlationId: 'ours',
    trustedKeys,
    maxEventAgeMs: 30_000,
    failWhen: expression('data.failed'),
    match: expression('data.ok'),
    distinctBy: expression('data.region'),
    count: 2,
  });
  for (const [decision, message] of LADDER) assert.equal(judge.judge(message()).decision, decision);
  assert.deepEqual(judge.counts, {
    seen: 8,
    foreign: 1,
    untrusted: 1,
    expired: 1,
    invalid: 1,
    negative: 1,
    notMatching: 1,
    matched: 1,
    repeated: 1,
  });
  assert.equal(judge.isSatisfied, false);
  assert.equal(judge.missing, 1);
});

test('without conditions, every event matches', () => {
  const { judge } = judgeOf({ count: 4 });
  assert.equal(judge.judge(event({})).decision, 'matched');
  assert.equal(judge.judge(plain('')).decision, 'matched');
  assert.equal(judge.isSatisfied, false);
  assert.equal(judge.judge(event('', {}, { payload: Buffer.from([0xff]) })).decision, 'matched');
  assert.equal(judge.judge(plain('not json')).decision, 'matched');
  assert.equal(judge.isSatisfied, true);
  assert.equal(judge.missing, 0);
});

test('an event from another run or without a correlation id is foreign', () => {
  const { judge } = judgeOf({ correlationId: 'ours', count: 9 });
  const theirs = judge.judge(event({}, { correlationid: 'theirs' }));
  assert.deepEqual([theirs.decision, theirs.reason], ['foreign', 'its correlation id is "theirs"']);
  const none = judge.judge(event({}));
  assert.deepEqual([none.decision, none.reason], ['foreign', 'it has no correlation id']);
  assert.equal(judge.judge(event({}, { correlationid: 'Ours' })).decision, 'foreign');
  assert.equal(judge.judge(plain('{}', { 'correlation-id': 'ours' })).decision, 'matched');
  assert.equal(judge.judge(event({}, { correlationid: 'ours' })).decision, 'matched');
});

test("an unsigned, altered or unknown signer's event is untrusted; a trusted one says who signed it", () => {
  const { judge } = judgeOf({ trustedKeys, count: 9 });
  assert.equal(judge.judge(event({})).decision, 'untrusted');
  assert.equal(judge.judge(signed(event({}), stranger.seed, RECEIVED_AT)).decision, 'untrusted');
  const good = signed(event({ a: 1 }), signer.seed, RECEIVED_AT);
  assert.equal(judge.judge({ ...good, payload: Buffer.from('{"a":2}') }).decision, 'untrusted');
  assert.equal(judge.judge({ ...good, subject: 'ci.other' }).decision, 'untrusted');
  const trusted = judge.judge(good);
  assert.deepEqual([trusted.decision, trusted.signedBy, trusted.reason], ['matched', signer.publicKey, '']);
});

for (const [what, message, decision, reason] of [
  ['of the age allowed', () => event({}, {}, { storedAt: RECEIVED_AT - 5_000 }), 'matched', ''],
  ['older than that', () => event({}, {}, { storedAt: RECEIVED_AT - 5_001 }), 'expired', 'it is 5001 ms old'],
  ['a minute ahead', () => event({}, {}, { storedAt: RECEIVED_AT + 60_000 }), 'matched', ''],
  [
    'more than a minute ahead',
    () => event({}, {}, { storedAt: RECEIVED_AT + 60_001 }),
    'expired',
    'its time is 60001 ms in the future',
  ],
  [
    'dated by its CloudEvents time on core NATS',
    () => event({}, { time: new Date(RECEIVED_AT - 5_001).toISOString() }, { storedAt: undefined }),
    'expired',
    'it is 5001 ms old',
  ],
  [
    'without any time',
    () => event({}, {}, { storedAt: undefined }),
    'expired',
    'it does not say when it was published',
  ],
] as const) {
  test(`an event ${what} is ${decision}`, () => {
    const judged = judgeOf({ maxEventAgeMs: 5_000 }).judge.judge(message());
    assert.deepEqual([judged.decision, judged.reason], [decision, reason]);
  });
}

test("a signed event's age counts from its signature, even if it was stored again later", () => {
  const { judge } = judgeOf({ trustedKeys, maxEventAgeMs: 5_000 });
  const replayed = signed(event({}, {}, { storedAt: RECEIVED_AT }), signer.seed, RECEIVED_AT - 3_600_000);
  const judged = judge.judge(replayed);
  assert.deepEqual([judged.decision, judged.reason], ['expired', 'it is 3600000 ms old']);
  assert.equal(judged.signedBy, signer.publicKey);
});

test('an invalid envelope is reported before the data is checked', () => {
  const { judge } = judgeOf({}, contract);
  const judged = judge.judge(event({ status: 7 }, { specversion: '0.3' }));
  assert.deepEqual([judged.decision, judged.reason], ['invalid', 'Its CloudEvents specversion is "0.3", not "1.0"']);
});

test("data that breaks the schema is invalid, with the schema's reason", () => {
  const { judge } = judgeOf({}, contract);
  const judged = judge.judge(event({ status: 7 }));
  assert.equal(judged.decision, 'invalid');
  assert.match(judged.reason, /^its data breaks the schema: .*status.*string/);
  assert.equal(judge.isSatisfied, false);
  assert.equal(judge.judge(event({ status: 'x' })).decision, 'matched');
});

test("data that isn't JSON, or takes too long to check, is invalid", () => {
  const binary = judgeOf({}, contract).judge.judge(plain('', {}, { payload: Buffer.from([0xff, 0x00]) }));
  assert.deepEqual([binary.decision, binary.reason], ['invalid', 'its data is not JSON, which the schema demands']);
  const text = judgeOf({}, contract).judge.judge(plain('not json'));
  assert.equal(text.decision, 'invalid');
  const slow = judgeOf({}, contract, { eventMs: 200 }).judge.judge(event(SLOW));
  assert.equal(slow.decision, 'invalid');
  assert.match(slow.reason, /^the check of its data was interrupted after \d+ ms$/);
});

test('failWhen and match follow JMESPath truthiness: 0 is true, empty values are false', () => {
  for (const [value, decision] of [
    [0, 'matched'],
    ['no', 'matched'],
    [true, 'matched'],
    [[0], 'matched'],
    ['', 'notMatching'],
    [[], 'notMatching'],
    [{}, 'notMatching'],
    [null, 'notMatching'],
    [false, 'notMatching'],
  ] as const)
    assert.equal(judgeOf({ match: expression('data.v') }).judge.judge(event({ v: value })).decision, decision);
});

test('a negative event says which condition it met', () => {
  const judged = judgeOf({ failWhen: expression("data.status == 'failed'") }).judge.judge(event({ status: 'failed' }));
  assert.deepEqual([judged.decision, judged.reason], ['negative', "met failWhen: data.status == 'failed'"]);
});

test('an event that nearly matches says which part was false', () => {
  const { judge } = judgeOf({ match: expression("data.ok && data.region == 'eu'") });
  const judged = judge.judge(event({ ok: true, region: 'us' }));
  assert.equal(judged.decision, 'notMatching');
  assert.match(judged.reason, /data\.region == 'eu'/);
});

test('an expression that errors on an event counts as false for it, with one warning for all', () => {
  const { judge, warnings } = judgeOf({ match: expression('starts_with(data.name, `"a"`)'), count: 9 });
  for (const name of [1, 2, 'abc']) judge.judge(event({ name }));
  assert.deepEqual([judge.counts.notMatching, judge.counts.matched], [2, 1]);
  assert.equal(warnings.length, 1);
  assert.match(
    warnings[0]!,
    /^match fails on the event CI \d+ and counts as false for it: .*[^.]\. Further ones are not/,
  );
});

test('a failWhen that errors does not end the wait', () => {
  const { judge, warnings } = judgeOf({ failWhen: expression('length(data.n) > `1`') });
  assert.equal(judge.judge(event({ n: 5 })).decision, 'matched');
  assert.match(warnings[0]!, /^failWhen fails on the event/);
});

test('events with the same source and id count once', () => {
  const { judge } = judgeOf({ count: 9 });
  assert.equal(judge.judge(event({}, { id: 'a' })).decision, 'matched');
  const again = judge.judge(event({}, { id: 'a' }));
  assert.deepEqual([again.decision, again.reason], ['repeated', 'an event with the same id has come before']);
  assert.equal(judge.judge(event({}, { id: 'a', source: '/other' })).decision, 'matched');
  assert.equal(judge.judge(plain('1', { 'nats-msg-id': 'm' })).decision, 'matched');
  assert.equal(judge.judge(plain('2', { 'nats-msg-id': 'm' })).decision, 'repeated');
  assert.equal(judge.judge(plain('3')).decision, 'matched');
  assert.equal(judge.judge(plain('3')).decision, 'matched');
  assert.equal(judge.judge(plain('4', {}, { place: undefined })).decision, 'matched');
  assert.equal(judge.judge(plain('4', {}, { place: undefined })).decision, 'matched');
});

test("an id of one kind can't pass for one of another kind", () => {
  const { judge } = judgeOf({ count: 9 });
  for (const message of [
    plain('', { 'nats-msg-id': 'sequence:7' }, { place: { stream: 'CI', sequence: 5 } }),
    plain('', {}, { place: { stream: 'CI', sequence: 7 } }),
    plain('', { 'nats-msg-id': '7' }, { place: { stream: 'CI', sequence: 8 } }),
    event({}, { id: 'b', source: 'a' }),
    event({}, { id: 'b"],["', source: 'a' }),
    event({}, { id: 'ab', source: 'x' }),
    event({}, { id: 'b', source: 'xa' }),
  ])
    assert.equal(judge.judge(message).decision, 'matched');
});

test('a field that failWhen misspells is one warning, at the first event that has a similar one', () => {
  const question = 'failWhen: the event has no data.staus. Did you mean data.status?';
  const failWhen = expression("data.staus == 'rejected'");
  const { judge, warnings } = judgeOf({ failWhen, match: expression('data.order'), count: 9 });
  assert.equal(judge.judge(event({ order: 'A' })).decision, 'matched');
  assert.deepEqual([warnings, judge.misspelling], [[], undefined]);
  assert.equal(judge.judge(event({ order: 'A', status: 'rejected' })).decision, 'matched');
  judge.judge(event({ order: 'B', status: 'rejected' }));
  assert.deepEqual([warnings, judge.misspelling], [[question], question]);

  const told = (condition: string, events: readonly ReceivedMessage[], others: Partial<WaitCriteria> = {}) => {
    const one = judgeOf({ failWhen: expression(condition), count: 9, ...others });
    for (const message of events) one.judge.judge(message);
    return one.warnings;
  };
  const status = { status: 'rejected' };
  assert.deepEqual(told('!(data.staus)', [event(status)]), [question]);
  assert.deepEqual(told("data.staus == 'x'", [event(status)], { match: expression('data.order') }), [question]);
  assert.deepEqual(told("data.status == 'x'", [event({ status: null }), event({ statue: 1 })]), []);
  assert.deepEqual(told("data.staus == 'x' || data.status == 'x'", [event(status)]), []);
  assert.deepEqual(told("data.staus == 'x'", [event(status)], { correlationId: 'ours' }), []);
  assert.deepEqual(told("data.staus == 'x'", [plain('no JSON'), event([]), event(null)]), []);
});

test('looking for a field that failWhen misspells takes limited time in all events together', () => {
  const names = (letter: string) => Array.from({ length: 1_000 }, (_, index) => letter.repeat(95) + String(index));
  const data = Object.fromEntries(names('x').map((name) => [name, 1]));
  const failWhen = expression(
    names('y')
      .slice(0, 50)
      .map((name) => `data.${name}`)
      .join(' || '),
  );
  const { judge, warnings } = judgeOf({ failWhen, count: 99 });
  const began = Date.now();
  for (let index = 0; index < 20; index++) judge.judge(event(data));
  assert.ok(Date.now() - began < 2_000);
  assert.equal(judge.counts.matched, 20);
  judge.judge(event({ ['y'.repeat(96)]: 1 }));
  assert.deepEqual(warnings, []);
});

test('distinctBy compares values as text; an event without a value does not match', () => {
  const { judge } = judgeOf({ distinctBy: expression('data.key'), count: 9 });
  const decisions = [1, '1', 1.5, { a: 1 }, { a: 1 }, true, 'true', '', null].map(
    (key) => judge.judge(event({ key })).decision,
  );
  assert.deepEqual(decisions, [
    ...['matched', 'repeated', 'matched', 'matched', 'repeated', 'matched', 'repeated', 'matched'],
    'notMatching',
  ]);
  assert.equal(judge.judge(event({})).reason, 'it has no value for distinctBy (data.key)');
  assert.equal(
    judge.judge(event({ Keys: 1 })).reason,
    'it has no value for distinctBy (data.key; did you mean data.Keys?)',
  );
  const either = judgeOf({ distinctBy: expression('data.key.a || data.keys.a') }).judge;
  const text = 'data.key.a || data.keys.a';
  assert.equal(either.judge(event({ keys: {} })).reason, `it has no value for distinctBy (${text})`);
});

test("all expected values must arrive; others don't count", () => {
  const { judge } = judgeOf({ distinctBy: expression('data.region'), expect: ['eu', 'us', '7'], count: 3 });
  assert.deepEqual(judge.missing, ['eu', 'us', '7']);
  assert.equal(judge.judge(event({ region: 'us' })).decision, 'matched');
  const other = judge.judge(event({ region: 'asia' }));
  assert.deepEqual([other.decision, other.reason], ['notMatching', 'distinctBy is "asia", which is not expected']);
  assert.equal(
    judge.judge(event({ region: 'EU' })).reason,
    'distinctBy is "EU", which is not expected: "eu" differs only in case',
  );
  assert.equal(judge.judge(event({ region: 'us' })).decision, 'repeated');
  assert.equal(judge.judge(event({ region: 7 })).decision, 'matched');
  assert.deepEqual(judge.missing, ['eu']);
  assert.equal(judge.isSatisfied, false);
  judge.judge(event({ region: 'eu' }));
  assert.deepEqual(judge.missing, []);
  assert.equal(judge.isSatisfied, true);
  assert.deepEqual(
    judge.matched.map(({ event: { view } }) => (view.data as { region: unknown }).region),
    ['us', 7, 'eu'],
  );
});

test('a distinct value counts only from an event that matches', () => {
  const { judge } = judgeOf({ match: expression('data.ok'), distinctBy: expression('data.region'), count: 9 });
  assert.equal(judge.judge(event({ ok: false, region: 'eu' })).decision, 'notMatching');
  assert.equal(judge.judge(event({ ok: true, region: 'eu' })).decision, 'matched');
});

test('an event that takes too long is invalid, and its neighbours are judged as usual', () => {
  const { judge } = judgeOf({}, contract, { eventMs: 200 });
  let messages = [event({ status: 'x' }), event(SLOW), event({ status: 'xx' })];
  const decisions: Decision[] = [];
  while (messages.length > 0) {
    const assessed = judge.assess(messages);
    decisions.push(...assessed.map((one) => judge.decide(one).decision));
    messages = messages.slice(assessed.length);
  }
  assert.deepEqual(decisions, ['matched', 'invalid', 'matched']);
  assert.equal(judge.exhaustion, undefined);
});

test('a wait that spends too much time ends naming the slow schema or expression', () => {
  const schema = judgeOf({}, contract, { eventMs: 120, interruptions: 2 }).judge;
  for (const message of [event(SLOW), event(SLOW)]) assert.equal(schema.judge(message).decision, 'invalid');
  assert.equal(schema.exhaustion?.code, 'InvalidSchema');

  const nested = expression('data[?length($.data[?@ > `1`]) == `0`]');
  const { judge } = judgeOf({ match: nested }, undefined, { eventMs: 120, interruptions: 1 });
  judge.judge(event(Array.from({ length: 100_000 }, () => 2)));
  assert.equal(judge.exhaustion?.code, 'InvalidInput');
  assert.match(judge.exhaustion.problem, /match/);
});

test('nothing is judged after the deadline, and working out a reason takes little time', () => {
  const match = expression('data.list[?length($.data.list[?@ > `1`]) == `0`]');
  assert.deepEqual(judgeOf({ match }, undefined, {}, Date.now()).judge.assess([event({})]), []);
  const { judge } = judgeOf({ match });
  const judged = judge.judge(event({ list: Array.from({ length: 100_000 }, () => 2) }));
  assert.match(judged.reason, /interrupted|was false/);
});

test('no sender can bypass failWhen with an oversized number or deep nesting', () => {
  const failWhen = expression('data.code != `0`');
  const { judge, warnings } = judgeOf({ failWhen, match: expression('data.done') });
  const judged = judge.judge(event('{"code":9007199254740993,"done":true}'));
  assert.equal(judged.decision, 'invalid');
  assert.match(judged.reason, /failWhen cannot be decided: 9007199254740993 is beyond 2\^53/);
  assert.equal(judge.judge(event('{"code":1e999999999,"done":true}')).decision, 'invalid');

  const deep = `${'['.repeat(50_000)}1${']'.repeat(50_000)}`;
  const compares = judgeOf({ failWhen: expression('data.a == data.b'), match: expression('data.done') }).judge;
  const tooDeep = compares.judge(event(`{"a":${deep},"b":${deep},"done":true}`));
  assert.equal(tooDeep.decision, 'invalid');
  assert.match(tooDeep.reason, /failWhen cannot be decided: it holds too much, or is nested too deeply/);
  assert.deepEqual(warnings, []);
});

test('a condition on the subject alone holds whatever the data is', () => {
  const { judge } = judgeOf({ match: expression("subject == 'ci.done.v1'") });
  assert.equal(judge.judge(event('{"n":1e999999999}')).decision, 'matched');
});

test('matched events are kept as bytes, not as parsed objects', () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const { judge } = judgeOf({ match: expression("data.s == 'passed'"), count: 20 });
  const payload = `{"s":"passed","list":[${'{},'.repeat(100_000)}9007199254740993]}`;
  const structured = (id: number) => `{"specversion":"1.0","type":"t","source":"/s","id":"${id}","data":${payload}}`;
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  for (let number = 0; number < 20; number++)
    judge.judge(messageOf(number % 2 === 0 ? payload : structured(number), { 'nats-msg-id': `${number}` }));
  collectGarbage();
  const grown = (process.memoryUsage().heapUsed - before) / 2 ** 20;
  assert.ok(grown < 20, `${grown.toFixed()} MB`);
  assert.equal(judge.matched.length, 20);
  for (const { event } of judge.matched) assert.equal((event.view.data as { s: string }).s, 'passed');
});
