import { Counter, Gauge, Histogram, Registry } from 'prom-client';

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600];

/** The bridge's metrics, by the names that Prometheus sees. */
export class Metrics {
  readonly #registry = new Registry();

  /** Service hooks by event and outcome. */
  readonly hooksReceived = this.#counter('hooks_received_total', 'Service hooks received.', 'event', 'outcome');
  /** When the last hook of each event came, in seconds since the epoch. */
  readonly hookLastReceived = this.#gauge(
    'hook_last_received_timestamp_seconds',
    'When the last service hook came.',
    'event',
  );
  /** Service hook subscriptions by Azure DevOps' name of their event, and state. */
  readonly hookSubscriptions = this.#gauge(
    'hook_subscription_state',
    'Service hook subscriptions of this bridge by event and state; missing: there is none.',
    'event',
    'state',
  );
  readonly deadLetters = this.#counter(
    'dead_letters_total',
    'Dead letters by function and reason.',
    'function',
    'reason',
  );
  /** Changes of packages by feed and outcome: stored, duplicate, deadLetter, skipped. */
  readonly feedChanges = this.#counter('feed_changes_total', 'Changes of packages read.', 'feed', 'outcome');
  /** At the replica that reads it, in seconds since the epoch. */
  readonly feedLastRead = this.#gauge(
    'feed_last_read_timestamp_seconds',
    'When the change feed was last read to its end.',
    'feed',
  );
  readonly feedTrouble = this.#gauge('feed_trouble', "1 while a change feed can't be read or stored.", 'feed');
  /** Events of routes by outcome. */
  readonly events = this.#counter('events_total', 'Events by route and outcome.', 'route', 'outcome');
  readonly runsQueued = this.#counter('runs_queued_total', 'Runs of pipelines that were started.');
  readonly runRequest = this.#histogram('run_request_seconds', 'How long Azure DevOps took to start a run.');
  readonly eventToRun = this.#histogram('event_to_run_seconds', 'From the storing of an event to its run.');
  readonly routePaused = this.#gauge('route_paused', '1 while a route starts nothing.', 'route');
  readonly routeUp = this.#gauge('route_up', '1 while a route gets its events, 0 while it is down.', 'route');
  readonly routeOldestPending = this.#gauge(
    'route_oldest_pending_seconds',
    'Age of the oldest event that a route has yet to deal with; 0: there is none; missing: unknown.',
    'route',
  );
  readonly waitCalls = this.#counter('wait_calls_total', 'Calls of agentless tasks by outcome.', 'outcome');
  readonly waitsUnreadable = this.#counter('waits_unreadable_total', 'Records of waits that no sealing key opens.');
  readonly waits = this.#gauge('waits', 'Waits by state, as this replica knows them.', 'state');
  readonly waitDecisionLag = this.#histogram(
    'wait_decision_lag_seconds',
    'From the storing of an event to the decision on the wait that it ends.',
  );
  readonly leader = this.#gauge('leader', '1 while this replica judges the waits on a stream.', 'stream');
  readonly azureDevOpsResponses = this.#counter('azdo_responses_total', 'Answers of Azure DevOps.', 'status');
  readonly azureDevOpsThrottle = this.#counter('azdo_throttle_seconds_total', 'How long Azure DevOps asked to wait.');
  /** Sign-ins by outcome: granted, why refused, malformed, failed. */
  readonly calloutSignIns = this.#counter('callout_sign_ins_total', 'Sign-ins by outcome.', 'outcome');
  readonly calloutSignInTime = this.#histogram(
    'callout_sign_in_seconds',
    'From the arrival of a request of a NATS server to its answer.',
  );
  readonly calloutKeysFetched = this.#gauge(
    'callout_keys_fetched_timestamp_seconds',
    "When an issuer's keys were last fetched.",
    'issuer',
  );
  readonly calloutKeysTrouble = this.#gauge(
    'callout_keys_trouble',
    "1 while an issuer's keys can't be fetched.",
    'issuer',
  );
  readonly tokenExpiry = this.#gauge(
    'token_expiry_timestamp_seconds',
    'When the token for Azure DevOps expires.',
    'kind',
  );
  readonly checkProblems = this.#gauge('check_problems', 'Problems that the last self-check found.');
  readonly configReloadFailed = this.#gauge(
    'config_reload_failed',
    '1 while a changed configuration or secret is not used because it is bad.',
  );
  readonly natsUp = this.#gauge('nats_up', '1 while the link to NATS is there.');

  /** Forgets the states of routes, of which a changed configuration may not have all. */
  forgetRoutes(): void {
    for (const gauge of [this.routePaused, this.routeUp, this.routeOldestPending]) gauge.reset();
  }

  /** The text that Prometheus reads. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  #counter<Label extends string>(name: string, help: string, ...labelNames: Label[]): Counter<Label> {
    return new Counter({ name: `nats_bridge_${name}`, help, labelNames, registers: [this.#registry] });
  }

  #histogram(name: string, help: string): Histogram {
    return new Histogram({ name: `nats_bridge_${name}`, help, buckets: SECONDS, registers: [this.#registry] });
  }

  #gauge<Label extends string>(name: string, help: string, ...labelNames: Label[]): Gauge<Label> {
    return new Gauge({ name: `nats_bridge_${name}`, help, labelNames, registers: [this.#registry] });
  }
}
