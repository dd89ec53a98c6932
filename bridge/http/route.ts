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
  /** Refuses before the body is read: an answer (401), or undefined. */
  authenticate(headers: HttpRequest['headers']): HttpAnswer | undefined;
  handle(request: HttpRequest): Promise<HttpAnswer>;
}
