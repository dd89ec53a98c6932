import type { JetStream } from '../jetStream/api.ts';
import type { RouteSettings } from '../settings.ts';

/** Tracks the age of the oldest event in a route's backlog. */
export class PendingAge {
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param now milliseconds since the epoch
   * @param set receives the age, in seconds
   */
  constructor(
    private readonly route: RouteSettings,
    private readonly consumer: string,
    private readonly jetStream: Pick<JetStream, 'consumer' | 'storedAt'>,
    private readonly now: () => number,
    private readonly set: (seconds: number) => void,
  ) {}

  /** Looks again and again. */
  start(everyMs: number): void {
    void this.look();
    this.#timer = setInterval(() => void this.look(), everyMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Never rejects: if the age is unknown, the last one stays. */
  async look(): Promise<void> {
    const { stream, subjects } = this.route;
    const answer = await this.jetStream.consumer(stream, this.consumer);
    if (answer.kind !== 'ok') return;
    const { num_pending: pending, num_ack_pending: unacknowledged, ack_floor: floor } = answer.value;
    if (pending + unacknowledged === 0) {
      this.set(0);
      return;
    }
    const from = floor.stream_seq + 1;
    const times = await Promise.all(subjects.map((subject) => this.jetStream.storedAt(stream, from, subject)));
    const oldest = Math.min(...times.map((time) => time ?? Infinity));
    if (oldest !== Infinity) this.set(Math.max(0, this.now() - oldest) / 1_000);
  }
}
