import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Audit } from '../../audit/audit.ts';
import type { FeedStatus, Parts } from '../../functions.ts';
import { Lease } from '../../jetStream/lease.ts';
import { BRIDGE_PROJECTS, namesOf } from '../../names.ts';
import type { FeedSettings } from '../../settings.ts';
import type { JudgeOptions } from '../judgeHook.ts';
import { Cursors, feedKey, feedName } from './cursor.ts';
import { FeedReader } from './feedReader.ts';

/** The feeds of a configuration, each read by one replica at a time. */
export interface Feeds {
  status(): FeedStatus[];
  /** Ends after the change being stored, and releases the leases, unless the signal aborts first. */
  stop(drained: AbortSignal): Promise<void>;
}

/** Reads feeds until it is stopped. */
export function startFeeds(feeds: readonly FeedSettings[], parts: Parts, audit: Audit, judging: JudgeOptions): Feeds {
  const stopping = new AbortController();
  const readers = feeds.map((feed) => {
    const reader = readerOf(feed, parts, audit, judging);
    const running = reader.run(stopping.signal);
    return { feed, reader, running };
  });
  return {
    status: () =>
      readers.map(({ feed, reader: { state, lastReadAt } }) => ({
        feed: feedName(feed),
        state: state.text,
        isGood: state.isGood,
        lastReadAt,
      })),
    stop: async (drained) => {
      stopping.abort();
      const late = new Promise<void>((resolve) => {
        if (drained.aborted) resolve();
        else drained.addEventListener('abort', () => resolve(), { once: true });
      });
      await Promise.race([Promise.all(readers.map(({ running }) => running)), late]);
    },
  };
}

function readerOf(feed: FeedSettings, parts: Parts, audit: Audit, judging: JudgeOptions): FeedReader {
  const { settings, nats, azureDevOps, metrics, log } = parts;
  const { timing } = settings;
  const bucket = nats.keyValue(namesOf(settings.instance).of(BRIDGE_PROJECTS));
  const [name, key] = [feedName(feed), feedKey(judging.organization, feed)];
  const reader: FeedReader = new FeedReader({
    ...judging,
    ...{ feed, azureDevOps, timing, log, pause },
    deadLetters: audit.deadLetters,
    cursors: new Cursors(bucket, `feed.${key}`, name),
    lease: new Lease({
      bucket,
      key: `feed-lease.${key}`,
      // Distinct even from readers of an earlier configuration in this process.
      holder: `${audit.replica}-${randomBytes(2).toString('hex')}`,
      renewMs: timing.leaseRenewal,
      staleMs: timing.leaseStale,
      now: () => parts.now(),
      pause,
      onTrouble: (error) => reader.leaseTrouble(error),
    }),
    metrics: {
      changed: (outcome, count) => metrics.feedChanges.inc({ feed: name, outcome }, count),
      read: (seconds) => metrics.feedLastRead.set({ feed: name }, seconds),
      trouble: (isThere) => metrics.feedTrouble.set({ feed: name }, isThere ? 1 : 0),
    },
  });
  return reader;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
