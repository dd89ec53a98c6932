import { EventEmitter, once } from 'node:events';
import { TaskError } from '../../../shared/errors.ts';
import { openNatsBus } from '../../../shared/nats/natsBus.ts';
import { readWait } from '../../../tasks/WaitForNatsEvent/inputs.ts';
import { eventSource } from '../../../tasks/WaitForNatsEvent/source.ts';
import { waitForEvent, type WaitOutcome } from '../../../shared/waiting/wait.ts';
import { FakeAgent } from './fakeAgent.ts';

/** A waiting step's inputs, as a user writes them. */
export interface WaitStepInputs {
  readonly inputs: Readonly<Record<string, string>>;
  readonly variables?: Readonly<Record<string, string>>;
  /** Called between sign-in and subscription. */
  readonly connected?: () => void;
  /** Whether its deadline passes by the clock. Otherwise the test decides when. */
  readonly keepsTime?: true;
}

/** A waiting step in this process, from inputs to outcome. */
export class WaitStep {
  /** What it has logged so far. */
  readonly lines: string[] = [];
  readonly outcome: Promise<WaitOutcome>;
  hasEnded = false;
  readonly #changes = new EventEmitter();
  readonly #deadline = new AbortController();

  /** @param urls of the servers; the first one is the service connection's URL, the others are its `servers` */
  constructor(urls: readonly string[], { inputs, variables = {}, connected, keepsTime }: WaitStepInputs) {
    const [url = '', ...others] = urls;
    const agent = new FakeAgent({
      inputs: { natsConnection: 'nats', ...inputs },
      variables,
      connections: { nats: { url, scheme: 'None', data: { servers: others.join('\n') } } },
    });
    const { request, connection, timeoutMs } = readWait(agent);
    const { signal } = this.#deadline;
    const startedAt = Date.now();
    const clock = { signal, startedAt, deadline: startedAt + timeoutMs, now: Date.now };
    const log = { info: this.#note, warning: this.#note, debug: this.#note };
    const open = async () => {
      const bus = await openNatsBus(connection, clock, log);
      connected?.();
      return bus;
    };
    const timer = keepsTime && setTimeout(() => this.callDeadline(), timeoutMs);
    const source = eventSource(request, open, signal);
    this.outcome = waitForEvent(request, undefined, source, clock, log).finally(() => {
      clearTimeout(timer);
      this.hasEnded = true;
      this.#changes.emit('change');
    });
  }

  readonly #note = (text: string): void => {
    this.lines.push(text);
    this.#changes.emit('change');
  };

  /** Resolves when the step waits for events. */
  async armed(withinMs?: number): Promise<void> {
    await this.until(() => this.lines.some((line) => line.startsWith('waiting ')), 'it waits', withinMs);
  }

  /**
   * Resolves when `holds` is true after a log line, or when the step has ended; throws with the log if neither comes in
   * time; the default is longer than the 12 s in which a reader notices that its request was lost.
   */
  async until(holds: () => boolean, what: string, withinMs = 20_000): Promise<void> {
    const signal = AbortSignal.timeout(withinMs);
    while (!this.hasEnded && !holds()) {
      await once(this.#changes, 'change', { signal }).catch(() => {
        throw new Error(`Not within ${withinMs} ms: ${what}. Its log:\n${this.lines.join('\n')}`);
      });
    }
  }

  /** Lets the step's deadline pass. */
  callDeadline(): void {
    this.#deadline.abort(new TaskError('Timeout', 'The deadline of this step has passed'));
  }
}
