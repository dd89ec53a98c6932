import type { ReceivedMessage, StreamLookup } from '../../shared/bus.ts';
import { FairQueue } from './fairQueue.ts';
import type { OpenWait, Step } from './openWait.ts';
import type { Seat } from './seat.ts';
import type { StreamReader } from './streamReader.ts';
import type { StreamPlaces } from './streamPlaces.ts';
import { Turn, type Rest, type RestOptions } from './turn.ts';

/** How many waits catch up side by side. */
const MOST_AT_ONCE = 16;
/** After this many lookups for one wait, it's another wait's turn. */
const MOST_LOOKS = 32;
/** Between two checks of a slow wait. */
const SLOW_LOOK_MS = 250;

export interface CatchUpOptions extends RestOptions {
  readonly stream: string;
  readonly nats: { readonly lookup: Pick<StreamLookup, 'next'> };
  /** Before the stream is asked again, in milliseconds. */
  readonly retryMs: number;
  readonly onTrouble: (error: unknown) => void;
  readonly times: StreamPlaces;
  /** Limits slow waits and those of expensive tenants. */
  readonly rest: Rest;
  readonly isExpensive: (tenant: string) => boolean;
  /** What judging an event has cost a tenant, in milliseconds. */
  readonly onSpent: (tenant: string, ms: number) => void;
  /** Shows a wait its events once it has caught up. */
  readonly readerOf: (seat: Seat) => StreamReader;
  /** The outcome of an event for a wait. */
  readonly onJudged: (seat: Seat, message: ReceivedMessage, step: Step) => void;
}

/** Shows each wait the events from before it was known, until it meets the reader; slow waits get all their events here. */
export class CatchUp {
  readonly #seats = new Set<Seat>();
  /** By tenant: one with a long backlog delays only itself. */
  readonly #queue = new FairQueue<Seat>();
  #atOnce = 0;

  constructor(
    private readonly options: CatchUpOptions,
    private readonly signal: AbortSignal,
  ) {}

  /** Those that are under way. */
  get seats(): Iterable<Seat> {
    return this.#seats;
  }

  has(seat: Seat): boolean {
    return this.#seats.has(seat);
  }

  /** The wait has joined its reader, but is behind it. */
  add(seat: Seat): void {
    this.#seats.add(seat);
    // Slow ones would keep the others from their turn.
    if (seat.wait.isSlow) void this.#advanceForSure(seat, Infinity);
    else {
      this.#queue.push(seat.tenant, seat);
      if (this.#atOnce < MOST_AT_ONCE) void this.#work();
    }
  }

  delete(seat: Seat): void {
    this.#seats.delete(seat);
  }

  async #work(): Promise<void> {
    this.#atOnce++;
    for (let seat = this.#queue.shift(); seat !== undefined; seat = this.#queue.shift())
      if (await this.#advanceForSure(seat, MOST_LOOKS)) this.add(seat);
    this.#atOnce--;
  }

  /** @returns whether there is more to do */
  async #advanceForSure(seat: Seat, looks: number): Promise<boolean> {
    const { pause, retryMs, onTrouble } = this.options;
    while (!this.#isDone(seat.wait)) {
      try {
        return await this.#advance(seat, looks);
      } catch (error) {
        if (this.#isDone(seat.wait)) return false;
        onTrouble(error);
        await pause(retryMs, this.signal);
      }
    }
    return false;
  }

  /** Judges past events until the wait meets the reader; for a slow wait, it never ends. @returns whether there is more to do */
  async #advance(seat: Seat, mostLooks: number): Promise<boolean> {
    const { readerOf, times, rest, pause, now } = this.options;
    const { wait } = seat;
    const turn = new Turn(now);
    const isSlowFromStart = wait.isSlow;
    await times.skipTo(wait, readerOf(seat).reached);
    for (let looks = 0; !this.#isDone(wait); looks++) {
      if (looks === mostLooks) return true;
      const { reached } = readerOf(seat);
      seat.beginBuffer();
      const next = wait.position < reached ? await this.#next(wait) : undefined;
      if (this.#isDone(wait)) return false;
      const sequence = sequenceOf(next);
      if (next !== undefined && sequence <= reached) {
        seat.buffer = undefined;
        if (this.#isCostly(seat)) await rest.over();
        if (this.#isDone(wait)) return false;
        this.#judge(seat, next);
        wait.position = Math.max(wait.position, sequence);
        if (wait.isSlow && !isSlowFromStart) return !wait.isOver;
      } else {
        wait.position = Math.max(wait.position, reached);
        if (wait.isSlow) {
          seat.buffer = undefined;
          await pause(SLOW_LOOK_MS, this.signal);
        } else if (seat.buffer !== undefined) {
          this.#meet(seat);
          return false;
        }
      }
      await turn.over();
    }
    return false;
  }

  #judge(seat: Seat, message: ReceivedMessage): void {
    const { now, rest, onJudged, onSpent } = this.options;
    const began = now();
    onJudged(seat, message, seat.wait.take(message));
    const ms = now() - began;
    if (this.#isCostly(seat)) rest.worked(ms);
    if (!seat.wait.isSlow) onSpent(seat.tenant, ms);
  }

  #isCostly({ wait, tenant }: Seat): boolean {
    return wait.isSlow || this.options.isExpensive(tenant);
  }

  #isDone(wait: OpenWait): boolean {
    return wait.isOver || this.signal.aborted;
  }

  /** From here on it is judged live, without a gap: events that passed meanwhile come first. */
  #meet(seat: Seat): void {
    this.#seats.delete(seat);
    const reader = this.options.readerOf(seat);
    // It met a reader that had gone further.
    if (seat.wait.position > reader.reached) {
      reader.join(seat);
      return;
    }
    seat.goLive();
    seat.takeBuffer((message, step) => this.options.onJudged(seat, message, step));
  }

  /** The first event on the wait's subjects that wasn't judged. */
  async #next({ subjects, position }: OpenWait): Promise<ReceivedMessage | undefined> {
    const { nats, stream } = this.options;
    const found = await Promise.all(subjects.map((subject) => nats.lookup.next(stream, position + 1, subject)));
    return found.reduce((first, one) => (sequenceOf(one) < sequenceOf(first) ? one : first), undefined);
  }
}

function sequenceOf(message: ReceivedMessage | undefined): number {
  return message?.place?.sequence ?? Infinity;
}
