import { createHash } from 'node:crypto';
import type { Headers, Place, PubAck, StreamPublisher } from '../../shared/bus.ts';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { partOf } from './decisions.ts';
import { FloodLimit } from './floodLimit.ts';

/** Something that couldn't be done. */
export interface DeadLetter {
  readonly function: 'hooks' | 'runs' | 'waits';
  /** The last part of the subject: the route, or for a hook the reason. */
  readonly name: string;
  /** One word, written like an identifier. */
  readonly reason: string;
  /** The same in a sentence. Foreign text. */
  readonly detail: string;
  /** Who sent it: letters kept per minute are limited per sender. */
  readonly source: string;
  /** The original's headers, as far as they may be kept. */
  readonly headers: Headers;
  /** The original's bytes. */
  readonly payload: Uint8Array;
  /** The route that it was for; events only. */
  readonly route?: string;
  /** The original's place in its stream; events only. */
  readonly place?: Place;
  /** The letter is kept once, however often it is written within the stream's duplicate window. */
  readonly messageId?: string;
  /** Headers of the letter by names without `Bridge-`, for whoever replays it. */
  readonly notes?: Readonly<Record<string, string>>;
}

/** Counts events; the program turns them into metrics. */
export interface DeadLetterMetrics {
  /** A letter, kept or only counted: `nats_bridge_dead_letters_total{function,reason}`. */
  deadLetter(of: DeadLetter['function'], reason: string): void;
}

export interface DeadLettersOptions {
  readonly publisher: StreamPublisher;
  /** `bridge.dead`. */
  readonly subjectPrefix: string;
  /** `BRIDGE_DEAD`. */
  readonly stream: string;
  readonly metrics: DeadLetterMetrics;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly log: Log;
}

/** How many of one source's letters weren't kept. */
interface Excess {
  readonly function: DeadLetter['function'];
  readonly name: string;
  readonly from: number;
  readonly reasons: Map<string, number>;
  readonly timer: NodeJS.Timeout;
}

const MOST_A_MINUTE = 120;
const SUMMARY_MS = 60_000;
const SUMMARY_WITHIN_MS = 5_000;
/** Reason of the letter that stands for those that were not kept. */
export const LIMITED = 'limited';
/** Longest header of a letter. */
const MAX_HEADER = 1_000;

/** Keeps what couldn't be done, with its original bytes, so that a person can inspect and replay it. */
export class DeadLetters {
  readonly #limit: FloodLimit;
  readonly #excess = new Map<string, Excess>();
  #isClosed = false;

  constructor(private readonly options: DeadLettersOptions) {
    this.#limit = new FloodLimit(MOST_A_MINUTE, options.now);
  }

  /**
   * Keeps a letter. One that is too large for the server or the stream is kept without its bytes, with an alarm.
   *
   * @returns its number in the stream; null when its source has used up its share of this minute and it was only counted
   * @throws TaskError where the stream can't take it
   */
  async write(letter: DeadLetter, withinMs: number): Promise<number | null> {
    const source = `${letter.function} ${letter.source}`;
    const giveBack = this.#limit.take(source);
    if (giveBack === undefined) {
      this.#count(source, letter);
      this.options.metrics.deadLetter(letter.function, letter.reason);
      return null;
    }
    try {
      const { sequence } = await this.#publish(letter, withinMs);
      this.options.metrics.deadLetter(letter.function, letter.reason);
      return sequence;
    } catch (error) {
      giveBack();
      throw error;
    }
  }

  /** Writes what is still to be reported. Never rejects. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#excess.keys()].map((source) => this.#summarise(source)));
  }

  async #publish(letter: DeadLetter, withinMs: number): Promise<PubAck> {
    const subject = `${this.options.subjectPrefix}.${letter.function}.${partOf(letter.name)}`;
    const own: Headers = [
      ['Nats-Expected-Stream', this.options.stream],
      ...(letter.messageId === undefined ? [] : [['Nats-Msg-Id', letter.messageId] as const]),
      ...bridgeHeaders(letter),
    ];
    const until = this.options.now() + withinMs;
    try {
      const message = { subject, headers: [...own, ...letter.headers.map(asOriginal)], payload: letter.payload };
      return await this.options.publisher.publish(message, withinMs);
    } catch (error) {
      if (!(error instanceof TaskError) || error.code !== 'TooLarge') throw error;
      const { length } = letter.payload;
      const sha256 = createHash('sha256').update(letter.payload).digest('hex');
      const headers: Headers = [...own, ['Bridge-Size', String(length)], ['Bridge-SHA-256', sha256]];
      const left = Math.max(1, until - this.options.now());
      const ack = await this.options.publisher.publish({ subject, headers, payload: new Uint8Array() }, left);
      this.options.log.warning(
        `The dead letter ${ack.sequence} (${letter.function}, ${letter.reason}) lacks its ${length} bytes, which are more than NATS takes: ${safeText(error.problem)}. Raise max_payload of the server.`,
      );
      return ack;
    }
  }

  #count(
    source: string,
    { function: of, name, reason }: Pick<DeadLetter, 'function' | 'name' | 'reason'>,
    by = 1,
  ): void {
    let excess = this.#excess.get(source);
    if (excess === undefined) {
      const timer = setTimeout(() => void this.#summarise(source), SUMMARY_MS);
      // A program that is shutting down calls close().
      timer.unref();
      excess = { function: of, name, from: this.options.now(), reasons: new Map(), timer };
      this.#excess.set(source, excess);
    }
    excess.reasons.set(reason, (excess.reasons.get(reason) ?? 0) + by);
  }

  async #summarise(source: string): Promise<void> {
    const excess = this.#excess.get(source);
    if (excess === undefined) return;
    this.#excess.delete(source);
    clearTimeout(excess.timer);
    const count = [...excess.reasons.values()].reduce((sum, number) => sum + number, 0);
    const detail = `${count} letters of one source were not kept, since it had sent more than ${MOST_A_MINUTE} in a minute`;
    const summary = {
      source,
      count,
      reasons: Object.fromEntries(excess.reasons),
      from: new Date(excess.from).toISOString(),
      to: new Date(this.options.now()).toISOString(),
    };
    this.options.log.warning(`Dead letters: ${detail} (${safeText(source)}).`);
    const { function: of } = excess;
    const letter: DeadLetter = {
      function: of,
      name: of === 'hooks' ? LIMITED : excess.name,
      reason: LIMITED,
      detail,
      source,
      headers: [['Content-Type', 'application/json']],
      payload: Buffer.from(JSON.stringify(summary)),
    };
    try {
      await this.#publish(letter, SUMMARY_WITHIN_MS);
    } catch (error) {
      this.options.log.warning(
        `The letter that tells of ${count} dead letters that were not kept could not be written: ${safeText(reasonOf(error))}`,
      );
      if (this.#isClosed) return;
      for (const [reason, number] of excess.reasons) this.#count(source, { ...excess, reason }, number);
    }
  }
}

/**
 * A header of the original. One that means something to NATS or to readers of the letter is renamed, and a line break,
 * which anyone publishing an event can put into a value, would start another header.
 */
function asOriginal([name, value]: Headers[number]): Headers[number] {
  return [/^(nats|bridge)-/i.test(name) ? `Bridge-Original-${name}` : name, value.replace(/[\r\n]/g, ' ')];
}

function bridgeHeaders({ reason, detail, route, place, notes = {} }: DeadLetter): Headers {
  const values: Readonly<Record<string, string | undefined>> = {
    Reason: reason,
    Detail: detail,
    Route: route,
    Stream: place?.stream,
    Sequence: place === undefined ? undefined : String(place.sequence),
    ...notes,
  };
  return Object.entries(values).flatMap(([name, value]) =>
    value === undefined ? [] : [[`Bridge-${name}`, safeText(value, MAX_HEADER)] as const],
  );
}
