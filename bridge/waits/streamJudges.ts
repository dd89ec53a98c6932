import { Lease } from '../jetStream/lease.ts';
import { keyPart } from './checkpoint.ts';
import type { Known } from './openWaits.ts';
import { StreamTerm, type StreamTermOptions } from './streamTerm.ts';

export interface StreamJudgesOptions extends Omit<StreamTermOptions, 'stream'> {
  /** Tells this replica from all others. */
  readonly holder: string;
  /** Of leases, in milliseconds. */
  readonly renewMs: number;
  readonly staleMs: number;
  /** A stream without waits is let go after so long. */
  readonly idleMs: number;
  /** Told whether this replica judges a stream's waits. */
  readonly onLeading: (stream: string, isLeading: boolean) => void;
}

interface Candidate {
  readonly stop: AbortController;
  readonly ended: Promise<void>;
  /** Open waits. */
  waits: number;
  idle: NodeJS.Timeout | undefined;
}

/** Lets one replica judge each stream that somebody waits on. A stream without waits has neither lease nor consumer. */
export class StreamJudges {
  readonly #candidates = new Map<string, Candidate>();
  readonly #stop = new AbortController();
  readonly #ends: () => void;

  constructor(private readonly options: StreamJudgesOptions) {
    this.#ends = options.waits.listen((now, before) => {
      // The new one first, so that nothing is released that is needed again at once.
      this.#count(now, 1);
      this.#count(before, -1);
    });
  }

  /** Releases all leases; work under way is left to the next leader. */
  async stop(): Promise<void> {
    this.#ends();
    this.#stop.abort();
    for (const { idle } of this.#candidates.values()) clearTimeout(idle);
    await Promise.all([...this.#candidates.values()].map(({ ended }) => ended));
  }

  #count(known: Known | undefined, by: 1 | -1): void {
    if (known?.state !== 'waiting') return;
    const { stream } = known.start;
    const candidate = this.#candidates.get(stream) ?? this.#start(stream);
    candidate.waits += by;
    clearTimeout(candidate.idle);
    if (candidate.waits > 0) return;
    candidate.idle = setTimeout(() => {
      this.#candidates.delete(stream);
      candidate.stop.abort();
    }, this.options.idleMs);
  }

  #start(stream: string): Candidate {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.#stop.signal]);
    const candidate: Candidate = { stop, ended: this.#run(stream, signal), waits: 0, idle: undefined };
    this.#candidates.set(stream, candidate);
    return candidate;
  }

  async #run(stream: string, signal: AbortSignal): Promise<void> {
    const { bucket, holder, renewMs, staleMs, pause, retryMs, onLeading, onTrouble } = this.options;
    const lease = new Lease({
      ...{ bucket, key: `lease.${keyPart(stream)}`, holder, renewMs, staleMs, pause, now: this.options.now },
      onTrouble: (error) => error !== undefined && onTrouble(error),
    });
    await lease.run(signal, async (held) => {
      onLeading(stream, true);
      try {
        await new StreamTerm({ ...this.options, stream }, held).run();
      } catch (error) {
        if (held.aborted) return;
        onTrouble(error);
        await pause(retryMs, held);
      } finally {
        onLeading(stream, false);
      }
    });
  }
}
