import type { KeyValue } from '../../shared/bus.ts';
import { parseObject } from '../../shared/text/json.ts';

/** How far a stream is judged. */
export interface Judged {
  /** Waits whose record is no newer than {@link revision} are judged up to this sequence. */
  readonly sequence: number;
  /** Of the bucket. */
  readonly revision: number;
  /** The stream's own creation time: sequences of another stream mean nothing. */
  readonly created: string;
}

/** `checkpoint.<stream>`: where the next leader continues. Fails as the bucket does. */
export class Checkpoint {
  #revision: number | undefined;
  #written = '';

  constructor(
    private readonly bucket: KeyValue,
    private readonly stream: string,
  ) {}

  async read(): Promise<Judged | undefined> {
    const entry = await this.bucket.get(this.#key);
    this.#revision = entry?.revision;
    const { sequence, revision, created } = parseObject(Buffer.from(entry?.value ?? []).toString()) ?? {};
    if (typeof sequence !== 'number' || typeof revision !== 'number') return undefined;
    return { sequence, revision, created: typeof created === 'string' ? created : '' };
  }

  /** @returns false when someone else has written: the stream is no longer this replica's */
  async write(judged: Judged): Promise<boolean> {
    const text = JSON.stringify(judged);
    if (text === this.#written) return true;
    const value = Buffer.from(text);
    const written =
      this.#revision === undefined
        ? await this.bucket.create(this.#key, value)
        : await this.bucket.update(this.#key, value, this.#revision);
    if (written === undefined) return false;
    this.#revision = written;
    this.#written = text;
    return true;
  }

  get #key(): string {
    return `checkpoint.${keyPart(this.stream)}`;
  }
}

/** A stream's name in a key of a bucket, which takes fewer characters. */
export function keyPart(stream: string): string {
  return /^[\w-]+$/.test(stream) ? stream : `=${Buffer.from(stream).toString('hex')}`;
}
