import { safeText } from '../../shared/text/safeText.ts';

/** A request as the functions of the bridge see it: read whole, within the limits of size and time. */
export interface HttpRequest {
  /** Lower-case names. Foreign text. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Uint8Array;
  /** Aborts when the caller has gone. */
  readonly signal: AbortSignal;
}

export interface HttpAnswer {
  readonly status: number;
  /** Becomes JSON. */
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What the public port answers on one path. A handler that throws is answered 503, and logged. */
export interface Route {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /**
   * Refuses before the body is read: an answer (401), or undefined.
   *
   * @param peer the address at the other end of the socket: that of a proxy, if there is one in front
   */
  authenticate(headers: HttpRequest['headers'], peer?: string): HttpAnswer | undefined;
  handle(request: HttpRequest): Promise<HttpAnswer>;
}

/** Where a request came from, to be put after the path in a sentence; nothing where that isn't known. */
export function fromPeer(peer: string | undefined): string {
  // A socket for both families shows an IPv4 address as an IPv6 one.
  return peer === undefined ? '' : ` from ${safeText(peer.replace(/^::ffff:(?=\d+\.)/, ''), 64)}`;
}
