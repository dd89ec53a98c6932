import { setMaxListeners } from 'node:events';
import type { KeyValue } from '../../shared/bus.ts';
import { parseObject } from '../../shared/text/json.ts';

export interface LeaseOptions {
  readonly bucket: KeyValue;
  /** The lease's key in the bucket. */
  readonly key: string;
  /** Identifies this candidate, even against an earlier one in the same process. */
  readonly holder: string;
  /** Between two renewals, and between two checks of someone else's lease, in milliseconds. */
  readonly renewMs: number;
  /** After how long without renewal a lease is up for grabs, in milliseconds; several times {@link renewMs}. */
  readonly staleMs: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Waits this many milliseconds, or until the signal aborts. Never rejects. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Called when the bucket can't be asked: with each failure, and with undefined once it answers again. */
  readonly onTrouble: (error: unknown) => void;
}

/**
 * Lets only one of many candidates work at a time: a key in a bucket, which its holder keeps rewriting by
 * compare-and-set, and which others may take once they've seen it unchanged for too long. No clocks of different machines
 * are compared.
 *
 * A process that was suspended, or whose clock was set, may go on for a moment with a lease that it has lost. So whatever it
 * writes in the end has to be a compare-and-set, too.
 */
export class Lease {
  /** Undefined while someone else has it, or nobody. */
  #held: { revision: number; renewedAt: number } | undefined;
  /** Someone else's lease, and when it was first seen in this state. */
  #seen: { readonly revision: number; readonly at: number } | undefined;
  #holder: string | undefined;
  #isInTrouble = false;

  constructor(private readonly options: LeaseOptions) {}

  /** Whether this candidate has it. False from the moment others may take it, even while the bucket is out of reach. */
  get isHeld(): boolean {
    return this.#held !== undefined && this.options.now() - this.#held.renewedAt < this.options.staleMs;
  }

  /** The holder at the last check; empty for nobody. Foreign text. */
  get holder(): string {
    return this.isHeld ? this.options.holder : (this.#holder ?? '');
  }

  /**
   * Does some work whenever this candidate has the lease, until the signal aborts. Never rejects for what happens to the
   * bucket.
   *
   * @param work is given a signal that aborts when the lease is lost, or the other signal aborts; when it ends, the lease
   *   is handed back
   */
  async run(signal: AbortSignal, work: (held: AbortSignal) => Promise<void>): Promise<void> {
    const { pause, renewMs } = this.options;
    while (!signal.aborted) {
      if (await this.acquire()) await this.#term(signal, work);
      else await pause(renewMs, signal);
    }
  }

  /** Takes the lease if it's free. Returns whether this candidate has it now. */
  async acquire(): Promise<boolean> {
    return (await this.#try(() => this.#look())) ?? false;
  }

  /** Renews the lease. Returns whether this candidate still has it. */
  async renew(): Promise<boolean> {
    await this.#try(async () => {
      const held = this.#held;
      if (held === undefined || (await this.#write(held.revision))) return;
      // Either somebody else was faster, or an answer to an earlier write was lost.
      const entry = await this.options.bucket.get(this.options.key);
      const isOwn = entry !== undefined && holderIn(entry.value) === this.options.holder;
      if (!isOwn || !(await this.#write(entry.revision))) this.#held = undefined;
    });
    return this.isHeld;
  }

  /** Releases the lease, so that another candidate can have it at once. */
  async handBack(): Promise<void> {
    const held = this.#held;
    this.#held = undefined;
    this.#holder = undefined;
    if (held === undefined) return;
    // By compare-and-set: by now it may be someone else's.
    await this.#try(() => this.options.bucket.update(this.options.key, bytesOf(''), held.revision));
  }

  async #term(signal: AbortSignal, work: (held: AbortSignal) => Promise<void>): Promise<void> {
    const { pause, renewMs } = this.options;
    const lost = new AbortController();
    const done = new AbortController();
    let renewal: Promise<unknown> | undefined;
    const renewing = (async () => {
      const ends = AbortSignal.any([done.signal, lost.signal]);
      for (;;) {
        await pause(renewMs, ends);
        if (ends.aborted) return;
        // A bucket that doesn't answer mustn't keep the work from being stopped.
        renewal = this.renew();
        await Promise.race([renewal, pause(this.#leftMs(), ends)]);
        if (!this.isHeld) lost.abort();
      }
    })();
    const held = AbortSignal.any([signal, lost.signal]);
    // Any number may listen for its end: Node.js warns of more than ten, in a log line that isn't JSON.
    setMaxListeners(0, held);
    try {
      await work(held);
    } finally {
      done.abort();
      await renewing;
      // A write under way would write the key once more.
      await renewal;
      await this.handBack();
    }
  }

  /** Until others may take it. */
  #leftMs(): number {
    const { staleMs, now } = this.options;
    return this.#held === undefined ? 0 : Math.max(0, this.#held.renewedAt + staleMs - now());
  }

  async #look(): Promise<boolean> {
    const { bucket, key, holder, staleMs, now } = this.options;
    const entry = await bucket.get(key);
    if (entry === undefined) return this.#write(undefined);
    const found = holderIn(entry.value);
    this.#holder = found;
    if (found === '' || found === holder) return this.#write(entry.revision);
    if (this.#seen?.revision !== entry.revision) this.#seen = { revision: entry.revision, at: now() };
    return now() - this.#seen.at >= staleMs && this.#write(entry.revision);
  }

  /** @param revision the one to replace; undefined where there is none */
  async #write(revision: number | undefined): Promise<boolean> {
    const { bucket, key, holder, now } = this.options;
    // Others count from when they see it, which is later.
    const renewedAt = now();
    const value = bytesOf(holder);
    const written = await (revision === undefined ? bucket.create(key, value) : bucket.update(key, value, revision));
    if (written === undefined) return false;
    this.#held = { revision: written, renewedAt };
    return this.isHeld;
  }

  async #try<Value>(work: () => Promise<Value>): Promise<Value | undefined> {
    try {
      const value = await work();
      if (this.#isInTrouble) this.options.onTrouble(undefined);
      this.#isInTrouble = false;
      return value;
    } catch (error) {
      this.#isInTrouble = true;
      this.options.onTrouble(error);
      return undefined;
    }
  }
}

function bytesOf(holder: string): Uint8Array {
  return Buffer.from(JSON.stringify({ holder }));
}

/** A lease that can't be read has an unknown holder, so it has to become stale. */
function holderIn(value: Uint8Array): string {
  const holder = parseObject(Buffer.from(value).toString())?.['holder'];
  return typeof holder === 'string' ? holder : '?';
}
