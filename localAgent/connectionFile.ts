import { readFileSync } from 'node:fs';
import path from 'node:path';
import { reasonOf } from '../shared/errors.ts';
import { quoted } from '../shared/text/safeText.ts';
import type { Connection } from './connections.ts';
import { connectionType, type Field, OWN_MANIFEST, schemeName } from './connectionTypes.ts';

interface Form {
  /** The fields of each scheme. */
  readonly schemes: ReadonlyMap<string, readonly Field[]>;
  /** The fields of all schemes. */
  readonly data: readonly Field[];
}

const TYPES = ['NatsServer', 'NatsBridge'] as const;

function formOf(type: string): Form {
  const { authenticationSchemes, inputDescriptors } = connectionType(OWN_MANIFEST, type);
  return {
    schemes: new Map(authenticationSchemes.map((scheme) => [schemeName(scheme), scheme.inputDescriptors])),
    data: inputDescriptors,
  };
}

/**
 * Reads service connections from a JSON file: by name, `type` (default NatsServer), `url`, `scheme` (default None), `parameters`
 * and `data`. A field of these two is a text, `{ "env": NAME }` for a variable of the environment, or `{ "file": PATH }`,
 * relative to the JSON file. A connection to a bridge also has `organization`, where the run answers what the bridge asks.
 * @throws Error that lists all that is wrong, and never shows a value
 */
export function readConnectionFile(file: string): Record<string, Connection> {
  const problems: string[] = [];
  const forms = new Map(TYPES.map((type) => [type as string, formOf(type)]));
  const asObject = (value: unknown, where: string): Record<string, unknown> => {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    problems.push(`${where} must be an object`);
    return {};
  };
  const checkNames = (given: object, known: readonly string[], where: string): void => {
    for (const name of Object.keys(given).filter((one) => !known.includes(one)))
      problems.push(`${where} has no "${name}", only ${known.join(', ')}`);
  };
  const fieldOf = (value: unknown, where: string, { inputMode }: Field): string => {
    const text = textOf(value, where);
    // A file ends in a line break; a field of one line can't hold it.
    return inputMode === 'textarea' ? text : text.replace(/\r?\n$/, '');
  };
  const textOf = (value: unknown, where: string): string => {
    if (typeof value === 'string') return value;
    const { env, file: other, ...more } = asObject(value, where);
    checkNames(more, ['env', 'file'], where);
    if (typeof env === 'string') {
      const found = process.env[env];
      if (found === undefined) problems.push(`${where}: the environment has no variable of this name`);
      return found ?? '';
    }
    if (typeof other === 'string') {
      const source = path.resolve(path.dirname(file), other);
      try {
        return readFileSync(source, 'utf8');
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        problems.push(
          code === 'ENOENT'
            ? `${where}: there is no file ${quoted(source)}`
            : `${where}: the file ${quoted(source)} cannot be read (${code ?? reasonOf(error)})`,
        );
        return '';
      }
    }
    problems.push(`${where} must be a text, { "env": … } or { "file": … }`);
    return '';
  };

  const connections = Object.entries(asObject(parseFile(file), 'the file')).map(([name, value]) => {
    const entry = asObject(value, name);
    const { type = 'NatsServer', url, scheme = 'None', organization } = entry;
    const form = typeof type === 'string' ? forms.get(type) : undefined;
    if (!form) {
      problems.push(`${name}.type must be one of ${TYPES.join(', ')}`);
      return [name, { url: '', scheme: 'None' }] as const;
    }
    const isBridge = type === 'NatsBridge';
    checkNames(entry, ['type', 'url', 'scheme', 'parameters', 'data', ...(isBridge ? ['organization'] : [])], name);
    if (typeof url !== 'string') problems.push(`${name}.url must be a text`);
    const fields = typeof scheme === 'string' ? form.schemes.get(scheme) : undefined;
    const more = isBridge ? '' : ' (None also for a credentials file or an NKey)';
    if (!fields) problems.push(`${name}.scheme must be one of ${[...form.schemes.keys()].join(', ')}${more}`);
    if (isBridge && !isLocal(organization))
      problems.push(`${name}.organization must be an address of this machine such as http://127.0.0.1:8085/local/`);
    /** The values of a part; an unknown name is reported once, as a problem. */
    const values = (part: 'parameters' | 'data', known: readonly Field[] | undefined, where: string) => {
      const given = asObject(entry[part] ?? {}, `${name}.${part}`);
      if (known) checkNames(given, idsOf(known), where);
      return Object.fromEntries(
        Object.entries(given).map(([key, value]) => {
          const field = known?.find(({ id }) => id === key) ?? { id: key };
          const place = `${name}.${part}.${key}`;
          const isFlag = part === 'data' && typeof value === 'boolean';
          return [key, isFlag ? String(value) : fieldOf(value, place, field)];
        }),
      );
    };
    const connection: Connection = {
      url: String(url),
      scheme: String(scheme),
      parameters: values('parameters', fields, `${name}.parameters of the scheme ${String(scheme)}`),
      data: values('data', form.data, `${name}.data`),
      ...(isBridge && { type, organization: String(organization) }),
    };
    return [name, connection] as const;
  });
  if (problems.length > 0) throw new Error(`${file}: ${problems.join('; ')}.`);
  return Object.fromEntries(connections);
}

function idsOf(fields: readonly Field[]): string[] {
  return fields.map(({ id }) => id);
}

/** Whether it's a URL that this process can listen at, for an organization of any name. */
function isLocal(organization: unknown): boolean {
  return (
    typeof organization === 'string' && /^http:\/\/(127\.0\.0\.1|localhost|\[::1\]):\d+\/[\w-]+\/$/.test(organization)
  );
}

/** The message of a JSON parser may quote the file, and with it a secret. */
function parseFile(file: string): unknown {
  const text = readFileSync(file, 'utf8');
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${file}: isn't JSON.`);
  }
}
