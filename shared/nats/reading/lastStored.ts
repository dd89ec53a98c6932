import type { Msg } from 'nats';
import type { StoredEvent } from '../../bus.ts';
import type { ConsumerFilter } from '../jetStreamApi.ts';
import { createInbox } from '../link/libraryLimits.ts';
import type { Link } from '../link/link.ts';
import type { Links } from '../link/links.ts';
import { ownConsumer } from './ownConsumer.ts';
import { replyPrefix, streamMessage } from './receivedMessage.ts';

const MESSAGE_MS = 2_000;
const CLEANUP_MS = 1_000;
/** It's removed at once if that is allowed. */
const INACTIVE_THRESHOLD_MS = 5_000;

/**
 * The last message of a stream on the subjects of a filter, without its payload. It takes a consumer of its own, which the
 * permissions of a wait with this filter allow, and one message, however many subjects there are.
 *
 * @returns undefined when there is none; `unknown` when the server doesn't say
 */
export async function lastStored(
  links: Links,
  link: Link,
  stream: string,
  filter: ConsumerFilter,
): Promise<StoredEvent | 'unknown' | undefined> {
  const api = links.api(link);
  const own = ownConsumer(INACTIVE_THRESHOLD_MS);
  const consumer = own.name;
  const answer = await api.createConsumer(stream, {
    ...own,
    headers_only: true,
    deliver_policy: 'last',
    ...filter,
  });
  if (answer.kind !== 'ok') return 'unknown';
  try {
    if (answer.response.num_pending === 0) return undefined;
    const received = await firstMessage(links, link, `${api.prefix}.CONSUMER.MSG.NEXT.${stream}.${consumer}`);
    const prefix = received && replyPrefix(received, stream, consumer);
    const { message } = (prefix && streamMessage(received, stream, prefix)) ?? {};
    if (message?.place === undefined) return 'unknown';
    return { subject: message.subject, place: message.place, storedAt: message.storedAt };
  } finally {
    if (!link.isClosed) await api.deleteConsumer(stream, consumer, CLEANUP_MS);
  }
}

/** What a consumer delivers first; undefined where it delivers nothing in time. */
async function firstMessage(links: Links, link: Link, next: string): Promise<Msg | undefined> {
  if (link.isClosed) return undefined;
  const inbox = `${createInbox(links.inboxPrefix)}.0`;
  let timer: NodeJS.Timeout | undefined;
  const first = new Promise<Msg | undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), MESSAGE_MS);
    link.connection.subscribe(inbox, {
      max: 1,
      callback: (error, message) => resolve(error === null ? message : undefined),
    });
    link.connection.publish(next, Buffer.from(JSON.stringify({ batch: 1, no_wait: true })), { reply: inbox });
  });
  try {
    return await link.unlessClosed(first, undefined);
  } finally {
    clearTimeout(timer);
  }
}
