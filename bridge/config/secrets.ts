import { statSync } from 'node:fs';
import { reasonOf, type Problem } from '../../shared/errors.ts';
import { readRegularFile } from '../../shared/regularFile.ts';
import { knownSecrets } from '../../shared/text/masker.ts';
import type { Secret } from '../settings.ts';

const MOST_BYTES = 64 * 1_024;

/** The current content of a file or variable, or what is wrong with it: a clause about it. */
export type Reading<Value> = { readonly value: Value } | Problem;

/** The content of a file that is read again when it changes. */
export type FileKind = 'secret' | 'policy';

/** When such files are read again, and who hears of it. */
export interface FileSurroundings {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Between two looks at a file, in milliseconds. */
  readonly lookEveryMs: number;
  /**
   * Called when a changed file can't be used, and when one is taken (undefined). A policy that follows a good one is taken
   * silently.
   */
  onTrouble(label: string, problem: Problem | undefined, kind: FileKind): void;
  /** Registers a file to look at from time to time, since a secret may go unused for long. */
  watch(file: WatchedFile): void;
}

/** A file that is read again when it changes. */
export interface WatchedFile {
  readonly label: string;
  /** Its path. */
  readonly file: string;
  /** Reads it again if it has changed. Never throws. */
  look(): void;
}

/** Looks at files from time to time. One that is just being written is left alone until the next look. */
export class FileWatch {
  readonly #seen = new WeakMap<WatchedFile, string>();

  look(files: readonly WatchedFile[]): void {
    for (const one of files) {
      const signature = signatureOf(one.file) ?? 'none';
      if (this.#seen.get(one) === signature) one.look();
      else this.#seen.set(one, signature);
    }
  }
}

/** A file that is read again when it changes. What it held before stays in use while it can't be used. */
export class RereadFile<Value> implements WatchedFile {
  #value: Value;
  #text: string;
  #lookedAt: number;
  #signature: string | undefined;
  #isTroubled = false;

  private constructor(
    readonly file: string,
    readonly label: string,
    private readonly parse: (text: string) => Reading<Value>,
    private readonly surroundings: FileSurroundings,
    { text, value }: Read<Value>,
    signature: string | undefined,
  ) {
    this.#value = value;
    this.#text = text;
    this.#signature = signature;
    this.#lookedAt = surroundings.now();
  }

  /**
   * Reads the file for the first time.
   *
   * @param label how people find it; becomes the name of the secret
   * @returns what is wrong continues the label, as a clause
   */
  static open<Value>(
    file: string,
    label: string,
    parse: (text: string) => Reading<Value>,
    surroundings: FileSurroundings,
  ): RereadFile<Value> | Problem {
    const signature = signatureOf(file);
    const reading = read(file, label, parse);
    if ('problem' in reading) return reading;
    const opened = new RereadFile(file, label, parse, surroundings, reading, signature);
    surroundings.watch(opened);
    return opened;
  }

  /** The newest good value. */
  get value(): Value {
    this.look();
    return this.#value;
  }

  look(): void {
    const now = this.surroundings.now();
    if (Math.abs(now - this.#lookedAt) >= this.surroundings.lookEveryMs) {
      this.#lookedAt = now;
      const signature = signatureOf(this.file);
      if (signature !== this.#signature) this.#readAgain(signature);
    }
  }

  #readAgain(signature: string | undefined): void {
    this.#signature = signature;
    const reading = read(this.file, this.label, this.parse);
    if ('problem' in reading) {
      this.#isTroubled = true;
      this.surroundings.onTrouble(this.label, reading, 'secret');
      return;
    }
    const isNews = this.#isTroubled || reading.text !== this.#text;
    this.#value = reading.value;
    this.#text = reading.text;
    this.#isTroubled = false;
    if (isNews) this.surroundings.onTrouble(this.label, undefined, 'secret');
  }
}

interface Read<Value> {
  readonly text: string;
  readonly value: Value;
}

function read<Value>(file: string, label: string, parse: (text: string) => Reading<Value>): Read<Value> | Problem {
  const text = readSecretFile(file);
  if (typeof text !== 'string') return text;
  knownSecrets.add(text, label);
  const reading = parse(text);
  return 'problem' in reading ? reading : { text, value: reading.value };
}

/** The text of a file without one trailing line break. What is wrong continues the file, as a clause. */
export function readSecretFile(file: string): string | Problem {
  try {
    const bytes = readRegularFile(file, MOST_BYTES);
    if (bytes === undefined)
      return { problem: `is larger than ${MOST_BYTES / 1_024} KiB`, remedy: 'Check that it is the right file.' };
    const text = bytes.toString().replace(/\r?\n$/, '');
    return text === '' ? { problem: 'is empty', remedy: 'Write the secret into it.' } : text;
  } catch (error) {
    return { problem: `can't be read: ${withoutPath(error)}`, remedy: "Name a file that the bridge's user may read." };
  }
}

/** Changes whenever the file does, even if it's a link that now leads elsewhere. */
export function signatureOf(file: string): string | undefined {
  try {
    const { mtimeMs, size, ino, dev } = statSync(file);
    return [mtimeMs, size, ino, dev].join(' ');
  } catch {
    return undefined;
  }
}

/** Node's message about a file, without the file's name. */
export function withoutPath(error: unknown): string {
  const { code } = error as { code?: string };
  const words: Record<string, string> = {
    ENOENT: "it doesn't exist",
    EACCES: 'this user may not read it',
    ENOTDIR: 'a part of its path is not a folder',
    ELOOP: 'its links lead in a circle',
  };
  return words[code ?? ''] ?? reasonOf(error);
}

/** A secret of an environment variable. */
export function environmentSecret(
  variable: string,
  label: string,
  env: Readonly<Record<string, string | undefined>>,
): Secret | Problem {
  const value = env[variable];
  if (value === undefined || value === '')
    return {
      problem: `names a variable that is ${value === '' ? 'empty' : 'not set'}`,
      remedy: 'Set it to the secret where the bridge is started.',
    };
  knownSecrets.add(value, label);
  return { label, value };
}
