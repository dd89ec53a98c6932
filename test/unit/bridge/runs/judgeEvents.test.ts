import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import type { ReceivedMessage } from '../../../../shared/bus.ts';
import { loadContract } from '../../../../shared/contract/load.ts';
import { parseUserSeed } from '../../../../shared/nkey.ts';
import { parseTrustedKeys, signMessage } from '../../../../shared/signing/signature.ts';
import { RouteJudge, type JudgeOptions } from '../../../../bridge/runs/judgeEvents.ts';
import { eventIdOf } from '../../../../bridge/runs/parameters.ts';
import { ReceivedEvent } from '../../../../shared/event/receivedEvent.ts';
import { temporaryFolder } from '../../../../localAgent/index.ts';
import { criteria, parameter, routeOf } from '../../../support/bridge/routes.ts';
import { cloudEvent, messageOf, named } from '../../../support/event.ts';
import { createNKey } from '../../../support/nats/natsAccounts.ts';
import { SLOW_PATTERN } from '../../../support/slowPattern.ts';

const HOUR_MS = 3_600_000;
const NOW = messageOf('').receivedAt;
const OLD = { storedAt: NOW - HOUR_MS - 1 };

const schemaFile = path.join(temporaryFolder('runs-'), 'schema.json');
writeFileSync(schemaFile, JSON.stringify({ type: 'object', required: ['image'] }));
const contract = await loadContract(schemaFile);

const signer = createNKey();
const { keys: trustedKeys } = parseTrustedKeys(signer.publicKey);

function judgeOf(route: Parameters<typeof routeOf>[0] = {}, others: Partial<JudgeOptions> = {}): RouteJudge {
  return new RouteJudge({
    route: routeOf(route),
    contract: undefined,
    checksAge: true,
    passesEventId: () => true,
    now: Date.now,
    warn: () => {},
    ...others,
  });
}

/** The decision on one message, as `kind decision`, and its reason. */
function decide(judge: RouteJudge, message: ReceivedMessage): { decision: string; reason: string } {
  const [judged] = judge.judge([message]);
  assert.ok(judged);
  if (judged.kind === 'starts') return { decision: 'starts', reason: JSON.stringify(judged.parameters) };
  return { decision: `${judged.kind} ${judged.decision}`, reason: judged.reason };
}

function event(data: unknown, attributes: Record<string, string> = {}, overrides: Partial<ReceivedMessage> = {}) {
  return messageOf(JSON.stringify(data), cloudEvent(attributes), overrides);
}

function signed(data: unknown, signedAt = NOW, overrides: Partial<ReceivedMessage> = {}): ReceivedMessage {
  const unsigned = event(data, {}, overrides);
  const headers = [...unsigned.headers].map(([name, [value = '']]) => [name, value] as const);
  const key = parseUserSeed(signer.seed);
  const message = signMessage(
    { subject: unsigned.subject, payload: unsigned.payload, headers: [...headers, ['nats-msg-id', 'm-1']] },
    key,
    new Date(signedAt),
  );
  return { ...unsigned, headers: new Map(message.headers.map(([name, value]) => [name.toLowerCase(), [value]])) };
}

describe('An event', () => {
  test('that matches starts the pipeline with the parameters as strings', () => {
    const parameters = [
      parameter('image', 'data.image'),
      parameter('count', 'data.count'),
      parameter('large', 'data.large'),
      parameter('nothing', 'data.nothing'),
      parameter('all', 'data.list', /^\[.*\]$/u),
    ];
    const judge = judgeOf({ parameters });
    const message = messageOf(
      '{"image":"web:1","count":3,"large":9007199254740993,"list":[1,"a"]}',
      cloudEvent({ id: 'e-1' }),
    );
    assert.deepEqual(decide(judge, message), {
      decision: 'starts',
      reason: JSON.stringify({ image: 'web:1', count: '3', large: '9007199254740993', nothing: '', all: '[1,"a"]' }),
    });
  });

  test('with another correlation id is passed over, however old it is', () => {
    const judge = judgeOf({ criteria: criteria({ correlationId: 'run-1' }) });
    assert.equal(decide(judge, event({}, {}, OLD)).decision, 'passes foreign');
    assert.equal(decide(judge, event({}, { correlationid: 'run-1' })).decision, 'starts');
  });

  test('that is too old is passed over, unless it is a replay', () => {
    assert.equal(decide(judgeOf(), event({}, {}, OLD)).decision, 'passes expired');
    assert.equal(decide(judgeOf({}, { checksAge: false }), event({}, {}, OLD)).decision, 'starts');
  });

  test('has a contract digest only if it was checked against the contract', () => {
    const digestOf = (judge: RouteJudge, message: ReceivedMessage) => judge.judge([message])[0]?.schemaDigest;
    const [good, bad] = [{ image: 'web:1' }, { picture: 'web:1' }];
    assert.equal(digestOf(judgeOf({}, { contract }), event(good)), contract.digest);
    assert.equal(digestOf(judgeOf({}, { contract }), event(bad)), contract.digest);
    assert.equal(digestOf(judgeOf(), event(good)), undefined);
    const judge = judgeOf({ criteria: criteria({ trustedKeys }) }, { contract });
    assert.equal(digestOf(judge, signed(good)), contract.digest);
    assert.equal(digestOf(judge, event(good)), undefined);
  });

  test('that violates the contract is a dead letter, even if it would not match', () => {
    const judge = judgeOf({ criteria: criteria({ match: named("data.region == 'eu'") }) }, { contract });
    const { decision, reason } = decide(judge, event({ region: 'us' }));
    assert.equal(decision, 'deadLetter invalid');
    assert.match(reason, /must have property "image"/);
    assert.equal(decide(judge, event({ image: 'a', region: 'us' })).decision, 'passes notMatching');
    assert.equal(decide(judge, event({ image: 'a', region: 'eu' })).decision, 'starts');
  });

  test('that does not match says why', () => {
    const judge = judgeOf({ criteria: criteria({ match: named("data.region == 'eu'") }) });
    assert.match(decide(judge, event({ region: 'us' })).reason, /data\.region = "us"/);
  });
});

describe('Where signatures are checked', () => {
  const trusting = criteria({ trustedKeys });

  test('an event without a trusted signature is a dead letter; an old one is only passed over', () => {
    const judge = judgeOf({ criteria: trusting });
    assert.equal(decide(judge, event({})).decision, 'deadLetter untrusted');
    assert.equal(decide(judge, event({}, {}, OLD)).decision, 'passes expired');
    assert.equal(decide(judge, signed({})).decision, 'starts');
  });

  test('an event with an old signature counts as old', () => {
    const judge = judgeOf({ criteria: trusting });
    assert.equal(decide(judge, signed({}, NOW - HOUR_MS - 1_000)).decision, 'passes expired');
  });

  test('each of many events gets its own judgement', () => {
    const judge = judgeOf({ criteria: criteria({ trustedKeys, match: named('data.ok') }) });
    const messages = [event({}), signed({ ok: true }), event({}, {}, OLD), signed({}), signed({ ok: true })];
    const kinds: string[] = [];
    for (let left: readonly ReceivedMessage[] = messages; left.length > 0;) {
      const judged = judge.judge(left);
      kinds.push(...judged.map((one) => (one.kind === 'starts' ? one.kind : one.decision)));
      left = left.slice(judged.length);
    }
    assert.deepEqual(kinds, ['untrusted', 'starts', 'expired', 'notMatching', 'starts']);
  });
});

describe('A publisher', () => {
  const publishers = [
    { project: 'Shop', pipeline: 'web' },
    { project: 'Orders', pipeline: '*' },
  ];
  const judge = judgeOf({ publishers, criteria: criteria({ match: named('data.ok') }) });
  const from = (azpproject: string, azppipeline: string) =>
    decide(judge, event({ ok: true }, { azpproject, azppipeline })).decision;

  test('on the list may start the pipeline', () => {
    assert.equal(from('Shop', 'web'), 'starts');
    assert.equal(from('Orders', 'any'), 'starts');
  });
  test('not on the list is a dead letter, whether the event matches or not', () => {
    assert.equal(from('Shop', 'api'), 'deadLetter untrusted');
    assert.equal(decide(judge, event({ ok: false })).decision, 'deadLetter untrusted');
  });
});

describe('A value outside its pattern is a dead letter that does not show it', () => {
  const outside = (value: unknown, pattern?: RegExp) => {
    const judge = judgeOf({ parameters: [parameter('image', 'data.image', pattern)] });
    const { decision, reason } = decide(judge, event({ image: value }));
    assert.ok(!reason.includes(String(value)), reason);
    return `${decision}: ${reason}`;
  };

  for (const value of ['a b', 'a\nb', '$(rm)', "';", 'x'.repeat(513), { a: 1 }, '${{ x }}']) {
    test(JSON.stringify(value).slice(0, 20), () => {
      assert.match(outside(value), /^deadLetter unsafeValue: the value of the parameter image doesn't fit its pattern/);
    });
  }

  test('a text with a line break at its end, which $ accepts in other languages', () => {
    assert.match(outside('web\n', /^[a-z]+$/u), /^deadLetter unsafeValue/);
  });

  test('but not a value during which the process stood still', () => {
    const { expression } = parameter('image', 'data.image');
    const still = new Int32Array(new SharedArrayBuffer(4));
    let looks = 0;
    const evaluate: typeof expression.evaluate = (view) => {
      if (++looks === 1) Atomics.wait(still, 0, 0, 200);
      return expression.evaluate(view);
    };
    const judge = judgeOf({
      parameters: [{ ...parameter('image', 'data.image'), expression: { ...expression, evaluate } }],
    });
    assert.deepEqual(decide(judge, event({ image: 'web:1' })), { decision: 'starts', reason: '{"image":"web:1"}' });
    assert.equal(looks, 2);
  });

  test('a value that its pattern takes forever to check', () => {
    const began = Date.now();
    const found = outside(`${'a'.repeat(60)}!`, new RegExp(SLOW_PATTERN, 'u'));
    assert.equal(found, 'deadLetter unsafeValue: the parameter image takes longer than 100 ms');
    assert.ok(Date.now() - began < 5_000);
  });

  test('a value that cannot be computed', () => {
    const judge = judgeOf({ parameters: [parameter('image', 'length(data.image)')] });
    const { decision, reason } = decide(judge, event({ image: 3 }));
    assert.equal(decision, 'deadLetter unsafeValue');
    assert.match(reason, /^the parameter image can't be computed: /);
  });

  test("the event's id, if the pipeline gets it", () => {
    const spaced = event({}, { id: 'a%20b' });
    assert.equal(decide(judgeOf(), spaced).decision, 'deadLetter unsafeValue');
    assert.equal(decide(judgeOf({}, { passesEventId: () => false }), spaced).decision, 'starts');
  });
});

test("an event without an id has its message's id, otherwise its place", () => {
  const idOf = (message: ReceivedMessage) => eventIdOf(new ReceivedEvent(message));
  assert.equal(idOf(event({}, { id: 'e-9' })), 'e-9');
  assert.equal(idOf(messageOf('x', { 'nats-msg-id': 'm-9' })), 'm-9');
  assert.equal(idOf(messageOf('x')), 'CI:7');
});
