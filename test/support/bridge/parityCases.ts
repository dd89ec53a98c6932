import { createNKey } from '../nats/natsAccounts.ts';
import type { EventOptions } from './waitsScene.ts';

/** An event of a case: its data and other properties. Its subject is below the case's. */
export type CaseEvent = readonly [data: unknown, options?: EventOptions];

/** A wait and the events stored before it, for the agent's task and for the bridge. */
export interface ParityCase {
  readonly what: string;
  /** The agentless task's inputs; `<s>` stands for the subject of the case, `<t>` for when its run started. */
  readonly inputs: Readonly<Record<string, string>>;
  readonly events: readonly CaseEvent[];
  /** How many of the events exist when its run starts; the others follow at least 5 ms later. */
  readonly before?: number;
  /** The verdict that both must reach, so that they don't agree on nonsense. */
  readonly verdict: 'matched' | 'negative' | 'contractViolation' | 'timedOut' | 'error';
}

/** The problem with inputs that both refuse. */
export interface RefusedCase {
  readonly what: string;
  readonly inputs: Readonly<Record<string, string>>;
  readonly problem: RegExp;
}

export const CONTRACT = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  properties: { n: { type: 'integer' } },
  required: ['n'],
};

const [trusted, other] = [createNKey(), createNKey()];
const SOON = { timeout: '3s' };
const OK = { ok: true };
const [past, future] = [-7_200_000, 7_200_000].map((ms) => new Date(Date.now() + ms)) as [Date, Date];
const cloud = (data: unknown, more: Readonly<Record<string, unknown>> = {}) => ({
  ...{ specversion: '1.0', id: 's-1', source: '/structured', type: 'test', data },
  ...more,
});
const STRUCTURED = { attributes: null, headers: { 'Content-Type': 'application/cloudevents+json' } } as const;
const correlated = (id: string) => ({ attributes: { correlationid: id } });

export const CASES: readonly ParityCase[] = [
  // match
  {
    what: 'the first match',
    inputs: { match: 'data.ok' },
    events: [[{}], [{ ok: false }], [OK], [OK]],
    verdict: 'matched',
  },
  { what: 'anything', inputs: {}, events: [[{}]], verdict: 'matched' },
  {
    what: 'a wildcard',
    inputs: { subject: '<s>.*.b' },
    events: [
      [{}, { subject: 'a.c' }],
      [{}, { subject: 'a.b' }],
    ],
    verdict: 'matched',
  },
  {
    what: 'everything below',
    inputs: { subject: '<s>.>', match: 'data.n == `2`' },
    events: [
      [{ n: 1 }, { subject: 'a' }],
      [{ n: 2 }, { subject: 'b.c.d' }],
    ],
    verdict: 'matched',
  },
  {
    what: 'several subjects',
    inputs: { subject: '<s>.a\n<s>.b', match: 'data.ok' },
    events: [
      [OK, { subject: 'c' }],
      [{}, { subject: 'b' }],
      [OK, { subject: 'a' }],
    ],
    verdict: 'matched',
  },
  {
    what: 'what the event is',
    inputs: { match: "event.type == 'test' && subject && headers.\"x-kind\"[0] == 'k'" },
    events: [[{}], [{}, { headers: { 'X-Kind': 'k' } }]],
    verdict: 'matched',
  },
  {
    what: 'an expression that fails on an event',
    inputs: { match: 'abs(data.n) > `1`' },
    events: [[{ n: 'x' }], [{ n: -2 }]],
    verdict: 'matched',
  },
  { what: 'no match', inputs: { match: 'data.ok', ...SOON }, events: [[{}], [{ ok: null }]], verdict: 'timedOut' },
  { what: 'no event', inputs: SOON, events: [], verdict: 'timedOut' },
  {
    what: 'no match, which is fine',
    inputs: { match: 'data.ok', onTimeout: 'succeed', ...SOON },
    events: [[{}]],
    verdict: 'timedOut',
  },
  {
    what: 'large numbers',
    inputs: { match: 'data.n == `2`', outputs: 'big=data.big' },
    events: [['{"n":2,"big":9007199254740993}']],
    verdict: 'matched',
  },
  // failWhen
  {
    what: 'failWhen before match',
    inputs: { match: 'data.ok', failWhen: 'data.bad' },
    events: [[{ bad: true, ok: true }], [OK]],
    verdict: 'negative',
  },
  {
    what: 'failWhen after match',
    inputs: { match: 'data.ok', failWhen: 'data.bad' },
    events: [[OK], [{ bad: true }]],
    verdict: 'matched',
  },
  {
    what: 'failWhen with outputs',
    inputs: { match: 'data.ok', failWhen: 'data.bad', outputs: 'why=data.why' },
    events: [[{ bad: true, why: 'no' }]],
    verdict: 'negative',
  },
  {
    what: 'failWhen of a foreign event',
    inputs: { failWhen: 'data.bad', correlationId: 'c-1' },
    events: [
      [{ bad: true }, correlated('c-2')],
      [{}, correlated('c-1')],
    ],
    verdict: 'matched',
  },
  {
    what: 'failWhen that fails on an event',
    inputs: { failWhen: 'abs(data.n) > `1`', match: 'data.ok' },
    events: [[{ n: 'x' }], [{ n: 1, ok: true }]],
    verdict: 'matched',
  },
  // correlationId
  {
    what: 'a correlation id',
    inputs: { correlationId: 'c-1' },
    events: [[{}], [{}, correlated('c-2')], [{}, correlated('c-1')]],
    verdict: 'matched',
  },
  {
    what: 'a correlation id in a header',
    inputs: { correlationId: 'c-1' },
    events: [[{}, { attributes: null, headers: { 'Correlation-Id': 'c-1' } }]],
    verdict: 'matched',
  },
  {
    what: 'a correlation id in a structured event',
    inputs: { correlationId: 'c-1' },
    events: [[cloud({}, { correlationid: 'c-1' }), STRUCTURED]],
    verdict: 'matched',
  },
  {
    what: 'foreign events only',
    inputs: { correlationId: 'c-1', ...SOON },
    events: [[{}], [{}, correlated('c-11')], [{}, correlated('C-1')]],
    verdict: 'timedOut',
  },
  {
    what: 'a correlation id with match',
    inputs: { correlationId: 'c-1', match: 'data.ok' },
    events: [[OK], [{}, correlated('c-1')], [OK, correlated('c-2')], [OK, correlated('c-1')]],
    verdict: 'matched',
  },
  // count, distinctBy, expect
  {
    what: 'three events',
    inputs: { match: 'data.ok', count: '3' },
    events: [[OK], [{}], [OK], [OK], [OK]],
    verdict: 'matched',
  },
  {
    what: 'an event that comes twice',
    inputs: { count: '2' },
    events: [
      [{}, { attributes: { id: 'same' } }],
      [{}, { attributes: { id: 'same' } }],
      [{}, { attributes: { id: 'other' } }],
    ],
    verdict: 'matched',
  },
  {
    what: 'events without an id',
    inputs: { count: '2' },
    events: [
      [{}, { attributes: null }],
      [{}, { attributes: null }],
    ],
    verdict: 'matched',
  },
  { what: 'too few events', inputs: { count: '3', ...SOON }, events: [[{}], [{}]], verdict: 'timedOut' },
  {
    what: 'different values',
    inputs: { distinctBy: 'data.name', count: '2' },
    events: [[{ name: 'a' }], [{ name: 'a' }], [{}], [{ name: 'b' }]],
    verdict: 'matched',
  },
  {
    what: 'different objects',
    inputs: { distinctBy: 'data.o', count: '2' },
    events: [['{"o":{"a":1,"b":2}}'], ['{"o":{"b":2,"a":1.0}}'], [{ o: [1] }]],
    verdict: 'matched',
  },
  {
    what: 'a value that is too long',
    inputs: { distinctBy: 'data.name' },
    events: [[{ name: 'x'.repeat(1_001) }], [{ name: 'y' }]],
    verdict: 'matched',
  },
  {
    what: 'expected values',
    inputs: { distinctBy: 'data.name', expect: 'a\nb\nc' },
    events: [[{ name: 'c' }], [{ name: 'x' }], [{ name: 'a' }], [{ name: 'a' }], [{ name: 'b' }]],
    verdict: 'matched',
  },
  {
    what: 'expected values that are missing',
    inputs: { distinctBy: 'data.name', expect: 'a\nb\nc', ...SOON },
    events: [[{ name: 'b' }], [{ name: 'x' }]],
    verdict: 'timedOut',
  },
  {
    what: 'failWhen among expected values',
    inputs: { distinctBy: 'data.name', expect: 'a\nb', failWhen: 'data.bad' },
    events: [[{ name: 'a' }], [{ name: 'b', bad: true }]],
    verdict: 'negative',
  },
  // contract, envelopes
  { what: 'a contract', inputs: { contract: 'n.v1' }, events: [[{}], [{ n: 'x' }], [{ n: 1 }]], verdict: 'matched' },
  {
    what: 'a contract that must hold',
    inputs: { contract: 'n.v1', onInvalid: 'fail' },
    events: [[{ n: 1.5 }], [{ n: 1 }]],
    verdict: 'contractViolation',
  },
  {
    what: 'a contract and text',
    inputs: { contract: 'n.v1', ...SOON },
    events: [['not JSON'], [''], ['{"n":']],
    verdict: 'timedOut',
  },
  {
    what: 'a contract and bytes',
    inputs: { contract: 'n.v1', onInvalid: 'fail' },
    events: [[Buffer.from([0xff, 0xfe])]],
    verdict: 'contractViolation',
  },
  {
    what: 'a broken envelope',
    inputs: {},
    events: [[{}, { attributes: { specversion: '0.3' } }], [{}]],
    verdict: 'matched',
  },
  {
    what: 'a broken envelope that fails',
    inputs: { onInvalid: 'fail' },
    events: [[{}, { attributes: { specversion: '0.3' } }], [{}]],
    verdict: 'contractViolation',
  },
  {
    what: 'invalid JSON',
    inputs: { match: 'data == \'{"n":\'', outputs: 'text=data' },
    events: [['{"n":1}'], ['{"n":']],
    verdict: 'matched',
  },
  {
    what: 'an empty payload',
    inputs: { match: "data == '' || data == `null`", outputs: 'text=data' },
    events: [['', { attributes: null }]],
    verdict: 'matched',
  },
  {
    what: 'bytes',
    inputs: { match: 'dataBase64', outputs: 'bytes=dataBase64' },
    events: [[{}], [Buffer.from([0xff, 0x00])]],
    verdict: 'matched',
  },
  {
    what: 'a structured event',
    inputs: { match: "data.ok && event.source == '/structured'", outputs: 'id=event.id' },
    events: [[cloud(OK), STRUCTURED]],
    verdict: 'matched',
  },
  {
    what: 'a structured event with bytes',
    inputs: { match: 'data.ok' },
    events: [[{ ...cloud(undefined), data_base64: Buffer.from('{"ok":true}').toString('base64') }, STRUCTURED]],
    verdict: 'matched',
  },
  {
    what: 'a structured event that no header tells',
    inputs: { match: 'data.ok' },
    events: [[cloud(OK), { attributes: null }]],
    verdict: 'matched',
  },
  {
    what: 'a structured event that is none',
    inputs: { onInvalid: 'fail' },
    events: [['{"specversion":', STRUCTURED]],
    verdict: 'contractViolation',
  },
  // trustedKeys
  {
    what: 'a trusted key',
    inputs: { trustedKeys: trusted.publicKey },
    events: [[{}], [{}, { seed: other.seed }], [{}, { seed: trusted.seed }]],
    verdict: 'matched',
  },
  {
    what: 'a key that is trusted elsewhere',
    inputs: { trustedKeys: `${trusted.publicKey} ci.elsewhere`, ...SOON },
    events: [[{}, { seed: trusted.seed }]],
    verdict: 'timedOut',
  },
  {
    what: 'several keys',
    inputs: { trustedKeys: `${other.publicKey} ci.>\n${trusted.publicKey}`, count: '2' },
    events: [
      [{}, { seed: trusted.seed }],
      [{}, { seed: other.seed }],
    ],
    verdict: 'matched',
  },
  {
    what: 'an unsigned failWhen',
    inputs: { trustedKeys: trusted.publicKey, failWhen: 'data.bad' },
    events: [[{ bad: true }], [{ bad: false }, { seed: trusted.seed }]],
    verdict: 'matched',
  },
  // startFrom
  {
    what: 'the start of the run',
    inputs: { startFrom: 'runStart' },
    events: [[{}], [{}], [{}]],
    before: 2,
    verdict: 'matched',
  },
  {
    what: 'the start of the run as it is by default',
    inputs: { startFrom: '' },
    events: [[{}], [{}]],
    before: 1,
    verdict: 'matched',
  },
  {
    what: 'a time',
    inputs: { startFrom: 'time', startTime: '<t>' },
    events: [[{}], [{}], [{}]],
    before: 1,
    verdict: 'matched',
  },
  {
    what: 'a sequence',
    inputs: { startFrom: 'sequence', startSequence: '<1>' },
    events: [[{}], [{}], [{}]],
    verdict: 'matched',
  },
  { what: 'now', inputs: { startFrom: 'now', ...SOON }, events: [[{}], [{}]], verdict: 'timedOut' },
  // maxEventAge
  {
    what: 'events that are too old or from the future',
    inputs: { maxEventAge: '1h', trustedKeys: trusted.publicKey },
    events: [
      [{}, { seed: trusted.seed, signedAt: past }],
      [{}, { seed: trusted.seed, signedAt: future }],
      [{}, { seed: trusted.seed }],
    ],
    verdict: 'matched',
  },
  {
    what: 'only events that are too old',
    inputs: { maxEventAge: '1h', trustedKeys: trusted.publicKey, ...SOON },
    events: [[{}, { seed: trusted.seed, signedAt: past }]],
    verdict: 'timedOut',
  },
  { what: 'a young event', inputs: { maxEventAge: '1h' }, events: [[{}]], verdict: 'matched' },
  // outputs
  {
    what: 'outputs of every type',
    inputs: { outputs: 's=data.s\nn=data.n\nb=data.b\no=data.o\na=data.a\nnone=data.none\nnil=data.nil' },
    events: [[{ s: 'tëxt', n: 1.5, b: false, o: { x: [1] }, a: ['1', 2], nil: null }]],
    verdict: 'matched',
  },
  {
    what: 'outputs without an event',
    inputs: { outputs: 's=data.s', onTimeout: 'succeed', ...SOON },
    events: [],
    verdict: 'timedOut',
  },
  {
    what: 'an output that is too long',
    inputs: { outputs: 'long=data.long' },
    events: [[{ long: 'x'.repeat(17_000) }]],
    verdict: 'error',
  },
  {
    what: 'an output that would be expanded',
    inputs: { outputs: 'macro=data.macro' },
    events: [[{ macro: 'x$(secret)' }]],
    verdict: 'error',
  },
  {
    what: 'an output with NUL',
    inputs: { outputs: 'nul=data.nul' },
    events: [['{"nul":"a\\u0000b"}']],
    verdict: 'error',
  },
  { what: 'an output that fails', inputs: { outputs: 'bad=abs(data.s)' }, events: [[{ s: 'x' }]], verdict: 'error' },
  {
    what: 'an unsafe output of an event that fails',
    inputs: { failWhen: 'data.bad', outputs: 'macro=data.macro' },
    events: [[{ bad: true, macro: '$(x)' }]],
    verdict: 'negative',
  },
  {
    what: 'a trace',
    inputs: {},
    events: [[{}, { headers: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' } }]],
    verdict: 'matched',
  },
];

export const REFUSED: readonly RefusedCase[] = [
  {
    what: 'an expression that is none',
    inputs: { match: 'data.[' },
    problem: /match: "data\.\[" is not a JMESPath expression/,
  },
  {
    what: 'a variable that is not set',
    inputs: { correlationId: '$(nothing)' },
    problem: /correlationId: .*\$\(nothing\)/,
  },
  { what: 'a count of none', inputs: { count: '0' }, problem: /count: / },
  { what: 'expect without distinctBy', inputs: { expect: 'a' }, problem: /expect: needs distinctBy/ },
  {
    what: 'a sequence that does not count',
    inputs: { startSequence: '1' },
    problem: /startSequence: goes with startFrom: sequence only/,
  },
  {
    what: 'a time that is none',
    inputs: { startFrom: 'time', startTime: 'noon' },
    problem: /startTime: "noon" is not a time/,
  },
  { what: 'a key that is none', inputs: { trustedKeys: 'UX' }, problem: /trustedKeys: / },
  {
    what: 'an output without a name',
    inputs: { outputs: 'data.x' },
    problem: /outputs: "data\.x" is not of the form name=JMESPath/,
  },
];
