import nacl from 'tweetnacl';
import { curveBytes, type CurveKey } from './keys.ts';

/** How sealed messages begin: the format version. A nonce follows, then the NaCl box. */
const VERSION = Buffer.from('xkv1');
const NONCE_BYTES = 24;
/** How many servers' shared keys are cached: computing one takes a millisecond. */
const MOST_PEERS = 1_000;

/** Opens what servers sealed for a curve key, and seals the answers. */
export class Seal {
  readonly #shared = new Map<string, Uint8Array>();

  constructor(private readonly key: CurveKey) {}

  /** Undefined where it isn't sealed by this sender for this key. Throws where the sender is no public curve key. */
  open(sealed: Uint8Array, sender: string): Uint8Array | undefined {
    if (sealed.length <= VERSION.length + NONCE_BYTES || !VERSION.equals(sealed.subarray(0, VERSION.length)))
      return undefined;
    const nonce = sealed.subarray(VERSION.length, VERSION.length + NONCE_BYTES);
    return (
      nacl.box.open.after(sealed.subarray(VERSION.length + NONCE_BYTES), nonce, this.#sharedWith(sender)) ?? undefined
    );
  }

  /** Throws where the recipient is no public curve key. */
  seal(message: Uint8Array, recipient: string): Uint8Array {
    const nonce = nacl.randomBytes(NONCE_BYTES);
    return Buffer.concat([VERSION, nonce, nacl.box.after(message, nonce, this.#sharedWith(recipient))]);
  }

  #sharedWith(peer: string): Uint8Array {
    const known = this.#shared.get(peer);
    if (known !== undefined) return known;
    const shared = nacl.box.before(curveBytes(peer), this.key.secret);
    if (this.#shared.size >= MOST_PEERS) this.#shared.clear();
    this.#shared.set(peer, shared);
    return shared;
  }
}
