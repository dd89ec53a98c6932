import type { Draft } from '../../../shared/contract/drafts.ts';

/** What a keyword of JSON Schema accepts and what it doesn't. */
export type KeywordCase = readonly [
  keyword: string,
  schema: unknown,
  valid: readonly unknown[],
  invalid: readonly unknown[],
  /** All where it's absent. */
  drafts?: readonly Draft[],
];

const ALL: readonly unknown[] = [null, true, 0, -1.5, 1e300, '', 'text', [], [1, 'a'], {}, { a: 1 }];
const OLD: readonly Draft[] = ['draft-07'];
const NEW: readonly Draft[] = ['2019-09', '2020-12'];
const UP_TO_2019: readonly Draft[] = ['draft-07', '2019-09'];
const ONLY_2019: readonly Draft[] = ['2019-09'];
const ONLY_2020: readonly Draft[] = ['2020-12'];

/** Keywords that say something and check nothing. */
const ANNOTATIONS: readonly KeywordCase[] = [
  ...['$comment', 'title', 'description', 'default', 'contentMediaType', 'contentEncoding'].map(
    (keyword): KeywordCase => [keyword, { [keyword]: 'x' }, ALL, []],
  ),
  ['examples', { examples: [1] }, ALL, []],
  ...['readOnly', 'writeOnly'].map((keyword): KeywordCase => [keyword, { [keyword]: true }, ALL, []]),
  ['deprecated', { deprecated: true }, ALL, [], NEW],
  ['contentSchema', { contentMediaType: 'application/json', contentSchema: false }, ALL, [], NEW],
  ['$defs', { $defs: { a: false } }, ALL, [], NEW],
  ['definitions', { definitions: { a: false } }, ALL, [], OLD],
];

const text = { type: 'string' };
const ofLists = { type: 'array' };
const REFERENCES: readonly KeywordCase[] = [
  ['$ref', { $ref: '#/definitions/a', definitions: { a: text } }, ['', 'a'], [1, null, {}], OLD],
  ['$ref', { $ref: '#/$defs/a', maxLength: 1, $defs: { a: text } }, ['', 'a'], [1, 'ab'], NEW],
  ['$ref', { ...ofLists, items: { $ref: '#' } }, [[], [[]], [[[]], []]], [1, [1], [[1]]]],
  ['$id', { $id: 'https://x.example/own.json', ...text }, ['a'], [1]],
  ['$anchor', { $ref: '#there', $defs: { a: { $anchor: 'there', ...text } } }, ['a'], [1], NEW],
  ['$dynamicRef', { $dynamicRef: '#a', $defs: { a: { $dynamicAnchor: 'a', const: 1 } } }, [1], [2], ONLY_2020],
  [
    '$dynamicAnchor',
    { $dynamicAnchor: 'node', items: { $dynamicRef: '#node' }, ...ofLists },
    [[], [[]]],
    [1, [1]],
    ONLY_2020,
  ],
  ['$recursiveRef', { ...ofLists, items: { $recursiveRef: '#' } }, [[], [[]]], [1, [[2]]], ONLY_2019],
  [
    '$recursiveAnchor',
    { $recursiveAnchor: true, ...ofLists, items: { $recursiveRef: '#' } },
    [[], [[]]],
    [1, [1]],
    ONLY_2019,
  ],
];

const SCALARS: readonly KeywordCase[] = [
  ['type', { type: 'integer' }, [0, 1.0, -5, 1e300], [1.5, '1', null, [], {}, true]],
  ['type', { type: ['string', 'null'] }, ['', null], [1, [], {}, false]],
  ['enum', { enum: [1, 'a', null, [1], { a: 1 }] }, [1, 'a', null, [1], { a: 1 }], [2, false, [], {}, { a: 1, b: 2 }]],
  ['const', { const: { a: [1, null] } }, [{ a: [1, null] }], [{ a: [1] }, {}, [], null, { a: [null, 1] }]],
  ['allOf', { allOf: [{ minimum: 1 }, { maximum: 2 }] }, [1, 2, 'a'], [0, 3]],
  ['anyOf', { anyOf: [text, { minimum: 5 }] }, ['a', 5, null], [4]],
  ['oneOf', { oneOf: [{ multipleOf: 2 }, { multipleOf: 3 }] }, [2, 3, 4], [6, 1, 'a']],
  ['not', { not: text }, [1, null, []], ['', 'a']],
  ['if', { if: { minimum: 10 }, then: { multipleOf: 10 }, else: { multipleOf: 2 } }, [2, 10, 20], [3, 11]],
  ['then', { then: false }, ALL, []],
  ['else', { if: text, else: { const: 1 } }, ['a', 1], [2, null]],
  ['multipleOf', { multipleOf: 0.01 }, [19.99, 0, -0.05, 'a'], [0.005, 1.234]],
  ['maximum', { maximum: 3 }, [3, -1e300, 'a'], [3.1, 4]],
  ['exclusiveMaximum', { exclusiveMaximum: 3 }, [2.9, 'a'], [3, 4]],
  ['minimum', { minimum: -2 }, [-2, 1e300, 'a'], [-2.1]],
  ['exclusiveMinimum', { exclusiveMinimum: -2 }, [-1.9, null], [-2, -3]],
  ['maxLength', { maxLength: 2 }, ['', 'ab', '😀😀', 5], ['abc', '😀😀😀']],
  ['minLength', { minLength: 2 }, ['ab', '😀😀', 5], ['', 'a', '😀']],
  ['pattern', { pattern: '^\\p{L}\\d$' }, ['ä1', '漢2', 5], ['', 'a', 'a12']],
  ['format', { format: 'date' }, ['2024-02-29', 5], ['2023-02-29', '2024-2-1', '']],
];

const INTEGER = { type: 'integer' };
const ARRAYS: readonly KeywordCase[] = [
  ['items', { items: INTEGER }, [[], [1, 2], 'a', { 0: 'a' }], [['a'], [1, 'a']]],
  ['items', { items: [INTEGER, text] }, [[], [1], [1, 'a', null]], [['a'], [1, 2]], UP_TO_2019],
  ['items', { prefixItems: [true], items: { const: 1 } }, [[], ['x'], ['x', 1]], [['x', 2]], ONLY_2020],
  ['additionalItems', { items: [true], additionalItems: { const: 1 } }, [['x'], ['x', 1]], [['x', 2]], UP_TO_2019],
  ['prefixItems', { prefixItems: [{ const: 1 }, { const: 2 }] }, [[], [1], [1, 2, 3]], [[2], [1, 1]], ONLY_2020],
  ['contains', { contains: { const: 5 } }, [[5], [1, 5], 'a'], [[], [1, 2]]],
  ['minContains', { contains: { const: 5 }, minContains: 2 }, [[5, 5], 'a'], [[], [5], [5, 1]], NEW],
  ['maxContains', { contains: { const: 5 }, maxContains: 1 }, [[5], [5, 1]], [[], [5, 5]], NEW],
  ['maxItems', { maxItems: 1 }, [[], [1], { a: 1, b: 2 }], [[1, 2]]],
  ['minItems', { minItems: 1 }, [[1], {}, ''], [[]]],
  [
    'uniqueItems',
    { uniqueItems: true },
    [
      [1, '1', true],
      [[1], [2]],
      [0, false],
    ],
    [
      [1, 1.0],
      [[1], [1]],
    ],
  ],
  ['unevaluatedItems', { allOf: [{ prefixItems: [INTEGER] }], unevaluatedItems: false }, [[1]], [[1, 2]], ONLY_2020],
  [
    'unevaluatedItems',
    { contains: true, prefixItems: [{ const: 1 }], unevaluatedItems: false },
    [[1, 2]],
    [[], [2]],
    ONLY_2020,
  ],
  ['unevaluatedItems', { allOf: [{ items: [INTEGER] }], unevaluatedItems: false }, [[1]], [[1, 2]], ONLY_2019],
];

const AB = { required: ['a'], maxProperties: 1 };
const OBJECTS: readonly KeywordCase[] = [
  ['properties', { properties: { a: INTEGER, b: false } }, [{}, { a: 1 }, { c: 'x' }, [], 'a'], [{ a: 'x' }, { b: 1 }]],
  ['properties', { properties: { constructor: INTEGER } }, [{}, { constructor: 1 }], [{ constructor: 'x' }]],
  ['patternProperties', { patternProperties: { '^x': INTEGER } }, [{}, { x: 1, y: 'a' }], [{ x: 'a' }, { xy: null }]],
  [
    'additionalProperties',
    { properties: { a: true }, patternProperties: { '^x': true }, additionalProperties: false },
    [{}, { a: 1, x1: 2 }],
    [{ b: 1 }, { constructor: 1 }],
  ],
  ['propertyNames', { propertyNames: { maxLength: 2 } }, [{}, { ab: 1 }, 'abc'], [{ abc: 1 }]],
  ['required', { required: ['constructor'] }, [{ constructor: 1 }, [], 'a'], [{}, { a: 1 }]],
  ['maxProperties', { maxProperties: 1 }, [{}, { a: 1 }, [1, 2]], [{ a: 1, b: 2 }]],
  ['minProperties', { minProperties: 1 }, [{ a: 1 }, []], [{}]],
  ['dependencies', { dependencies: { a: ['b'], c: AB } }, [{}, { a: 1, b: 1 }], [{ a: 1 }, { c: 1 }], OLD],
  ['dependentRequired', { dependentRequired: { a: ['b'] } }, [{}, { b: 1 }, { a: 1, b: 1 }], [{ a: 1 }], NEW],
  ['dependentSchemas', { dependentSchemas: { a: AB } }, [{}, { a: 1 }, { b: 1, c: 1 }], [{ a: 1, b: 1 }], NEW],
  [
    'unevaluatedProperties',
    { if: { required: ['a'] }, then: { properties: { a: true, b: true } }, unevaluatedProperties: { const: 1 } },
    [{ a: 5, b: 5 }, { c: 1 }],
    [{ b: 5 }, { a: 5, c: 2 }, { constructor: 2 }],
    NEW,
  ],
];

/** A case or two for each keyword of each draft: that it's switched on, and linked. What more it means is Ajv's to test. */
export const KEYWORD_CASES: readonly KeywordCase[] = [...ANNOTATIONS, ...REFERENCES, ...SCALARS, ...ARRAYS, ...OBJECTS];
