import type { ValidateFunction } from 'ajv';
import { META_SCHEMAS, newMetaAjv, type Draft } from './drafts.ts';

/**
 * What tells whether a value is a schema of a draft. Compiling it would take more than half of a step's time, so the
 * build puts into the bundles what is compiled here (scripts/build/metaSchemas.ts) in place of this module.
 */
export function metaSchemaOf(draft: Draft): Promise<ValidateFunction> {
  const metaSchema = newMetaAjv(draft).getSchema(META_SCHEMAS[draft]);
  if (metaSchema === undefined) throw new Error(`Ajv has no meta-schema of ${draft}.`);
  return Promise.resolve(metaSchema);
}

/** The schema of a draft's own that has this URI: a meta-schema, or a part of one. */
export function metaSchemaAt(uri: string): Record<string, unknown> | undefined {
  if (!uri.includes('//json-schema.org/')) return undefined;
  const found = (Object.keys(META_SCHEMAS) as Draft[]).map((draft) => newMetaAjv(draft).schemas[uri]?.schema);
  return found.find((schema) => typeof schema === 'object');
}
