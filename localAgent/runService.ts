import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { closeServer } from './closeServer.ts';

export interface AttachmentRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** A test's HTTP server on a free port of 127.0.0.1 that plays Azure DevOps: it accepts a run's attachments. */
export class RunService implements AsyncDisposable {
  readonly requests: AttachmentRequest[] = [];
  /** The status it answers with; undefined: it never answers. */
  status: number | undefined = 200;
  readonly #server = http.createServer((request, response) => void this.#handle(request, response));
  readonly #asked = new EventTarget();

  static async start(): Promise<RunService> {
    const service = new RunService();
    await once(service.#server.listen(0, '127.0.0.1'), 'listening');
    return service;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The variables of a job in a run that this service keeps. */
  get variables(): Record<string, string> {
    return { 'System.CollectionUri': `http://${this.host}/contoso/`, 'System.TimelineId': randomUUID() };
  }

  /** The Markdown of the summaries so far. */
  get summaries(): string[] {
    return this.requests.map(({ body }) => body);
  }

  /** Resolves once it has received this many requests in all. */
  async asked(count: number): Promise<void> {
    while (this.requests.length < count) await once(this.#asked, 'asked');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeServer(this.#server);
  }

  async #handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const { method = '', url = '', headers } = request;
    this.requests.push({ method, url, headers, body: Buffer.concat(chunks).toString() });
    this.#asked.dispatchEvent(new Event('asked'));
    if (this.status !== undefined) response.writeHead(this.status).end('{}');
  }
}
