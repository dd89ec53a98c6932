import type { TokenSource } from '../../shared/connection/settings.ts';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import type { Agent } from './agent.ts';

/** The part of a token's lifetime after which the next one is asked for. */
const REFRESH_AFTER = 0.8;
const REFRESH_RETRY_MS = 10_000;
/** The part of its lifetime in which a token is used: after that it may expire before a server checks it. */
const USED_FOR = 0.95;
/** A rejected token this young was rejected for its content, not its age. */
const FRESH_MS = 1_000;
/** Node's timers hold at most 2^31 ms. */
const MAX_TIMER_MS = 24 * 3_600_000;

/** A masked token, fresh from its issuer. */
export interface IssuedToken {
  readonly text: string;
  /** How long it's valid from now on. */
  readonly lifetimeMs: number;
  /** What the log says about it and how it was obtained, without secrets. */
  readonly lines: readonly string[];
}

/**
 * Asks for a new token, as often as makes sense.
 *
 * @param onFault is called with each fault that leads to a retry
 * @throws TaskError as {@link TokenSource.current} does
 */
export type ObtainToken = (signal: AbortSignal, onFault: (fault: TaskError) => void) => Promise<IssuedToken>;

interface HeldToken {
  readonly text: string;
  /** Both in milliseconds since the epoch, by the agent's clock. */
  readonly obtainedAt: number;
  readonly usableUntil: number;
}

/** A token that is requested when needed and renewed while in use. */
export class RenewedToken implements TokenSource {
  #newest: HeldToken | undefined;
  #renewal: Promise<HeldToken> | undefined;
  #fault: TaskError | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** @param name what people call it, such as `ID token` */
  constructor(
    private readonly agent: Agent,
    private readonly name: string,
    private readonly obtain: ObtainToken,
  ) {}

  /**
   * From the first call on, a new one is requested whenever 80 % of a token's lifetime has passed, so that one is at hand
   * when a link breaks.
   */
  async current(signal: AbortSignal): Promise<string> {
    const token = this.#usable;
    if (token !== undefined) return token.text;
    return (await this.#renew(signal)).text;
  }

  /** None when the rejected one is the newest and was only just issued. */
  async newerThan(refused: string, signal: AbortSignal): Promise<string | undefined> {
    const token = this.#newest;
    if (token?.text !== refused) return this.current(signal);
    if (this.agent.now() - token.obtainedAt < FRESH_MS) return undefined;
    return (await this.#renew(signal)).text;
  }

  awaited(): TaskError | undefined {
    if (this.#renewal === undefined || this.#usable !== undefined) return undefined;
    const late = `The ${this.name} that this step signs in with did not come in time`;
    return this.#fault ?? new TaskError('Unreachable', late, 'Give the step a longer timeout.');
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  get #usable(): HeldToken | undefined {
    const token = this.#newest;
    return token !== undefined && this.agent.now() < token.usableUntil ? token : undefined;
  }

  #renew(signal: AbortSignal): Promise<HeldToken> {
    this.#renewal ??= this.#hold(signal).finally(() => {
      this.#renewal = undefined;
      this.#fault = undefined;
    });
    return this.#renewal;
  }

  async #hold(signal: AbortSignal): Promise<HeldToken> {
    const { text, lifetimeMs, lines } = await this.obtain(signal, (fault) => {
      this.#fault = fault;
      this.agent.debug(`Asking for the ${this.name} again: ${fault.problem}`);
    });
    for (const line of lines) {
      if (this.#newest === undefined) this.agent.info(line);
      else this.agent.debug(line);
    }
    const now = this.agent.now();
    this.#newest = { text, obtainedAt: now, usableUntil: now + lifetimeMs * USED_FOR };
    this.#renewAfter(lifetimeMs * REFRESH_AFTER, signal);
    return this.#newest;
  }

  #renewAfter(ms: number, signal: AbortSignal): void {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    const renew = () => {
      if (signal.aborted) return;
      this.#renew(signal).catch((error: unknown) => {
        if (signal.aborted) return;
        this.agent.debug(`The ${this.name} was not renewed: ${reasonOf(error)}`);
        this.#renewAfter(REFRESH_RETRY_MS, signal);
      });
    };
    this.#timer = setTimeout(renew, Math.min(ms, MAX_TIMER_MS)).unref();
  }
}
