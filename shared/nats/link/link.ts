import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
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

/** An operation the server refused. It tells so on the side, not in answer to the operation. */
export interface Violation {
  readonly operation: 'publish' | 'subscription';
  readonly subject: string;
}

/** One connection to one server, from its sign-in to its end. It is never reconnected. */
export class Link {
  readonly isEncrypted: boolean;
  /** Settles with the reason once the connection is gone, whoever closed it. */
  readonly closed: Promise<string>;
  readonly #violations: Violation[] = [];
  readonly #violationListeners = new Set<(violation: Violation) => void>();
  #isClosed = false;
  #closeReason: string | undefined;

  constructor(
    readonly connection: NatsConnection,
    readonly address: ServerAddress,
  ) {
    this.isEncrypted = isEncrypted(connection);
    this.closed = connection.closed().then((error) => {
      this.#isClosed = true;
      return this.#closeReason ?? (error instanceof Error ? error.message : 'the server closed the connection');
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
    return Promise.race([request, this.closed.then<Reply>(() => ({ kind: 'lost' }))]);
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
   * Resolves once the server has worked through all that was sent so far: with the operations it refused, or with
   * undefined when it did not answer in time or the link broke.
   */
  async flush(timeoutMs: number): Promise<readonly Violation[] | undefined> {
    const before = this.#violations.length;
    const isTrue = () => true;
    const isFalse = () => false;
    const flushed = await Promise.race([
      this.connection.flush().then(isTrue, isFalse),
      this.closed.then(isFalse),
      delay(timeoutMs, false, { ref: false }),
    ]);
    if (!flushed) return undefined;
    // Refusals pass through the library's status queue, which is read after the flush has resolved.
    await new Promise((resolve) => setImmediate(resolve));
    return this.#violations.slice(before);
  }

  /** Leaves what the server sends unread, or reads on. What is not read fills buffers up to the server, which then waits. */
  holdReading(hold: boolean): void {
    const { protocol } = this.connection as unknown as { protocol?: { transport?: { socket?: Socket } } };
    const socket = protocol?.transport?.socket;
    if (hold) socket?.pause();
    else socket?.resume();
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
    this.#violations.push(violation);
    for (const listener of this.#violationListeners) listener(violation);
  }
}
