import { reasonOf } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { describeMs } from '../../shared/text/duration.ts';
import { safeText } from '../../shared/text/safeText.ts';

export interface SilenceOptions {
  /** `hooks.silenceAlarm`, in milliseconds. */
  readonly after: number;
  /** When the last hook was stored by any replica, in milliseconds since the epoch; undefined where none is known. */
  readonly lastStored: () => Promise<number | undefined>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly log: Log;
}

const CHECK_MS = 60_000;

/**
 * Raises an alarm when no hook has come for long: Azure DevOps disables subscriptions silently. What counts is
 * the stream, since one replica may receive nothing while the others do.
 */
export class SilenceAlarm {
  readonly #since: number;
  #isSilent = false;

  constructor(private readonly options: SilenceOptions) {
    this.#since = options.now();
  }

  /** Checks repeatedly; returns how to stop. */
  start(): () => void {
    const timer = setInterval(() => void this.check(), CHECK_MS).unref();
    return () => clearInterval(timer);
  }

  /** Never rejects. */
  async check(): Promise<void> {
    const { after, lastStored, now, log } = this.options;
    try {
      const silentMs = now() - ((await lastStored()) ?? this.#since);
      const isSilent = silentMs > after;
      if (isSilent && !this.#isSilent) {
        log.warning(
          `No service hook has come for ${describeMs(silentMs)}. Check under Service hooks in the projects' settings whether Azure DevOps has disabled the subscriptions.`,
        );
      }
      if (!isSilent && this.#isSilent) log.info('Service hooks are arriving again.');
      this.#isSilent = isSilent;
    } catch (error) {
      log.warning(`Can't tell whether service hooks still arrive: ${safeText(reasonOf(error))}`);
    }
  }
}
