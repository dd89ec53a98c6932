import { randomUUID } from 'node:crypto';
import { once, setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Agent } from 'undici';
import { headersOf, post, type Attempt, type ConsumerInputs } from './hookPost.ts';
import type { HookBody } from './hookWorld.ts';
import { PROBATION_S, RESENDS_S, verdictOn, type Verdict } from './resendClock.ts';

/** By their names in the REST API. */
export type SubscriptionStatus = 'enabled' | 'onProbation' | 'disabledBySystem';

/** What became of an event. */
export interface HookReport {
  readonly eventId: string;
  /** `lost`: the subscription was on probation or disabled, so it wasn't posted, or not again. */
  readonly outcome: 'delivered' | 'lost' | 'gaveUp';
  readonly attempts: readonly Attempt[];
  /** The last response, if there was one. */
  readonly answer: Attempt | undefined;
}

/** How a sender sends. */
export interface Sending {
  readonly agent: Agent;
  readonly timeScale: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Waits for a free connection. */
  inSlot<T>(work: () => Promise<T>): Promise<T>;
}

const WITHIN_MS = 10_000;

/** A subscription; its status decides which events are sent. */
export class HookSubscription {
  readonly id = randomUUID();
  /** One per event, in the order in which they ended. */
  readonly reports: HookReport[] = [];
  #status: SubscriptionStatus = 'enabled';
  #notifications = 0;
  readonly #inputs: ConsumerInputs;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #sending: Sending;
  readonly #changes = new EventTarget();
  readonly #disabling = new AbortController();
  /** Aborts when nothing more will be sent. */
  readonly #end: AbortSignal;

  constructor(inputs: ConsumerInputs, sending: Sending) {
    this.#inputs = inputs;
    this.#headers = headersOf(inputs, this.id);
    this.#sending = sending;
    this.#end = AbortSignal.any([sending.signal, this.#disabling.signal]);
    // Each event that waits for its resend listens, which isn't a leak.
    setMaxListeners(0, this.#end);
  }

  get status(): SubscriptionStatus {
    return this.#status;
  }

  /** Resolves once it has this status; rejects after 10 s. */
  async reached(status: SubscriptionStatus): Promise<void> {
    const signal = AbortSignal.timeout(WITHIN_MS);
    while (this.#status !== status) await once(this.#changes, 'status', { signal });
  }

  /**
   * Sends an event until it's delivered or given up.
   * @param event its body, or how it's rendered for an attempt (from 1). Captured by others: bodies are rendered at
   * delivery, so a later attempt may show a newer state; the event's id stays the same
   */
  async send(event: HookBody | ((attempt: number) => HookBody)): Promise<HookReport> {
    const render = typeof event === 'function' ? event : () => event;
    const first = render(1);
    const attempts: Attempt[] = [];
    const report = (outcome: HookReport['outcome']) => {
      const answer = attempts.findLast(({ status }) => status !== undefined);
      const result: HookReport = { eventId: first.id, outcome, attempts, answer };
      this.reports.push(result);
      return result;
    };
    const notificationId = ++this.#notifications;
    const attempt = async (): Promise<Verdict | 'lost'> => {
      const { agent, timeoutMs, inSlot } = this.#sending;
      const number = attempts.length + 1;
      const send = async (): Promise<Attempt | undefined> => {
        // Service hooks troubleshooting page, "Probation": new events are lost meanwhile.
        if (number === 1 && this.#status !== 'enabled') return undefined;
        const body = number === 1 ? first : { ...render(number), id: first.id };
        return post(body, {
          agent,
          timeoutMs,
          inputs: this.#inputs,
          headers: this.#headers,
          subscriptionId: this.id,
          notificationId,
        });
      };
      const made = await inSlot(send);
      if (made === undefined) return 'lost';
      attempts.push(made);
      return verdictOn(made.status);
    };

    let verdict = await attempt();
    for (const seconds of RESENDS_S) {
      if (verdict !== 'transient' || !(await this.#pause(seconds))) break;
      verdict = await attempt();
    }
    if (verdict === 'lost') return report('lost');
    if (verdict === 'success') return report(this.#delivered());
    if (this.#end.aborted) return report('gaveUp');
    if (verdict === 'terminal') return report(this.#disabled());
    // From here on it's an enduring failure. The page: a transient failure becomes one after the last resend.
    // "Only the failed post is retried": of several posts in flight, the first that failed.
    if (this.#status === 'onProbation') return report('lost');
    for (const seconds of PROBATION_S) {
      this.#become('onProbation'); // Also again, if another event's success had ended it.
      if (!(await this.#pause(seconds))) return report('gaveUp');
      verdict = await attempt();
      if (verdict === 'success') return report(this.#delivered());
      if (verdict === 'terminal') break;
    }
    return report(this.#sending.signal.aborted ? 'gaveUp' : this.#disabled());
  }

  /** A success ends a probation, whichever event it was. */
  #delivered(): 'delivered' {
    if (this.#status === 'onProbation') this.#become('enabled');
    return 'delivered';
  }

  /** For good: such a subscription can only be deleted and recreated. */
  #disabled(): 'gaveUp' {
    this.#become('disabledBySystem');
    this.#disabling.abort();
    return 'gaveUp';
  }

  #become(status: SubscriptionStatus): void {
    this.#status = status;
    this.#changes.dispatchEvent(new Event('status'));
  }

  /** Waits this many seconds of the scaled clock; false if there's no point in continuing. */
  async #pause(seconds: number): Promise<boolean> {
    const { timeScale } = this.#sending;
    await delay(seconds * 1_000 * timeScale, undefined, { signal: this.#end }).catch(() => {});
    return !this.#end.aborted;
  }
}
