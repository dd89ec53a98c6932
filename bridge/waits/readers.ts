import { setMaxListeners } from 'node:events';
import { Allowance } from './allowance.ts';
import type { Seat } from './seat.ts';
import { StreamReader, type StreamReaderOptions } from './streamReader.ts';
import type { Rest } from './turn.ts';

export interface ReadersOptions extends Omit<StreamReaderOptions, 'onSpent' | 'onPassed'> {
  /** An event has passed the reader for all. */
  readonly onPassed: (sequence: number, storedAt: number) => void;
  readonly rest: Rest;
  readonly isCatchingUp: (seat: Seat) => boolean;
  /** A reader can't go on, so none can. */
  readonly onFailure: (error: unknown) => void;
  /** Called when a tenant becomes expensive, and when it no longer is. */
  readonly onApart: (stream: string, tenant: string, isApart: boolean) => void;
}

interface Apart {
  readonly reader: StreamReader;
  readonly stop: AbortController;
}

/**
 * The readers of a stream: one for all, and one more for each tenant whose waits take so long to judge that the others would
 * come too late. Such a tenant falls back behind the others, and comes back once it has caught up.
 */
export class Readers {
  readonly main: StreamReader;
  readonly #apart = new Map<string, Apart>();
  readonly #allowances = new Map<string, Allowance>();
  /** Tenants to get a reader of their own after the event being shown. */
  readonly #expensive = new Set<string>();
  readonly #options: StreamReaderOptions;

  constructor(
    private readonly options: ReadersOptions,
    private readonly signal: AbortSignal,
  ) {
    this.#options = { ...options, onSpent: (tenant, ms) => this.spent(tenant, ms), onPassed: () => {} };
    const onPassed = (sequence: number, storedAt: number) => {
      options.onPassed(sequence, storedAt);
      this.#partWithExpensive();
    };
    this.main = new StreamReader({ ...this.#options, onPassed }, signal);
  }

  get all(): readonly StreamReader[] {
    return [this.main, ...this.apart];
  }

  get apart(): readonly StreamReader[] {
    return [...this.#apart.values()].map(({ reader }) => reader);
  }

  of({ tenant }: Seat): StreamReader {
    return this.#apart.get(tenant)?.reader ?? this.main;
  }

  /** Ends readers that are no longer needed; call it now and then. */
  review(): void {
    const now = this.options.now();
    for (const reader of this.all) reader.forget();
    if (this.main.position === this.main.reached) this.#partWithExpensive();
    for (const [tenant, { reader }] of this.#apart) {
      const isIdle = reader.position === reader.reached && reader.position >= this.main.reached;
      if (isIdle && reader.writes.isEmpty && this.#allowances.get(tenant)?.isWhole(now) !== false)
        this.#readTogether(tenant);
    }
    for (const [tenant, allowance] of this.#allowances) if (allowance.isWhole(now)) this.#allowances.delete(tenant);
  }

  isApart(tenant: string): boolean {
    return this.#apart.has(tenant);
  }

  /** Notes that judging cost a tenant this many milliseconds. */
  spent(tenant: string, ms: number): void {
    if (ms <= 0) return;
    const now = this.options.now();
    const allowance = this.#allowances.get(tenant) ?? new Allowance(now);
    this.#allowances.set(tenant, allowance);
    allowance.spend(ms, now);
    if (allowance.isUsedUp && !this.#apart.has(tenant)) this.#expensive.add(tenant);
  }

  #partWithExpensive(): void {
    for (const tenant of this.#expensive) this.#readApart(tenant);
    this.#expensive.clear();
  }

  #readApart(tenant: string): void {
    const { main, options } = this;
    const stop = new AbortController();
    const signal = AbortSignal.any([this.signal, stop.signal]);
    setMaxListeners(0, signal);
    const reader = new StreamReader(this.#options, signal, options.rest);
    reader.begin(main.position, main.time);
    this.#apart.set(tenant, { reader, stop });
    this.#move(tenant, main, reader);
    options.onApart(options.stream, tenant, true);
    void reader.run().catch((error: unknown) => {
      if (!signal.aborted) options.onFailure(error);
    });
  }

  #readTogether(tenant: string): void {
    const { main, options } = this;
    const apart = this.#apart.get(tenant);
    if (apart === undefined) return;
    this.#apart.delete(tenant);
    this.#move(tenant, apart.reader, main);
    apart.stop.abort();
    options.onApart(options.stream, tenant, false);
  }

  /** Everything that has passed `from` is judged; `to` hasn't gone further. */
  #move(tenant: string, from: StreamReader, to: StreamReader): void {
    for (const seat of [...from.seats]) {
      if (seat.tenant !== tenant) continue;
      from.leave(seat);
      seat.leaveLive();
      if (this.options.isCatchingUp(seat)) to.joinBehind(seat);
      else {
        seat.wait.position = Math.max(seat.wait.position, from.position);
        to.join(seat);
      }
    }
  }
}
