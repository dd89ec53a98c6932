import { Agent } from 'undici';
import type { ConsumerInputs } from './hookPost.ts';
import { HookSubscription } from './hookSubscription.ts';

export type { Attempt, ConsumerInputs } from './hookPost.ts';
export type { HookReport, HookSubscription, SubscriptionStatus } from './hookSubscription.ts';

export interface HookSenderOptions {
  /** How long a second of the resend clock takes, in seconds; default 1, which is the real clock. */
  readonly timeScale?: number;
  /** How long a post waits for its answer, in real milliseconds; undocumented, default 20 s. */
  readonly callerTimeoutMs?: number;
  /** How many posts may be in flight, over all subscriptions; default 8. */
  readonly connections?: number;
  /** PEM text of the receiver's certificate authority. */
  readonly ca?: string;
}

/** Posts the events of subscriptions to their web hooks as Azure DevOps does, with its resends and its probation. */
export class HookSender implements AsyncDisposable {
  readonly #agent: Agent;
  readonly #slots: Slots;
  readonly #options: Required<Pick<HookSenderOptions, 'timeScale' | 'callerTimeoutMs'>>;
  readonly #stopping = new AbortController();

  constructor({ timeScale = 1, callerTimeoutMs = 20_000, connections = 8, ca }: HookSenderOptions = {}) {
    this.#agent = new Agent({ connections, pipelining: 1, ...(ca !== undefined && { connect: { ca } }) });
    this.#slots = new Slots(connections);
    this.#options = { timeScale, callerTimeoutMs };
  }

  subscribe(inputs: ConsumerInputs): HookSubscription {
    const { timeScale, callerTimeoutMs: timeoutMs } = this.#options;
    return new HookSubscription(inputs, {
      ...{ agent: this.#agent, timeScale, timeoutMs, signal: this.#stopping.signal },
      inSlot: (work) => this.#slots.run(work),
    });
  }

  /** Ends posts and pauses; undelivered events are reported as given up. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#agent.destroy();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** Lets this many posts through at the same time; the others queue in order. */
class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
