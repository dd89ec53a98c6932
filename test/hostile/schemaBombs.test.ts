import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { measuringPeak, peakOf } from '../../scripts/bench/peakMemory.ts';
import type { Contract } from '../../shared/contract/contract.ts';
import { loadContract } from '../../shared/contract/load.ts';
import { TaskError } from '../../shared/errors.ts';
import { cases, family } from '../support/hostile/hostile.ts';
import { LocalAgent, temporaryFolder, unpackVsix } from '../../localAgent/index.ts';
import {
  assertOutputs,
  assertSucceeded,
  countsOf,
  publish,
  Scenario,
  sourcesWith,
  wait,
} from '../support/agent/scenario.ts';
import { ScriptedServer, SUBJECT } from '../support/nats/scriptedServer.ts';

const { tried } = family('Schemas: bombs');

/** The time limits of checks that can't end, and of those that may. */
const SHORT_LIMIT_MS = 40;
const LIMIT_MS = cases({ short: 100, long: 300 });
/** The time limit of loading and one check, on a busy machine. */
const MAX_MS = 10_000;
/** Room for the errors that a fast machine collects in a check's one second, and as much again for Node. */
const MAX_MEGABYTES = 600;

const DRAFT_07 = { $schema: 'http://json-schema.org/draft-07/schema#' };
const DRAFT_2019 = { $schema: 'https://json-schema.org/draft/2019-09/schema' };

/** @param schema the text of the file, or its content */
async function contractOf(schema: unknown, checkLimitMs: number): Promise<Contract> {
  const file = path.join(temporaryFolder('bomb-'), 'root.json');
  writeFileSync(file, typeof schema === 'string' ? schema : JSON.stringify(schema));
  return loadContract(file, { checkLimitMs });
}

/** Asserts that loading and one check end in time, with the schema refused or a verdict that isn't wrong. */
async function assertEnds(schema: unknown, value: unknown, wrong: 'valid' | 'violated' | 'neither'): Promise<void> {
  const begun = Date.now();
  const outcome = await contractOf(schema, LIMIT_MS).then(
    (contract) => contract.check(value).outcome,
    (error: unknown) => (error instanceof TaskError ? error.code : assert.fail(String(error))),
  );
  const tookMs = Date.now() - begun;
  tried();
  const about = `${outcome} after ${tookMs} ms: ${JSON.stringify(schema).slice(0, 300)}`;
  assert.match(outcome, /^(valid|violated|interrupted|InvalidSchema)$/, about);
  assert.notEqual(outcome, wrong, about);
  assert.ok(tookMs < MAX_MS, about);
}

/** Regular expressions with exponential or very heavy backtracking, and a text that triggers it. */
const EXPRESSIONS: readonly (readonly [string, string])[] = [
  ['^(a+)+$', `${'a'.repeat(40)}!`],
  ['^(a*)*$', `${'a'.repeat(40)}!`],
  ['^(a|aa)+$', `${'a'.repeat(60)}!`],
  ['^(a|a?)+$', `${'a'.repeat(40)}!`],
  ['(x+x+)+y', 'x'.repeat(40)],
  ['^(([a-z])+.)+[A-Z]([a-z])+$', 'a'.repeat(60)],
  ['^(.*a){25}$', `${'a'.repeat(60)}!`],
  ['^(?=(a+)+$)', `${'a'.repeat(40)}!`],
  ['^(\\p{L}+)*$', `${'ä'.repeat(40)}!`],
  ['^([a-zA-Z]+)*\\d$', 'a'.repeat(40)],
  ['^(\\w+\\s?)*$', `${'a'.repeat(40)}!`],
  ['^(a+)+\\1$', `${'a'.repeat(40)}!`],
  ['^((a{1,20}){1,20}){1,20}$', `${'a'.repeat(60)}!`],
  ['^[\\s\\S]*[\\s\\S]*[\\s\\S]*[\\s\\S]*[\\s\\S]*x$', 'a'.repeat(2_000)],
];

const EXPRESSION_PLACES: Readonly<Record<string, (pattern: string, text: string) => readonly [unknown, unknown]>> = {
  pattern: (pattern, text) => [{ pattern }, text],
  'pattern of items': (pattern, text) => [{ items: { pattern } }, ['b', text]],
  patternProperties: (pattern, text) => [{ patternProperties: { [pattern]: false } }, { [text]: 1 }],
  propertyNames: (pattern, text) => [{ propertyNames: { pattern } }, { [text]: 1 }],
  'not, in if': (pattern, text) => [{ if: { not: { pattern } }, then: false }, text],
  unevaluatedProperties: (pattern, text) => [
    { patternProperties: { [pattern]: true }, unevaluatedProperties: false },
    { [text]: 1 },
  ],
};

const FORMATS = (
  'date time date-time iso-time iso-date-time duration uri uri-reference uri-template url email hostname ipv4 ipv6 ' +
  'regex uuid json-pointer json-pointer-uri-fragment relative-json-pointer byte int32 int64 float double password binary'
).split(' ');
const LONG_TEXTS = 'a 1 : . / - @ % { ( a. a@ 1: %41 {a} = P1 :// ä \0'.split(' ').map((part) => part.repeat(9_000));

describe('An endless check is interrupted:', () => {
  for (const [place, make] of Object.entries(EXPRESSION_PLACES)) {
    it(`regular expressions in ${place}`, async () => {
      // All of them in one place, and a few in each of the others.
      const made = EXPRESSIONS.slice(0, place === 'pattern' ? undefined : 3).map(([pattern, text]) =>
        make(pattern, text),
      );
      const properties = Object.fromEntries(made.map(([schema], index) => [String(index), schema]));
      const contract = await contractOf({ properties }, SHORT_LIMIT_MS);
      for (const [index, [schema, value]] of made.entries()) {
        const begun = Date.now();
        assert.equal(contract.check({ [index]: value }).outcome, 'interrupted', JSON.stringify(schema));
        assert.ok(Date.now() - begun < MAX_MS);
        tried();
      }
    });
  }
  it('long texts against each format', async () => {
    const properties = Object.fromEntries(FORMATS.map((format) => [format, { format }]));
    const contract = await contractOf({ properties }, SHORT_LIMIT_MS);
    for (const format of FORMATS) {
      for (const text of LONG_TEXTS) {
        const begun = Date.now();
        for (const value of [text, `${text}!`, `!${text}`]) contract.check({ [format]: value });
        assert.ok(Date.now() - begun < MAX_MS, `${format} of ${text.slice(0, 9)}…`);
        tried(3);
      }
    }
  });
});

/** A schema in which each level refers to the next one twice. */
function doubling(keyword: string, levels: number, last: unknown, defs = '$defs'): object {
  const names = Array.from({ length: levels }, (_, level) => `n${level}`);
  const definitions = names.map((name, level) => {
    const $ref = `#/${defs}/n${level + 1}`;
    return [name, { [keyword]: [{ $ref }, { $ref }] }];
  });
  return { $ref: `#/${defs}/n0`, [defs]: { ...Object.fromEntries(definitions), [`n${levels}`]: last } };
}

function nested(keyword: string, levels: number): string {
  const isList = keyword.endsWith('Of');
  const open = `{"${keyword}":${isList ? '[' : ''}`;
  return `${open.repeat(levels)}true${(isList ? ']}' : '}').repeat(levels)}`;
}

function deep(levels: number): unknown {
  return JSON.parse(`${'['.repeat(levels)}${']'.repeat(levels)}`);
}

describe('Checks of doubling, circular and deep schemas end in bounded time:', () => {
  it('references that double', async () => {
    for (const keyword of ['allOf', 'anyOf', 'oneOf']) {
      for (const levels of [40, 3_000]) await assertEnds(doubling(keyword, levels, { type: 'string' }), 1, 'valid');
      await assertEnds({ ...DRAFT_07, ...doubling(keyword, 40, { type: 'string' }, 'definitions') }, 1, 'valid');
    }
  });
  it('branches under unevaluatedProperties', async () => {
    const asking = { unevaluatedProperties: false };
    for (const keyword of ['allOf', 'anyOf', 'oneOf'])
      await assertEnds({ ...doubling(keyword, 40, { properties: { a: true } }), ...asking }, { a: 1 }, 'violated');
    for (const levels of [30, 100, 3_000]) {
      let branches = '{"properties":{"a":true}}';
      for (let level = 0; level < levels; level++) branches = `{"anyOf":[${branches}],"unevaluatedProperties":false}`;
      await assertEnds(branches, { b: 1 }, 'valid');
    }
    const node = { anyOf: [{ properties: { a: { $ref: '#' } } }, { $ref: '#/$defs/b' }], ...asking };
    const schema = { ...node, $defs: { b: { properties: { b: { $ref: '#' } } } } };
    for (const levels of [100, 2_000]) {
      const value = JSON.parse(`${'{"a":'.repeat(levels)}{"z":1}${'}'.repeat(levels)}`) as unknown;
      await assertEnds(schema, value, 'valid');
    }
  });
  it('references in circles', async () => {
    for (const schema of [
      { $ref: '#' },
      { ...DRAFT_07, $ref: '#' },
      { allOf: [{ $ref: '#' }] },
      { not: { $ref: '#' } },
      {
        $ref: '#/$defs/a',
        $defs: { a: { anyOf: [{ $ref: '#/$defs/b' }, false] }, b: { oneOf: [{ $ref: '#/$defs/a' }] } },
      },
      { $dynamicAnchor: 'x', $dynamicRef: '#x' },
      { $dynamicAnchor: 'x', allOf: [{ $dynamicRef: '#x' }, { $dynamicRef: '#x' }] },
      { ...DRAFT_2019, $recursiveAnchor: true, anyOf: [{ $recursiveRef: '#' }, { $recursiveRef: '#' }] },
    ]) {
      await assertEnds(schema, {}, 'valid');
    }
  });
  it('deep schemas and values', async () => {
    for (const keyword of ['allOf', 'not', 'items', 'additionalProperties', 'propertyNames'])
      for (const levels of [30, 300, 100_000]) await assertEnds(nested(keyword, levels), [[[1]]], 'neither');
    for (const levels of [100, 200_000]) {
      await assertEnds({ type: 'array', items: { $ref: '#' } }, deep(levels), 'neither');
      await assertEnds({ uniqueItems: true, const: 1 }, [deep(levels), deep(levels)], 'valid');
    }
    await assertEnds({ enum: [deep(2_000)] }, deep(2_000), 'neither');
    const $ref = '#/$defs/fork';
    const fork = { properties: { a: { anyOf: [{ $ref }, { $ref }] }, z: false } };
    const forking = JSON.parse(`${'{"a":'.repeat(100)}{"z":1}${'}'.repeat(100)}`) as unknown;
    await assertEnds({ $defs: { fork }, $ref }, forking, 'valid');
  });
});

it('Checks of large schemas and values end in bounded time', async () => {
  const objects = Array.from({ length: 30_000 }, (_, n) => ({ n }));
  const numbers = Array.from({ length: 200_000 }, (_, n) => n);
  for (const [schema, value, wrong] of [
    [{ uniqueItems: true }, objects, 'violated'],
    [{ items: { type: 'number' }, uniqueItems: true }, numbers, 'violated'],
    [{ enum: numbers }, 'x', 'valid'],
    [{ items: { anyOf: [{ type: 'string' }, { type: 'null' }] } }, numbers, 'valid'],
    [{ enum: objects }, { n: -1 }, 'valid'],
    [{ items: { enum: numbers.slice(0, 20_000) } }, numbers, 'valid'],
    [{ contains: { const: -1 }, minContains: 1e9 }, numbers, 'valid'],
    [{ required: numbers.slice(0, 20_000).map(String) }, {}, 'valid'],
    [{ oneOf: numbers.slice(0, 1_000).map((n) => ({ const: n })) }, 1_500, 'valid'],
    [
      { patternProperties: Object.fromEntries(numbers.slice(0, 500).map((n) => [`^a*${n}$`, true])) },
      { ['a'.repeat(9_999)]: 1 },
      'violated',
    ],
  ] as const) {
    await assertEnds(schema, value, wrong);
  }
});

const LISTS = { items: { $ref: '#' }, type: 'array' };
const OBJECTS = Array.from({ length: 30_000 }, (_, n) => ({ n }));
/** A step's schema and payload. */
const STEPS: Readonly<Record<string, readonly [schema: unknown, payload: unknown]>> = {
  'a catastrophic expression': [{ pattern: '^(a+)+$' }, JSON.stringify(`${'a'.repeat(40)}!`)],
  'a catastrophic name': [{ patternProperties: { '(x+x+)+y': false } }, { ['x'.repeat(40)]: 1 }],
  'references that double': [doubling('allOf', 40, { type: 'string' }), '1'],
  'a reference to itself': [{ $ref: '#' }, '1'],
  'a schema of 100,000 levels': [nested('not', 100_000), '1'],
  'a value of 300,000 levels': [LISTS, `${'['.repeat(300_000)}${']'.repeat(300_000)}`],
  '200,000 values in an enum': [{ enum: Array.from({ length: 200_000 }, (_, n) => n) }, '"x"'],
  '30,000 objects, the last of which is not unique': [{ uniqueItems: true }, [...OBJECTS, { n: 0 }]],
  'a file of 11 MiB': [`{"description":"${'x'.repeat(11 << 20)}"}`, '1'],
};

describe('A step that gets a bomb ends by itself, in bounded time and memory:', { concurrency: 2 }, () => {
  const extension = unpackVsix();
  for (const [name, [schema, payload]] of Object.entries(STEPS)) {
    it(name, async () => {
      await using server = await ScriptedServer.start();
      const memory = measuringPeak();
      const agent = new LocalAgent({
        extension,
        sources: sourcesWith({ 'root.json': schema, 'event.json': payload }),
        connections: { nats: { url: server.url, scheme: 'None' } },
      });
      const begun = Date.now();
      const inputs = { subject: SUBJECT, payloadFrom: 'file', payloadFile: 'event.json', schemaFile: 'root.json' };
      const step = await publish(agent, inputs, { env: memory.env });
      tried();
      const about = `${Date.now() - begun} ms, ${peakOf(memory).toFixed()} MB: ${step.errors.join('; ').slice(0, 300)}`;
      assert.equal(step.result, 'Failed', about);
      assert.match(step.errors.join('\n'), /^(InvalidSchema|ContractViolation|InvalidInput): /, about);
      if (name.startsWith('a catastrophic'))
        assert.match(step.errors.join('\n'), /^InvalidSchema: .*interrupted/, about);
      assert.equal(step.exitCode, 0, about);
      assert.ok(Date.now() - begun < MAX_MS && peakOf(memory) < MAX_MEGABYTES, about);
    });
  }
});

describe(
  'A wait that receives bombs counts them as invalid, and matches the next good event:',
  { concurrency: 2 },
  () => {
    const scene = Scenario.shared();

    for (const [name, schema, bombs, good] of [
      ['expressions', { type: 'string', pattern: '^(a+)+$' }, ['a'.repeat(40) + '!', 'a'.repeat(50) + '?'], 'aaa'],
      ['unique items', { type: 'array', uniqueItems: true }, [[...OBJECTS, { n: 0 }]], [1]],
      ['depth', { type: 'array', items: { $ref: '#' } }, [`${'['.repeat(300_000)}${']'.repeat(300_000)}`, '[1]'], [[]]],
    ] as const) {
      it(name, async () => {
        const stream = await scene.stream();
        for (const bomb of bombs) await stream.put('x', name === 'depth' ? bomb : JSON.stringify(bomb));
        await stream.put('x', JSON.stringify(good));
        const step = await wait(scene.agent({ sources: sourcesWith({ 'root.json': schema }) }), {
          subject: stream.subject('x'),
          startFrom: 'all',
          schemaFile: 'root.json',
        });
        tried(bombs.length);
        assertSucceeded(step);
        assertOutputs(step, { verdict: 'matched', sequence: String(bombs.length + 1) });
        assert.equal(countsOf(step)['invalid'], bombs.length);
      });
    }
  },
);
