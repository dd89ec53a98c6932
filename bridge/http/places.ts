import type { Socket } from 'node:net';

/** The phase of a connection: a request is arriving or being handled, or the last one has been answered. */
export type Phase = 'reading' | 'handling' | 'answered';

export interface PlacesOptions {
  /** How many connections are served at a time. */
  readonly most: number;
  /** How long a connection waits before it gets the place of a slow one, in milliseconds. */
  readonly patienceMs: number;
  /** Milliseconds since any moment. */
  now(): number;
}

interface Connection {
  readonly socket: Socket;
  /** The same for an encrypted connection and the one below it. */
  readonly key: string;
  readonly address: string;
}

interface Waiting extends Connection {
  readonly since: number;
  readonly serve: () => void;
}

/** Changed in place, as each request does three times. */
interface Taken extends Connection {
  phase: Phase;
  since: number;
}

/** How many connections may wait per connection served. */
const MOST_WAITING = 4;

/**
 * Serves a limited number of connections, and makes the others wait without reading from them. Nobody waits for long,
 * whatever one caller does: idle connections give up their places at once, then the slowest. A place goes to the address
 * that has the fewest.
 */
export class Places {
  readonly #taken = new Map<string, Taken>();
  readonly #bySocket = new WeakMap<Socket, Taken>();
  /** How many places each address has. */
  readonly #held = new Map<string, number>();
  #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: PlacesOptions) {}

  /** Whether anyone waits: answered connections should then close. */
  get isCrowded(): boolean {
    return this.#waiting.length > 0;
  }

  /**
   * Admits a new connection, which is paused.
   *
   * @param serve called once it has a place
   */
  admit(socket: Socket, serve: () => void): void {
    const waiting = {
      socket,
      key: keyOf(socket),
      address: socket.remoteAddress ?? '',
      since: this.options.now(),
      serve,
    };
    this.#waiting.push(waiting);
    // Nobody else listens for the error of a connection that breaks while waiting.
    socket.once('error', () => socket.destroy());
    socket.once('close', () => this.#gone(waiting));
    if (this.#waiting.length > this.options.most * MOST_WAITING) this.#turnAway();
    this.#makeRoom();
  }

  /** Notes the phase of a connection, which may be the encrypted one on top of an admitted one. */
  note(socket: Socket, phase: Phase): void {
    let taken = this.#bySocket.get(socket);
    if (taken === undefined) {
      taken = this.#taken.get(keyOf(socket));
      if (taken === undefined) return;
      this.#bySocket.set(socket, taken);
    }
    taken.phase = phase;
    taken.since = this.options.now();
    if (phase === 'answered' && this.isCrowded) this.#makeRoom();
  }

  /** Ends the connections that wait. */
  close(): void {
    for (const { socket } of this.#waiting) socket.destroy();
  }

  #gone(connection: Connection): void {
    this.#waiting = this.#waiting.filter(({ socket }) => socket !== connection.socket);
    this.#leave(connection);
    this.#makeRoom();
  }

  #makeRoom(): void {
    while (this.#waiting.length > 0 && (this.#taken.size < this.options.most || this.#evict())) this.#serveNext();
    if (this.#waiting.length === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    } else {
      this.#timer ??= setInterval(() => this.#makeRoom(), this.options.patienceMs / 8).unref();
    }
  }

  #serveNext(): void {
    const next = this.#waiting.reduce((one, other) => (this.#heldBy(other) < this.#heldBy(one) ? other : one));
    this.#waiting = this.#waiting.filter((other) => other !== next);
    const { socket, key, address, serve } = next;
    this.#taken.set(key, { socket, key, address, phase: 'reading', since: this.options.now() });
    this.#held.set(address, this.#heldBy(next) + 1);
    serve();
  }

  #leave({ socket, key, address }: Connection): void {
    const taken = this.#taken.get(key);
    if (taken?.socket !== socket) return;
    this.#taken.delete(key);
    const held = this.#heldBy(taken) - 1;
    if (held > 0) this.#held.set(address, held);
    else this.#held.delete(address);
  }

  /** Ends the connection that needs its place least; false when all should keep theirs for now. */
  #evict(): boolean {
    const { patienceMs } = this.options;
    const now = this.options.now();
    const hasWaited = this.#waiting.some(({ since }) => now - since >= patienceMs);
    let least: Taken | undefined;
    for (const taken of this.#taken.values()) {
      const isSlow = taken.phase === 'reading' && now - taken.since >= patienceMs / 4;
      if (taken.phase !== 'answered' && !(hasWaited && isSlow)) continue;
      if (least === undefined || this.#needsLess(taken, least)) least = taken;
    }
    if (least === undefined) return false;
    this.#leave(least);
    least.socket.destroy();
    return true;
  }

  #needsLess(one: Taken, other: Taken): boolean {
    if (one.phase !== other.phase) return one.phase === 'answered';
    const [held, otherHeld] = [this.#heldBy(one), this.#heldBy(other)];
    return held === otherHeld ? one.since < other.since : held > otherHeld;
  }

  #heldBy({ address }: Connection): number {
    return this.#held.get(address) ?? 0;
  }

  /** Ends the connection that has waited longest for the address that has most waiting. */
  #turnAway(): void {
    const counts = new Map<string, number>();
    for (const { address } of this.#waiting) counts.set(address, (counts.get(address) ?? 0) + 1);
    const waits = ({ address }: Connection) => counts.get(address) ?? 0;
    const first = this.#waiting.reduce((one, other) => (waits(other) > waits(one) ? other : one));
    this.#waiting = this.#waiting.filter((other) => other !== first);
    first.socket.destroy();
  }
}

function keyOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress ?? ''} ${remotePort ?? 0}`;
}
