import { FairQueue } from './fairQueue.ts';
import type { Known, OpenWaits, SettledWait } from './openWaits.ts';
import type { Later } from './planClient.ts';
import type { WaitCall, WaitEnding, WaitKey, WaitRecord } from './record.ts';
import { TOMBSTONE_MS } from './accept.ts';
import { UnreadableWait, type StoredWait, type WaitStore } from './waitStore.ts';

/** A decided wait whose task has yet to be notified. */
export interface Decided {
  readonly key: WaitKey;
  readonly call: WaitCall;
  readonly ending: WaitEnding;
}

/** The outcome of notifying a task of how its wait ended. Reasons are clauses without the last full stop, made safe. */
export type Told =
  /** The task is completed. `problem`: the part of the ending that couldn't be delivered. */
  | { readonly kind: 'done'; readonly problem?: string }
  /** It can't be notified, and retrying is no use. */
  | { readonly kind: 'gone'; readonly reason: string }
  | Later;

/** Notifies Azure DevOps; may be called again for the same wait. Rejects only for bugs in the bridge. */
export type Tells = (decided: Decided, signal: AbortSignal) => Promise<Told>;

export interface OutboxOptions {
  readonly waits: OpenWaits;
  readonly store: Pick<WaitStore, 'at' | 'update' | 'remove'>;
  readonly tells: Tells;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Waits this many milliseconds, or until the signal aborts. Never rejects. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
  /** From 0 to below 1. */
  readonly random: () => number;
  /** After the first failure; each further pause is twice as long, up to the longest. */
  readonly firstPause: number;
  readonly longestPause: number;
  /** Between two searches for records to remove. */
  readonly sweepMs: number;
  /**
   * Notes that a task knows how its wait ended. If it rejects, the record stays open, and notifying and noting are both tried
   * again, which is harmless: Azure DevOps ignores a second completion. The same happens if the record can't be closed.
   */
  readonly onTold: (wait: Decided, problem: string | undefined) => Promise<void>;
  /** The task will never be notified. */
  readonly onAbandoned: (wait: Decided, reason: string) => void;
  /** It is tried again. */
  readonly onLater: (wait: Decided, reason: string, pauseMs: number) => void;
  readonly onTrouble: (error: unknown) => void;
}

/** How many tasks are notified side by side. */
const MOST_AT_ONCE = 32;
/** How many records are kept until it's their tasks' turn. */
const MOST_HEARD = 1_000;
/** The longest pause honoured; Azure DevOps may ask for an absurd one. */
const MOST_ASKED_MS = 3_600_000;
/** So that tasks aren't notified in lockstep. */
const JITTER = 0.2;
/** How long Azure DevOps may repeat Execute, the call that begins a wait. */
const ENDED_MS = 24 * 3_600_000;

/** Reports decisions to Azure DevOps and removes finished records, until its signal aborts. */
export class Outbox {
  /** By project: one whose waits all end at once delays only itself. */
  readonly #queue = new FairQueue<SettledWait>();
  /** Records as received, which needn't be read again: any later write makes closing them fail. */
  readonly #heard = new Map<string, StoredWait>();
  /** Failed attempts to notify each wait under way. */
  readonly #failures = new Map<string, number>();
  /** Records written again meanwhile, as by another Execute after their end. */
  readonly #changed = new Set<string>();
  /** Until when an organization isn't called. */
  readonly #paused = new Map<string, number>();
  #atOnce = 0;
  readonly #idle = new Set<() => void>();

  constructor(
    private readonly options: OutboxOptions,
    private readonly signal: AbortSignal,
  ) {}

  /** Resolves once the signal has aborted and nothing is under way. Never rejects. */
  async run(): Promise<void> {
    const { waits, sweepMs, pause } = this.options;
    const ends = waits.listen((now, _, record) => this.#onChange(now, record));
    for (const known of waits.all) this.#onChange(known);
    while (!this.signal.aborted) {
      await this.#sweep();
      await pause(sweepMs, this.signal);
    }
    ends();
    while (this.#atOnce > 0) await new Promise<void>((resolve) => this.#idle.add(resolve));
  }

  #onChange(now: Known | undefined, record?: WaitRecord): void {
    if (now?.state !== 'decided') return;
    if (this.#failures.has(now.place)) {
      this.#changed.add(now.place);
      return;
    }
    this.#failures.set(now.place, 0);
    const { place, revision } = now;
    if (record !== undefined && this.#heard.size < MOST_HEARD) this.#heard.set(place, { record, revision });
    this.#queue.push(now.project, now);
    this.#next();
  }

  #next(): void {
    while (this.#atOnce < MOST_AT_ONCE && !this.signal.aborted) {
      const wait = this.#queue.shift();
      if (wait === undefined) return;
      this.#atOnce++;
      void this.#attempt(wait).finally(() => {
        this.#atOnce--;
        for (const resolve of this.#idle) resolve();
        this.#next();
      });
    }
  }

  async #attempt(wait: SettledWait): Promise<void> {
    const { onTrouble } = this.options;
    let pauseMs: number | undefined;
    try {
      pauseMs = await this.#tell(wait);
    } catch (error) {
      // It can no longer be opened, so it mustn't be acted on.
      if (!(error instanceof UnreadableWait)) {
        if (!this.signal.aborted) onTrouble(error);
        pauseMs = this.#failed(wait);
      }
    }
    if (pauseMs !== undefined) void this.#again(wait, pauseMs);
    else if (this.#changed.delete(wait.place)) void this.#again(wait, 0);
    else this.#failures.delete(wait.place);
  }

  /** Leaves its place to others meanwhile. */
  async #again(wait: SettledWait, ms: number): Promise<void> {
    await this.options.pause(ms, this.signal);
    this.#queue.push(wait.project, wait);
    this.#next();
  }

  /** @returns how long to wait, in milliseconds */
  #failed({ place }: SettledWait): number {
    const { firstPause, longestPause, random } = this.options;
    const failures = this.#failures.get(place) ?? 0;
    this.#failures.set(place, failures + 1);
    return Math.min(longestPause, firstPause * 2 ** failures) * (1 + random() * JITTER);
  }

  /** @returns undefined once there is nothing to report; otherwise how long to wait, in milliseconds */
  async #tell(wait: SettledWait): Promise<number | undefined> {
    const { store, tells, now, onTold, onAbandoned, onLater } = this.options;
    let heard = this.#heard.get(wait.place);
    this.#heard.delete(wait.place);
    for (;;) {
      const stored: StoredWait | undefined = heard ?? (await store.at(wait.place));
      heard = undefined;
      const state = stored?.record.state;
      if (stored === undefined || state?.state !== 'decided') return undefined;
      const { key } = stored.record;
      const pausedMs = (this.#paused.get(key.organization) ?? 0) - now();
      if (pausedMs > 0) return pausedMs;
      this.signal.throwIfAborted();
      const decided = { key, call: state.call, ending: state.ending };
      const told = await tells(decided, this.signal);
      if (told.kind === 'later') {
        const askedMs = Math.min(MOST_ASKED_MS, told.retryAfterMs ?? 0);
        if (askedMs > 0) this.#paused.set(key.organization, now() + askedMs);
        const pauseMs = Math.max(askedMs, this.#failed(wait));
        onLater(decided, told.reason, pauseMs);
        return pauseMs;
      }
      // Before the record is closed: if this process dies, the next one notes what it hadn't.
      if (told.kind === 'done') await onTold(decided, told.problem);
      // The task was executed again meanwhile: its newer token takes the place of this one.
      if (!(await this.#close(stored, decided, told.kind === 'done'))) continue;
      if (told.kind === 'gone') onAbandoned(decided, told.reason);
      return undefined;
    }
  }

  /** Erases the token. @returns false when someone else has written meanwhile */
  async #close(stored: StoredWait, { call, ending }: Decided, sent: boolean): Promise<boolean> {
    const { planUrl, timeline, inputs, digest, owner, planVersion } = call;
    const withoutToken = { planUrl, timeline, inputs, digest, owner, planVersion };
    const ended = { state: 'ended', call: withoutToken, endedAt: this.options.now(), ending, sent } as const;
    return (await this.options.store.update(stored, ended)) !== undefined;
  }

  async #sweep(): Promise<void> {
    const { waits, store, now, onTrouble } = this.options;
    for (const known of [...waits.all]) {
      if (this.signal.aborted) return;
      const lasts = known.state === 'ended' ? ENDED_MS : known.state === 'tombstone' ? TOMBSTONE_MS : undefined;
      if (lasts === undefined || now() - (known as SettledWait).at < lasts) continue;
      try {
        await store.remove(known.place, known.revision);
      } catch (error) {
        onTrouble(error);
        return;
      }
    }
  }
}
