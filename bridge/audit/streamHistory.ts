import type { Arrivals, Bus, ReceivedMessage, StreamLookup } from '../../shared/bus.ts';
import { DeniedError, reasonOf, TaskError } from '../../shared/errors.ts';
import { covers } from '../../shared/subject.ts';
import { safeText } from '../../shared/text/safeText.ts';
import type { JetStream } from '../jetStream/api.ts';

/** Messages per step back, by default. */
const STEP = 20_000;
/** Silence after which to look for the rest of a step: a stream's last message may have been deleted. */
const QUIET_MS = 2_000;
/** How many whole messages are requested at a time. */
const WINDOW = 64;
/** Larger messages are judged by their headers alone. */
const MOST_BYTES = 1_024 * 1_024;

/** How far a command looks back. All streams share it. */
export class Budget {
  #messages: number;
  readonly #until: number;

  /**
   * @param messages how many may be read
   * @param ms how long it may take
   * @param now milliseconds since the epoch
   */
  constructor(
    messages: number,
    ms: number,
    private readonly now: () => number,
  ) {
    this.#messages = messages;
    this.#until = now() + ms;
  }

  /** Milliseconds left. */
  get left(): number {
    return Math.max(0, this.#until - this.now());
  }

  get isSpent(): boolean {
    return this.#messages <= 0 || this.left === 0;
  }

  spend(messages: number): void {
    this.#messages -= messages;
  }
}

export interface HistoryOptions {
  readonly nats: Pick<Bus, 'readStream'> & { readonly lookup: StreamLookup };
  readonly jetStream: Pick<JetStream, 'stream' | 'apiPrefix'>;
  readonly stream: string;
  /** Which messages are needed whole, going by their headers; the others come without their payload. */
  readonly whole: 'all' | ((message: ReceivedMessage) => boolean);
  /** Gets each message, in no particular order. */
  readonly onMessage: (message: ReceivedMessage) => void;
  readonly budget: Budget;
  /** Reads only messages on this subject, all in one step. */
  readonly subject?: string;
  /** Messages per step back. */
  readonly step?: number;
}

/** A stream, read from its end backwards in steps: what a person asks about is usually recent. */
export class StreamHistory {
  /** The first sequence that was read; undefined before the first step. */
  #from: number | undefined;
  #first = 1;
  /** How many messages on the one subject there are; undefined: all are read. */
  #count: number | undefined;
  #reachedAt = Infinity;
  #isDone = false;
  #trouble: string | undefined;

  constructor(private readonly options: HistoryOptions) {}

  get stream(): string {
    return this.options.stream;
  }

  /** All messages since this time have been read, in milliseconds since the epoch; -Infinity for all there are. */
  get reachedAt(): number {
    return this.#isDone ? -Infinity : this.#reachedAt;
  }

  /** Why it couldn't be read; a sentence without a full stop. */
  get trouble(): string | undefined {
    return this.#trouble && `${this.stream} could not be read to its end: ${this.#trouble}`;
  }

  /** Which part wasn't read, in such a sentence; undefined when all of it was. */
  get unread(): string | undefined {
    if (this.#trouble !== undefined) return this.trouble;
    if (this.#isDone) return undefined;
    if (this.#from === undefined) return `${this.stream} was not read`;
    return `${this.stream} was not read before its sequence ${this.#from} (${new Date(this.#reachedAt).toISOString()})`;
  }

  /** Reads the messages before those already read. Never rejects. */
  async stepBack(): Promise<void> {
    try {
      const to = this.#from === undefined ? await this.#open() : this.#from - 1;
      if (to < this.#first) {
        this.#isDone = true;
        return;
      }
      const { subject, step = STEP } = this.options;
      const from = subject === undefined ? Math.max(this.#first, to - step + 1) : this.#first;
      await this.#read(from, to);
      this.#from = from;
      if (from === this.#first) this.#isDone = true;
    } catch (error) {
      this.#trouble = safeText(error instanceof TaskError ? error.problem : reasonOf(error), 500);
      this.#isDone = true;
    }
  }

  /** The last sequence. */
  async #open(): Promise<number> {
    const { subject } = this.options;
    const info = await this.options.jetStream.stream(this.stream, subject);
    if (info.kind !== 'ok') {
      if (info.kind === 'denied') throw lacksPermission(info.verb, info.subject);
      const why = info.kind === 'error' ? info.description : info.kind;
      throw new TaskError('NoStream', `its state can't be had (${why})`);
    }
    const { messages, first_seq: first, last_seq: last, subjects } = info.value.state;
    this.#first = Math.max(1, first);
    this.#count = subject === undefined ? undefined : (subjects?.[subject] ?? 0);
    return (this.#count ?? messages) === 0 ? 0 : last;
  }

  async #read(from: number, to: number): Promise<void> {
    const { budget, onMessage, whole, nats, jetStream } = this.options;
    const lookUp: number[] = [];
    let oldest = Infinity;
    await readRange(this.options, from, to, this.#count, (message) => {
      const { place, storedAt = Infinity } = message;
      budget.spend(1);
      oldest = Math.min(oldest, storedAt);
      const size = Number(message.headers.get('nats-msg-size')?.[0]);
      const isCut = place !== undefined && whole !== 'all' && size > 0 && size <= MOST_BYTES;
      if (isCut && whole(message)) lookUp.push(place.sequence);
      else onMessage(message);
    }).catch(async (error: unknown) => {
      if (!(error instanceof DeniedError)) throw error;
      // What was refused names a consumer of this reading alone; setup prints patterns that also cover it.
      const api = `${await jetStream.apiPrefix()}.CONSUMER`;
      const { stream } = this;
      const printed = [`${api}.CREATE.${stream}.>`, `${api}.MSG.NEXT.${stream}.*`];
      const grant = printed.find((pattern) => covers(pattern, error.grant)) ?? error.grant;
      throw lacksPermission(error.verb, grant);
    });
    for (let index = 0; index < lookUp.length; index += WINDOW) {
      if (budget.left === 0) throw new TaskError('Timeout', `there was no time to read its messages ${from} to ${to}`);
      const sequences = lookUp.slice(index, index + WINDOW);
      for (const message of await Promise.all(sequences.map((sequence) => nats.lookup.message(this.stream, sequence))))
        if (message !== undefined) onMessage(message);
    }
    if (oldest < this.#reachedAt) this.#reachedAt = oldest;
  }
}

function lacksPermission(verb: DeniedError['verb'], subject: string): TaskError {
  const all = 'nats-event-bridge check names all that it lacks';
  return new TaskError('Denied', `the bridge's user needs ${verb} permission for "${subject}"; ${all}`);
}

/**
 * Reads the headers of a stretch of a stream. Rejects if that takes too long.
 *
 * @param count how many messages there are on the one subject that is read; undefined: all subjects are
 */
async function readRange(
  { nats, stream, subject, whole, budget }: HistoryOptions,
  from: number,
  to: number,
  count: number | undefined,
  onMessage: (message: ReceivedMessage) => void,
): Promise<void> {
  const closing = new AbortController();
  const late = new TaskError('Timeout', `there was no time to read its messages ${from} to ${to}`);
  let quiet: NodeJS.Timeout | undefined;
  let last = from - 1;
  let read = 0;
  let end: { readonly read: () => void; readonly failed: (error: Error) => void } | undefined;
  const ended = new Promise<void>((read, failed) => (end = { read, failed }));
  const limit = setTimeout(() => end?.failed(late), budget.left);
  const awaitMore = () => {
    clearTimeout(quiet);
    quiet = setTimeout(() => end?.read(), QUIET_MS);
  };
  const reading = nats.readStream(
    { stream, subjects: [subject ?? '>'], start: { from: 'sequence', after: from - 1 }, headersOnly: whole !== 'all' },
    {
      arrived: (arrivals: Arrivals) => {
        for (const message of arrivals.take()) {
          last = message.place?.sequence ?? last;
          read++;
          if (last <= to) onMessage(message);
        }
        if (last >= to || (count !== undefined && read >= count)) end?.read();
        else awaitMore();
      },
      linkDown: (reason) => end?.failed(new TaskError('ConnectionLost', `the link broke: ${reason}`)),
      linkUp: () => {},
      notice: () => {},
      failed: (error) => end?.failed(error),
    },
    closing.signal,
  );
  reading.then(awaitMore, (error: unknown) => end?.failed(error as Error));
  try {
    await ended;
  } finally {
    clearTimeout(limit);
    clearTimeout(quiet);
    // A read that hasn't started by now must not start later.
    if (last < from) setImmediate(() => closing.abort(late));
    await reading.then(
      (subscription) => subscription.stop(),
      () => {},
    );
    clearTimeout(quiet);
  }
  const isShort =
    count === undefined ? last < to && (await nats.lookup.message(stream, to)) !== undefined : read < count;
  if (isShort) throw new TaskError('Timeout', `it fell silent after its sequence ${last}`);
}
