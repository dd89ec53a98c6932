import { parseUserSeed, type SigningKey } from '../shared/nkey.ts';
import type { Secret } from './settings.ts';

/**
 * The current key in a secret, parsed again only when the secret changes.
 *
 * @throws TaskError `InvalidInput` when the secret isn't an NKey user seed
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
