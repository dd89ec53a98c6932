import { parseUserSeed, type SigningKey } from '../shared/nkey.ts';
import type { Secret } from './settings.ts';

/**
 * The key in a secret as it is now, parsed again only when the secret changes.
 *
 * @throws TaskError `InvalidInput` when the secret is no NKey user seed
 */
export class RotatingKey {
  #seed = '';
  #key: SigningKey | undefined;

  current(secret: Secret | undefined): SigningKey | undefined {
    if (secret === undefined) return undefined;
    const { value } = secret;
    if (value !== this.#seed || this.#key === undefined) {
      this.#key = parseUserSeed(value);
      this.#seed = value;
    }
    return this.#key;
  }
}
