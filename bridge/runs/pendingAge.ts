import type { JetStream } from '../jetStream/api.ts';
import type { RouteSettings } from '../settings.ts';

/** Tracks the age of the oldest event in a route's backlog. */
export class PendingAge {
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  /**
   * @param now milliseconds since the epoch
   * @param set receives the age, in seconds; 0 where nothing is pending, and undefined while it's unknown
   */
  constructor(
    private readonly route: RouteSettings,
    private readonly consumer: string,
    private readonly jetStream: Pick<JetStream, 'consumer' | 'next'>,
    private readonly now: () => number,
    private readonly set: (seconds: number | undefined) => void,
  ) {}

  /** Looks again and again. */
  start(everyMs: number): void {
    void this.look();
    this.#timer = setInterval(() => void this.look(), everyMs).unref();
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
  }

  /** Never rejects: an age that can't be found out is unknown, not the last one. */
  async look(): Promise<void> {
    const seconds = await this.#age().catch(() => undefined);
    if (!this.#isStopped) this.set(seconds);
  }

  async #age(): Promise<number | undefined> {
    const { stream, subjects } = this.route;
    const answer = await this.jetStream.consumer(stream, this.consumer);
    if (answer.kind !== 'ok') return undefined;
    const { num_pending: pending, num_ack_pending: unacknowledged, ack_floor: floor } = answer.value;
    if (pending + unacknowledged === 0) return 0;
    const from = floor.stream_seq + 1;
    const found = await Promise.all(subjects.map((subject) => this.jetStream.next(stream, from, subject)));
    const times = found.flatMap((one) => (one.kind === 'ok' ? [one.value.storedAt] : []));
    return times.length === 0 ? undefined : Math.max(0, this.now() - Math.min(...times)) / 1_000;
  }
}
