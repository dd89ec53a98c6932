import type { Msg, Subscription } from 'nats';
import type { ReceivedRequest, Service, ServiceEvents } from '../../bus.ts';
import type { Link } from '../link/link.ts';
import type { Links } from '../link/links.ts';
import { lowerCasedHeaders } from '../link/rawMessage.ts';
import { pause } from '../../clock.ts';
import { deniedToService } from '../permissions.ts';

const FLUSH_TIMEOUT_MS = 5_000;
/** Pause between two attempts to subscribe when the server doesn't answer or refuses. */
const RETRY_PAUSE_MS = 1_000;

/** Answers requests on a subject for as long as it is wanted, over whatever link there is. */
export class QueueGroupService implements Service {
  readonly #stopping = new AbortController();
  readonly #underWay = new Set<Promise<void>>();
  #subscription: Subscription | undefined;

  constructor(
    private readonly links: Links,
    private readonly subject: string,
    private readonly queue: string,
    private readonly answer: (request: ReceivedRequest) => Promise<Uint8Array>,
    private readonly events: ServiceEvents,
  ) {
    void this.#serve();
  }

  async stop(drained: AbortSignal): Promise<void> {
    this.#stopping.abort();
    // What the server has sent before it hears of the end is still answered.
    await Promise.race([this.#subscription?.drain().catch(() => undefined), aborted(drained)]);
    await Promise.race([Promise.all(this.#underWay), aborted(drained)]);
  }

  async #serve(): Promise<void> {
    const { signal } = this.#stopping;
    while (!this.#isStopped()) {
      try {
        const link = await this.links.liveLink(signal);
        if (await this.#subscribe(link)) {
          this.events.up();
          const reason = await Promise.race([link.closed, aborted(signal)]);
          if (reason !== undefined) this.events.down(reason);
          continue;
        }
      } catch (error) {
        if (this.#isStopped()) return;
        this.#subscription?.unsubscribe();
        this.events.denied(error instanceof Error ? error : new Error(String(error)));
      }
      await pause(RETRY_PAUSE_MS, signal).catch(() => undefined);
    }
  }

  #isStopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** False where the link is gone or the server doesn't answer. */
  async #subscribe(link: Link): Promise<boolean> {
    if (link.isClosed) return false;
    this.#subscription = link.connection.subscribe(this.subject, {
      queue: this.queue,
      callback: (error, message) => {
        if (error === null) this.#take(message);
      },
    });
    const violations = await link.flush(FLUSH_TIMEOUT_MS);
    if (violations === undefined) {
      this.#subscription.unsubscribe();
      return false;
    }
    const denied = violations.find(({ operation }) => operation === 'subscription');
    if (denied !== undefined) throw deniedToService('subscription', denied.subject);
    link.onViolation(({ operation, subject }) => {
      if (subject === this.subject) this.events.denied(deniedToService(operation, subject));
    });
    return true;
  }

  #take(message: Msg): void {
    const answering = this.#answer(message).finally(() => this.#underWay.delete(answering));
    this.#underWay.add(answering);
  }

  async #answer(message: Msg): Promise<void> {
    const receivedAt = Date.now();
    const bytes = await this.answer({ payload: message.data, headers: lowerCasedHeaders(message), receivedAt });
    try {
      message.respond(bytes);
    } catch {
      this.links.log.debug(`A request on ${this.subject} could not be answered: its link is gone`);
    }
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}
