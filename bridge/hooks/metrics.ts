/** The outcome of a post. */
export type HookOutcome = 'stored' | 'duplicate' | 'deadLetter' | 'unavailable' | 'unauthorized';

/** Counts events; the program turns them into metrics. */
export interface HookMetrics {
  /**
   * `nats_bridge_hooks_received_total{event,outcome}`.
   *
   * @param event one of the bridge's names, `other`, or `unknown` where the post was no hook or nobody's
   */
  received(event: string, outcome: HookOutcome): void;
  /** `nats_bridge_hook_last_received_timestamp_seconds{event}`: when the last post came that was signed in. */
  lastReceived(event: string, seconds: number): void;
}
