import type { Log } from '../shared/log.ts';
import { safeText } from '../shared/text/safeText.ts';

/** The fields of a line besides its time, level and event. Texts may come from anywhere: they are neutralised and masked. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export type Level = 'debug' | 'info' | 'warning' | 'error';

/** Logs what the bridge does, one JSON object per line. */
export class EventLog {
  /**
   * @param write takes whole lines
   * @param now milliseconds since the epoch
   */
  constructor(
    private readonly write: (line: string) => void,
    private readonly now: () => number,
  ) {}

  debug(event: string, fields?: LogFields): void {
    this.#line('debug', event, fields);
  }

  info(event: string, fields?: LogFields): void {
    this.#line('info', event, fields);
  }

  warning(event: string, fields?: LogFields): void {
    this.#line('warning', event, fields);
  }

  error(event: string, fields?: LogFields): void {
    this.#line('error', event, fields);
  }

  /** A log for parts that log sentences, each as a line of this event. */
  texts(event: string): Log {
    return {
      debug: (text) => this.debug(event, { text }),
      info: (text) => this.info(event, { text }),
      warning: (text) => this.warning(event, { text }),
    };
  }

  #line(level: Level, event: string, fields: LogFields = {}): void {
    const safe = Object.entries(fields).map(([name, value]) => [
      name,
      typeof value === 'string' ? safeText(value) : value,
    ]);
    const time = new Date(this.now()).toISOString();
    this.write(`${JSON.stringify({ time, level, event, ...Object.fromEntries(safe) })}\n`);
  }
}
