import { transformSync } from 'esbuild';
import standaloneModule from 'ajv/dist/standalone/index.js';
import { META_SCHEMAS, newMetaAjv, type Draft } from '../../shared/contract/drafts.ts';

// The package's types describe another module shape than the one it has.
const standaloneCode = standaloneModule as unknown as (typeof standaloneModule)['default'];

/**
 * The code of a CommonJS module that exports what `metaSchemaOf` of shared/contract/metaSchemas.ts gives at run time. What Ajv
 * compiled is in it as text, so that V8 reads it in those steps only that use its draft.
 */
export function metaSchemaCode(draft: Draft): string {
  const ajv = newMetaAjv(draft);
  const code = standaloneCode(ajv, ajv.getSchema(META_SCHEMAS[draft]));
  const text = transformSync(ajv.opts.code.process?.(code) ?? code, { minify: true, format: 'cjs' }).code;
  // The one module that such code requires.
  const equal = `require('ajv/dist/runtime/equal.js')`;
  return `new Function('module', 'require', ${JSON.stringify(text)})(module, () => ${equal});`;
}

/** The code of a module in place of shared/contract/metaSchemas.ts, which loads those of `meta-schema:<draft>` one by one. */
export function metaSchemasCode(): string {
  const loaders = Object.keys(META_SCHEMAS).map((draft) => `'${draft}': () => import('meta-schema:${draft}')`);
  return `const LOADERS = { ${loaders.join(', ')} };
    export const metaSchemaOf = async (draft) => (await LOADERS[draft]()).default;`;
}
