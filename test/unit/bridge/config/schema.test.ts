import assert from 'node:assert/strict';
import { test } from 'node:test';
import { metaSchemaOf } from '../../../../shared/contract/metaSchemas.ts';
import { isObject } from '../../../../shared/text/json.ts';
import SCHEMA from '../../../../bridge/config/config.schema.json' with { type: 'json' };
import { LEAST, read } from '../../../support/bridge/configurationFile.ts';

type Schema = Readonly<Record<string, unknown>>;

/** A schema with its reference resolved. */
function resolved(schema: Schema): Schema {
  const name = typeof schema['$ref'] === 'string' ? schema['$ref'].replace('#/$defs/', '') : undefined;
  return name === undefined ? schema : { ...(SCHEMA.$defs as Record<string, Schema>)[name], ...schema };
}

/** The default in a value's schema; undefined if there's none. */
function defaultOf(given: Schema): unknown {
  const schema = resolved(given);
  if (schema['default'] !== undefined) return schema['default'];
  const properties = Object.entries((schema['properties'] ?? {}) as Record<string, Schema>);
  const defaults = properties.flatMap(([name, member]) => {
    const value = defaultOf(member);
    return value === undefined ? [] : [[name, value] as const];
  });
  return defaults.length === 0 ? undefined : Object.fromEntries(defaults);
}

test('the published schema is a JSON Schema', () => {
  const isSchema = metaSchemaOf('2020-12');
  assert.ok(isSchema(SCHEMA), JSON.stringify(isSchema.errors));
  assert.equal(isSchema({ ...SCHEMA, type: 'section' }), false);
});

test('every key has a description', () => {
  const undescribed = (schema: Schema, name: string): string[] =>
    Object.entries((schema['properties'] ?? {}) as Record<string, Schema>).flatMap(([key, member]) => [
      ...(typeof member['description'] === 'string' || name.startsWith('.timing') ? [] : [`${name}.${key}`]),
      ...undescribed(resolved(member), `${name}.${key}`),
    ]);
  assert.deepEqual(undescribed(SCHEMA, ''), []);
});

test("the schema's defaults are the real ones", () => {
  const hooks = { passwordEnvs: ['P'] };
  const waits = { organizations: ['https://dev.azure.com/contoso/'], tokenEnvs: ['P'], sealingKeyEnvs: ['K'] };
  const { callout, ...defaults } = defaultOf(SCHEMA) as Record<string, unknown>;
  // It has a configuration and a test of its own.
  assert.ok(isObject(callout));
  assert.ok(isObject(defaults['hooks']) && isObject(defaults['nats']) && isObject(defaults['waits']));
  const spelledOut = {
    ...defaults,
    hooks: { ...defaults['hooks'], ...hooks, identity: {} },
    waits: { ...defaults['waits'], ...waits },
    nats: { ...defaults['nats'], servers: ['nats://127.0.0.1:4222'] },
    azureDevOps: {
      ...(defaults['azureDevOps'] as object),
      organization: 'https://dev.azure.com/contoso/',
      identity: { kind: 'managedIdentity' },
    },
  };
  const env = { P: 'long-enough-a-password', K: Buffer.alloc(32).toString('base64') };
  const said = read(JSON.stringify(spelledOut), { env }).settings;
  const unsaid = read(`${LEAST}hooks: ${JSON.stringify(hooks)}\nwaits: ${JSON.stringify(waits)}\n`, { env }).settings;
  const inboxPrefix = { inboxPrefix: '_INBOX' };
  assert.deepEqual(said.nats(), { ...unsaid.nats(), ...inboxPrefix });
  assert.deepEqual(JSON.parse(JSON.stringify(said)), JSON.parse(JSON.stringify(unsaid)));
});
