import { createCipheriv, createDecipheriv, hash, randomBytes } from 'node:crypto';
import { isObject, parseObject } from '../../shared/text/json.ts';
import { bucketKey, partsOf, type WaitKey, type WaitRecord, type WaitState } from './record.ts';

const ALGORITHM = 'aes-256-gcm';
const TAG_BYTES = 16;
/** As GCM takes it without hashing; drawn anew each time. */
const IV_BYTES = 12;

/**
 * Seals a record: it holds a job's token and the inputs of somebody's pipeline. Its key and plan URL are readable, and
 * can't be changed, nor can the record be put in the place of another.
 *
 * @param keys the first one seals
 */
export function seal({ key, planUrl, state }: WaitRecord, keys: readonly Uint8Array[]): Uint8Array {
  const [sealingKey] = keys;
  if (sealingKey === undefined) throw new Error('there is no sealing key');
  const kid = keyIdOf(sealingKey);
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv(ALGORITHM, sealingKey, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(boundTo(bucketKey(key), key, planUrl, kid));
  const sealed = Buffer.concat([cipher.update(JSON.stringify(state)), cipher.final(), cipher.getAuthTag()]);
  const record = { v: 1, key, planUrl, kid, iv: iv.toString('base64'), sealed: sealed.toString('base64') };
  return Buffer.from(JSON.stringify(record));
}

/**
 * Opens a record; undefined when no key opens it, it was changed, or it belongs to another place.
 *
 * @param place the key in the bucket
 */
export function unseal(place: string, bytes: Uint8Array, keys: readonly Uint8Array[]): WaitRecord | undefined {
  const { v, key, planUrl, kid, iv, sealed } = parseObject(Buffer.from(bytes).toString()) ?? {};
  if (v !== 1 || !isObject(key) || [planUrl, kid, iv, sealed].some((text) => typeof text !== 'string'))
    return undefined;
  const waitKey = key as unknown as WaitKey;
  if (bucketKey(waitKey) !== place) return undefined;
  const box = Buffer.from(String(sealed), 'base64');
  for (const sealingKey of keys) {
    if (keyIdOf(sealingKey) !== kid) continue;
    try {
      const options = { authTagLength: TAG_BYTES };
      const decipher = createDecipheriv(ALGORITHM, sealingKey, Buffer.from(String(iv), 'base64'), options);
      decipher.setAAD(boundTo(place, waitKey, String(planUrl), kid));
      decipher.setAuthTag(box.subarray(-TAG_BYTES));
      const text = Buffer.concat([decipher.update(box.subarray(0, -TAG_BYTES)), decipher.final()]);
      return { key: waitKey, planUrl: String(planUrl), state: JSON.parse(text.toString()) as WaitState };
    } catch {
      // Another key may have the same id.
    }
  }
  return undefined;
}

/** Shows people which key sealed a record without revealing the key. */
export function keyIdOf(sealingKey: Uint8Array): string {
  return hash('sha256', sealingKey).slice(0, 8);
}

function boundTo(place: string, key: WaitKey, planUrl: string, kid: string): Buffer {
  return Buffer.from(JSON.stringify([place, ...partsOf(key), planUrl, kid]));
}
