import type { OutgoingMessage, PubAck, StreamPublisher } from '../../shared/bus.ts';
import { DeniedError, TaskError } from '../../shared/errors.ts';
import type { JetStream } from '../jetStream/api.ts';

export interface StoringOptions {
  readonly publisher: StreamPublisher;
  readonly jetStream: Pick<JetStream, 'mayPublish'>;
  /** Between two questions whether the permission is back, in milliseconds: the server logs each. */
  readonly askEveryMs: number;
  /** How long a refusal counts that nobody can ask about: without it, no hook may come that would be stored. */
  readonly refusedMs: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

interface Trouble {
  readonly isDenied: boolean;
  readonly subject: string;
  /** A clause. */
  readonly problem: string;
  readonly since: number;
  askedAt: number;
}

/** Refusals that stay until someone changes something in NATS. */
const LASTING = ['Denied', 'NoStream', 'StreamRefused'];

/** Stores hooks, and knows whether NATS takes them: that the stream is there doesn't say so. */
export class Storing implements StreamPublisher {
  #trouble: Trouble | undefined;

  constructor(private readonly options: StoringOptions) {}

  publish(message: OutgoingMessage, withinMs: number): Promise<PubAck> {
    return this.options.publisher.publish(message, withinMs).then(
      (ack) => {
        this.#trouble = undefined;
        return ack;
      },
      (error: unknown) => {
        this.#note(message.subject, error);
        throw error;
      },
    );
  }

  /** Why NATS took no hook when it last could have, as a clause; undefined once it has taken one, or would. */
  async trouble(): Promise<string | undefined> {
    const trouble = this.#trouble;
    if (trouble !== undefined && (await this.#isOver(trouble)) && this.#trouble === trouble) this.#trouble = undefined;
    return this.#trouble?.problem;
  }

  #note(subject: string, error: unknown): void {
    if (!(error instanceof TaskError) || !LASTING.includes(error.code)) return;
    const isDenied = error.code === 'Denied';
    const problem = isDenied ? lacking(error, subject) : error.problem;
    const since = this.options.now();
    this.#trouble = { isDenied, subject, problem, since, askedAt: since };
  }

  async #isOver(trouble: Trouble): Promise<boolean> {
    const { jetStream, askEveryMs, refusedMs, now } = this.options;
    if (!trouble.isDenied) return Math.abs(now() - trouble.since) >= refusedMs;
    if (Math.abs(now() - trouble.askedAt) < askEveryMs) return false;
    trouble.askedAt = now();
    return (await jetStream.mayPublish(trouble.subject)) === undefined;
  }
}

function lacking(error: TaskError, subject: string): string {
  const isDeaf = error instanceof DeniedError && error.verb === 'subscribe';
  return isDeaf ? `no permission to subscribe to ${error.grant}` : `no permission to publish to ${subject}`;
}
