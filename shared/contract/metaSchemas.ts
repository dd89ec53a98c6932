import type { AnySchemaObject, ValidateFunction } from 'ajv';
import { META_SCHEMAS, metaSchemasOf, newMetaAjv, type Draft } from './drafts.ts';

/** The schema of a draft's own that has this URI: a meta-schema, or a part of one. */
export function metaSchemaAt(uri: string): AnySchemaObject | undefined {
  if (!uri.includes('//json-schema.org/')) return undefined;
  const schemas = (Object.keys(META_SCHEMAS) as Draft[]).flatMap(metaSchemasOf);
  return schemas.find(({ $id }) => $id?.replace(/#$/, '') === uri);
}

/** Checks whether a value is a schema of a draft, and what is wrong with it. Compiling this takes more than half of a step's time. */
export function metaSchemaOf(draft: Draft): ValidateFunction {
  const metaSchema = newMetaAjv(draft).getSchema(META_SCHEMAS[draft]);
  if (metaSchema === undefined) throw new Error(`Ajv has no meta-schema of ${draft}.`);
  return metaSchema;
}
