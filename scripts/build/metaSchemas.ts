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
  const compiled = standaloneCode(ajv, ajv.getSchema(META_SCHEMAS[draft]));
  const code = `${ajv.opts.code.process?.(compiled) ?? compiled};module.exports.schemas = ${schemasIn(compiled, ajv.schemas)};`;
  const text = transformSync(code, { minify: true, format: 'cjs' }).code;
  // The one module that such code requires.
  const equal = `require('ajv/dist/runtime/equal.js')`;
  return `new Function('module', 'require', ${JSON.stringify(text)})(module, () => ${equal});`;
}

/** The code of a module in place of shared/contract/metaSchemas.ts, which loads those of `meta-schema:<draft>` one by one. */
export function metaSchemasCode(): string {
  const drafts = Object.keys(META_SCHEMAS);
  const loaders = drafts.map((draft) => `'${draft}': () => import('meta-schema:${draft}')`);
  return `const LOADERS = { ${loaders.join(', ')} };
    export const metaSchemaOf = async (draft) => (await LOADERS[draft]()).default;
    export const metaSchemaAt = (uri) => {
      if (!uri.includes('//json-schema.org/')) return undefined;
      for (const of of [${drafts.map((draft) => `() => require('meta-schema:${draft}')`).join(', ')}]) {
        const { schemas } = of();
        if (Object.hasOwn(schemas, uri)) return schemas[uri];
      }
    };`;
}

/** An object of the schemas by URI, each by the name of the constant that has it in the compiled code. */
function schemasIn(compiled: string, schemas: Readonly<Record<string, unknown>>): string {
  const named = new Map(
    [...compiled.matchAll(/const (schema\d+) = (\{.*?\});(?=const|func|$)/gs)].flatMap(([, name = '', json = '']) => {
      const { $id } = JSON.parse(json) as { readonly $id?: string };
      return $id === undefined ? [] : [[$id.replace(/#$/, ''), name] as const];
    }),
  );
  const entries = Object.keys(schemas).map((uri) => {
    const name = named.get(uri);
    if (name === undefined) throw new Error(`The compiled meta-schema does not hold ${uri}.`);
    return `${JSON.stringify(uri)}: ${name}`;
  });
  return `{ ${entries.join(', ')} }`;
}
