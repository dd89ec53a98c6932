import { reasonOf } from '../../shared/errors.ts';
import { parseObject } from '../../shared/text/json.ts';
import { safeText } from '../../shared/text/safeText.ts';
import type { Connection } from '../settings.ts';
import { Requests, textOf } from './requests.ts';

const MOST_BYTES = 512 * 1_024;
const MOST_REASON = 300;

/** Fetches public documents, such as an issuer's keys. Follows no redirects. */
export class PublicDocuments {
  readonly #requests: Requests;

  constructor(
    connection: Connection,
    private readonly withinMs: number,
  ) {
    this.#requests = new Requests(connection);
  }

  /** The JSON object at a URL, or why there is none: a clause about its host. Never rejects. */
  async object(url: URL): Promise<{ readonly object: Record<string, unknown> } | { readonly problem: string }> {
    const limit = AbortSignal.timeout(this.withinMs);
    try {
      const answer = await this.#requests.send(url, {
        headers: { accept: 'application/json' },
        signal: limit,
      });
      const text = await textOf(answer.body, MOST_BYTES);
      if (answer.statusCode !== 200) return { problem: `${url.host} answers with status ${answer.statusCode}` };
      const object = parseObject(text);
      return object === undefined
        ? { problem: `${url.host} answers with something else than a JSON object` }
        : { object };
    } catch (error) {
      const reason = limit.aborted ? `no answer within ${this.withinMs} ms` : safeText(reasonOf(error), MOST_REASON);
      return { problem: `${url.host}: ${reason || (error as { code?: string }).code || 'no connection'}` };
    }
  }

  async close(): Promise<void> {
    await this.#requests.close();
  }
}
