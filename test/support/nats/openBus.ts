import { EventEmitter, once } from 'node:events';
import type {
  Arrivals,
  OutgoingMessage,
  PubAck,
  ReceivedMessage,
  ReceivedReply,
  StreamSource,
  Subscription,
  SubscriptionEvents,
} from '../../../shared/bus.ts';
import type { ConnectionSettings } from '../../../shared/connection/settings.ts';
import { reasonOf, TaskError } from '../../../shared/errors.ts';
import { openNatsBus, type NatsBus } from '../../../shared/nats/natsBus.ts';
import type { Clock } from '../../../shared/clock.ts';

const UNTIL_MS = 10_000;

/** A service connection to a test's servers, given by URL. By default it has no credentials. */
export function settingsFor(urls: readonly string[], others: Partial<ConnectionSettings> = {}): ConnectionSettings {
  return {
    servers: urls.map((url) => {
      const { protocol, hostname, port } = new URL(url);
      return { host: hostname, port: Number(port), tls: protocol === 'tls:' };
    }),
    authentication: { kind: 'none' },
    clientCertificate: undefined,
    caCertificate: undefined,
    tlsFirst: false,
    inboxPrefix: undefined,
    jetStreamDomain: undefined,
    ...others,
  };
}

/** The clock of a step that ends at a deadline or when the test cancels it, and the log it writes. */
export class Step {
  readonly lines: string[] = [];
  readonly clock: Clock;
  readonly #controller = new AbortController();

  constructor(timeoutMs = 60_000) {
    const { signal } = this.#controller;
    this.clock = { signal, startedAt: Date.now(), deadline: Date.now() + timeoutMs, now: Date.now };
    const timer = setTimeout(() => {
      this.#controller.abort(new TaskError('Timeout', 'The deadline of this step has passed'));
    }, timeoutMs);
    signal.addEventListener('abort', () => clearTimeout(timer));
  }

  readonly log = {
    info: (text: string) => void this.lines.push(`info ${text}`),
    warning: (text: string) => void this.lines.push(`warning ${text}`),
    debug: (text: string) => void this.lines.push(`debug ${text}`),
  };

  cancel(): void {
    this.#controller.abort(new TaskError('Cancelled', 'The agent cancelled this step'));
  }
}

/** A bus to the servers with its own step; both end with the scope. */
export async function openBus(
  urls: readonly string[],
  others: Partial<ConnectionSettings> = {},
  timeoutMs?: number,
): Promise<OpenBus> {
  const step = new Step(timeoutMs);
  try {
    return new OpenBus(await openNatsBus(settingsFor(urls, others), step.clock, step.log), step);
  } catch (error) {
    step.cancel();
    throw error;
  }
}

export class OpenBus implements AsyncDisposable {
  constructor(
    readonly bus: NatsBus,
    readonly step: Step,
  ) {}

  /** Publishes one event, with a message id if given; throws the error that ended it. */
  async publishToStream(subject: string, id?: string, expectedStream?: string): Promise<PubAck> {
    const messages = [[event(subject, id)]];
    const result = await this.bus.publishToStream(messages, expectedStream, () => {}, this.step.clock.signal);
    if (result.error !== undefined) throw result.error as Error;
    return result.last!;
  }

  /** Like {@link publishToStream}, to core NATS. */
  async publishCore(subject: string): Promise<void> {
    const { error } = await this.bus.publishCore([[event(subject)]], () => {}, this.step.clock.signal);
    if (error !== undefined) throw error as Error;
  }

  async request(subject: string): Promise<ReceivedReply> {
    return this.bus.request(event(subject), this.step.clock.signal);
  }

  /** Reads a stream until the scope ends. */
  async read(source: Partial<StreamSource> & Pick<StreamSource, 'subjects' | 'start'>): Promise<Reading> {
    const events = new Recorder();
    const { signal } = this.step.clock;
    return new Reading(await this.bus.readStream({ stream: undefined, ...source }, events, signal), events);
  }

  /** Subscribes to core NATS until the scope ends. */
  async subscribe(subjects: readonly string[]): Promise<Reading> {
    const events = new Recorder();
    return new Reading(await this.bus.subscribeCore(subjects, events, this.step.clock.signal), events);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.step.cancel();
    await this.bus.close();
  }
}

function event(subject: string, id?: string): OutgoingMessage {
  return { subject, headers: id === undefined ? [] : [['Nats-Msg-Id', id]], payload: Buffer.from('payload') };
}

/** A subscription with everything it has reported so far. */
export class Reading implements AsyncDisposable {
  constructor(
    readonly subscription: Subscription,
    readonly seen: Recorder,
  ) {}

  async [Symbol.asyncDispose](): Promise<void> {
    await this.subscription.stop();
  }
}

/** The place of a core NATS message. */
export const NOWHERE = { stream: '', sequence: 0 };

/** Records what a subscription reports, in order, and lets a test await it. */
export class Recorder implements SubscriptionEvents {
  readonly messages: ReceivedMessage[] = [];
  readonly notices: string[] = [];
  /** Reasons of broken links. */
  readonly downs: string[] = [];
  /** How long each was down, in milliseconds. */
  readonly ups: number[] = [];
  readonly failures: Error[] = [];
  readonly #changes = new EventEmitter();
  /** Called with each message as it arrives. */
  onMessage: (message: ReceivedMessage) => void = () => {};

  get payloads(): string[] {
    return this.messages.map(({ payload }) => Buffer.from(payload).toString());
  }

  get sequences(): number[] {
    return this.messages.map(({ place }) => place?.sequence ?? 0);
  }

  arrived(arrivals: Arrivals): void {
    for (const message of arrivals.take()) {
      this.messages.push(message);
      this.onMessage(message);
    }
    this.#changes.emit('change');
  }

  linkDown(reason: string): void {
    this.downs.push(reason);
    this.#changes.emit('change');
  }

  linkUp(downMs: number): void {
    this.ups.push(downMs);
    this.#changes.emit('change');
  }

  notice(text: string): void {
    this.notices.push(text);
    this.#changes.emit('change');
  }

  failed(error: Error): void {
    this.failures.push(error);
    this.#changes.emit('change');
  }

  /** Resolves with this many messages; throws with the whole record if they don't arrive. */
  async count(number: number, withinMs?: number): Promise<void> {
    await this.until(() => this.messages.length >= number, `${number} messages`, withinMs);
  }

  /** Resolves once `holds` is true after a report; throws with the whole record if that takes too long. */
  async until(holds: () => boolean, what: string, withinMs = UNTIL_MS): Promise<void> {
    const signal = AbortSignal.timeout(withinMs);
    while (!holds()) {
      await once(this.#changes, 'change', { signal }).catch(() => {
        const told = {
          messages: this.payloads.slice(-20),
          notices: this.notices,
          downs: this.downs,
          ups: this.ups,
          failures: this.failures.map(reasonOf),
        };
        throw new Error(`Not within ${withinMs} ms: ${what}. Told so far: ${JSON.stringify(told, null, 1)}`);
      });
    }
  }
}
