import { createLocalJWKSet, errors, type CryptoKey, type JWSHeaderParameters, type JWK } from 'jose';
import type { PublicDocuments } from '../azureDevOps/publicDocuments.ts';
import type { Timing } from '../timing.ts';
import { Refusal } from './refusal.ts';

/** An issuer's keys as last fetched. */
interface KeySet {
  readonly find: (header: JWSHeaderParameters) => Promise<CryptoKey>;
  /** In milliseconds since the epoch. */
  readonly fetchedAt: number;
  readonly count: number;
}

/** What is known of an issuer. */
interface Known {
  keys: KeySet | undefined;
  triedAt: number;
  /** When keys were last fetched because a token named an unknown one. */
  unknownAt: number;
  trouble: string | undefined;
  fetching: Promise<void> | undefined;
}

/** The state of an issuer. */
export interface KeyState {
  readonly issuer: string;
  /** In milliseconds since the epoch; undefined: never. */
  readonly fetchedAt: number | undefined;
  readonly count: number;
  /** Why the last fetch failed; a clause. Foreign text. */
  readonly trouble: string | undefined;
}

export interface KeySetsOptions {
  readonly documents: PublicDocuments;
  readonly timing: Timing;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Called when keys can't be fetched any more, and when they can again. */
  readonly onChange: (state: KeyState) => void;
}

/** Outlives a change of the configuration: an issuer may be out of reach just then. */
export type KnownKeys = Map<string, Known>;

const MOST_KEYS = 100;

/** Issuers' keys: found by discovery, cached, and fetched again when they're old or a token names an unknown one. */
export class KeySets {
  readonly #options: KeySetsOptions;

  constructor(
    options: KeySetsOptions,
    private readonly known: KnownKeys = new Map(),
  ) {
    this.#options = options;
  }

  /**
   * The key that a token's header names.
   *
   * @throws Refusal `noKeys` when there is none, or none arrives in time
   */
  async keyFor(issuer: string, header: JWSHeaderParameters): Promise<CryptoKey> {
    const { now, timing } = this.#options;
    const known = this.#of(issuer);
    if (this.#usable(known) === undefined) await this.#inTime(this.#fetchUnlessJustTried(issuer, known));
    const keys = this.#usable(known);
    if (keys === undefined)
      throw new Refusal('noKeys', `there are no keys for ${issuer}: ${known.trouble ?? 'none came in time'}`);
    const found = await find(keys, header);
    if (found !== undefined) return found;
    if (now() - known.unknownAt < timing.keysUnknown && known.fetching === undefined)
      throw new Refusal(
        'noKeys',
        `the issuer has no key that fits the token; its keys were last fetched less than ${timing.keysUnknown / 1_000} s ago`,
      );
    known.unknownAt = now();
    await this.#inTime(this.#fetch(issuer, known));
    const again = known.keys && (await find(known.keys, header));
    if (again !== undefined) return again;
    throw new Refusal(
      'noKeys',
      `the issuer has no key that fits the token${known.trouble === undefined ? '' : `, going by the keys fetched earlier: ${known.trouble}`}`,
    );
  }

  /** Fetches what is missing or old. Never rejects. */
  async refresh(issuers: Iterable<string>): Promise<void> {
    const { now, timing } = this.#options;
    await Promise.all(
      [...issuers].map(async (issuer) => {
        const known = this.#of(issuer);
        if (known.trouble !== undefined || now() - (known.keys?.fetchedAt ?? 0) >= timing.keysFresh)
          await this.#fetchUnlessJustTried(issuer, known);
      }),
    );
  }

  state(issuer: string): KeyState {
    const { keys, trouble } = this.#of(issuer);
    return { issuer, fetchedAt: keys?.fetchedAt, count: keys?.count ?? 0, trouble };
  }

  #of(issuer: string): Known {
    let known = this.known.get(issuer);
    if (known === undefined) {
      known = { keys: undefined, triedAt: 0, unknownAt: 0, trouble: undefined, fetching: undefined };
      this.known.set(issuer, known);
    }
    return known;
  }

  /** Old keys are used while their issuer is out of reach, but not for ever: one may have been withdrawn since. */
  #usable({ keys }: Known): KeySet | undefined {
    const { now, timing } = this.#options;
    return keys !== undefined && now() - keys.fetchedAt < timing.keysKept ? keys : undefined;
  }

  /** An issuer that is down isn't asked again for every client. */
  async #fetchUnlessJustTried(issuer: string, known: Known): Promise<void> {
    const { now, timing } = this.#options;
    if (known.fetching === undefined && known.trouble !== undefined && now() - known.triedAt < timing.keysLook) return;
    await this.#fetch(issuer, known);
  }

  #fetch(issuer: string, known: Known): Promise<void> {
    known.fetching ??= this.#fetchOnce(issuer, known).finally(() => {
      known.fetching = undefined;
    });
    return known.fetching;
  }

  async #fetchOnce(issuer: string, known: Known): Promise<void> {
    const { now, onChange } = this.#options;
    known.triedAt = now();
    const before = known.trouble;
    const result = await this.#read(issuer);
    if ('problem' in result) known.trouble = result.problem;
    else [known.keys, known.trouble] = [result, undefined];
    if (known.trouble !== before || known.keys === result) onChange(this.state(issuer));
  }

  async #read(issuer: string): Promise<KeySet | { readonly problem: string }> {
    const { documents, now } = this.#options;
    const discovery = await documents.object(discoveryUrl(issuer));
    if ('problem' in discovery) return discovery;
    if (discovery.object['issuer'] !== issuer) return { problem: 'its discovery document belongs to another issuer' };
    const place = discovery.object['jwks_uri'];
    const url = typeof place === 'string' && URL.canParse(place) ? new URL(place) : undefined;
    // An issuer on this machine may be reached in clear text, and then so may its keys.
    if (url?.protocol !== new URL(issuer).protocol)
      return { problem: 'its discovery document gives no trustworthy URL for its keys' };
    const answer = await documents.object(url);
    if ('problem' in answer) return answer;
    const { keys } = answer.object;
    if (!Array.isArray(keys) || keys.length === 0 || keys.length > MOST_KEYS)
      return { problem: `its key set is not a list of 1 to ${MOST_KEYS} keys` };
    try {
      return { find: createLocalJWKSet({ keys: keys as JWK[] }), fetchedAt: now(), count: keys.length };
    } catch {
      return { problem: 'its key set cannot be read' };
    }
  }

  async #inTime(work: Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.#options.timing.keysWait);
    });
    await Promise.race([work, late]).finally(() => clearTimeout(timer));
  }
}

/** Where an issuer says where its keys are. */
export function discoveryUrl(issuer: string): URL {
  return new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
}

/** Undefined where the set has no such key. */
async function find(keys: KeySet, header: JWSHeaderParameters): Promise<CryptoKey | undefined> {
  try {
    return await keys.find(header);
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey) return undefined;
    if (error instanceof errors.JWKSMultipleMatchingKeys)
      throw new Refusal('noKeys', "several of the issuer's keys fit the token, which does not name one");
    throw new Refusal('noKeys', 'the key that the token names cannot be used');
  }
}
