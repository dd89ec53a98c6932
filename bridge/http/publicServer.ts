import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import http, { STATUS_CODES, type IncomingMessage, type RequestListener } from 'node:http';
import https from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { reasonOf } from '../../shared/errors.ts';
import type { EventLog } from '../log.ts';
import type { HostAndPort } from '../settings.ts';
import type { Timing } from '../timing.ts';
import { BodyRefused, MOST_BODY_BYTES, readBody } from './body.ts';
import { Places } from './places.ts';
import type { HttpAnswer, HttpRequest, Route } from './route.ts';
import type { TlsFiles } from './tlsFiles.ts';

const MOST_CONNECTIONS = 1_000;
/** Connections the system queues until the bridge accepts them. */
const BACKLOG = 4_096;
const MOST_HEADER_BYTES = 16 * 1_024;
/** Longer than the load balancers in front of it. */
const KEEP_ALIVE_MS = 75_000;
/** Between two checks for connections whose time is over. */
const TIME_CHECK_MS = 250;
const RETRY_AFTER_SECONDS = '2';

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];

export interface PublicServerOptions {
  readonly listen: HostAndPort;
  readonly tls: TlsFiles | undefined;
  readonly timing: Timing;
  readonly log: EventLog;
  now(): number;
}

interface Work {
  readonly route: Route;
  /** The body's declared type. */
  readonly contentType: string | undefined;
}

const NO_BODY = new Uint8Array();

class PublicRequest implements HttpRequest {
  constructor(
    private readonly request: FastifyRequest,
    readonly headers: HttpRequest['headers'],
    readonly body: Uint8Array,
  ) {}

  /** Built only when asked for. */
  get signal(): AbortSignal {
    return this.request.signal;
  }
}

/** The public port. Until it has routes, and once it drains, it answers 503. */
export class PublicServer {
  readonly #app: FastifyInstance;
  readonly #places: Places;
  readonly #work = new WeakMap<FastifyRequest, Work>();
  #routes: readonly Route[] | undefined;
  #isRefusing = false;
  /** Requests being read, handled or answered, and handlers still running after their caller left. */
  #underWay = 0;
  #onIdle: () => void = () => {};

  constructor(private readonly options: PublicServerOptions) {
    const { timing } = options;
    this.#places = new Places({ most: MOST_CONNECTIONS, patienceMs: timing.place, now: () => options.now() });
    this.#app = fastify({
      logger: false,
      bodyLimit: MOST_BODY_BYTES,
      exposeHeadRoutes: false,
      serverFactory: (handler) => this.#newServer(handler),
      clientErrorHandler: (error, socket) => endWith(socket, error.code),
      frameworkErrors: (_, __, reply) => void send(reply, failure(400, 'BadRequest', 'The URL is not valid.')),
    });
    this.#app.removeAllContentTypeParsers();
    this.#app.addContentTypeParser('*', (request: FastifyRequest, payload: IncomingMessage) =>
      readBody(payload, request.headers['content-length'], timing.body),
    );
    this.#app.addHook('onRequest', (request, reply, done) => {
      const answer = this.#admit(request, reply);
      if (answer === undefined) done();
      else send(reply, answer);
    });
    this.#app.setErrorHandler((error, request, reply) => this.#failed(error, request, reply));
    this.#app.route({ method: METHODS, url: '*', handler: (request, reply) => this.#handle(request, reply) });
  }

  /** Starts listening. Rejects when the port isn't available. */
  async listen(): Promise<void> {
    await this.#app.listen({ ...this.options.listen, backlog: BACKLOG });
  }

  /** The port that it listens on. */
  get port(): number {
    return (this.#app.server.address() as AddressInfo).port;
  }

  /** Serves these paths from the next request on. */
  serve(routes: readonly Route[]): void {
    this.#routes = routes;
  }

  /** Takes nothing new from now on. */
  refuse(): void {
    this.#isRefusing = true;
  }

  /** Takes nothing new, and resolves once everything under way is answered, or the signal aborts. */
  async drain(signal: AbortSignal): Promise<void> {
    this.refuse();
    if (this.#underWay === 0 || signal.aborted) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** Closes the port and its connections. */
  async close(): Promise<void> {
    const closed = this.#app.close();
    this.#places.close();
    this.#app.server.closeAllConnections();
    await closed;
  }

  #newServer(handler: RequestListener): http.Server {
    const { tls, timing } = this.options;
    const limits = {
      headersTimeout: timing.headers,
      // Reading a body has its own timer; this ends bodies that nobody reads.
      requestTimeout: timing.headers + timing.body,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: TIME_CHECK_MS,
      maxHeaderSize: MOST_HEADER_BYTES,
      requireHostHeader: false,
    };
    const pair = tls?.current();
    const server =
      pair === undefined
        ? http.createServer(limits, handler)
        : https.createServer({ ...limits, ...pair, handshakeTimeout: timing.headers }, handler);
    this.#guard(server);
    if (tls !== undefined && pair !== undefined) renewCertificates(server as https.Server, tls);
    return server;
  }

  /** Makes each connection wait for its place before the server sees it. */
  #guard(server: Server): void {
    const listeners = server.listeners('connection');
    server.removeAllListeners('connection');
    // The kernel buffers what a connection sends while it waits.
    (server as { pauseOnConnect?: boolean }).pauseOnConnect = true;
    server.on('connection', (socket: Socket) =>
      this.#places.admit(socket, () => {
        for (const listener of listeners) listener.call(server, socket);
        socket.resume();
      }),
    );
  }

  /** @returns the answer if it's known before the body is read */
  #admit(request: FastifyRequest, reply: FastifyReply): HttpAnswer | undefined {
    const { socket } = request.raw;
    this.#places.note(socket, 'reading');
    if (this.#places.isCrowded) void reply.header('connection', 'close');
    const refusal = this.#refusal(request);
    reply.raw.once('close', () => {
      this.#places.note(socket, 'answered');
      if (refusal === undefined) this.#ended();
    });
    if (refusal === undefined) this.#underWay++;
    return refusal;
  }

  #refusal(request: FastifyRequest): HttpAnswer | undefined {
    if (this.#isRefusing) return STOPPING;
    if (this.#routes === undefined) return STARTING;
    const { url, method } = request;
    const query = url.indexOf('?');
    // A service connection's URL may end with a slash, to which Azure DevOps adds the path.
    const path = (query < 0 ? url : url.slice(0, query)).replace(/^\/+/, '/');
    const route = this.#routes.find((one) => one.path === path && one.method === method);
    if (route === undefined) return this.#noRoute(path);
    const { headers, socket } = request.raw;
    const refusal = route.authenticate(headers, socket.remoteAddress);
    if (refusal !== undefined) return refusal;
    this.#work.set(request, { route, contentType: headers['content-type'] });
    // A body is read as bytes, whatever its declared type.
    headers['content-type'] = 'application/octet-stream';
    return undefined;
  }

  #noRoute(path: string): HttpAnswer {
    const there = this.#routes?.filter((route) => route.path === path) ?? [];
    if (there.length === 0) return failure(404, 'NotFound', 'There is nothing at this path.');
    const allow = there.map(({ method }) => method).join(', ');
    return { ...failure(405, 'MethodNotAllowed', `This path takes ${allow} only.`), headers: { allow } };
  }

  async #handle(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    return send(reply, await this.#answerOf(request));
  }

  async #answerOf(request: FastifyRequest): Promise<HttpAnswer> {
    const work = this.#work.get(request);
    if (work === undefined) throw new Error('a request without a route');
    const { headers, socket } = request.raw;
    headers['content-type'] = work.contentType;
    this.#places.note(socket, 'handling');
    this.#underWay++;
    try {
      const body = (request.body as Uint8Array | undefined) ?? NO_BODY;
      return await work.route.handle(new PublicRequest(request, headers, body));
    } finally {
      this.#ended();
    }
  }

  #ended(): void {
    if (--this.#underWay === 0) this.#onIdle();
  }

  #failed(error: unknown, request: FastifyRequest, reply: FastifyReply): unknown {
    if (error instanceof BodyRefused) {
      // The library would close the connection; then the caller, who still sends, might never see the answer.
      void (error.status === 408 ? reply.header('connection', 'close') : reply.removeHeader('connection'));
      return send(reply, BODY_REFUSALS[error.status]);
    }
    const path = this.#work.get(request)?.route.path;
    this.options.log.error('requestFailed', { path, reason: reasonOf(error) });
    return send(reply, UNAVAILABLE);
  }
}

function renewCertificates(server: https.Server, tls: TlsFiles): void {
  let used = tls.current();
  server.prependListener('connection', () => {
    const pair = tls.current();
    if (pair === used) return;
    used = pair;
    server.setSecureContext(pair);
  });
}

function failure(status: number, code: string, message: string): HttpAnswer {
  return { status, body: { error: { code, message } } };
}

function unavailable(why: string, headers: HttpAnswer['headers'] & {}): HttpAnswer {
  return { ...failure(503, 'Unavailable', `${why} Send it again.`), headers };
}

const RETRY_LATER = { 'retry-after': RETRY_AFTER_SECONDS };
const LEAVE = { ...RETRY_LATER, connection: 'close' };
const UNAVAILABLE = unavailable('The bridge cannot do this now.', RETRY_LATER);
const STARTING = unavailable('The bridge is starting, and has no connection to NATS yet.', LEAVE);
const STOPPING = unavailable('The bridge is stopping.', LEAVE);

const BODY_REFUSALS: Readonly<Record<BodyRefused['status'], HttpAnswer>> = {
  400: failure(400, 'BadRequest', 'The body ended before its end.'),
  408: failure(408, 'Timeout', 'The body did not come in time.'),
  413: failure(413, 'TooLarge', `The body is larger than ${MOST_BODY_BYTES} bytes.`),
};

/** By Node's names for them. */
const CONNECTION_REFUSALS: ReadonlyMap<string, HttpAnswer> = new Map([
  ['ERR_HTTP_REQUEST_TIMEOUT', failure(408, 'Timeout', 'The request did not come in time.')],
  ['HPE_HEADER_OVERFLOW', failure(431, 'TooLarge', `The headers are larger than ${MOST_HEADER_BYTES} bytes.`)],
]);

const HEADERS = {
  'cache-control': 'no-store',
  'content-type': 'application/json; charset=utf-8',
  'x-content-type-options': 'nosniff',
};

function send(reply: FastifyReply, { status, headers, body }: HttpAnswer): FastifyReply {
  void reply.code(status).headers(HEADERS);
  if (headers !== undefined) void reply.headers(headers);
  return reply.send(JSON.stringify(body));
}

/** Answers anything that isn't a request or came too slowly, and ends the connection. */
function endWith(socket: Socket, code: string | undefined): void {
  if (code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const { status, body: answer } =
    CONNECTION_REFUSALS.get(code ?? '') ?? failure(400, 'BadRequest', "This isn't HTTP.");
  const body = JSON.stringify(answer);
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
      '',
      body,
    ].join('\r\n'),
    () => socket.destroy(),
  );
}
