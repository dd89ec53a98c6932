import type { StreamLookup } from '../../shared/bus.ts';
import type { OpenWait } from './openWait.ts';

/** Times of the events that have passed: one a second, for an hour. */
const SAMPLE_MS = 1_000;
const MOST_SAMPLES = 3_600;

export interface StreamPlacesOptions {
  readonly stream: string;
  readonly nats: { readonly lookup: Pick<StreamLookup, 'next'> };
}

/** Finds the place of a time in a stream. */
export class StreamPlaces {
  readonly #samples: { readonly sequence: number; readonly storedAt: number }[] = [];

  constructor(
    private readonly options: StreamPlacesOptions,
    private readonly signal: AbortSignal,
  ) {}

  /** An event has passed, after all that are stored before it. */
  passed(sequence: number, storedAt: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && storedAt - last.storedAt < SAMPLE_MS) return;
    this.#samples.push({ sequence, storedAt });
    if (this.#samples.length > MOST_SAMPLES) this.#samples.shift();
  }

  /** Moves the waits that begin at a time to the earliest of those times. @param last the stream's last sequence */
  async place(waits: readonly OpenWait[], last: number): Promise<void> {
    const timed = waits.filter(({ known }) => known.start.at !== undefined && known.progress === undefined);
    if (timed.length === 0) return;
    const first = timed.reduce((least, { known }) => Math.min(least, known.start.at ?? least), Infinity);
    const position = await this.#positionAt(first, last);
    for (const wait of timed) wait.position = Math.max(wait.position, position);
  }

  /** Moves a wait that begins at a time to that place. */
  async skipTo(wait: OpenWait, last: number): Promise<void> {
    const { start, progress } = wait.known;
    if (start.at === undefined || progress !== undefined || wait.position > 0) return;
    const { at } = start;
    const sample = this.#samples.findLast(({ storedAt }) => storedAt < at);
    const position = sample?.sequence ?? (await this.#positionAt(at, last));
    wait.position = Math.max(wait.position, position);
  }

  /** The sequence before the first event at or after a time, in milliseconds since the epoch. */
  async #positionAt(at: number, last: number): Promise<number> {
    const { nats, stream } = this.options;
    let [low, high] = [1, last + 1];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const found = await nats.lookup.next(stream, middle, '>');
      this.signal.throwIfAborted();
      if (found === undefined || (found.storedAt ?? Infinity) >= at) high = middle;
      else low = (found.place?.sequence ?? middle) + 1;
    }
    return Math.min(low - 1, last);
  }
}
