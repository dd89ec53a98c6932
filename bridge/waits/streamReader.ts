import type { Arrivals, Bus, ReceivedMessage, StreamLookup, Subscription } from '../../shared/bus.ts';
import { DecodedEvent } from '../../shared/event/decode.ts';
import type { Step } from './openWait.ts';
import type { Seat } from './seat.ts';
import { Threshold } from './threshold.ts';
import { assessTogether } from './together.ts';
import { Turn, type Rest } from './turn.ts';
import { PassedEvents, WaitIndex } from './waitIndex.ts';
import { WaitWrites, type WaitWritesOptions } from './waitWrites.ts';

export interface StreamReaderOptions extends WaitWritesOptions {
  readonly stream: string;
  readonly nats: Pick<Bus, 'readStream'> & { readonly lookup: Pick<StreamLookup, 'next'> };
  /** The outcome of an event for a wait it passed. */
  readonly onJudged: (seat: Seat, message: ReceivedMessage, step: Step) => void;
  /** What judging an event has cost a tenant, in milliseconds. */
  readonly onSpent: (tenant: string, ms: number) => void;
  /** An event is done with: seats can be changed now. */
  readonly onPassed: (sequence: number, storedAt: number) => void;
}

/** Reads a stream from a given place, and shows each event to the waits it may concern. */
export class StreamReader {
  /** Receives the outcomes of its waits. */
  readonly writes: WaitWrites;
  readonly #seats = new Set<Seat>();
  readonly #index = new WaitIndex<Seat>();
  readonly #passed = new PassedEvents();
  /** Seats that events have yet to reach, by sequence and by time. */
  readonly #aheadBySequence = new Threshold<Seat>();
  readonly #aheadByTime = new Threshold<Seat>();
  #position = 0;
  #reached = 0;
  #time = -Infinity;
  #arrivals: Arrivals | undefined;
  #failure: Error | undefined;
  #wake = () => {};

  /** @param signal ends it @param rest limits what its waits cost */
  constructor(
    private readonly options: StreamReaderOptions,
    private readonly signal: AbortSignal,
    private readonly rest?: Rest,
  ) {
    this.writes = new WaitWrites(options, signal);
  }

  /** @param position the sequence before the first that is read @param time when that one was stored, if that is known */
  begin(position: number, time = -Infinity): void {
    this.#position = this.#reached = position;
    this.#time = time;
  }

  get seats(): Iterable<Seat> {
    return this.#seats;
  }

  /** Everything up to it has been shown to the waits it concerns. */
  get position(): number {
    return this.#position;
  }

  /** The event that is being shown, or the position. */
  get reached(): number {
    return this.#reached;
  }

  /** When the last event that has passed was stored. */
  get time(): number {
    return this.#time;
  }

  /** Starts showing events to a wait. @returns whether it has to be caught up with what has passed already */
  join(seat: Seat): boolean {
    const { wait } = seat;
    const { at } = wait.known.start;
    // Nothing that has passed counts.
    if (at !== undefined && at > this.#time && this.#time > 0) wait.position = Math.max(wait.position, this.#reached);
    if (wait.position < this.#reached) {
      this.joinBehind(seat);
      return true;
    }
    this.#enter(seat);
    this.#aheadBySequence.add(wait.position + 1, seat);
    return false;
  }

  /** The same for a wait that is being caught up. */
  joinBehind(seat: Seat): void {
    this.#enter(seat);
    this.#index.add(seat);
  }

  #enter(seat: Seat): void {
    if (this.#seats.has(seat)) return;
    this.#seats.add(seat);
    seat.passed = this.#passed.join(seat.subjects);
  }

  /** Stops showing events to it. */
  leave(seat: Seat): void {
    if (!this.#seats.delete(seat)) return;
    this.#passed.leave(seat.subjects);
    this.#index.delete(seat);
  }

  /** Waits that are over mustn't stay until events reach them. */
  forget(): void {
    for (const threshold of [this.#aheadBySequence, this.#aheadByTime])
      if (threshold.size > 2 * this.#seats.size + 1_000) threshold.keep((seat) => this.#seats.has(seat));
  }

  /** Reads until the signal aborts. @throws TaskError when it can't go on */
  async run(): Promise<void> {
    const onAbort = () => this.#wake();
    this.signal.addEventListener('abort', onAbort);
    let subscription: Subscription | undefined;
    try {
      subscription = await this.#open();
      const turn = new Turn(this.options.now);
      while (!this.#isOver()) {
        const messages = this.#arrivals?.take() ?? [];
        for (const message of messages) {
          await this.writes.room();
          if (this.#isOver()) break;
          await this.#pass(message, turn);
          await turn.over();
        }
        if (messages.length === 0) await this.#woken();
      }
      if (this.#failure !== undefined && !this.signal.aborted) throw this.#failure;
    } finally {
      this.signal.removeEventListener('abort', onAbort);
      await subscription?.stop();
    }
  }

  async #open(): Promise<Subscription> {
    const { nats, stream } = this.options;
    return nats.readStream(
      { subjects: ['>'], stream, start: { from: 'sequence', after: this.#position } },
      {
        arrived: (arrivals) => {
          this.#arrivals = arrivals;
          this.#wake();
        },
        ...{ linkDown: () => {}, linkUp: () => {}, notice: () => {} },
        failed: (error) => {
          this.#failure = error;
          this.#wake();
        },
      },
      this.signal,
    );
  }

  #isOver(): boolean {
    return this.signal.aborted || this.#failure !== undefined;
  }

  async #woken(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      // It may have arrived unnoticed.
      if ((this.#arrivals?.length ?? 0) > 0 || this.#isOver()) resolve();
    });
  }

  async #pass(message: ReceivedMessage, turn: Turn): Promise<void> {
    const sequence = message.place?.sequence ?? 0;
    if (sequence <= this.#position) return;
    for (const seat of this.#aheadBySequence.reach(sequence))
      this.#aheadByTime.add(seat.wait.known.start.at ?? 0, seat);
    this.#time = message.storedAt ?? this.#time;
    for (const seat of this.#aheadByTime.reach(this.#time)) {
      if (seat.wait.isOver || seat.isLive || !this.#seats.has(seat)) continue;
      this.#index.add(seat);
      seat.goLiveNow();
    }
    this.#reached = sequence;
    this.#passed.passed(message.subject);
    for (const [tenant, seats] of this.#concerned(message)) await this.#show(message, tenant, seats, turn);
    // In that case, not every wait has seen it.
    if (this.signal.aborted) return;
    this.#position = sequence;
    this.options.onPassed(sequence, this.#time);
  }

  /** The waits that see it as it passes, by tenant. Those still catching up put it into their buffers. */
  #concerned(message: ReceivedMessage): Map<string, Seat[]> {
    let id: string | undefined | null = null;
    const correlationIdOf = () => (id === null ? (id = new DecodedEvent(message).correlationId) : id);
    const concerned = new Map<string, Seat[]>();
    for (const seat of this.#index.find(message.subject, correlationIdOf)) {
      if (!seat.isLive) seat.push(message);
      else {
        const seats = concerned.get(seat.tenant);
        if (seats === undefined) concerned.set(seat.tenant, [seat]);
        else seats.push(seat);
      }
    }
    return concerned;
  }

  async #show(message: ReceivedMessage, tenant: string, seats: readonly Seat[], turn: Turn): Promise<void> {
    const { now, onSpent } = this.options;
    for (let left = seats; left.length > 0;) {
      await this.rest?.over();
      if (this.signal.aborted) return;
      const began = now();
      // Some may have ended meanwhile.
      const live = left.filter(({ isLive, wait }) => isLive && !wait.isOver);
      left = live.slice(this.#judge(live, message));
      const spentMs = now() - began;
      onSpent(tenant, spentMs);
      this.rest?.worked(spentMs);
      await turn.over();
    }
  }

  /** @returns for how many of them it is judged */
  #judge(seats: readonly Seat[], message: ReceivedMessage): number {
    const { now, onJudged } = this.options;
    const [first, ...others] = seats;
    if (first === undefined) return 0;
    if (others.length === 0) {
      onJudged(first, message, first.take(message));
      return 1;
    }
    const waits = seats.map(({ wait }) => wait);
    const { assessed, isInterrupted } = assessTogether(waits, message, now);
    for (const [index, one] of assessed.entries()) {
      const seat = seats[index];
      if (seat !== undefined) onJudged(seat, message, seat.take(message, one));
    }
    const slow = isInterrupted ? seats[assessed.length] : undefined;
    if (slow === undefined) return assessed.length;
    slow.postpone(message);
    onJudged(slow, message, { kind: 'passed' });
    return assessed.length + 1;
  }

  /** The last events of a stream may have been deleted, up to this one: the reader never hears of them. */
  async passDeleted(last: number): Promise<void> {
    const { nats, stream } = this.options;
    const position = this.#position;
    if (position >= last || this.#reached !== position || (this.#arrivals?.length ?? 0) > 0) return;
    const next = await nats.lookup.next(stream, position + 1, '>');
    if (next !== undefined || this.#reached !== position) return;
    this.#position = this.#reached = last;
  }
}
