import type { Arrivals, Bus, ReceivedMessage, Subscription } from '../../shared/bus.ts';
import { TaskError } from '../../shared/errors.ts';
import { linesOf } from '../../shared/inputs/fields.ts';
import { withoutCovered } from '../../shared/subject.ts';
import type { JetStream } from '../jetStream/api.ts';
import type { WaitCounts } from './accept.ts';
import type { Inputs } from './body.ts';
import type { WaitProgress, WaitRecord, WaitStart } from './record.ts';
import { Turn } from './turn.ts';
import type { WaitStore } from './waitStore.ts';

/** Inputs shared by the waits of one task of a pipeline: all but the correlation id. Stored once for all of them. */
export interface CommonInputs {
  /** The ID of the project whose waits they are. */
  readonly project: string;
  readonly inputs: Inputs;
  /** Patterns, none covered by another. */
  readonly subjects: readonly string[];
}

/** An open wait, without the data that is only needed to report its end. Times in milliseconds since the epoch. */
export interface KnownWait {
  readonly state: 'waiting';
  readonly place: string;
  readonly revision: number;
  readonly rule: number;
  readonly common: CommonInputs;
  readonly correlationId: string | undefined;
  readonly start: WaitStart;
  readonly acceptedAt: number;
  readonly deadline: number;
  readonly progress: WaitProgress | undefined;
}

/** A wait that is over, or was cancelled before it arrived. */
export interface SettledWait {
  readonly state: 'decided' | 'ended' | 'tombstone';
  readonly place: string;
  readonly revision: number;
  /** The ID of its project. */
  readonly project: string;
  /** Since when it is in this state. */
  readonly at: number;
}

export type Known = KnownWait | SettledWait;

/** Called for each change of a wait, in the order of the bucket. `record` is that of `now`. */
export type WaitListener = (now: Known | undefined, before: Known | undefined, record: WaitRecord | undefined) => void;

export interface OpenWaitsOptions {
  readonly nats: Pick<Bus, 'readStream'>;
  readonly jetStream: Pick<JetStream, 'stream'>;
  /** The bucket's name. */
  readonly bucket: string;
  readonly store: Pick<WaitStore, 'open'>;
  /** Called for each record that doesn't open. */
  readonly onUnreadable: (place: string) => void;
  /** Waits this many milliseconds, or until the signal aborts. Never rejects. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Before the bucket is read again. */
  readonly retryMs: number;
  readonly onTrouble: (error: unknown) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Tasks that wait for something different in each run share nothing. */
const MOST_COMMON = 1_000;

/** All waits in the bucket, which every replica follows. Records that don't open aren't included. */
export class OpenWaits implements WaitCounts {
  readonly #known = new Map<string, Known>();
  readonly #open = new Map<number, number>();
  /** By stream and subject. */
  readonly #uncorrelated = new Map<string, number>();
  readonly #states = new Map<Known['state'], number>();
  readonly #listeners = new Set<WaitListener>();
  /** By their JSON. */
  readonly #common = new Map<string, CommonInputs>();
  #revision = 0;
  #isUpToDate = false;
  #reached: (() => void)[] = [];

  constructor(private readonly options: OpenWaitsOptions) {}

  /** Everything in the bucket up to this revision is known. */
  get revision(): number {
    return this.#revision;
  }

  /** Whether everything is known that was in the bucket when following it began. */
  get isUpToDate(): boolean {
    return this.#isUpToDate;
  }

  get all(): Iterable<Known> {
    return this.#known.values();
  }

  openOf(rule: number): number {
    return this.#open.get(rule) ?? 0;
  }

  uncorrelated(stream: string, subject: string): number {
    return this.#uncorrelated.get(`${stream} ${subject}`) ?? 0;
  }

  isFree(place: string): boolean {
    return this.#isUpToDate && !this.#known.has(place);
  }

  /** How many waits are in a state. */
  count(state: Known['state']): number {
    return this.#states.get(state) ?? 0;
  }

  /** @returns a function that stops listening */
  listen(listener: WaitListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Follows the bucket until the signal aborts. Never rejects. */
  async follow(signal: AbortSignal): Promise<void> {
    const isOver = () => signal.aborted;
    while (!isOver()) {
      const reading = new AbortController();
      try {
        void this.#become(AbortSignal.any([signal, reading.signal]));
        await this.#read(signal);
      } catch (error) {
        if (isOver()) return;
        this.options.onTrouble(error);
        await this.options.pause(this.options.retryMs, signal);
      } finally {
        reading.abort();
        this.#isUpToDate = false;
      }
    }
  }

  async #become(signal: AbortSignal): Promise<void> {
    const isOver = () => signal.aborted;
    while (!isOver()) {
      const isKnown = await this.upToDate(signal).then(
        () => true,
        () => false,
      );
      if (isOver()) return;
      this.#isUpToDate = isKnown;
      if (isKnown) return;
      await this.options.pause(this.options.retryMs, signal);
    }
  }

  /**
   * Resolves once everything that is in the bucket now is known.
   *
   * @throws TaskError when the bucket doesn't answer; the signal's reason
   */
  async upToDate(signal: AbortSignal): Promise<void> {
    const answer = await this.options.jetStream.stream(this.#stream);
    signal.throwIfAborted();
    if (answer.kind !== 'ok') throw new TaskError('Timeout', `The bucket "${this.options.bucket}" does not answer`);
    const { messages, last_seq: last } = answer.value.state;
    while (messages > 0 && this.#revision < last) {
      await new Promise<void>((resolve, reject) => {
        const onAbort = () => reject(signal.reason as Error);
        signal.addEventListener('abort', onAbort, { once: true });
        this.#reached.push(() => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        });
      });
    }
  }

  get #stream(): string {
    return `KV_${this.options.bucket}`;
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { nats, bucket } = this.options;
    let arrivals: Arrivals | undefined;
    let wake = () => {};
    let failure: Error | undefined;
    let subscription: Subscription | undefined;
    const onAbort = () => wake();
    signal.addEventListener('abort', onAbort);
    try {
      subscription = await nats.readStream(
        // Leases and checkpoints, too: the last sequence is that of any key.
        { subjects: [`$KV.${bucket}.>`], stream: this.#stream, start: { from: 'lastPerSubject' } },
        {
          arrived: (queue) => {
            arrivals = queue;
            wake();
          },
          ...{ linkDown: () => {}, linkUp: () => {}, notice: () => {} },
          failed: (error) => {
            failure = error;
            wake();
          },
        },
        signal,
      );
      const turn = new Turn(this.options.now);
      while (!signal.aborted && failure === undefined) {
        const messages = arrivals?.take() ?? [];
        for (const message of messages) {
          this.#take(message);
          await turn.over();
        }
        if (messages.length > 0) continue;
        await new Promise<void>((resolve) => {
          wake = resolve;
          // It may have arrived while this was under way.
          if ((arrivals?.length ?? 0) > 0 || failure !== undefined || signal.aborted) resolve();
        });
      }
      if (failure !== undefined) throw failure;
    } finally {
      signal.removeEventListener('abort', onAbort);
      await subscription?.stop();
    }
  }

  #take(message: ReceivedMessage): void {
    const revision = message.place?.sequence ?? 0;
    const place = message.subject.slice(`$KV.${this.options.bucket}.`.length);
    if (place.startsWith('wait.')) this.#learn(place, revision, message);
    this.#revision = Math.max(this.#revision, revision);
    for (const reached of this.#reached.splice(0)) reached();
  }

  #learn(place: string, revision: number, { headers, payload }: ReceivedMessage): void {
    const before = this.#known.get(place);
    // The bucket is read from its beginning again after a failure.
    if (before !== undefined && before.revision >= revision) return;
    // Markers of servers that remove by age have no value either.
    const isGone = headers.has('kv-operation') || payload.length === 0;
    const record = isGone ? undefined : this.options.store.open(place, payload);
    if (!isGone && record === undefined) this.options.onUnreadable(place);
    const now = record && this.#knownOf(place, revision, record);
    if (before !== undefined) this.#count(before, -1);
    if (now === undefined) this.#known.delete(place);
    else {
      this.#known.set(place, now);
      this.#count(now, 1);
    }
    for (const listener of this.#listeners) listener(now, before, record);
  }

  #count(known: Known, by: 1 | -1): void {
    add(this.#states, known.state, by);
    if (known.state !== 'waiting') return;
    add(this.#open, known.rule, by);
    if (known.correlationId === undefined)
      for (const subject of known.common.subjects) add(this.#uncorrelated, `${known.start.stream} ${subject}`, by);
  }

  #knownOf(place: string, revision: number, { key, state }: WaitRecord): Known {
    const { project } = key;
    switch (state.state) {
      case 'waiting': {
        const { call, start, acceptedAt, deadline, progress } = state;
        const { correlationId: id, ...inputs } = call.inputs;
        const [rule, correlationId] = [call.owner.rule, id?.trim() || undefined];
        const common = this.#commonOf(project, inputs);
        return {
          ...{ state: 'waiting', place, revision, rule, common, correlationId },
          ...{ start, acceptedAt, deadline, progress },
        };
      }
      case 'decided':
        return { state: 'decided', place, revision, project, at: state.decidedAt };
      case 'ended':
        return { state: 'ended', place, revision, project, at: state.endedAt };
      case 'tombstone':
        return { state: 'tombstone', place, revision, project, at: state.at };
    }
  }

  #commonOf(project: string, inputs: Inputs): CommonInputs {
    const text = JSON.stringify([project, inputs]);
    let common = this.#common.get(text);
    if (common === undefined) {
      // As the readers of the inputs have them, without compiling anything: there are many.
      common = { project, inputs, subjects: withoutCovered(linesOf(inputs['subject'])) };
      if (this.#common.size >= MOST_COMMON) this.#common.clear();
      this.#common.set(text, common);
    }
    return common;
  }
}

function add<Key>(counts: Map<Key, number>, key: Key, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
