import type { Draft } from '../../../shared/contract/drafts.ts';

/** What a keyword of JSON Schema accepts and what it does not. */
export interface KeywordCase {
  readonly keyword: string;
  readonly schema: unknown;
  readonly valid: readonly unknown[];
  readonly invalid: readonly unknown[];
  /** All where it is absent. */
  readonly drafts?: readonly Draft[];
}

const ALL: readonly unknown[] = [null, true, 0, -1.5, 1e300, '', 'text', [], [1, 'a'], {}, { a: 1 }];
const OLD: readonly Draft[] = ['draft-07'];
const NEW: readonly Draft[] = ['2019-09', '2020-12'];
const UP_TO_2019: readonly Draft[] = ['draft-07', '2019-09'];
const ONLY_2019: readonly Draft[] = ['2019-09'];
const ONLY_2020: readonly Draft[] = ['2020-12'];

function one(
  keyword: string,
  schema: unknown,
  valid: readonly unknown[],
  invalid: readonly unknown[],
  drafts?: readonly Draft[],
): KeywordCase {
  return { keyword, schema, valid, invalid, ...(drafts === undefined ? {} : { drafts }) };
}

/** Keywords that say something and check nothing. */
const ANNOTATIONS: readonly KeywordCase[] = [
  ...Object.entries({
    $comment: 'x',
    title: 'x',
    description: 'x',
    default: 5,
    examples: [1],
    readOnly: true,
    writeOnly: true,
    contentMediaType: 'application/json',
    contentEncoding: 'base64',
  }).map(([keyword, value]) => one(keyword, { [keyword]: value }, ALL, [])),
  one('deprecated', { deprecated: true }, ALL, [], NEW),
  one('contentSchema', { contentMediaType: 'application/json', contentSchema: false }, ALL, [], NEW),
];

const REFERENCES: readonly KeywordCase[] = [
  one('$ref', { $ref: '#/definitions/a', definitions: { a: { type: 'string' } } }, ['', 'a'], [1, null, {}], OLD),
  one('$ref', { $ref: '#/$defs/a', $defs: { a: { type: 'string' } } }, ['', 'a'], [1, null, {}], NEW),
  one('$ref', { $ref: '#/$defs/a', maxLength: 1, $defs: { a: { type: 'string' } } }, ['', 'a'], [1, 'ab'], NEW),
  one('$ref', { $ref: '#/$defs/a~1b/items', $defs: { 'a/b': { items: { const: 1 } } } }, [1], [2], NEW),
  one('$ref', { $ref: '#/$defs/a%20%25', $defs: { 'a %': { const: 1 } } }, [1], [2], NEW),
  one('$ref', { type: 'array', items: { $ref: '#' } }, [[], [[]], [[[]], []]], [1, [1], [[1]]]),
  one('$id', { $id: 'https://x.example/own.json', type: 'string' }, ['a'], [1]),
  one('$defs', { $defs: { a: false } }, ALL, [], NEW),
  one('definitions', { definitions: { a: false } }, ALL, [], OLD),
  one('$anchor', { $ref: '#there', $defs: { a: { $anchor: 'there', type: 'string' } } }, ['a'], [1], NEW),
  one(
    '$dynamicRef',
    { $dynamicRef: '#there', $defs: { a: { $dynamicAnchor: 'there', const: 1 } } },
    [1],
    [2],
    ONLY_2020,
  ),
  one(
    '$dynamicAnchor',
    { $dynamicAnchor: 'node', items: { $dynamicRef: '#node' }, type: 'array' },
    [[], [[]]],
    [1, [1]],
    ONLY_2020,
  ),
  one('$recursiveRef', { type: 'array', items: { $recursiveRef: '#' } }, [[], [[]]], [1, [[2]]], ONLY_2019),
  one(
    '$recursiveAnchor',
    { $recursiveAnchor: true, type: 'array', items: { $recursiveRef: '#' } },
    [[], [[]]],
    [1, [1]],
    ONLY_2019,
  ),
];

const ANY_TYPE: readonly KeywordCase[] = [
  one('type', { type: 'integer' }, [0, 1.0, -5, 1e300], [1.5, '1', null, [], {}, true]),
  one('type', { type: 'number' }, [0, 1.5], ['1', null, [], {}, true]),
  one('type', { type: 'string' }, ['', '1'], [1, null, [], {}, true]),
  one('type', { type: 'null' }, [null], [0, '', [], {}, false]),
  one('type', { type: 'boolean' }, [true, false], [0, '', 'true', null, [], {}]),
  one('type', { type: 'array' }, [[], [1]], [{}, { length: 0 }, '', null]),
  one('type', { type: 'object' }, [{}, { a: 1 }], [[], null, '']),
  one('type', { type: ['string', 'null'] }, ['', null], [1, [], {}, false]),
  one(
    'enum',
    { enum: [1, 'a', null, [1], { a: 1 }] },
    [1, 'a', null, [1], { a: 1 }],
    [2, 'b', false, [], [2], {}, { a: 1, b: 2 }],
  ),
  one('enum', { enum: [false, 0] }, [false, 0], [true, null, '', '0', []]),
  one('const', { const: { a: [1, null] } }, [{ a: [1, null] }], [{ a: [1] }, {}, [], null, { a: [null, 1] }]),
  one('const', { const: 0 }, [0, -0], [false, '', null, '0']),
  one('allOf', { allOf: [{ minimum: 1 }, { maximum: 2 }] }, [1, 2, 'a'], [0, 3]),
  one('anyOf', { anyOf: [{ type: 'string' }, { minimum: 5 }] }, ['a', 5, null], [4]),
  one('oneOf', { oneOf: [{ multipleOf: 2 }, { multipleOf: 3 }] }, [2, 3, 4], [6, 1, 'a']),
  one('not', { not: { type: 'string' } }, [1, null, []], ['', 'a']),
  one('if', { if: { minimum: 10 }, then: { multipleOf: 10 }, else: { multipleOf: 2 } }, [2, 10, 20], [3, 11]),
  one('then', { then: false }, ALL, []),
  one('else', { if: { type: 'string' }, else: { const: 1 } }, ['a', 1], [2, null]),
];

const SCALARS: readonly KeywordCase[] = [
  one('multipleOf', { multipleOf: 0.01 }, [19.99, 0, -0.05, 'a'], [0.005, 1.234]),
  one('multipleOf', { multipleOf: 3 }, [0, 3, -9], [1, 3.5]),
  one('maximum', { maximum: 3 }, [3, -1e300, 'a'], [3.1, 4]),
  one('exclusiveMaximum', { exclusiveMaximum: 3 }, [2.9, 'a'], [3, 4]),
  one('minimum', { minimum: -2 }, [-2, 1e300, 'a'], [-2.1]),
  one('exclusiveMinimum', { exclusiveMinimum: -2 }, [-1.9, null], [-2, -3]),
  one('maxLength', { maxLength: 2 }, ['', 'ab', '😀😀', 5], ['abc', '😀😀😀']),
  one('minLength', { minLength: 2 }, ['ab', '😀😀', 5], ['', 'a', '😀']),
  one('pattern', { pattern: '^a\\d$' }, ['a1', 5], ['', 'b1', 'a12']),
  one('pattern', { pattern: '^\\p{L}+$' }, ['äß', '漢'], ['1', '']),
  one('format', { format: 'date' }, ['2024-02-29', 5], ['2023-02-29', '2024-2-1', '']),
  one('format', { format: 'date-time' }, ['2024-02-29T10:00:00Z', null], ['2024-02-29', 'x']),
  one('format', { format: 'email' }, ['a@example.com'], ['a', '@', 'a@']),
  one('format', { format: 'ipv4' }, ['10.0.0.1'], ['10.0.0.256', '1.2.3']),
  one('format', { format: 'ipv6' }, ['::1', 'fe80::1:2'], ['::1::', '12345::']),
  one('format', { format: 'uuid' }, ['2eb8aa08-aa98-11ea-b4aa-73b441d16380'], ['2eb8aa08', '']),
  one('format', { format: 'uri' }, ['https://x.example/a?b#c'], ['//x', 'a b', '']),
  one('format', { format: 'regex' }, ['^a+$'], ['^(abc]']),
  one('format', { format: 'json-pointer' }, ['', '/a~0b'], ['a', '/a~2']),
  one('format', { format: 'duration' }, ['P1D', 'PT1H'], ['P', '1D']),
];

const ARRAYS: readonly KeywordCase[] = [
  one('items', { items: { type: 'integer' } }, [[], [1, 2], 'a', { 0: 'a' }], [['a'], [1, 'a']]),
  one(
    'items',
    { items: [{ type: 'integer' }, { type: 'string' }] },
    [[], [1], [1, 'a'], [1, 'a', null]],
    [['a'], [1, 2]],
    UP_TO_2019,
  ),
  one('items', { prefixItems: [true], items: { const: 1 } }, [[], ['x'], ['x', 1]], [['x', 2]], ONLY_2020),
  one(
    'additionalItems',
    { items: [true], additionalItems: { const: 1 } },
    [[], ['x'], ['x', 1]],
    [['x', 2]],
    UP_TO_2019,
  ),
  one('prefixItems', { prefixItems: [{ const: 1 }, { const: 2 }] }, [[], [1], [1, 2, 3]], [[2], [1, 1]], ONLY_2020),
  one('contains', { contains: { const: 5 } }, [[5], [1, 5], 'a'], [[], [1, 2]]),
  one('minContains', { contains: { const: 5 }, minContains: 2 }, [[5, 5], 'a'], [[], [5], [5, 1]], NEW),
  one('maxContains', { contains: { const: 5 }, maxContains: 1 }, [[5], [5, 1]], [[], [5, 5]], NEW),
  one('maxItems', { maxItems: 1 }, [[], [1], { a: 1, b: 2 }], [[1, 2]]),
  one('minItems', { minItems: 1 }, [[1], {}, ''], [[]]),
  one(
    'uniqueItems',
    { uniqueItems: true },
    [[], [1, '1', true], [{ a: 1 }, { a: 2 }], [[1], [2]], [0, false]],
    [
      [1, 1.0],
      [
        { a: 1, b: 2 },
        { b: 2, a: 1 },
      ],
      [[1], [1]],
    ],
  ),
  one(
    'unevaluatedItems',
    { allOf: [{ prefixItems: [{ const: 1 }] }], unevaluatedItems: false },
    [[], [1]],
    [[2], [1, 2]],
    ONLY_2020,
  ),
  one(
    'unevaluatedItems',
    { allOf: [{ items: [{ const: 1 }] }], unevaluatedItems: false },
    [[], [1]],
    [[1, 2], [2]],
    ONLY_2019,
  ),
];

const OBJECTS: readonly KeywordCase[] = [
  one(
    'properties',
    { properties: { a: { type: 'integer' }, b: false } },
    [{}, { a: 1 }, { c: 'x' }, [], 'a'],
    [{ a: 'x' }, { b: 1 }],
  ),
  one(
    'properties',
    { properties: { constructor: { type: 'number' }, toString: { const: 1 } } },
    [{}, { constructor: 1 }],
    [{ constructor: 'x' }, { toString: 2 }],
  ),
  one(
    'patternProperties',
    { patternProperties: { '^x': { type: 'integer' } } },
    [{}, { x: 1, y: 'a' }],
    [{ x: 'a' }, { xy: null }],
  ),
  one(
    'additionalProperties',
    { properties: { a: true }, patternProperties: { '^x': true }, additionalProperties: false },
    [{}, { a: 1, x1: 2 }],
    [{ b: 1 }, { constructor: 1 }],
  ),
  one('propertyNames', { propertyNames: { maxLength: 2 } }, [{}, { ab: 1 }, 'abc'], [{ abc: 1 }]),
  one(
    'required',
    { required: ['a', 'constructor'] },
    [{ a: 1, constructor: 1 }, [], 'a'],
    [{}, { a: 1 }, { constructor: 1 }],
  ),
  one('maxProperties', { maxProperties: 1 }, [{}, { a: 1 }, [1, 2]], [{ a: 1, b: 2 }]),
  one('minProperties', { minProperties: 1 }, [{ a: 1 }, []], [{}]),
  one(
    'dependencies',
    { dependencies: { a: ['b'], c: { required: ['d'] } } },
    [{}, { a: 1, b: 1 }, { c: 1, d: 1 }],
    [{ a: 1 }, { c: 1 }],
    OLD,
  ),
  one('dependentRequired', { dependentRequired: { a: ['b'] } }, [{}, { b: 1 }, { a: 1, b: 1 }], [{ a: 1 }], NEW),
  one(
    'dependentSchemas',
    { dependentSchemas: { a: { maxProperties: 1 } } },
    [{}, { a: 1 }, { b: 1, c: 1 }],
    [{ a: 1, b: 1 }],
    NEW,
  ),
  one(
    'unevaluatedProperties',
    { allOf: [{ properties: { a: true } }], unevaluatedProperties: false },
    [{}, { a: 1 }],
    [{ b: 1 }, { constructor: 1 }],
    NEW,
  ),
  one(
    'unevaluatedProperties',
    { if: { required: ['a'] }, then: { properties: { a: true, b: true } }, unevaluatedProperties: { const: 1 } },
    [{ a: 5, b: 5 }, { c: 1 }],
    [{ b: 5 }, { a: 5, c: 2 }],
    NEW,
  ),
];

/** At least one case for each keyword of each draft, in this project's own words. */
export const KEYWORD_CASES: readonly KeywordCase[] = [
  ...ANNOTATIONS,
  ...REFERENCES,
  ...ANY_TYPE,
  ...SCALARS,
  ...ARRAYS,
  ...OBJECTS,
];

/** Values that JSON Schema accepts and these tasks do not, as Ajv does not; told in docs/contracts.md. */
export const KNOWN_DEVIATIONS: readonly Omit<KeywordCase, 'invalid'>[] = [
  {
    keyword: 'unevaluatedItems',
    schema: { contains: true, prefixItems: [{ const: 1 }], unevaluatedItems: false },
    valid: [[1, 2]],
    drafts: ONLY_2020,
  },
];
