import type { Arrivals, ReceivedMessage } from '../../bus.ts';

/** What one event takes besides its payload, roughly, in bytes. */
const EVENT_BYTES = 500;

/** Messages between the socket and who judges them. */
export class ArrivalQueue implements Arrivals {
  #messages: ReceivedMessage[] = [];
  /** What they take of memory, roughly. */
  #bytes = 0;

  /**
   * @param onArrival called with each message that arrives
   * @param onTaken called when all of them have been taken
   */
  constructor(
    private readonly onArrival: (queue: ArrivalQueue) => void,
    private readonly onTaken: () => void,
  ) {}

  get length(): number {
    return this.#messages.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(message: ReceivedMessage): void {
    this.#bytes += message.payload.length + EVENT_BYTES;
    this.#messages.push(message);
    this.onArrival(this);
  }

  take(): readonly ReceivedMessage[] {
    const taken = this.#messages;
    this.#messages = [];
    this.#bytes = 0;
    this.onTaken();
    return taken;
  }
}
