import type { OpenWait } from './openWait.ts';
import type { WaitEnding, WaitProgress, WaitState } from './record.ts';
import { UnreadableWait, type WaitStore } from './waitStore.ts';

export interface WaitWritesOptions {
  readonly store: Pick<WaitStore, 'at' | 'update'>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Waits this many milliseconds, or until the signal aborts. Never rejects. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Before the bucket is asked again. */
  readonly retryMs: number;
  readonly onDecided: (wait: OpenWait, ending: WaitEnding, storedAt: number | undefined) => void;
  readonly onTrouble: (error: unknown) => void;
}

interface Unsaved {
  readonly wait: OpenWait;
  /** The first sequence that would have to be judged again. */
  from: number;
  progress: WaitProgress | undefined;
  ending: WaitEnding | undefined;
  storedAt: number | undefined;
}

/** How many records are written side by side. With more, a slow server would answer none of them in time. */
const MOST_AT_ONCE = 64;
/** How much may be left to write before more is judged: it's held in memory, and would have to be judged again. */
const MOST_UNSAVED = 1_000;

/** Writes what was decided into the records of waits, by compare-and-set: somebody else may have cancelled them. */
export class WaitWrites {
  readonly #unsaved = new Map<OpenWait, Unsaved>();
  readonly #queue: Unsaved[] = [];
  #atOnce = 0;
  #wake = () => {};

  /** @param signal ends it; the next leader handles what isn't written by then */
  constructor(
    private readonly options: WaitWritesOptions,
    private readonly signal: AbortSignal,
  ) {
    signal.addEventListener('abort', () => this.#wake(), { once: true });
  }

  get isEmpty(): boolean {
    return this.#unsaved.size === 0;
  }

  /** Waits with something still to be written. */
  get waits(): Iterable<OpenWait> {
    return this.#unsaved.keys();
  }

  /** The lowest sequence with something still to be written; Infinity for none. */
  get lowest(): number {
    let lowest = Infinity;
    for (const { from } of this.#unsaved.values()) lowest = Math.min(lowest, from);
    return lowest;
  }

  /** Resolves once little enough is left to write, or the signal has aborted. */
  async room(): Promise<void> {
    while (this.#unsaved.size >= MOST_UNSAVED && !this.signal.aborted)
      await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  /** An event counts, but more are needed. */
  counted(wait: OpenWait): void {
    const { progress } = wait;
    this.#change(wait, progress.sequence, (unsaved) => (unsaved.progress = progress));
  }

  /**
   * @param from the first sequence that would have to be judged again to know this
   * @param storedAt when the event came that decides, in milliseconds since the epoch
   */
  ended(wait: OpenWait, ending: WaitEnding, from: number, storedAt?: number): void {
    this.#change(wait, from, (unsaved) => {
      unsaved.ending = ending;
      unsaved.storedAt = storedAt;
    });
  }

  #change(wait: OpenWait, from: number, change: (unsaved: Unsaved) => void): void {
    const before = this.#unsaved.get(wait);
    const unsaved = before ?? { wait, from, progress: undefined, ending: undefined, storedAt: undefined };
    change(unsaved);
    if (before !== undefined) return;
    this.#unsaved.set(wait, unsaved);
    this.#queue.push(unsaved);
    if (this.#atOnce < MOST_AT_ONCE) void this.#work();
  }

  async #work(): Promise<void> {
    this.#atOnce++;
    for (let unsaved = this.#queue.shift(); unsaved !== undefined; unsaved = this.#queue.shift()) {
      await this.#write(unsaved);
      this.#wake();
    }
    this.#atOnce--;
  }

  async #write(unsaved: Unsaved): Promise<void> {
    const { pause, retryMs, onTrouble } = this.options;
    while (!this.signal.aborted && this.#unsaved.get(unsaved.wait) === unsaved) {
      try {
        await this.#writeOnce(unsaved);
      } catch (error) {
        // It can no longer be opened, so it mustn't be acted on.
        if (error instanceof UnreadableWait) {
          unsaved.wait.stop();
          this.#unsaved.delete(unsaved.wait);
          return;
        }
        onTrouble(error);
        await pause(retryMs, this.signal);
      }
    }
  }

  /** What remains after this call is in {@link #unsaved}: a change may come as soon as it has ended. */
  async #writeOnce(unsaved: Unsaved): Promise<void> {
    const { store, now, onDecided } = this.options;
    const { wait } = unsaved;
    const stored = await store.at(wait.known.place);
    const state = stored?.record.state;
    if (this.signal.aborted) return;
    // Somebody else was faster.
    if (stored === undefined || state?.state !== 'waiting') {
      wait.stop();
      this.#unsaved.delete(wait);
      return;
    }
    const { ending, progress } = unsaved;
    let next: WaitState;
    if (ending !== undefined) next = { state: 'decided', call: state.call, decidedAt: now(), ending };
    else if (progress === undefined || (state.progress?.sequence ?? -1) >= progress.sequence) {
      this.#unsaved.delete(wait);
      return;
    } else next = { ...state, progress };
    if ((await store.update(stored, next)) === undefined) return;
    if (ending !== undefined) {
      this.#unsaved.delete(wait);
      onDecided(wait, ending, unsaved.storedAt);
      return;
    }
    if (progress !== undefined) unsaved.from = progress.sequence + 1;
    if (unsaved.progress === progress && unsaved.ending === undefined) this.#unsaved.delete(wait);
  }
}
