import { _, Ajv, type AnySchemaObject, type CodeKeywordDefinition, type KeywordCxt, type Options } from 'ajv';
import { Type } from 'ajv/dist/compile/util.js';
import type core from 'ajv/dist/core.js';
import addDraft2019 from 'ajv/dist/refs/json-schema-2019-09/index.js';
import addDraft2020 from 'ajv/dist/refs/json-schema-2020-12/index.js';
import draft07 from 'ajv/dist/refs/json-schema-draft-07.json' with { type: 'json' };
import { Ajv2019 } from 'ajv/dist/2019.js';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { compareExactly, type Twins } from './exactNumbers.ts';

const DRAFTS = { 'draft-07': Ajv, '2019-09': Ajv2019, '2020-12': Ajv2020 };
export type Draft = keyof typeof DRAFTS;
/** Ajv for any of them. */
export type AnyAjv = core.default;

/** By the URIs that `$schema` names. */
export const META_SCHEMAS: Readonly<Record<Draft, string>> = {
  'draft-07': 'http://json-schema.org/draft-07/schema',
  '2019-09': 'https://json-schema.org/draft/2019-09/schema',
  '2020-12': 'https://json-schema.org/draft/2020-12/schema',
};

const OPTIONS: Options = {
  allErrors: true, // also because the other mode accepts [] against { prefixItems: [{ not: {} }], contains: {} }
  strict: false,
  logger: false,
  validateSchema: false, // done before, with places in the user's file
  ownProperties: true, // else {} has a property "constructor"
};

/** For linked schemas, whose references are whole URIs, and for one that refers to parts of itself with `#/…`. */
const LINKED_URIS: NonNullable<Options['uriResolver']> = {
  parse: (uri) => {
    const [path = '', fragment] = uri.split('#', 2);
    return { path, ...(fragment === undefined ? {} : { fragment }) };
  },
  serialize: ({ path = '', fragment }) => (fragment === undefined ? path : `${path}#${fragment}`),
  resolve: (base, uri) => (uri.startsWith('#') ? base.replace(/#.*/, '') + uri : uri),
};

/** For meta-schemas, which refer to each other by relative URIs. */
const META_URIS = { ...LINKED_URIS, resolve: (base: string, uri: string) => new URL(uri, base).href };

/**
 * Compiles a draft's linked schemas. Knows no meta-schema.
 *
 * @param twins see {@link compareExactly}. A schema of the program's own needs none: then it's compiled to what a module can hold
 */
export function newAjv(draft: Draft, twins?: Twins): AnyAjv {
  // Ajv's own optimizing takes a tenth of the compilation, and V8 makes the same of the code without it.
  const code = { optimize: false, ...(twins === undefined && { source: true, esm: true }) };
  // Deciding whether a reference can be inlined takes twice as long per level of lists: minutes for a schema with 30.
  const inlineRefs = false;
  const ajv = prepared(new DRAFTS[draft]({ ...OPTIONS, meta: false, uriResolver: LINKED_URIS, code, inlineRefs }));
  // Ajv knows both drafts' in both.
  const other = draft === '2020-12' ? ['$recursiveRef', '$recursiveAnchor'] : ['$dynamicRef', '$dynamicAnchor'];
  for (const keyword of other) ajv.removeKeyword(keyword);
  if (twins !== undefined) compareExactly(ajv, twins);
  countContained(ajv);
  judgeInFull(ajv);
  // Bookkeeping for keywords that aren't left to Ajv here: linking makes dynamic references plain ones.
  ajv.opts.dynamicRef = false;
  ajv.opts.unevaluated = false;
  return ajv;
}

/** As {@link newAjv}, with the meta-schemas of the draft. */
export function newMetaAjv(draft: Draft): AnyAjv {
  const ajv = prepared(new DRAFTS[draft]({ ...OPTIONS, meta: false, uriResolver: META_URIS }));
  for (const schema of metaSchemasOf(draft)) ajv.addMetaSchema(schema);
  return ajv;
}

/** A draft's meta-schema, and the schemas it is made of. */
export function metaSchemasOf(draft: Draft): AnySchemaObject[] {
  if (draft === 'draft-07') {
    const { properties, ...rest } = draft07;
    // Ajv's copy demands more than the draft: at least one value, and none twice.
    return [{ ...rest, properties: { ...properties, enum: { type: 'array', items: true } } }];
  }
  const schemas: AnySchemaObject[] = [];
  const addAll = draft === '2019-09' ? addDraft2019 : addDraft2020;
  addAll.default.call({ addMetaSchema: (schema: AnySchemaObject) => schemas.push(schema) } as never);
  return schemas;
}

/**
 * Has these judge their parts in full. Ajv stops at the first problem there, and so skips what comes after
 * keywords that say nothing about a value: `{ not: { prefixItems: [true, {}], uniqueItems: true } }` refused a short list.
 */
function judgeInFull(ajv: AnyAjv): void {
  for (const keyword of ['not', 'if']) {
    const definition = ajv.getKeyword(keyword) as CodeKeywordDefinition;
    ajv.removeKeyword(keyword);
    ajv.addKeyword({
      ...definition,
      code(cxt) {
        const judge = cxt.subschema.bind(cxt);
        cxt.subschema = (part, valid) => judge({ ...part, allErrors: true }, valid);
        definition.code(cxt);
      },
    });
  }
}

/** Ajv's own `contains` accepts an empty list if the list checked before it had such an item. */
function countContained(ajv: AnyAjv): void {
  const contains = ajv.getKeyword('contains') as CodeKeywordDefinition;
  ajv.removeKeyword('contains');
  ajv.addKeyword({ ...contains, code: contained });
}

function contained(cxt: KeywordCxt): void {
  const { gen, data, it } = cxt;
  const { minContains: min = 1, maxContains: max } = (it.opts.next === true ? cxt.parentSchema : {}) as Contained;
  if (min === 0 && max === undefined) return;
  cxt.setParams({ min, max });
  const count = gen.let('count', 0);
  gen.forRange('i', 0, _`${data}.length`, (index) => {
    const isValid = gen.name('_valid');
    cxt.subschema({ keyword: 'contains', dataProp: index, dataPropType: Type.Num, compositeRule: true }, isValid);
    const isDecided = max === undefined ? _`${count} >= ${min}` : _`${count} > ${max}`;
    gen.if(isValid, () => gen.code(_`${count}++`).if(isDecided, () => gen.break()));
  });
  cxt.result(max === undefined ? _`${count} >= ${min}` : _`${count} >= ${min} && ${count} <= ${max}`, () =>
    cxt.reset(),
  );
}

interface Contained {
  readonly minContains?: number;
  readonly maxContains?: number;
}

function prepared(ajv: AnyAjv): AnyAjv {
  formats.default(ajv, { mode: 'full', keywords: false });
  // Keywords of Ajv's own, without meaning in JSON Schema.
  for (const keyword of ['$async', 'id', 'nullable']) ajv.removeKeyword(keyword);
  return ajv;
}
