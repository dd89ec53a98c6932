import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Problem } from '../../shared/errors.ts';
import { parseDuration } from '../../shared/text/duration.ts';
import { isObject } from '../../shared/text/json.ts';
import { nameOf } from './nameOf.ts';
import { shown } from './shown.ts';
import type { Secret } from '../settings.ts';
import { environmentSecret, RereadFile, type Reading, type FileSurroundings } from './secrets.ts';
import type { Path } from './yamlFile.ts';

/** What every section of one configuration shares. */
export interface Surroundings extends FileSurroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Absolute: where relative paths start. */
  readonly folder: string;
  /** Only the files that are here are checked: what the bridge's machine alone has may be missing. */
  readonly isOffline: boolean;
  /** Watches a file that was read for changes, with the configuration. */
  uses(file: string): void;
  /** Warns if others can read a secret's file. */
  secretFile(path: Path, given: string, file: string): void;
  /** The line of a value, from 1. */
  lineOf(path: Path): number;
  /** Notes a problem: a clause about the value at the path. */
  note(path: Path, problem: Problem): void;
  /** Notes something that works but that people should know. */
  warn(path: Path, problem: Problem): void;
}

/** How a secret is used: what it is parsed to, read again when its file changes. */
export interface Reread<Value> {
  readonly label: string;
  readonly value: Value;
}

/**
 * A section of the configuration. The schema's findings are noted elsewhere, so a value of the wrong type
 * counts as absent, as does an empty string.
 */
export class Section {
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(
    value: unknown,
    readonly path: Path,
    readonly surroundings: Surroundings,
  ) {
    this.#values = isObject(value) ? value : {};
  }

  get isEmpty(): boolean {
    return Object.keys(this.#values).length === 0;
  }

  get keys(): string[] {
    return Object.keys(this.#values);
  }

  has(name: string): boolean {
    return this.#values[name] !== undefined && this.#values[name] !== '';
  }

  note(name: string, problem: string, remedy = ''): void {
    this.surroundings.note([...this.path, name], { problem, remedy });
  }

  warn(name: string, problem: string, remedy = ''): void {
    this.surroundings.warn([...this.path, name], { problem, remedy });
  }

  section(name: string): Section {
    return new Section(this.#values[name], [...this.path, name], this.surroundings);
  }

  sections(name: string): Section[] {
    const list = this.#values[name];
    if (!Array.isArray(list)) return [];
    return list.map((item, index) => new Section(item, [...this.path, name, index], this.surroundings));
  }

  text(name: string): string | undefined {
    const text = this.#values[name];
    return typeof text === 'string' && text !== '' ? text : undefined;
  }

  texts(name: string): string[] {
    const list = this.#values[name];
    return Array.isArray(list) ? list.filter((item): item is string => typeof item === 'string' && item !== '') : [];
  }

  /** Notes a problem with an item of a list. */
  noteItem(name: string, index: number, problem: string, remedy = ''): void {
    this.surroundings.note([...this.path, name, index], { problem, remedy });
  }

  /** Every scalar value, as text. */
  scalars(): Record<string, string> {
    const entries = Object.entries(this.#values).filter(([, value]) =>
      ['string', 'number', 'boolean'].includes(typeof value),
    );
    return Object.fromEntries(entries.map(([name, value]) => [name, String(value)]));
  }

  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  number(name: string, otherwise: number): number {
    const value = this.#values[name];
    return typeof value === 'number' ? value : otherwise;
  }

  /** In milliseconds. */
  duration(name: string, otherwiseMs: number, mostMs: number): number {
    const text = this.text(name);
    if (text === undefined) return otherwiseMs;
    const ms = parseDuration(text, mostMs);
    if (ms === undefined) {
      this.note(
        name,
        `${shown(text)} is not a duration above 0 and up to ${mostMs / 86_400_000} days`,
        'Write 500ms, 90s, 1h30m or 30d.',
      );
    }
    return ms ?? otherwiseMs;
  }

  /** The absolute path of a file. */
  file(name: string): string | undefined {
    const file = this.text(name);
    return file === undefined ? undefined : path.resolve(this.surroundings.folder, file);
  }

  /** A secret of `<name>File` or `<name>Env`; undefined where neither is given, or it can't be used. */
  secret(name: string): Secret | undefined {
    return this.parsedSecret(name, (value) => ({ value }));
  }

  /** As {@link secret}, made into something else. What `parse` finds wrong continues "its …", as a clause. */
  parsedSecret<Value>(name: string, parse: (text: string) => Reading<Value>): Reread<Value> | undefined {
    const [fileKey, envKey] = [`${name}File`, `${name}Env`];
    if (this.has(fileKey) && this.has(envKey)) {
      this.note(envKey, `is given as well as ${fileKey}`, 'Remove one of the two.');
      return undefined;
    }
    if (this.has(envKey)) return this.#fromEnvironment([envKey], this.text(envKey), parse);
    return this.#fromSecretFile([fileKey], this.text(fileKey), parse);
  }

  /** A secret whose key names its file, made into something else; see {@link parsedSecret}. */
  parsedFile<Value>(name: string, parse: (text: string) => Reading<Value>): Reread<Value> | undefined {
    return this.#fromSecretFile([name], this.text(name), parse);
  }

  /** As {@link parsedFile}, of a file that anybody may read, such as a certificate. */
  publicFile<Value>(name: string, parse: (text: string) => Reading<Value>): Reread<Value> | undefined {
    return this.#fromFile([name], this.text(name), parse);
  }

  /** Whether a file that only the bridge's machine needs to have is missing here; that becomes a warning. */
  isElsewhere(key: Path, given: string, file: string): boolean {
    if (!this.surroundings.isOffline || existsSync(file)) return false;
    this.surroundings.warn([...this.path, ...key], {
      problem: `${shown(given)} isn't here, so it wasn't checked`,
      remedy: '',
    });
    return true;
  }

  /** Secrets of the lists `<name>Files` and `<name>Envs`. */
  secrets(name: string): Secret[] {
    return this.parsedSecrets(name, (value) => ({ value })).map(({ secret }) => secret);
  }

  /** As {@link secrets}, each made into something else, and as the configuration names it: a file or a variable. */
  parsedSecrets<Value>(
    name: string,
    parse: (text: string) => Reading<Value>,
  ): {
    readonly given: string;
    readonly secret: Reread<Value>;
    readonly place: readonly [key: string, index: number];
  }[] {
    const listed = [`${name}Files`, `${name}Envs`].flatMap((key) =>
      this.texts(key).map((given, index) => ({ given, place: [key, index] as const })),
    );
    return listed.flatMap(({ given, place }) => {
      const isFile = place[0] === `${name}Files`;
      const secret = isFile ? this.#fromSecretFile(place, given, parse) : this.#fromEnvironment(place, given, parse);
      return secret === undefined ? [] : [{ given, place, secret }];
    });
  }

  #fromSecretFile<Value>(
    key: Path,
    given: string | undefined,
    parse: (text: string) => Reading<Value>,
  ): Reread<Value> | undefined {
    const secret = this.#fromFile(key, given, parse);
    if (given !== undefined && secret !== undefined)
      this.surroundings.secretFile([...this.path, ...key], given, path.resolve(this.surroundings.folder, given));
    return secret;
  }

  #fromFile<Value>(
    key: Path,
    given: string | undefined,
    parse: (text: string) => Reading<Value>,
  ): Reread<Value> | undefined {
    if (given === undefined) return undefined;
    const file = path.resolve(this.surroundings.folder, given);
    if (this.isElsewhere(key, given, file)) return undefined;
    const place = [...this.path, ...key];
    const label = `${nameOf(place)} (${file})`;
    const opened = RereadFile.open(file, label, parse, this.surroundings);
    if ('problem' in opened) {
      this.surroundings.uses(file);
      this.surroundings.note(place, { ...opened, problem: `${shown(given)} ${opened.problem}` });
      return undefined;
    }
    return {
      label,
      get value() {
        return opened.value;
      },
    };
  }

  #fromEnvironment<Value>(
    key: Path,
    variable: string | undefined,
    parse: (text: string) => Reading<Value>,
  ): Reread<Value> | undefined {
    if (variable === undefined) return undefined;
    const place = [...this.path, ...key];
    if (this.surroundings.isOffline && !this.surroundings.env[variable]) {
      this.surroundings.warn(place, { problem: `${shown(variable)} isn't set here, so it wasn't checked`, remedy: '' });
      return undefined;
    }
    const label = `${nameOf(place)} (${variable})`;
    const secret = environmentSecret(variable, label, this.surroundings.env);
    const reading = 'problem' in secret ? secret : parse(secret.value);
    if ('problem' in reading) {
      this.surroundings.note(place, { ...reading, problem: `${shown(variable)} ${reading.problem}` });
      return undefined;
    }
    return { label, value: reading.value };
  }
}
