import type { KV } from 'nats';
import type { KeyValue, KeyValueEntry } from '../bus.ts';
import { TaskError } from '../errors.ts';
import { API_ERROR, jetStreamOffError } from './jetStreamApi.ts';
import { ErrorCode } from './link/libraryLimits.ts';
import type { Link, Violation } from './link/link.ts';
import type { Links } from './link/links.ts';
import { deniedToService } from './permissions.ts';

const REQUEST_TIMEOUT_MS = 5_000;

/** What the library throws. */
interface LibraryError extends Error {
  readonly code?: string;
  readonly permissionContext?: Violation;
  readonly api_error?: { readonly err_code: number; readonly description: string };
}

/** {@link KeyValue} by the NATS library, in a bucket that is there. Reads ask the bucket's leader, so none is stale. */
export class Bucket implements KeyValue {
  #opened: { readonly link: Link; readonly kv: Promise<KV> } | undefined;

  constructor(
    private readonly links: Links,
    private readonly name: string,
  ) {}

  async get(key: string): Promise<KeyValueEntry | undefined> {
    const entry = await this.#call((kv) => kv.get(key));
    if (entry === null) await this.#requireBucket();
    if (entry?.operation !== 'PUT') return undefined;
    return { key, value: entry.value, revision: entry.revision };
  }

  create(key: string, value: Uint8Array): Promise<number | undefined> {
    return this.#call((kv) => unlessChanged(kv.create(key, value)));
  }

  update(key: string, value: Uint8Array, revision: number): Promise<number | undefined> {
    return this.#call((kv) => unlessChanged(kv.update(key, value, revision)));
  }

  async delete(key: string, revision?: number): Promise<void> {
    const options = revision === undefined ? {} : { previousSeq: revision };
    await this.#call((kv) => unlessChanged(kv.delete(key, options)));
  }

  /** The library mistakes a deleted bucket for one without the key. */
  async #requireBucket(): Promise<void> {
    const link = await this.#liveLink();
    const answer = await this.links.api(link).streamInfo(`KV_${this.name}`);
    switch (answer.kind) {
      case 'ok':
        return;
      case 'apiError':
        if (answer.error.err_code === API_ERROR.streamNotFound) throw this.#missing();
        if (answer.error.err_code === API_ERROR.notEnabledForAccount) throw jetStreamOffError(link);
        throw this.#unanswered(answer.error.description);
      case 'denied':
        throw deniedToService(answer.violation.operation, answer.violation.subject);
      case 'noResponders':
      case 'timeout':
      case 'lost':
        throw this.#unanswered('JetStream did not answer');
    }
  }

  async #call<Value>(use: (kv: KV) => Promise<Value>): Promise<Value> {
    const link = await this.#liveLink();
    const work = this.#on(link)
      .then(use)
      .catch((error: unknown) => {
        throw this.#explained(error as LibraryError, link);
      });
    // The library leaves the requests of a closed connection to their timeouts.
    const outcome = await link.unlessClosed<Value | typeof LOST>(work, LOST);
    if (outcome === LOST) throw this.#unanswered('the link broke', 'ConnectionLost');
    return outcome;
  }

  #liveLink(): Promise<Link> {
    return this.links.linkWithin(REQUEST_TIMEOUT_MS);
  }

  /** The bucket over a link, which asks nothing of the server. */
  #on(link: Link): Promise<KV> {
    if (this.#opened?.link !== link) {
      const options = { apiPrefix: this.links.apiPrefix, timeout: REQUEST_TIMEOUT_MS, checkAPI: false };
      const kv = link.connection.jetstream(options).views.kv(this.name, { bindOnly: true });
      this.#opened = { link, kv };
    }
    return this.#opened.kv;
  }

  #explained(error: LibraryError, link: Link): TaskError {
    const { code, permissionContext: violation, api_error: apiError } = error;
    if (violation !== undefined) return deniedToService(violation.operation, violation.subject);
    if (apiError?.err_code === API_ERROR.notEnabledForAccount) return jetStreamOffError(link);
    if (apiError !== undefined) {
      return new TaskError('StreamRefused', `The key-value bucket "${this.name}" refused: ${apiError.description}`);
    }
    if (code === ErrorCode.NoResponders) return this.#missing();
    if (code === ErrorCode.Timeout) return this.#unanswered(`no answer within ${REQUEST_TIMEOUT_MS} ms`);
    if (link.isClosed) return this.#unanswered('the link broke', 'ConnectionLost');
    return new TaskError('Internal', `The key-value bucket "${this.name}" failed: ${error.message}`, '', {
      cause: error,
    });
  }

  #missing(): TaskError {
    return new TaskError(
      'NoStream',
      `There is no key-value bucket "${this.name}", or it has no leader`,
      'Create it in the account of this user.',
    );
  }

  #unanswered(why: string, code: 'Timeout' | 'ConnectionLost' = 'Timeout'): TaskError {
    return new TaskError(code, `The key-value bucket "${this.name}" did not answer: ${why}`);
  }
}

const LOST = Symbol('the link broke');

/** The revision; undefined when the last revision isn't the expected one. */
async function unlessChanged<Value>(revision: Promise<Value>): Promise<Value | undefined> {
  try {
    return await revision;
  } catch (error) {
    if ((error as LibraryError).api_error?.err_code === API_ERROR.wrongLastSequence) return undefined;
    throw error;
  }
}
