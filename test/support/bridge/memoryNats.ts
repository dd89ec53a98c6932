import type { KeyValue, KeyValueEntry, OutgoingMessage, PubAck, StreamPublisher } from '../../../shared/bus.ts';
import { TaskError } from '../../../shared/errors.ts';

/** An in-memory stream that fails when a test says so. */
export class MemoryPublisher implements StreamPublisher {
  readonly stored: OutgoingMessage[] = [];
  /** The error of every publish; undefined: it works. */
  failure: (message: OutgoingMessage) => Error | undefined = () => undefined;

  publish(message: OutgoingMessage): Promise<PubAck> {
    const failure = this.failure(message);
    if (failure !== undefined) return Promise.reject(failure);
    const id = headerOf(message, 'Nats-Msg-Id');
    const before = id === undefined ? -1 : this.stored.findIndex((other) => headerOf(other, 'Nats-Msg-Id') === id);
    if (before < 0) this.stored.push(message);
    const stream = headerOf(message, 'Nats-Expected-Stream') ?? '';
    return Promise.resolve({
      stream,
      sequence: before < 0 ? this.stored.length : before + 1,
      duplicate: before >= 0,
    });
  }

  /** The messages on subjects with this prefix. */
  on(subject: string): readonly OutgoingMessage[] {
    return this.stored.filter((message) => message.subject.startsWith(subject));
  }
}

/** The size limit of a message, in bytes. */
export function largerThan(bytes: number): (message: OutgoingMessage) => Error | undefined {
  return ({ payload }) => (payload.length > bytes ? new TaskError('TooLarge', 'It is too large') : undefined);
}

export function headerOf({ headers }: OutgoingMessage, name: string): string | undefined {
  return headers.find(([other]) => other === name)?.[1];
}

/** All headers of a message by name. */
export function headersOf({ headers }: OutgoingMessage): Readonly<Record<string, string>> {
  return Object.fromEntries(headers);
}

export function textOf({ payload }: Pick<OutgoingMessage, 'payload'>): string {
  return Buffer.from(payload).toString();
}

/** An in-memory bucket. */
export class MemoryBucket implements KeyValue {
  readonly values = new Map<string, { value: Uint8Array; revision: number }>();
  #revision = 0;
  /** How often it was called. */
  calls = 0;
  /** The error of every call; undefined: it works. */
  failure: Error | undefined;

  async get(key: string): Promise<KeyValueEntry | undefined> {
    this.#called();
    const entry = this.values.get(key);
    return entry === undefined ? undefined : { key, ...entry };
  }

  async create(key: string, value: Uint8Array): Promise<number | undefined> {
    this.#called();
    return this.values.has(key) ? undefined : this.#put(key, value);
  }

  async update(key: string, value: Uint8Array, revision: number): Promise<number | undefined> {
    this.#called();
    return this.values.get(key)?.revision === revision ? this.#put(key, value) : undefined;
  }

  async delete(key: string, revision?: number): Promise<void> {
    this.#called();
    if (revision !== undefined && this.values.get(key)?.revision !== revision) return;
    this.values.delete(key);
  }

  /** Its values as text, by key. */
  get texts(): Readonly<Record<string, string>> {
    return Object.fromEntries([...this.values].map(([key, { value }]) => [key, Buffer.from(value).toString()]));
  }

  #called(): void {
    this.calls++;
    if (this.failure !== undefined) throw this.failure;
  }

  #put(key: string, value: Uint8Array): number {
    this.values.set(key, { value, revision: ++this.#revision });
    return this.#revision;
  }
}

/** A log that keeps its lines. */
export class MemoryLog {
  readonly lines: string[] = [];

  info(text: string): void {
    this.lines.push(`info ${text}`);
  }

  warning(text: string): void {
    this.lines.push(`warning ${text}`);
  }

  debug(text: string): void {
    this.lines.push(`debug ${text}`);
  }
}
