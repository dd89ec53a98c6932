import { once } from 'node:events';
import http, { type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { TLSSocket } from 'node:tls';
import { Random } from './random.ts';
import type { Certificate } from '../nats/certificates.ts';
import { closeServer } from '../../../localAgent/index.ts';

const WITHIN_MS = 10_000;

/** A request as received. */
export interface RecordedRequest {
  readonly method: string;
  /** As sent, still percent-encoded, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** When the whole request had arrived, in milliseconds since 1970. */
  readonly at: number;
  /** The status it was answered with; undefined before that, and when the connection was reset. */
  status: number | undefined;
}

export interface Answer {
  readonly status: number;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | undefined;
  /** The connection breaks in the middle of the body. */
  readonly isCut?: boolean;
}

/** What to do instead of, before or after the server's own response; `reset` breaks the connection. */
export type Mood = (request: RecordedRequest, answer: () => Promise<Answer>) => Promise<Answer | 'reset'>;

export interface Feeling {
  /** How many requests it lasts for; default: until it's removed. */
  readonly times?: number;
  /** The requests it affects; default: all. */
  readonly when?: (request: RecordedRequest) => boolean;
  /** How likely it is for each of these requests, from 0 to 1; default 1. */
  readonly chance?: number;
  /** Same seed, same requests; default 1. */
  readonly seed?: number;
}

/** An answer with a JSON body. */
export function json(status: number, value: unknown, headers: OutgoingHttpHeaders = {}): Answer {
  return {
    status,
    headers: { 'Content-Type': 'application/json; charset=utf-8', ...headers },
    body: JSON.stringify(value),
  };
}

/** An HTTP server on a free port of 127.0.0.1 that records its requests and has moods. */
export abstract class StandInServer implements AsyncDisposable {
  /** Every request, newest last, including those that a mood answered. */
  readonly requests: RecordedRequest[] = [];
  readonly #server: http.Server;
  readonly #scheme: string;
  #port = 0;
  readonly #arrivals = new EventTarget();
  readonly #feelings: { readonly mood: Mood; readonly strikes: (request: RecordedRequest) => boolean; left: number }[] =
    [];

  protected constructor(certificate?: Certificate) {
    this.#scheme = certificate === undefined ? 'http' : 'https';
    this.#server = certificate === undefined ? http.createServer() : https.createServer(certificate);
    this.#server.on('request', (request, response) => void this.#serve(request, response));
  }

  protected abstract answer(request: RecordedRequest): Answer | Promise<Answer>;

  /** Also after a stop: it comes back on the same port. */
  async listen(): Promise<void> {
    await once(this.#server.listen(this.#port, '127.0.0.1'), 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Without a trailing slash. */
  get origin(): string {
    return `${this.#scheme}://127.0.0.1:${this.#port}`;
  }

  /** Puts the server into a mood; if several affect a request, the oldest counts. The result removes the mood. */
  feel(mood: Mood, { times = Infinity, when = () => true, chance = 1, seed = 1 }: Feeling = {}): () => void {
    const random = new Random(seed);
    const strikes = (request: RecordedRequest) => when(request) && random.below(1_000_000) < chance * 1_000_000;
    const feeling = { mood, strikes, left: times };
    this.#feelings.push(feeling);
    return () => (feeling.left = 0);
  }

  /** Resolves once it has had this many matching requests; rejects after 10 s. */
  async asked(count: number, which: (request: RecordedRequest) => boolean = () => true): Promise<void> {
    const signal = AbortSignal.timeout(WITHIN_MS);
    while (this.requests.filter(which).length < count) await once(this.#arrivals, 'request', { signal });
  }

  async stop(): Promise<void> {
    await closeServer(this.#server);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #serve(incoming: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const request = await this.#record(incoming).catch(() => undefined);
    if (request === undefined) return; // The caller hung up halfway.
    const answer = await this.#moodyAnswer(request).catch((error: unknown): Answer => {
      console.error(error);
      return { status: 599, body: `The stand-in is broken: ${String(error)}` };
    });
    if (answer === 'reset') {
      // Node can't reset a TLS connection; the client sees a hang-up.
      if (incoming.socket instanceof TLSSocket) incoming.socket.destroy();
      else incoming.socket.resetAndDestroy();
      return;
    }
    request.status = answer.status;
    const { status, headers, body = '', isCut } = answer;
    if (isCut === true) {
      response.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(body) });
      response.write(Buffer.from(body).subarray(0, Buffer.byteLength(body) / 2), () => incoming.socket.destroy());
    } else response.writeHead(status, headers).end(body);
  }

  async #record(incoming: http.IncomingMessage): Promise<RecordedRequest> {
    const body = await text(incoming);
    const { pathname, searchParams } = new URL(incoming.url!, this.origin);
    const { method, headers } = incoming;
    const request = {
      ...{ method: method!, path: pathname, query: searchParams, headers, body },
      ...{ at: Date.now(), status: undefined },
    };
    this.requests.push(request);
    this.#arrivals.dispatchEvent(new Event('request'));
    return request;
  }

  async #moodyAnswer(request: RecordedRequest): Promise<Answer | 'reset'> {
    const answer = async (): Promise<Answer> => this.answer(request);
    const feeling = this.#feelings.find(({ left, strikes }) => left > 0 && strikes(request));
    if (feeling === undefined) return answer();
    feeling.left--;
    return feeling.mood(request, answer);
  }
}
