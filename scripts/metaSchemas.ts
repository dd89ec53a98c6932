import standaloneModule from 'ajv/dist/standalone/index.js';
import { META_SCHEMAS, newMetaAjv, type Draft } from '../tasks/shared/schemaDrafts.ts';

// The package's types describe another module shape than the one it has.
const standaloneCode = standaloneModule as unknown as (typeof standaloneModule)['default'];

/** The code of a CommonJS module that exports what `metaSchemaOf` of tasks/shared/schemaMetas.ts gives at run time. */
export function metaSchemaCode(draft: Draft): string {
  const ajv = newMetaAjv(draft);
  const metaSchema = ajv.getSchema(META_SCHEMAS[draft]);
  const code = standaloneCode(ajv, metaSchema);
  return ajv.opts.code.process?.(code) ?? code;
}

/** The code of a module in place of tasks/shared/schemaMetas.ts, which loads those of `meta-schema:<draft>` one by one. */
export function schemaMetasCode(): string {
  const loaders = Object.keys(META_SCHEMAS).map((draft) => `'${draft}': () => import('meta-schema:${draft}')`);
  return `const LOADERS = { ${loaders.join(', ')} };
    export const metaSchemaOf = async (draft) => (await LOADERS[draft]()).default;`;
}
