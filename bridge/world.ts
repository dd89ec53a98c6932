import type { Bus } from '../shared/bus.ts';
import type { Clock } from '../shared/clock.ts';
import type { ConnectionSettings } from '../shared/connection/settings.ts';
import type { Log } from '../shared/log.ts';
import type { Functions, Parts } from './functions.ts';

/** What is outside of the bridge. */
export interface World {
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds since the epoch. */
  now(): number;
  /** Data, for whoever called the command. */
  out(text: string): void;
  /** Prose, progress and the log. */
  err(text: string): void;
  /** Calls back when the process is asked to stop. */
  onStop(listener: (why: string) => void): void;
  /**
   * Connects to the first server that accepts, and keeps the link.
   *
   * @param settings how to connect now: asked at each dial
   */
  openBus(settings: () => ConnectionSettings, clock: Clock, log: Log): Promise<Bus>;
  /** Starts what the configuration turns on. */
  startFunctions(parts: Parts): Promise<Functions>;
}
