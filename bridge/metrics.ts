import { Counter, Gauge, Registry } from 'prom-client';

/** What the bridge counts, by the names that Prometheus sees. */
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
  readonly deadLetters = this.#counter(
    'dead_letters_total',
    'Dead letters by function and reason.',
    'function',
    'reason',
  );
  readonly azureDevOpsResponses = this.#counter('azdo_responses_total', 'Answers of Azure DevOps.', 'status');
  readonly azureDevOpsThrottle = this.#counter('azdo_throttle_seconds_total', 'How long Azure DevOps asked to wait.');
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

  #gauge<Label extends string>(name: string, help: string, ...labelNames: Label[]): Gauge<Label> {
    return new Gauge({ name: `nats_bridge_${name}`, help, labelNames, registers: [this.#registry] });
  }
}
