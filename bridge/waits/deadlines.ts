import type { Seat } from './seat.ts';
import { Threshold } from './threshold.ts';

/** Finds waits whose time is over. */
export class Deadlines {
  readonly #all = new Threshold<Seat>();
  /** Their time is over; events that came before may have to be judged. */
  readonly #due = new Set<Seat>();

  add(seat: Seat): void {
    this.#all.add(seat.wait.known.deadline, seat);
  }

  delete(seat: Seat): void {
    this.#due.delete(seat);
  }

  /** @param now milliseconds since the epoch @param last the last sequence there was at a time when `now` had passed */
  pass(now: number, last: number): void {
    for (const seat of this.#all.reach(now)) if (!seat.wait.isOver) this.#due.add(seat);
    for (const seat of this.#due) seat.lastSequence ??= last;
  }

  /**
   * @param positionOf up to where a wait's events are judged
   * @returns the waits that have had all events up to their deadlines judged
   */
  over(positionOf: (seat: Seat) => number): readonly Seat[] {
    return [...this.#due].filter((seat) => !seat.wait.isOver && positionOf(seat) >= (seat.lastSequence ?? Infinity));
  }

  /** Waits that have ended mustn't stay until their deadlines. @param size how many there are */
  forget(size: number): void {
    if (this.#all.size > 2 * size + 1_000) this.#all.keep(({ isRemoved }) => !isRemoved);
  }
}
