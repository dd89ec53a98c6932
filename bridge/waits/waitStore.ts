import type { KeyValue } from '../../shared/bus.ts';
import type { SealingKeySecret } from '../settings.ts';
import { bucketKey, type WaitKey, type WaitRecord, type WaitState } from './record.ts';
import { seal, unseal } from './sealing.ts';

/** A wait with the revision needed to change it. */
export interface StoredWait {
  readonly record: WaitRecord;
  readonly revision: number;
}

/** A record that no key opens, or that doesn't match its key in the bucket. */
export class UnreadableWait extends Error {
  constructor(readonly place: string) {
    super(`the record ${place} doesn't open with any of waits.sealingKeyFiles`);
  }
}

/** The bucket `BRIDGE_WAITS`. Every method fails as the bucket does. */
export class WaitStore {
  /** @param sealingKeys read each time, since they rotate */
  constructor(
    private readonly bucket: KeyValue,
    private readonly sealingKeys: readonly SealingKeySecret[],
  ) {}

  /** @throws UnreadableWait */
  get(key: WaitKey): Promise<StoredWait | undefined> {
    return this.at(bucketKey(key));
  }

  /**
   * As {@link get}, by the key in the bucket.
   *
   * @throws UnreadableWait
   */
  async at(place: string): Promise<StoredWait | undefined> {
    const entry = await this.bucket.get(place);
    if (entry === undefined) return undefined;
    const record = this.open(place, entry.value);
    if (record === undefined) throw new UnreadableWait(place);
    return { record, revision: entry.revision };
  }

  /** What an entry of the bucket holds; undefined where it doesn't open or isn't of this place, and mustn't be acted on. */
  open(place: string, value: Uint8Array): WaitRecord | undefined {
    return unseal(place, value, this.#keys);
  }

  /** @returns the revision; undefined where there is such a wait already */
  create(record: WaitRecord): Promise<number | undefined> {
    return this.bucket.create(bucketKey(record.key), seal(record, this.#keys));
  }

  /** @returns the new revision; undefined when someone else has written meanwhile */
  update({ record, revision }: StoredWait, state: WaitState): Promise<number | undefined> {
    return this.bucket.update(bucketKey(record.key), seal({ ...record, state }, this.#keys), revision);
  }

  /** Removes a record, unless somebody else has written meanwhile. */
  remove(place: string, revision: number): Promise<void> {
    return this.bucket.delete(place, revision);
  }

  get #keys(): Uint8Array[] {
    return this.sealingKeys.map(({ value }) => value);
  }
}
