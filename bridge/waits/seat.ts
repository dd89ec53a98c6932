import type { ReceivedMessage } from '../../shared/bus.ts';
import type { JudgedEvent } from '../../shared/waiting/judge.ts';
import type { OpenWait, Step } from './openWait.ts';
import type { Passed } from './waitIndex.ts';

/** Events that came during the last catch-up. */
const MOST_BUFFERED = 200;

/** A wait and how it gets its events. */
export class Seat {
  readonly subjects: readonly string[];
  readonly correlationId: string | undefined;
  /** The ID of its project: others mustn't pay for its waits. */
  readonly tenant: string;
  /** Judged as events pass; otherwise catching up, or not begun. */
  isLive = false;
  isRemoved = false;
  /** During the last catch-up: the events that pass. */
  buffer: { readonly message: ReceivedMessage; readonly passed: number }[] | undefined;
  /** The last sequence there was after its deadline. */
  lastSequence: number | undefined;
  /** Counts the events that pass its reader. */
  passed: Passed = { count: 0 };
  #baseline = 0;
  #shown = 0;
  /** While a buffer is judged: what had passed then. */
  #passedThen: number | undefined;

  constructor(readonly wait: OpenWait) {
    this.subjects = wait.subjects;
    this.correlationId = wait.correlationId;
    this.tenant = wait.known.common.project;
  }

  beginBuffer(): void {
    this.buffer = [];
    this.#baseline = this.passed.count;
  }

  push(message: ReceivedMessage): void {
    this.buffer?.push({ message, passed: this.passed.count });
    if ((this.buffer?.length ?? 0) > MOST_BUFFERED) this.buffer = undefined;
  }

  /** From here on, it sees events as they pass. */
  goLive(baseline = this.#baseline): void {
    this.isLive = true;
    this.#baseline = baseline;
    this.#shown = 0;
    // The catch-up shows it the rest.
    const before = this.wait.unseen();
    if (this.correlationId !== undefined)
      this.wait.unseen = () => before + (this.#passedThen ?? this.passed.count) - this.#baseline - this.#shown;
  }

  goLiveNow(): void {
    this.goLive(this.passed.count);
  }

  /** It no longer sees events as they pass. */
  leaveLive(): void {
    const unseen = this.wait.unseen();
    this.wait.unseen = () => unseen;
    this.isLive = false;
    this.buffer = undefined;
  }

  take(message: ReceivedMessage, assessed?: JudgedEvent): Step {
    this.#shown++;
    return this.wait.take(message, assessed);
  }

  /** The event that passes is shown to it later, with all that follow. */
  postpone({ place }: ReceivedMessage): void {
    this.#shown++;
    this.wait.position = Math.max(this.wait.position, (place?.sequence ?? 0) - 1);
    this.wait.becomeSlow();
  }

  /** Judges what has passed during the last catch-up. */
  takeBuffer(judged: (message: ReceivedMessage, step: Step) => void): void {
    for (const { message, passed } of this.buffer ?? []) {
      if (!this.isLive || this.wait.isOver) break;
      this.#passedThen = passed;
      judged(message, this.take(message));
    }
    this.#passedThen = undefined;
    this.buffer = undefined;
  }
}
