import type { Chunks, OutgoingMessage, PublishResult, ReceivedReply } from '../../bus.ts';
import { TaskError } from '../../errors.ts';
import type { Links } from '../link/links.ts';
import { checkSize, encodeHeaders, MessageFrames } from './messageFrames.ts';
import { unlessAborted } from '../../clock.ts';
import { corePublishGrants, deniedError, requestGrants } from '../permissions.ts';
import { lowerCasedHeaders } from '../link/rawMessage.ts';
import { StreamBatch } from './streamBatch.ts';

const FLUSH_TIMEOUT_MS = 5_000;
/** Core NATS: messages between two flushes. */
const FLUSH_EVERY = 1_000;

/** Publishes to the stream that captures the subject; see `Bus.publishToStream`. */
export async function publishToStream(
  links: Links,
  messages: Chunks,
  expectedStream: string | undefined,
  onProgress: (confirmed: number) => void,
  signal: AbortSignal,
): Promise<PublishResult> {
  const result = await new StreamBatch(links, expectedStream, signal, onProgress).run(messages);
  return { ...result, error: interrupted(links, result.error) };
}

/** Publishes to core NATS; see `Bus.publishCore`. */
export async function publishCore(
  links: Links,
  messages: Chunks,
  onProgress: (confirmed: number) => void,
  signal: AbortSignal,
): Promise<PublishResult> {
  let sent = 0;
  let confirmed = 0;
  let error: unknown;
  const confirm = async (part: readonly OutgoingMessage[]) => {
    sent += part.length;
    await publishAndFlush(links, part, signal);
    confirmed += part.length;
    onProgress(confirmed);
  };
  try {
    for await (const chunk of messages) {
      for (let start = 0; start < chunk.length; start += FLUSH_EVERY)
        await confirm(chunk.slice(start, start + FLUSH_EVERY));
    }
  } catch (thrown) {
    error = interrupted(links, thrown);
  }
  const unconfirmed = sent > confirmed ? [[confirmed + 1, sent] as const] : [];
  return { sent, confirmed, duplicates: 0, last: undefined, unconfirmed, outOfOrder: [], error };
}

/** Repeats all of them when the link breaks in between: which of them arrived is not known. */
async function publishAndFlush(links: Links, messages: readonly OutgoingMessage[], signal: AbortSignal): Promise<void> {
  for (;;) {
    const link = await links.liveLink(signal);
    const frames = new MessageFrames(link);
    for (const { subject, payload, headers } of messages) frames.send(subject, undefined, headers, payload);
    frames.flush();
    const violations = await unlessAborted(link.flush(FLUSH_TIMEOUT_MS), signal);
    const denied = violations?.find(({ operation }) => operation === 'publish');
    if (denied !== undefined) throw deniedError('publish', denied.subject, corePublishGrants(denied.subject));
    if (violations !== undefined) return;
    await link.close('the server did not answer');
  }
}

/** Publishes a request and waits for one reply; see `Bus.request`. */
export async function sendRequest(links: Links, message: OutgoingMessage, signal: AbortSignal): Promise<ReceivedReply> {
  const { subject, payload } = message;
  const headers = encodeHeaders(message.headers);
  const link = await links.liveLink(signal);
  checkSize(headers.length + payload.length, link);
  const unknown = 'Whether it was acted upon is not known.';
  // The step's own deadline ends the request; the library's comes a day later at the earliest.
  const replied = link.request(subject, payload, 2 ** 31 - 1, headers);
  const reply = await unlessAborted(replied, signal).catch((reason: unknown) => {
    if (!(reason instanceof TaskError) || reason.code !== 'Timeout') throw reason;
    throw new TaskError(
      'Timeout',
      `No reply to the request on "${subject}" came within the timeout`,
      `${unknown} Raise the timeout if the responder needs longer.`,
    );
  });
  switch (reply.kind) {
    case 'reply':
      return { headers: lowerCasedHeaders(reply.message), payload: reply.message.data };
    case 'denied':
      throw deniedError(reply.violation.operation, reply.violation.subject, requestGrants(subject, links.inboxPrefix));
    case 'noResponders':
      throw new TaskError(
        'NoResponders',
        `Nobody answers requests on "${subject}"`,
        'Start the responder, or correct the subject.',
      );
    case 'lost':
    case 'timeout':
      throw new TaskError(
        'ConnectionLost',
        `The link to the server broke before a reply to the request on "${subject}" came`,
        unknown,
      );
  }
}

/** A deadline that passed while there was no link is reported as that. */
function interrupted(links: Links, error: unknown): unknown {
  if (!(error instanceof TaskError) || error.code !== 'Timeout' || links.isLinkUp) return error;
  return new TaskError('ConnectionLost', 'The link to the server broke and did not come back within the timeout');
}
