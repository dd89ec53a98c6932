import { Ajv, type CodeOptions, type Options } from 'ajv';
import type core from 'ajv/dist/core.js';
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

const CODE: CodeOptions = {
  // Else unevaluatedProperties lets a property "constructor" pass, which every object has by its prototype.
  process: (code) => code.replaceAll(/!(props\d+)\[(key\d+)\]/g, '!Object.hasOwn($1, $2)'),
};
const OPTIONS: Options = {
  allErrors: true, // also because the other mode accepts [] against { prefixItems: [{ not: {} }], contains: {} }
  strict: false,
  logger: false,
  validateSchema: false, // done before, with places in the user's file
  ownProperties: true, // else {} has a property "constructor"
  code: CODE,
};

/** For linked schemas, whose URIs are `contract:/<number>` and of whose references none is relative but `#name`. */
const LINKED_URIS: NonNullable<Options['uriResolver']> = {
  parse: (uri) => {
    const [path = '', fragment] = uri.split('#', 2);
    return { path, ...(fragment === undefined ? {} : { fragment }) };
  },
  serialize: ({ path = '', fragment }) => (fragment === undefined ? path : `${path}#${fragment}`),
  resolve: (base, uri) => (uri.startsWith('#') ? base.replace(/#.*/, '') + uri : uri),
};

/** What compiles linked schemas of a draft. It knows no meta-schema. Twins: see {@link compareExactly}. */
export function newAjv(draft: Draft, twins: Twins): AnyAjv {
  // Ajv's own optimizing takes a tenth of the compilation, and V8 makes the same of the code without it.
  const code = { ...CODE, optimize: false };
  // Whether a reference can be inlined takes it twice as long for each level of lists: minutes for a schema with 30.
  const inlineRefs = false;
  const ajv = prepared(new DRAFTS[draft]({ ...OPTIONS, meta: false, uriResolver: LINKED_URIS, code, inlineRefs }));
  compareExactly(ajv, twins);
  return ajv;
}

/** As {@link newAjv}, with the meta-schemas of the draft, which can be had as code. */
export function newMetaAjv(draft: Draft): AnyAjv {
  return prepared(new DRAFTS[draft]({ ...OPTIONS, code: { ...CODE, source: true } }));
}

function prepared(ajv: AnyAjv): AnyAjv {
  formats.default(ajv, { mode: 'full', keywords: false });
  // Keywords of Ajv's own, without meaning in JSON Schema.
  for (const keyword of ['$async', 'id', 'nullable']) ajv.removeKeyword(keyword);
  return ajv;
}
