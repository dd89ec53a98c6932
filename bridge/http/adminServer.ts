import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import type { AddressInfo } from 'node:net';
import { reasonOf } from '../../shared/errors.ts';
import type { EventLog } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Readiness } from '../readiness.ts';
import type { HostAndPort } from '../settings.ts';
import { STYLE_DIGEST } from './statusPage.ts';

const MOST_CONNECTIONS = 100;
const REQUEST_MS = 10_000;

/** What the private port shows. */
export interface AdminSources {
  readonly metrics: Metrics;
  readonly log: EventLog;
  readiness(): Promise<Readiness>;
  /** HTML. */
  statusPage(): Promise<string>;
}

/** The private port: health, metrics and the status page. */
export class AdminServer {
  readonly #app: FastifyInstance;

  constructor(
    private readonly listenOn: HostAndPort,
    sources: AdminSources,
  ) {
    const { metrics, log } = sources;
    this.#app = fastify({ logger: false, bodyLimit: 1_024, requestTimeout: REQUEST_MS, forceCloseConnections: true });
    this.#app.server.maxConnections = MOST_CONNECTIONS;
    this.#app.addHook('onSend', (_, reply, __, done) => {
      void reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
      done();
    });
    this.#app.get('/healthz', (_, reply) => reply.send({ status: 'ok' }));
    this.#app.get('/readyz', async (_, reply) => {
      const ready = await sources.readiness();
      return reply.code(ready.status === 'ready' || ready.status === 'degraded' ? 200 : 503).send(ready);
    });
    this.#app.get('/metrics', async (_, reply) => reply.type(metrics.contentType).send(await metrics.text()));
    this.#app.get('/', async (_, reply) => page(reply).send(await sources.statusPage()));
    this.#app.setNotFoundHandler((_, reply) =>
      reply.code(404).send({ error: { code: 'NotFound', message: 'There is nothing at this path.' } }),
    );
    this.#app.setErrorHandler((error, request, reply) => {
      log.error('requestFailed', { path: request.routeOptions.url, reason: reasonOf(error) });
      return reply.code(500).send({ error: { code: 'Internal', message: 'The log has the reason.' } });
    });
  }

  /** Starts listening. Rejects when the port isn't available. */
  async listen(): Promise<void> {
    await this.#app.listen(this.listenOn);
  }

  get port(): number {
    return (this.#app.server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    await this.#app.close();
  }
}

/** A page that can only be read. */
function page(reply: FastifyReply): FastifyReply {
  return reply.type('text/html; charset=utf-8').headers({
    'content-security-policy': `default-src 'none'; style-src '${STYLE_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    'referrer-policy': 'no-referrer',
  });
}
