import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Connection } from './connections.ts';

/** The manifest of the extension, which has the connection's form. */
const MANIFEST = path.join(import.meta.dirname, '../vss-extension.json');

interface Field {
  readonly id: string;
}

/** What is read of the manifest's contribution of a connection type. */
interface ConnectionForm {
  readonly inputDescriptors: readonly Field[];
  readonly authenticationSchemes: readonly { readonly type: string; readonly inputDescriptors: readonly Field[] }[];
}

/** What the agent calls the kinds of authentication, by the name of the scheme in vss-extension.json. */
const SCHEMES: Readonly<Record<string, string>> = {
  none: 'None',
  token: 'Token',
  basic: 'UsernamePassword',
  cert: 'Certificate',
};

/** The fields of the connection's form: those of each scheme, and those of all. */
function fieldsOfForm(): {
  readonly schemes: ReadonlyMap<string, readonly string[]>;
  readonly data: readonly string[];
} {
  const { contributions } = JSON.parse(readFileSync(MANIFEST, 'utf8')) as {
    contributions: readonly { readonly type: string; readonly properties: unknown }[];
  };
  const form = contributions.find(({ type }) => type === 'ms.vss-endpoint.service-endpoint-type')?.properties;
  const { authenticationSchemes, inputDescriptors } = form as ConnectionForm;
  const idsOf = (fields: readonly Field[]): string[] => fields.map(({ id }) => id);
  return {
    schemes: new Map(
      authenticationSchemes.map(({ type, inputDescriptors: fields }) => [
        SCHEMES[type.slice(type.lastIndexOf('-') + 1)] ?? type,
        idsOf(fields),
      ]),
    ),
    data: idsOf(inputDescriptors),
  };
}

/**
 * Reads service connections of type NATS from a JSON file: by name, `url`, `scheme` (default None), `parameters` and `data`. A
 * field of these two is a text, `{ "env": NAME }` for a variable of the environment, or `{ "file": PATH }`, relative to the JSON file.
 * @throws Error that lists all that is wrong, and never shows a value
 */
export function readConnectionFile(file: string): Record<string, Connection> {
  const problems: string[] = [];
  const { schemes, data: dataFields } = fieldsOfForm();
  const asObject = (value: unknown, where: string): Record<string, unknown> => {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    problems.push(`${where} must be an object`);
    return {};
  };
  const checkNames = (given: object, known: readonly string[], where: string): void => {
    for (const name of Object.keys(given).filter((one) => !known.includes(one)))
      problems.push(`${where} has no "${name}", only ${known.join(', ')}`);
  };
  const fieldOf = (value: unknown, where: string): string => {
    if (typeof value === 'string') return value;
    const { env, file: other, ...more } = asObject(value, where);
    checkNames(more, ['env', 'file'], where);
    if (typeof env === 'string') {
      const found = process.env[env];
      if (found === undefined) problems.push(`${where}: the environment has no variable of this name`);
      return found ?? '';
    }
    if (typeof other === 'string') {
      try {
        return readFileSync(path.resolve(path.dirname(file), other), 'utf8');
      } catch {
        problems.push(`${where}: the file cannot be read`);
        return '';
      }
    }
    problems.push(`${where} must be a text, { "env": … } or { "file": … }`);
    return '';
  };

  const connections = Object.entries(asObject(parseFile(file), 'the file')).map(([name, value]) => {
    const entry = asObject(value, name);
    checkNames(entry, ['url', 'scheme', 'parameters', 'data'], name);
    const { url, scheme = 'None' } = entry;
    if (typeof url !== 'string') problems.push(`${name}.url must be a text`);
    const fields = typeof scheme === 'string' ? schemes.get(scheme) : undefined;
    if (!fields) problems.push(`${name}.scheme must be one of ${[...schemes.keys()].join(', ')}`);
    const parameters = asObject(entry['parameters'] ?? {}, `${name}.parameters`);
    if (fields) checkNames(parameters, fields, `${name}.parameters of the scheme ${String(scheme)}`);
    const data = asObject(entry['data'] ?? {}, `${name}.data`);
    checkNames(data, dataFields, `${name}.data`);
    const connection: Connection = {
      url: String(url),
      scheme: String(scheme),
      parameters: Object.fromEntries(
        Object.entries(parameters).map(([key, secret]) => [key, fieldOf(secret, `${name}.parameters.${key}`)]),
      ),
      data: Object.fromEntries(
        Object.entries(data).map(([key, text]) => [
          key,
          typeof text === 'boolean' ? String(text) : fieldOf(text, `${name}.data.${key}`),
        ]),
      ),
    };
    return [name, connection] as const;
  });
  if (problems.length > 0) throw new Error(`${file}: ${problems.join('; ')}.`);
  return Object.fromEntries(connections);
}

/** The message of a JSON parser may quote the file, and with it a secret. */
function parseFile(file: string): unknown {
  const text = readFileSync(file, 'utf8');
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${file}: is no JSON.`);
  }
}
