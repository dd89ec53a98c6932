/** Pauses all calls to Azure DevOps made by one identity. */
export interface GateOptions {
  /** In milliseconds. */
  readonly firstPause: number;
  readonly longestPause: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /**
   * Called when a pause begins or grows.
   *
   * @param ms until it is over
   * @param isNews whether the trouble has just begun, or nobody has been reminded of it for long
   */
  readonly onPause: (reason: string, ms: number, isNews: boolean) => void;
  /** Called when a pause is over, which doesn't mean that the trouble is. */
  readonly onOpen: () => void;
  /** Called when the trouble is over: a call has worked. */
  readonly onRecovery: () => void;
}

/** Azure DevOps may ask for more than it could mean. */
const MOST_ASKED_MS = 3_600_000;
/** Not even where tests scale everything: a rejected token must not be retried at once. */
const LEAST_MS = 100;
/** Between two reminders of trouble that goes on. */
const REMINDER_MS = 600_000;
/** So that replicas don't come back in step. */
const JITTER = 0.2;

/**
 * Keeps everyone who shares it from calling Azure DevOps while it's in trouble or throttling. Each failure after a pause
 * makes the next pause twice as long; calls already under way when a pause began don't count again.
 */
export class Gate {
  #until = 0;
  #reason = '';
  #troubles = 0;
  /** Whether the last call that was made outside of a pause came to nothing. */
  #isFailing = false;
  /** When the trouble that goes on was last reported, in milliseconds since the epoch. */
  #reportedAt: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(private readonly options: GateOptions) {}

  get isOpen(): boolean {
    return this.#timer === undefined;
  }

  /** Why nobody calls, and until when in milliseconds since the epoch; undefined while it is open. */
  get pause(): { readonly reason: string; readonly until: number } | undefined {
    return this.isOpen ? undefined : { reason: this.#reason, until: this.#until };
  }

  /** Resolves when calls may be made; rejects with the signal's reason when it aborts first. */
  async open(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    while (!this.isOpen) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#waiting.delete(wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        this.#waiting.add(wake);
        signal.addEventListener('abort', wake);
      });
      signal.throwIfAborted();
    }
  }

  /**
   * A call came to nothing.
   *
   * @param beganAt when the call was made, in milliseconds since the epoch
   * @param askedMs the pause that Azure DevOps has asked for
   */
  trouble(reason: string, beganAt: number, askedMs = 0): void {
    const { firstPause, longestPause } = this.options;
    const isNew = this.isOpen && beganAt >= this.#until;
    this.#isFailing = true;
    if (isNew) this.#troubles++;
    const grown = Math.min(longestPause, firstPause * 2 ** Math.max(0, this.#troubles - 1));
    this.#pause(reason, Math.max(LEAST_MS, isNew ? grown * (1 + Math.random() * JITTER) : 0, askedMs));
  }

  /** A call has worked. */
  success(askedMs = 0): void {
    this.#troubles = 0;
    // What was under way when the pause began shows nothing.
    if (this.isOpen) this.#isFailing = false;
    if (askedMs > 0) this.#pause('Azure DevOps asks for a pause', askedMs);
    this.#settle();
  }

  /** Releases everyone who waits; for shutdown. */
  close(): void {
    clearTimeout(this.#timer);
  }

  #pause(reason: string, wantedMs: number): void {
    const ms = Math.ceil(Math.min(MOST_ASKED_MS, wantedMs));
    const now = this.options.now();
    const until = now + ms;
    if (until <= this.#until) return;
    this.#until = until;
    this.#reason = reason;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#reopen(), ms);
    const isNews = this.#reportedAt === undefined || Math.abs(now - this.#reportedAt) >= REMINDER_MS;
    if (isNews) this.#reportedAt = now;
    this.options.onPause(reason, ms, isNews);
  }

  #reopen(): void {
    this.#timer = undefined;
    this.options.onOpen();
    for (const wake of [...this.#waiting]) wake();
    this.#settle();
  }

  #settle(): void {
    if (this.#reportedAt === undefined || this.#isFailing || !this.isOpen) return;
    this.#reportedAt = undefined;
    this.options.onRecovery();
  }
}
