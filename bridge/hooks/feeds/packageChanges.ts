import { createHash } from 'node:crypto';
import { isObject } from '../../../shared/text/json.ts';
import { textAt } from '../bodyPath.ts';
import { PACKAGE } from '../families.ts';
import type { EventParts } from '../hookEvent.ts';

/** The bridge's name of the event. */
export const PACKAGE_CHANGED = 'package.changed';

/** Some of a feed's changes, in the order they were made. All of it is foreign. */
export interface ChangesPage {
  readonly changes: readonly unknown[];
  /** The next request asks for what comes strictly after it. */
  readonly next: number;
}

/**
 * Reads an answer of `packagechanges`.
 *
 * @param after the token that was asked with
 * @returns what is wrong with it, as a clause, where it can't be used
 */
export function readPage(body: unknown, after: number): ChangesPage | string {
  const changes = isObject(body) ? body['packageChanges'] : undefined;
  if (!isObject(body) || !Array.isArray(changes)) return "the answer isn't a list of package changes";
  // A token that advances without a change could skip some.
  if (changes.length === 0) return { changes, next: after };
  const told = body['nextPackageContinuationToken'];
  const next = told ?? changes.reduce<number>((last, change) => Math.max(last, tokenOf(change) ?? -1), -1);
  if (!isToken(next)) return 'the answer has no continuation token that is a whole number';
  if (next <= after) return `the answer has changes, but its continuation token doesn't go on from ${after}`;
  return { changes, next };
}

/**
 * The source of a change's event: its id is the same whenever the change is read.
 *
 * @param feed tells the feed from all others
 * @returns undefined for anything that isn't a change
 */
export function packageEvent(change: unknown, feed: readonly string[]): EventParts | undefined {
  const version = isObject(change) ? change['packageVersionChange'] : undefined;
  const token = tokenOf(change);
  if (!isObject(version) || token === undefined) return undefined;
  const type = textAt(version, [['changeType']]) ?? '';
  const ids = [textAt(change, [['package', 'id']]), textAt(version, [['packageVersion', 'id']])];
  const what = ids.includes(undefined) ? JSON.stringify(change) : ids;
  const digest = createHash('sha256').update(JSON.stringify([feed, token, type, what]));
  const date = /^delete$/i.test(type) ? 'deletedDate' : 'publishDate';
  return {
    id: `${PACKAGE_CHANGED}.${token}.${digest.digest('hex').slice(0, 32)}`,
    eventType: PACKAGE_CHANGED,
    name: PACKAGE_CHANGED,
    family: PACKAGE,
    resource: change,
    createdDate: textAt(version, [['packageVersion', date]]),
  };
}

/** The token from which on a change no longer appears. */
function tokenOf(change: unknown): number | undefined {
  const version = isObject(change) ? change['packageVersionChange'] : undefined;
  const token = isObject(version) ? version['continuationToken'] : undefined;
  return isToken(token) ? token : undefined;
}

/** Beyond 2^53, JavaScript would make another number of it. */
function isToken(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
