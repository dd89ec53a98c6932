import type { ConnectionSettings } from '../shared/connection/settings.ts';
import type { Log } from '../shared/log.ts';
import type { Nats } from './nats.ts';

/** The world outside the bridge. */
export interface World {
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Who ran the command. */
  readonly user: string;
  /** Milliseconds since the epoch. */
  now(): number;
  /** Data, for whoever ran the command. */
  out(data: string | Uint8Array): void;
  /** Whether a person reads that data as it appears. */
  readonly isTerminal: boolean;
  /** Prose, progress and the log. */
  err(text: string): void;
  /** Calls back when the process is asked to stop. */
  onStop(listener: (why: string) => void): void;
  /**
   * Connects to the first server that accepts, and keeps the link.
   *
   * @param settings the current connection settings: asked for at each dial
   * @param signal ends everything at once
   * @param onDown called with each reason why there's no link while connecting goes on
   */
  openNats(
    settings: () => ConnectionSettings,
    signal: AbortSignal,
    log: Log,
    onDown?: (trouble: { readonly reason: string; readonly remedy: string }) => void,
  ): Promise<Nats>;
}
