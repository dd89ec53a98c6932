import { createHash } from 'node:crypto';
import type { KeyValue } from '../../../shared/bus.ts';
import { parseObject } from '../../../shared/text/json.ts';
import type { FeedSettings } from '../../settings.ts';

/** How far a feed has been read, as all replicas share it. */
export interface Cursor {
  /** The feed's id; empty where it wasn't known. */
  readonly feedId: string;
  /** Everything up to it is done. */
  readonly token: number;
  /** False while the bridge skips changes from before its time. */
  readonly isPastOld: boolean;
}

export interface StoredCursor extends Cursor {
  readonly revision: number;
}

/** A feed's name for people: `Shop/packages`. */
export function feedName({ project, feed }: Pick<FeedSettings, 'project' | 'feed'>): string {
  return project === '' ? feed : `${project}/${feed}`;
}

/** The end of a feed's keys in BRIDGE_PROJECTS: names may have characters that a key can't. */
export function feedKey(organization: string, { project, feed }: Pick<FeedSettings, 'project' | 'feed'>): string {
  const names = [organization, project, feed].map((name) => name.toLowerCase());
  return createHash('sha256').update(JSON.stringify(names)).digest('hex').slice(0, 32);
}

/** A feed's cursor in BRIDGE_PROJECTS. Every method fails as the bucket does. */
export class Cursors {
  /** @param name for people who look into the bucket */
  constructor(
    private readonly bucket: KeyValue,
    private readonly key: string,
    private readonly name: string,
  ) {}

  /**
   * @returns undefined where there is none yet
   * @throws Error when the value can't be a cursor: a guess would lose changes, or publish all of them again
   */
  async get(): Promise<StoredCursor | undefined> {
    const entry = await this.bucket.get(this.key);
    if (entry === undefined) return undefined;
    const { feedId, token, isPastOld } = parseObject(Buffer.from(entry.value).toString()) ?? {};
    if (typeof feedId !== 'string' || !Number.isSafeInteger(token) || typeof isPastOld !== 'boolean')
      throw new Error(`the key ${this.key} of the bucket doesn't hold a place in the feed. Delete it to start over`);
    return { feedId, token: token as number, isPastOld, revision: entry.revision };
  }

  /**
   * @param revision the one to replace; undefined for the first
   * @returns false where another replica has written meanwhile
   */
  async put(cursor: Cursor, revision: number | undefined): Promise<boolean> {
    const { feedId, token, isPastOld } = cursor;
    const value = Buffer.from(JSON.stringify({ feed: this.name, feedId, token, isPastOld }));
    const written = await (revision === undefined
      ? this.bucket.create(this.key, value)
      : this.bucket.update(this.key, value, revision));
    return written !== undefined;
  }
}
