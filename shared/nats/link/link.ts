import type { Socket } from 'node:net';
import type { Msg, MsgHdrs, NatsConnection, Status } from 'nats';
import type { ServerAddress } from '../../connection/settings.ts';
import { TaskError } from '../../errors.ts';
import { ErrorCode, Events, isEncrypted } from './libraryLimits.ts';

/** How one request ended. */
export type Reply =
  | { readonly kind: 'reply'; readonly message: Msg }
  /** Nobody listens on the subject. */
  | { readonly kind: 'noResponders' }
  | { readonly kind: 'timeout' }
  /** The link broke before an answer came: whether the request arrived is unknown. */
  | { readonly kind: 'lost' }
  | { readonly kind: 'denied'; readonly violation: Violation };

/** An operation the server refused. It says so separately, not in answer to the operation. */
export interface Violation {
  readonly operation: 'publish' | 'subscription';
  readonly subject: string;
}

/** One connection to one server, from its sign-in to its end. It is never reconnected. */
export class Link {
  readonly isEncrypted: boolean;
  /** Settles with the reason once the connection is gone, whoever closed it. */
  readonly closed: Promise<string>;
  readonly #violationListeners = new Set<(violation: Violation) => void>();
  readonly #closeListeners = new Set<(reason: string) => void>();
  #isClosed = false;
  #closeReason: string | undefined;

  constructor(
    readonly connection: NatsConnection,
    readonly address: ServerAddress,
  ) {
    this.isEncrypted = isEncrypted(connection);
    this.closed = connection.closed().then((error) => {
      this.#isClosed = true;
      const reason = this.#closeReason ?? (error instanceof Error ? error.message : 'the server closed the connection');
      for (const listener of this.#closeListeners) listener(reason);
      return reason;
    });
    void this.#watchStatus();
  }

  get isClosed(): boolean {
    return this.#isClosed || this.connection.isClosed();
  }

  /** `host:port` of the server. */
  get server(): string {
    return `${this.address.host}:${this.address.port}`;
  }

  /** Calls back for each refused operation from now on; returns how to stop. */
  onViolation(listener: (violation: Violation) => void): () => void {
    this.#violationListeners.add(listener);
    return () => this.#violationListeners.delete(listener);
  }

  /**
   * The outcome of work over this connection, or `lost` once the connection is gone. Nothing stays behind when the work is
   * done: what is attached to {@link closed} would, for as long as the connection lives.
   */
  async unlessClosed<Value>(work: Promise<Value>, lost: Value): Promise<Value> {
    if (this.#isClosed) {
      void work.catch(() => undefined);
      return lost;
    }
    let stop = () => {};
    const gone = new Promise<Value>((resolve) => {
      stop = this.onClose(() => resolve(lost));
    });
    try {
      return await Promise.race([work, gone]);
    } finally {
      stop();
    }
  }

  /** Calls back once the connection is gone; returns how to stop. */
  onClose(listener: (reason: string) => void): () => void {
    this.#closeListeners.add(listener);
    return () => this.#closeListeners.delete(listener);
  }

  /** Bytes that the socket has yet to hand over: they pile up when the server has stopped reading. */
  get unsentBytes(): number {
    return this.#socket?.writableLength ?? 0;
  }

  get #socket(): Socket | undefined {
    const { protocol } = this.connection as unknown as { protocol?: { transport?: { socket?: Socket } } };
    return protocol?.transport?.socket;
  }

  /** Sends a request and waits for its one reply. The headers are given as they are sent. */
  async request(subject: string, payload: Uint8Array, timeoutMs: number, headers?: Uint8Array): Promise<Reply> {
    const request = this.connection
      .request(subject, payload, {
        timeout: Math.max(1, timeoutMs),
        // All that the library asks headers for when it sends them.
        ...(headers === undefined ? {} : { headers: { encode: () => headers } as unknown as MsgHdrs }),
      })
      .then<Reply, Reply>(
        (message) => ({ kind: 'reply', message }),
        (error: unknown) => this.#failedRequest(error),
      );
    // The library leaves the requests of a closed connection to their timeouts.
    return this.unlessClosed(request, { kind: 'lost' });
  }

  #failedRequest(error: unknown): Reply {
    const { code, permissionContext } = error as { code?: string; permissionContext?: Violation };
    if (permissionContext !== undefined) return { kind: 'denied', violation: permissionContext };
    if (code === ErrorCode.NoResponders) return { kind: 'noResponders' };
    if (code === ErrorCode.MaxPayloadExceeded) {
      throw new TaskError(
        'TooLarge',
        `The server ${this.server} takes no message as long as a request of this step`,
        'Raise its max_payload.',
      );
    }
    if (code === ErrorCode.Timeout) return { kind: this.isClosed ? 'lost' : 'timeout' };
    if (this.isClosed || code === ErrorCode.ConnectionClosed || code === ErrorCode.Disconnect) return { kind: 'lost' };
    throw error;
  }

  /**
   * Resolves once the server has processed everything sent so far: with the operations it refused, or with
   * undefined when it did not answer in time or the link broke.
   */
  async flush(timeoutMs: number): Promise<readonly Violation[] | undefined> {
    const violations: Violation[] = [];
    const stop = this.onViolation((violation) => violations.push(violation));
    let timer: NodeJS.Timeout | undefined;
    const overdue = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), timeoutMs).unref();
    });
    const flushing = this.connection.flush().then(
      () => true,
      () => false,
    );
    try {
      if (!(await this.unlessClosed(Promise.race([flushing, overdue]), false))) return undefined;
      // Refusals pass through the library's status queue, which is read after the flush has resolved.
      await new Promise((resolve) => setImmediate(resolve));
      return violations;
    } finally {
      clearTimeout(timer);
      stop();
    }
  }

  /** Pauses or resumes reading. Unread data fills the buffers all the way to the server, which then waits. */
  holdReading(hold: boolean): void {
    if (hold) this.#socket?.pause();
    else this.#socket?.resume();
  }

  /** Closes the connection at once; unsent messages are dropped. */
  async close(reason = 'this step closed the connection'): Promise<void> {
    this.#closeReason ??= reason;
    await this.connection.close();
  }

  async #watchStatus(): Promise<void> {
    for await (const status of this.connection.status()) this.#onStatus(status);
  }

  #onStatus(status: Status): void {
    if (status.type === Events.LDM) void this.close('the server is shutting down (lame duck mode)');
    if (status.type !== Events.Error) return;
    const violation = status.permissionContext as Violation | undefined;
    if (violation === undefined) {
      this.#closeReason ??= `the server reported ${JSON.stringify(status.data)}`;
      return;
    }
    for (const listener of this.#violationListeners) listener(violation);
  }
}
