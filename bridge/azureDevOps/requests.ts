import type { Dispatcher } from 'undici';
import { once } from '../../shared/once.ts';
import type { Connection } from '../settings.ts';

const MOST_ANSWER_BYTES = 16 * 1_024 * 1_024;

export type Answer = Dispatcher.ResponseData;

export type RequestOptions = Pick<Dispatcher.RequestOptions, 'headers' | 'body' | 'signal'> & {
  readonly method?: Dispatcher.HttpMethod;
};

/** The library is large, and many commands send no request. */
export const dispatcherModule = once(() => import('./dispatcher.ts'));

/** Sends requests. */
export class Requests {
  #dispatcher: Dispatcher | undefined;

  constructor(private readonly connection: Connection) {}

  async send(url: string | URL, options: RequestOptions): Promise<Answer> {
    const { dispatcherFor, request } = await dispatcherModule();
    this.#dispatcher ??= dispatcherFor(this.connection);
    return request(url, { dispatcher: this.#dispatcher, ...options });
  }

  async close(): Promise<void> {
    await this.#dispatcher?.destroy();
  }
}

export class TooLargeError extends Error {}

/** Throws where an answer has more bytes than this. */
export async function textOf(body: Answer['body'], mostBytes = MOST_ANSWER_BYTES): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > mostBytes) throw new TooLargeError(`the answer is larger than ${mostBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
