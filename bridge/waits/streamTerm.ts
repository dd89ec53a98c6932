import { setMaxListeners } from 'node:events';
import type { KeyValue, ReceivedMessage } from '../../shared/bus.ts';
import { TaskError } from '../../shared/errors.ts';
import type { JetStream, StreamInfo } from '../jetStream/api.ts';
import { CatchUp, type CatchUpOptions } from './catchUp.ts';
import { Checkpoint, type Judged } from './checkpoint.ts';
import { Deadlines } from './deadlines.ts';
import { OpenWait, type OpenWaitOptions, type Step } from './openWait.ts';
import { lookBacks, type LookBacksOptions } from './lookBacks.ts';
import type { Known, KnownWait, OpenWaits } from './openWaits.ts';
import { Readers, type ReadersOptions } from './readers.ts';
import type { WaitEnding } from './record.ts';
import { Seat } from './seat.ts';
import { createdAgain, gone, streamInfo } from './streamState.ts';
import { StreamPlaces } from './streamPlaces.ts';
import { Rest } from './turn.ts';

/** How many events before the checkpoint a new leader reads again, so that waits' counts are exact. */
const MOST_AGAIN = 200_000;

type OwnOptions = 'onJudged' | 'onPassed' | 'onFailure' | 'rest' | 'isCatchingUp';

export interface StreamTermOptions
  extends
    OpenWaitOptions,
    Omit<ReadersOptions, OwnOptions | 'nats'>,
    Pick<CatchUpOptions, 'onTrouble'>,
    Pick<LookBacksOptions, 'mayRead'> {
  readonly nats: ReadersOptions['nats'] & LookBacksOptions['nats'];
  readonly jetStream: Pick<JetStream, 'stream'>;
  readonly bucket: KeyValue;
  readonly waits: OpenWaits;
  /** Between two checkpoints, in milliseconds. */
  readonly checkpointMs: number;
}

/**
 * Judges all waits on a stream, as its leader, until its signal aborts. A wait that becomes known after its first events have
 * passed catches up on its own until it meets the reader, so that the first match in stream order decides.
 * Every decision is written by compare-and-set before the checkpoint passes it.
 */
export class StreamTerm {
  readonly #seats = new Map<string, Seat>();
  readonly #deadlines = new Deadlines();
  readonly #checkpoint: Checkpoint;
  readonly #times: StreamPlaces;
  readonly #catchUp: CatchUp;
  readonly #readers: Readers;
  #created = '';
  #failure: unknown;
  readonly #ended = new AbortController();
  private readonly signal: AbortSignal;

  /** @param held aborts when the stream isn't this replica's any more */
  constructor(
    private readonly options: StreamTermOptions,
    held: AbortSignal,
  ) {
    this.signal = AbortSignal.any([held, this.#ended.signal]);
    // Each write that has to be retried waits for it.
    setMaxListeners(0, this.signal);
    this.#checkpoint = new Checkpoint(options.bucket, options.stream);
    this.#times = new StreamPlaces(options, this.signal);
    const common = {
      ...options,
      rest: new Rest(options, this.signal),
      onJudged: (...of: Parameters<ReadersOptions['onJudged']>) => this.#judged(...of),
    };
    this.#readers = new Readers(
      {
        ...common,
        onPassed: (sequence, storedAt) => this.#times.passed(sequence, storedAt),
        onFailure: (error) => this.#stop(error),
        isCatchingUp: (seat) => this.#catchUp.has(seat),
      },
      this.signal,
    );
    this.#catchUp = new CatchUp(
      {
        ...common,
        times: this.#times,
        onSpent: (tenant, ms) => this.#readers.spent(tenant, ms),
        isExpensive: (tenant) => this.#readers.isApart(tenant),
        readerOf: (seat) => this.#readers.of(seat),
      },
      this.signal,
    );
  }

  /** Resolves when the term is over. @throws TaskError when it can't go on */
  async run(): Promise<void> {
    try {
      await this.#run();
    } finally {
      this.#ended.abort();
    }
    if (this.#failure !== undefined) throw this.#failure as Error;
  }

  async #run(): Promise<void> {
    const { waits } = this.options;
    const { signal } = this;
    await waits.upToDate(signal);
    const judged = await this.#checkpoint.read();
    const info = await streamInfo(this.options.jetStream, this.options.stream);
    signal.throwIfAborted();
    if (info === undefined) {
      for (const known of this.#known()) this.#seatOf(known);
      this.#failAll(gone(this.options.stream));
      await this.#written();
      return;
    }
    await this.#begin(info, judged);
    const ends = waits.listen((now, before) => this.#onChange(now, before));
    try {
      // Waits that became known since the beginning.
      for (const known of this.#known()) if (!this.#seats.has(known.place)) this.#join(this.#seatOf(known));
      const stop = (error: unknown) => this.#stop(error);
      await Promise.all([this.#readers.main.run().catch(stop), this.#tick().catch(stop)]);
    } finally {
      ends();
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
    if (!isSame) for (const seat of seats.filter(isJudged)) this.#fail(seat, createdAgain(this.options.stream));
    const open = seats.filter(({ wait }) => !wait.isOver);
    const before = isSame ? open.filter(isJudged) : [];
    const waits = open.map(({ wait }) => wait);
    await this.#times.place(waits, last);
    const anchor = before.length > 0 ? Math.min(judged?.sequence ?? last, last) : last;
    const lowest = waits.reduce((least, { position }) => Math.min(least, position), anchor);
    const position = Math.max(lowest, anchor - MOST_AGAIN, 0);
    this.#readers.main.begin(position);
    // Anything further back was judged by the previous leader.
    for (const { wait } of before) wait.position = Math.max(wait.position, position);
    for (const seat of open) this.#join(seat);
  }

  #seatOf(known: KnownWait): Seat {
    const seat = new Seat(new OpenWait(known, this.options));
    this.#seats.set(known.place, seat);
    this.#deadlines.add(seat);
    return seat;
  }

  #join(seat: Seat): void {
    if (this.#readers.of(seat).join(seat)) this.#catchUp.add(seat);
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

  #judged(seat: Seat, message: ReceivedMessage, step: Step): void {
    const { wait } = seat;
    if (step.kind === 'ended') {
      this.#end(seat, step.ending, message.place?.sequence ?? 0, message.storedAt);
      return;
    }
    if (step.kind === 'counted') this.#readers.of(seat).writes.counted(wait);
    if (!seat.isLive || !wait.isSlow) return;
    seat.leaveLive();
    this.#catchUp.add(seat);
  }

  #end(seat: Seat, ending: WaitEnding, from: number, storedAt?: number): void {
    this.#remove(seat);
    this.#readers.of(seat).writes.ended(seat.wait, ending, from, storedAt);
  }

  /** Stops showing events to it. */
  #remove(seat: Seat): void {
    if (seat.isRemoved) return;
    seat.isRemoved = true;
    this.#readers.of(seat).leave(seat);
    this.#catchUp.delete(seat);
    this.#deadlines.delete(seat);
  }

  /** Deadlines, the end of the stream, and the checkpoint. */
  async #tick(): Promise<void> {
    while (!this.#isOver()) {
      await this.#pauseOnce();
      if (this.#isOver()) return;
      try {
        await this.#look();
      } catch (error) {
        if (this.signal.aborted) return;
        this.options.onTrouble(error);
      }
    }
  }

  #isOver(): boolean {
    return this.signal.aborted;
  }

  async #look(): Promise<void> {
    const now = this.options.now();
    const info = await streamInfo(this.options.jetStream, this.options.stream);
    if (this.#isOver()) return;
    if (info === undefined) this.#failAll(gone(this.options.stream));
    else if (info.created !== this.#created) {
      const error = createdAgain(this.options.stream);
      this.#failAll(error);
      await this.#written();
      this.#stop(error);
      return;
    } else await this.#expire(now, info.state.last_seq);
    if (this.#isOver()) return;
    this.#readers.review();
    this.#deadlines.forget(this.#seats.size);
    if (!(await this.#checkpoint.write(this.#progress())))
      this.#stop(new TaskError('Conflict', `Another replica judges the waits on "${this.options.stream}"`));
  }

  async #expire(now: number, last: number): Promise<void> {
    this.#deadlines.pass(now, last);
    for (const reader of this.#readers.all) await reader.passDeleted(last);
    const over = this.#deadlines.over((one) => this.#positionOf(one));
    if (over.length === 0) return;
    const lookBackOf = await lookBacks(
      over.map(({ wait }) => wait),
      this.options,
    );
    if (this.#isOver()) return;
    // A task may have been cancelled meanwhile.
    for (const seat of over) if (!seat.wait.isOver) this.#end(seat, seat.wait.timeOut(lookBackOf(seat.wait)), Infinity);
  }

  #positionOf(seat: Seat): number {
    // One that has yet to begin has nothing to miss.
    const { position } = seat.wait;
    return this.#catchUp.has(seat) ? position : Math.max(position, this.#readers.of(seat).position);
  }

  /** How far all are judged; the next leader catches up those that have fallen behind. */
  #progress(): Judged {
    const { main, apart } = this.#readers;
    const sequence = Math.max(0, Math.min(main.position, main.writes.lowest - 1));
    let { revision } = this.options.waits;
    const leaveOut = ({ known }: OpenWait) => (revision = Math.min(revision, known.revision - 1));
    for (const { wait } of this.#catchUp.seats) if (wait.position < sequence) leaveOut(wait);
    for (const { position, seats, writes } of apart) {
      for (const wait of writes.waits) leaveOut(wait);
      if (position < sequence) for (const { wait } of seats) leaveOut(wait);
    }
    return { sequence, revision, created: this.#created };
  }

  /** Resolves once all decisions are written, or the term is over. */
  async #written(): Promise<void> {
    while (this.#readers.all.some(({ writes }) => !writes.isEmpty) && !this.signal.aborted) await this.#pauseOnce();
  }

  #failAll(error: TaskError): void {
    for (const seat of this.#seats.values()) this.#fail(seat, error);
  }

  #fail(seat: Seat, error: TaskError): void {
    if (!seat.wait.isOver) this.#end(seat, seat.wait.fail(error), Infinity);
  }

  #stop(why: unknown): void {
    this.#failure ??= why;
    this.#ended.abort();
  }

  #pauseOnce(): Promise<void> {
    return this.options.pause(this.options.checkpointMs, this.signal);
  }
}
