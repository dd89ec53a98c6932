import { setMaxListeners } from 'node:events';
import type { Arrivals, Bus, KeyValue, ReceivedMessage, StreamLookup, Subscription } from '../../shared/bus.ts';
import { TaskError } from '../../shared/errors.ts';
import { DecodedEvent } from '../../shared/event/decode.ts';
import { STREAM_NOT_FOUND, type JetStream, type StreamInfo } from '../jetStream/api.ts';
import { Checkpoint, type Judged } from './checkpoint.ts';
import { EVENT_MS, OpenWait, type OpenWaitOptions, type Step } from './openWait.ts';
import type { Known, KnownWait, OpenWaits } from './openWaits.ts';
import type { WaitEnding } from './record.ts';
import { Threshold } from './threshold.ts';
import { Turn } from './turn.ts';
import { PassedEvents, WaitIndex, type Passed } from './waitIndex.ts';
import { WaitWrites, type WaitWritesOptions } from './waitWrites.ts';

/** A new leader reads so many events before the checkpoint again, so that the counts of waits are exact. */
const MOST_AGAIN = 200_000;
/** Waits that are caught up side by side. */
const MOST_CATCHING_UP = 16;
/** Events that came while the last look at the past was under way. */
const MOST_BUFFERED = 200;
/** Times of the events that have passed: one a second, for an hour. */
const SAMPLE_MS = 1_000;
const MOST_SAMPLES = 3_600;

export interface StreamTermOptions extends OpenWaitOptions, WaitWritesOptions {
  readonly stream: string;
  readonly nats: Pick<Bus, 'readStream'> & { readonly lookup: Pick<StreamLookup, 'next'> };
  readonly jetStream: Pick<JetStream, 'stream'>;
  readonly bucket: KeyValue;
  readonly waits: OpenWaits;
  /** Between two checkpoints, in milliseconds. */
  readonly checkpointMs: number;
}

/** A wait and how it gets its events. */
class Seat {
  readonly subjects: readonly string[];
  readonly correlationId: string | undefined;
  /** Judged as events pass; else from the past, or not begun. */
  isLive = false;
  isRemoved = false;
  /** While the last look at the past is under way: what passes. */
  buffer: { readonly message: ReceivedMessage; readonly passed: number }[] | undefined;
  /** The last sequence there was after its deadline. */
  lastSequence: number | undefined;
  #baseline = 0;
  #shown = 0;
  /** While a buffer is judged: what had passed then. */
  #passedThen: number | undefined;

  constructor(
    readonly wait: OpenWait,
    private readonly passed: Passed,
  ) {
    this.subjects = wait.subjects;
    this.correlationId = wait.correlationId;
  }

  beginBuffer(): void {
    this.buffer = [];
    this.#baseline = this.passed.count;
  }

  push(message: ReceivedMessage): void {
    this.buffer?.push({ message, passed: this.passed.count });
    if ((this.buffer?.length ?? 0) > MOST_BUFFERED) this.buffer = undefined;
  }

  /** From here on events pass by it. */
  goLive(baseline = this.#baseline): void {
    this.isLive = true;
    this.#baseline = baseline;
    this.#shown = 0;
    // The rest is shown to it by what it was caught up from.
    const before = this.wait.unseen();
    if (this.correlationId !== undefined)
      this.wait.unseen = () => before + (this.#passedThen ?? this.passed.count) - this.#baseline - this.#shown;
  }

  goLiveNow(): void {
    this.goLive(this.passed.count);
  }

  /** Others mustn't wait for it any more. */
  leaveLive(): void {
    const unseen = this.wait.unseen();
    this.wait.unseen = () => unseen;
    this.isLive = false;
  }

  take(message: ReceivedMessage, passedThen?: number): Step {
    this.#shown++;
    this.#passedThen = passedThen;
    return this.wait.take(message);
  }

  endBuffer(): void {
    this.#passedThen = undefined;
    this.buffer = undefined;
  }
}

/**
 * Judges all waits on a stream, as its leader, until its signal aborts: one reader for all of them. A wait that is learned
 * when its first events have passed is caught up by itself until it meets the reader, so that the first match in the order
 * of the stream decides. Whatever is decided is written by compare-and-set, before the checkpoint passes it.
 */
export class StreamTerm {
  readonly #seats = new Map<string, Seat>();
  readonly #index = new WaitIndex<Seat>();
  readonly #passed = new PassedEvents();
  /** Seats that events have yet to reach, by sequence and by time. */
  readonly #aheadBySequence = new Threshold<Seat>();
  readonly #aheadByTime = new Threshold<Seat>();
  readonly #deadlines = new Threshold<Seat>();
  /** Seats whose time is over. */
  readonly #due = new Set<Seat>();
  readonly #catchingUp = new Set<Seat>();
  readonly #toCatchUp: Seat[] = [];
  #workers = 0;
  /** No slow wait is judged before. */
  #restUntil = 0;
  readonly #samples: { readonly sequence: number; readonly storedAt: number }[] = [];
  readonly #checkpoint: Checkpoint;
  readonly #writes: WaitWrites;
  /** All up to it have been shown to whom they concern. */
  #position = 0;
  /** The event that is being shown, or the position. */
  #reached = 0;
  /** When the last event that has passed was stored. */
  #time = -Infinity;
  #created = '';
  #arrivals: Arrivals | undefined;
  #failure: unknown;
  #wake = () => {};
  readonly #ended = new AbortController();
  private readonly signal: AbortSignal;

  /** @param held aborts when the stream isn't this replica's any more */
  constructor(
    private readonly options: StreamTermOptions,
    held: AbortSignal,
  ) {
    this.signal = AbortSignal.any([held, this.#ended.signal]);
    // Each write that has to be tried again waits for it.
    setMaxListeners(0, this.signal);
    this.#checkpoint = new Checkpoint(options.bucket, options.stream);
    this.#writes = new WaitWrites(options, this.signal);
  }

  /** Resolves when the term is over. @throws TaskError where it can't go on */
  async run(): Promise<void> {
    try {
      await this.#run();
    } finally {
      this.#ended.abort();
    }
  }

  async #run(): Promise<void> {
    const { waits } = this.options;
    const { signal } = this;
    await waits.upToDate(signal);
    const judged = await this.#checkpoint.read();
    const info = await this.#info();
    signal.throwIfAborted();
    if (info === undefined) {
      for (const known of this.#known()) this.#seatOf(known);
      this.#failAll(this.#gone());
      while (!this.#writes.isEmpty && !signal.aborted) await this.#pauseOnce();
      return;
    }
    await this.#begin(info, judged);
    const ends = waits.listen((now, before) => this.#onChange(now, before));
    const onAbort = () => this.#wake();
    signal.addEventListener('abort', onAbort);
    let subscription: Subscription | undefined;
    try {
      // What was learned since the beginning.
      for (const known of this.#known()) if (!this.#seats.has(known.place)) this.#join(this.#seatOf(known));
      subscription = await this.#openReader();
      const stop = (error: unknown) => this.#stop(error);
      await Promise.all([this.#read().catch(stop), this.#tick().catch(stop)]);
      if (this.#failure !== undefined) throw this.#failure as Error;
    } finally {
      ends();
      signal.removeEventListener('abort', onAbort);
      await subscription?.stop();
    }
  }

  #known(): KnownWait[] {
    return [...this.options.waits.all].filter(
      (known): known is KnownWait => known.state === 'waiting' && known.start.stream === this.options.stream,
    );
  }

  /** Finds out where to begin, and seats the waits there are. */
  async #begin({ created, state }: StreamInfo, judged: Judged | undefined): Promise<void> {
    this.#created = created;
    const isSame = judged === undefined || judged.created === created;
    const last = state.last_seq;
    const seats = this.#known().map((known) => this.#seatOf(known));
    const isJudged = ({ wait }: Seat) => judged !== undefined && wait.known.revision <= judged.revision;
    if (!isSame) for (const seat of seats.filter(isJudged)) this.#fail(seat, this.#createdAgain());
    const open = seats.filter(({ wait }) => !wait.isOver);
    const before = isSame ? open.filter(isJudged) : [];
    await this.#place(open, last);
    const anchor = before.length > 0 ? Math.min(judged?.sequence ?? last, last) : last;
    const lowest = open.reduce((least, { wait }) => Math.min(least, wait.position), anchor);
    this.#position = this.#reached = Math.max(lowest, anchor - MOST_AGAIN, 0);
    // What lies further back was judged by the leader before.
    for (const { wait } of before) wait.position = Math.max(wait.position, this.#position);
    for (const seat of open) this.#join(seat);
  }

  /** Waits that begin at a time: where the first of these times is. */
  async #place(seats: readonly Seat[], last: number): Promise<void> {
    const timed = seats.filter(({ wait }) => wait.known.start.at !== undefined && wait.known.progress === undefined);
    if (timed.length === 0) return;
    const first = timed.reduce((least, { wait }) => Math.min(least, wait.known.start.at ?? least), Infinity);
    const position = await this.#positionAt(first, last);
    for (const { wait } of timed) wait.position = Math.max(wait.position, position);
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

  #seatOf(known: KnownWait): Seat {
    const wait = new OpenWait(known, this.options);
    const seat = new Seat(wait, this.#passed.join(wait.subjects));
    this.#seats.set(known.place, seat);
    this.#deadlines.add(known.deadline, seat);
    return seat;
  }

  /** Lets events come to a wait. */
  #join(seat: Seat): void {
    const { wait } = seat;
    const { at } = wait.known.start;
    // Nothing that has passed counts.
    if (at !== undefined && at > this.#time && this.#time > 0) wait.position = Math.max(wait.position, this.#reached);
    if (wait.position >= this.#reached) {
      this.#aheadBySequence.add(wait.position + 1, seat);
      return;
    }
    this.#index.add(seat);
    this.#startCatchingUp(seat);
  }

  #onChange(now: Known | undefined, before: Known | undefined): void {
    const known = now ?? before;
    if (known === undefined) return;
    const seat = this.#seats.get(known.place);
    if (now?.state !== 'waiting') {
      if (seat === undefined) return;
      seat.wait.stop();
      this.#remove(seat);
      this.#seats.delete(known.place);
    } else if (seat !== undefined) seat.wait.known = now;
    else if (now.start.stream === this.options.stream) this.#join(this.#seatOf(now));
  }

  async #openReader(): Promise<Subscription> {
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

  async #read(): Promise<void> {
    const turn = new Turn(this.options.now);
    while (!this.#isOver()) {
      const messages = this.#arrivals?.take() ?? [];
      for (const message of messages) {
        await this.#writes.room();
        if (this.#isOver()) break;
        await this.#pass(message, turn);
        await turn.over();
      }
      if (messages.length === 0) await this.#woken();
    }
  }

  #isOver(): boolean {
    return this.signal.aborted || this.#failure !== undefined;
  }

  async #woken(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      // It may have come while nobody looked.
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
      if (seat.wait.isOver) continue;
      this.#index.add(seat);
      seat.goLiveNow();
    }
    this.#reached = sequence;
    this.#passed.passed(message.subject);
    let id: string | undefined | null = null;
    const correlationIdOf = () => (id === null ? (id = new DecodedEvent(message).correlationId) : id);
    for (const seat of this.#index.find(message.subject, correlationIdOf)) {
      if (seat.isLive) this.#step(seat, message, seat.take(message));
      else seat.push(message);
      await turn.over();
    }
    this.#position = sequence;
    this.#sample(sequence);
  }

  #sample(sequence: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && this.#time - last.storedAt < SAMPLE_MS) return;
    this.#samples.push({ sequence, storedAt: this.#time });
    if (this.#samples.length > MOST_SAMPLES) this.#samples.shift();
  }

  #step(seat: Seat, message: ReceivedMessage, step: Step): void {
    const { wait } = seat;
    if (step.kind === 'ended') {
      this.#end(seat, step.ending, message.place?.sequence ?? 0, message.storedAt);
      return;
    }
    if (step.kind === 'counted') this.#writes.counted(wait);
    if (!seat.isLive || !wait.isSlow) return;
    seat.leaveLive();
    this.#startCatchingUp(seat);
  }

  #end(seat: Seat, ending: WaitEnding, from: number, storedAt?: number): void {
    this.#remove(seat);
    this.#writes.ended(seat.wait, ending, from, storedAt);
  }

  /** No event comes to it any more. */
  #remove(seat: Seat): void {
    if (seat.isRemoved) return;
    seat.isRemoved = true;
    this.#passed.leave(seat.subjects);
    this.#index.delete(seat);
    this.#catchingUp.delete(seat);
    this.#due.delete(seat);
  }

  #startCatchingUp(seat: Seat): void {
    this.#catchingUp.add(seat);
    // Slow ones would keep the others from their turn.
    if (seat.wait.isSlow) void this.#catchUpForSure(seat);
    else {
      this.#toCatchUp.push(seat);
      if (this.#workers < MOST_CATCHING_UP) void this.#work();
    }
  }

  async #work(): Promise<void> {
    this.#workers++;
    for (let seat = this.#toCatchUp.shift(); seat !== undefined; seat = this.#toCatchUp.shift())
      await this.#catchUpForSure(seat);
    this.#workers--;
  }

  async #catchUpForSure(seat: Seat): Promise<void> {
    const { pause, retryMs, onTrouble } = this.options;
    while (!this.#isOver()) {
      try {
        await this.#catchUp(seat);
        return;
      } catch (error) {
        if (this.signal.aborted) return;
        onTrouble(error);
        await pause(retryMs, this.signal);
      }
    }
  }

  /** Judges what has passed, until the wait meets the reader; a slow one for ever. */
  async #catchUp(seat: Seat): Promise<void> {
    const { wait } = seat;
    const turn = new Turn(this.options.now);
    const isSlowFromStart = wait.isSlow;
    await this.#skipToTime(wait);
    while (!this.#isDone(wait)) {
      const reached = this.#reached;
      seat.beginBuffer();
      const next = wait.position < reached ? await this.#next(wait) : undefined;
      if (this.#isDone(wait)) return;
      const sequence = next?.place?.sequence ?? Infinity;
      if (next !== undefined && sequence <= reached) {
        seat.buffer = undefined;
        if (wait.isSlow) await this.#rested();
        if (this.#isDone(wait)) return;
        const began = this.options.now();
        this.#step(seat, next, wait.take(next));
        const tookMs = this.options.now() - began;
        if (tookMs >= EVENT_MS) this.#restUntil = this.options.now() + tookMs;
        wait.position = Math.max(wait.position, sequence);
        if (wait.isSlow && !isSlowFromStart) {
          this.#startCatchingUp(seat);
          return;
        }
      } else {
        wait.position = Math.max(wait.position, reached);
        if (wait.isSlow) {
          seat.buffer = undefined;
          await this.options.pause(SLOW_LOOK_MS, this.signal);
        } else if (seat.buffer !== undefined) {
          this.#meet(seat, seat.buffer);
          return;
        }
      }
      await turn.over();
    }
  }

  /** Resolves when slow waits have rested for as long as the last of them took: all else has its turn then. */
  async #rested(): Promise<void> {
    const { now, pause } = this.options;
    for (let ms = this.#restUntil - now(); ms > 0 && !this.#isOver(); ms = this.#restUntil - now())
      await pause(ms, this.signal);
  }

  #isDone(wait: OpenWait): boolean {
    return wait.isOver || this.#isOver();
  }

  /** From here on it is judged live, without a gap: what has passed meanwhile comes first. */
  #meet(seat: Seat, buffer: NonNullable<Seat['buffer']>): void {
    this.#catchingUp.delete(seat);
    seat.goLive();
    for (const { message, passed } of buffer) {
      if (!seat.isLive || seat.wait.isOver) break;
      this.#step(seat, message, seat.take(message, passed));
    }
    seat.endBuffer();
  }

  async #skipToTime(wait: OpenWait): Promise<void> {
    const { start, progress } = wait.known;
    if (start.at === undefined || progress !== undefined || wait.position > 0) return;
    const { at } = start;
    const sample = this.#samples.findLast(({ storedAt }) => storedAt < at);
    const position = sample?.sequence ?? (await this.#positionAt(at, this.#reached));
    wait.position = Math.max(wait.position, position);
  }

  /** The first event on the wait's subjects that wasn't judged. */
  async #next({ subjects, position }: OpenWait): Promise<ReceivedMessage | undefined> {
    const { nats, stream } = this.options;
    const found = await Promise.all(subjects.map((subject) => nats.lookup.next(stream, position + 1, subject)));
    return found.reduce((first, one) => (sequenceOf(one) < sequenceOf(first) ? one : first), undefined);
  }

  /** Deadlines, the end of the stream, and the checkpoint. */
  async #tick(): Promise<void> {
    const { checkpointMs, pause } = this.options;
    while (!this.#isOver()) {
      await pause(checkpointMs, this.signal);
      if (this.#isOver()) return;
      try {
        await this.#look();
      } catch (error) {
        if (this.signal.aborted) return;
        this.options.onTrouble(error);
      }
    }
  }

  async #look(): Promise<void> {
    const now = this.options.now();
    const info = await this.#info();
    if (this.#isOver()) return;
    if (info === undefined) this.#failAll(this.#gone());
    else if (info.created !== this.#created) {
      this.#failAll(this.#createdAgain());
      this.#stop(this.#createdAgain());
      return;
    } else await this.#expire(now, info.state.last_seq);
    if (this.#isOver()) return;
    this.#forget();
    if (!(await this.#checkpoint.write(this.#judged())))
      this.#stop(new TaskError('Conflict', `Another replica judges the waits on "${this.options.stream}"`));
  }

  /** Waits that are over mustn't stay until their deadlines, which may be many. */
  #forget(): void {
    for (const threshold of [this.#aheadBySequence, this.#aheadByTime, this.#deadlines])
      if (threshold.size > 2 * this.#seats.size + 1_000) threshold.keep(({ isRemoved }) => !isRemoved);
  }

  /** @param last the last sequence there was at a time when `now` had passed */
  async #expire(now: number, last: number): Promise<void> {
    for (const seat of this.#deadlines.reach(now)) if (!seat.wait.isOver) this.#due.add(seat);
    for (const seat of this.#due) seat.lastSequence ??= last;
    await this.#passDeleted(last);
    for (const seat of this.#due) {
      if (seat.wait.isOver) this.#due.delete(seat);
      else if (this.#positionOf(seat) >= (seat.lastSequence ?? Infinity))
        this.#end(seat, seat.wait.timeOut(), Infinity);
    }
  }

  /** The last events of a stream may have been deleted: the reader never hears of them. */
  async #passDeleted(last: number): Promise<void> {
    const { nats, stream } = this.options;
    const position = this.#position;
    if (position >= last || this.#reached !== position || (this.#arrivals?.length ?? 0) > 0) return;
    const next = await nats.lookup.next(stream, position + 1, '>');
    if (next !== undefined || this.#reached !== position) return;
    this.#position = this.#reached = last;
  }

  #positionOf(seat: Seat): number {
    // One that has yet to begin has nothing to miss.
    return this.#catchingUp.has(seat) ? seat.wait.position : Math.max(seat.wait.position, this.#position);
  }

  #judged(): Judged {
    const sequence = Math.max(0, Math.min(this.#position, this.#writes.lowest - 1));
    let { revision } = this.options.waits;
    for (const { wait } of this.#catchingUp)
      if (wait.position < sequence) revision = Math.min(revision, wait.known.revision - 1);
    return { sequence, revision, created: this.#created };
  }

  /** Undefined where there is no such stream. */
  async #info(): Promise<StreamInfo | undefined> {
    const { jetStream, stream } = this.options;
    const answer = await jetStream.stream(stream);
    if (answer.kind === 'ok') return answer.value;
    if (answer.kind === 'error' && answer.errorCode === STREAM_NOT_FOUND) return undefined;
    throw new TaskError('Timeout', `The stream "${stream}" does not answer (${answer.kind})`);
  }

  #gone(): TaskError {
    return new TaskError('NoStream', `The stream "${this.options.stream}" was deleted while this task waited`);
  }

  #createdAgain(): TaskError {
    return new TaskError(
      'NoStream',
      `The stream "${this.options.stream}" was deleted and created again while this task waited`,
      'Run the job again.',
    );
  }

  #failAll(error: TaskError): void {
    for (const seat of this.#seats.values()) this.#fail(seat, error);
  }

  #fail(seat: Seat, error: TaskError): void {
    if (!seat.wait.isOver) this.#end(seat, seat.wait.fail(error), Infinity);
  }

  #stop(why: unknown): void {
    this.#failure ??= why;
    this.#wake();
  }

  #pauseOnce(): Promise<void> {
    return this.options.pause(this.options.checkpointMs, this.signal);
  }
}

/** Between two looks of a slow wait. */
const SLOW_LOOK_MS = 250;

function sequenceOf(message: ReceivedMessage | undefined): number {
  return message?.place?.sequence ?? Infinity;
}
