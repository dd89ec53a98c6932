import type { Chunks, OutgoingMessage, PublishResult, ReceivedReply } from '../../bus.ts';
import { TaskError } from '../../errors.ts';
import {
  API_ERROR,
  apiErrorText,
  jetStreamOffError,
  noStreamError,
  type ApiError,
  type JetStreamApi,
} from '../jetStreamApi.ts';
import type { Link } from '../link/link.ts';
import { checkSize, encodeHeaders, MessageFrames } from './messageFrames.ts';
import { unlessAborted } from '../pause.ts';
import { corePublishGrants, deniedError, requestGrants, streamPublishGrants } from '../permissions.ts';
import { lowerCasedHeaders } from '../reading/receivedMessage.ts';
import { StreamBatch, type Silence } from './streamBatch.ts';

/** How long "nobody answers on this subject" may be a stream that is electing its leader. */
const LEADER_ELECTION_MS = 10_000;
const FLUSH_TIMEOUT_MS = 5_000;
/** Core NATS: messages between two flushes. */
const FLUSH_EVERY = 1_000;

/** What publishing needs of the bus. */
export interface PublishHost {
  liveLink(signal: AbortSignal): Promise<Link>;
  readonly isLinkUp: boolean;
  readonly inboxPrefix: string;
  readonly apiPrefix: string;
  api(link: Link): JetStreamApi;
}

/** Publishes to the stream that captures the subject; see `Bus.publishToStream`. */
export async function publishToStream(
  host: PublishHost,
  messages: Chunks,
  expectedStream: string | undefined,
  onProgress: (confirmed: number) => void,
  signal: AbortSignal,
): Promise<PublishResult> {
  const batch = new StreamBatch(
    {
      liveLink: (until) => host.liveLink(until),
      inboxPrefix: host.inboxPrefix,
      checkStream: (link, subject, silence) => checkStream(host.api(link), link, subject, silence),
      refused: (error, subject) => refusedByStream(error, subject, expectedStream),
      denied: ({ operation, subject }, published) =>
        deniedError(operation, subject, streamPublishGrants(published, host.apiPrefix, host.inboxPrefix)),
    },
    expectedStream,
    signal,
    onProgress,
  );
  const result = await batch.run(messages);
  return { ...result, error: interrupted(host, result.error) };
}

/** Publishes to core NATS; see `Bus.publishCore`. */
export async function publishCore(
  host: PublishHost,
  messages: Chunks,
  onProgress: (confirmed: number) => void,
  signal: AbortSignal,
): Promise<PublishResult> {
  let sent = 0;
  let confirmed = 0;
  let error: unknown;
  const confirm = async (part: readonly OutgoingMessage[]) => {
    sent += part.length;
    await publishAndFlush(host, part, signal);
    confirmed += part.length;
    onProgress(confirmed);
  };
  try {
    for await (const chunk of messages) {
      for (let start = 0; start < chunk.length; start += FLUSH_EVERY)
        await confirm(chunk.slice(start, start + FLUSH_EVERY));
    }
  } catch (thrown) {
    error = interrupted(host, thrown);
  }
  const unconfirmed = sent > confirmed ? [[confirmed + 1, sent] as const] : [];
  return {
    sent,
    confirmed,
    duplicates: 0,
    last: undefined,
    unconfirmed,
    outOfOrder: [],
    error,
  };
}

/** Repeats all of them when the link breaks in between: which of them arrived is not known. */
async function publishAndFlush(
  host: PublishHost,
  messages: readonly OutgoingMessage[],
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const link = await host.liveLink(signal);
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
export async function sendRequest(
  host: PublishHost,
  message: OutgoingMessage,
  signal: AbortSignal,
): Promise<ReceivedReply> {
  const { subject, payload } = message;
  const headers = encodeHeaders(message.headers);
  const link = await host.liveLink(signal);
  checkSize(headers.length + payload.length, link);
  const unknown = 'Whether it was acted upon is not known.';
  // The step's own deadline ends the request; the library's comes a day later at the earliest.
  const reply = await unlessAborted(link.request(subject, payload, 2 ** 31 - 1, headers), signal).catch(
    (reason: unknown) => {
      if (!(reason instanceof TaskError) || reason.code !== 'Timeout') throw reason;
      throw new TaskError(
        'Timeout',
        `No reply to the request on "${subject}" came within the timeout`,
        `${unknown} Raise the timeout if the responder needs longer.`,
      );
    },
  );
  switch (reply.kind) {
    case 'reply':
      return { headers: lowerCasedHeaders(reply.message), payload: reply.message.data };
    case 'denied':
      throw deniedError(reply.violation.operation, reply.violation.subject, requestGrants(subject, host.inboxPrefix));
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

/** Why a stream does not answer. Throws when it will not do so later: there is none, as far as this user may know. */
async function checkStream(
  api: JetStreamApi,
  link: Link,
  subject: string,
  { since, streamWasThere }: Silence,
): Promise<string> {
  const isLong = Date.now() - since > LEADER_ELECTION_MS;
  const [names, flushed] = await Promise.all([api.streamNames(subject), link.flush(FLUSH_TIMEOUT_MS)]);
  // A server that answers nothing at all may never do so again; another one may.
  if (flushed === undefined) await link.close('the server did not answer');
  switch (names.kind) {
    case 'ok': {
      const [stream] = names.response.streams ?? [];
      if (stream !== undefined) return `the stream "${stream}" did not answer, as one does that has no leader`;
      if (!streamWasThere || isLong) throw noStreamError(subject);
      break;
    }
    case 'apiError':
      if (names.error.err_code === API_ERROR.notEnabledForAccount) throw jetStreamOffError(link);
      break;
    case 'noResponders':
      if (link.connection.info?.jetstream !== true) throw jetStreamOffError(link);
      if (isLong) throw noStreamError(subject);
      break;
    case 'denied':
      if (!isLong) break;
      throw new TaskError(
        'NoStream',
        `Nobody has answered on the subject "${subject}" for ${String(LEADER_ELECTION_MS / 1_000)} s: no stream captures it, or its stream has no leader`,
        `Create a stream for it. A user who may publish to "${api.prefix}.STREAM.NAMES" is told which of the two it is.`,
      );
    case 'timeout':
    case 'lost':
  }
  return 'JetStream did not answer, as it does without a leader';
}

/** A deadline that passed while there was no link is told as that. */
function interrupted(host: PublishHost, error: unknown): unknown {
  if (!(error instanceof TaskError) || error.code !== 'Timeout' || host.isLinkUp) return error;
  return new TaskError('ConnectionLost', 'The link to the server broke and did not come back within the timeout', '');
}

function refusedByStream(error: ApiError, subject: string, expectedStream: string | undefined): TaskError {
  switch (error.err_code) {
    case API_ERROR.wrongStream:
      return new TaskError(
        'Conflict',
        `The subject "${subject}" is not captured by the stream "${expectedStream ?? ''}" but by another one`,
        'Correct the input "stream", or leave it empty.',
      );
    case API_ERROR.wrongLastSequence:
    case API_ERROR.wrongLastMessageId:
      return new TaskError(
        'Conflict',
        `The stream did not take the event: ${apiErrorText(error)}`,
        'Another event was stored in between.',
      );
    case API_ERROR.messageTooLarge:
    case API_ERROR.headersTooLarge:
      return new TaskError(
        'TooLarge',
        `The stream did not take the event: ${apiErrorText(error)}`,
        'Make the event smaller, or raise max_msg_size of the stream.',
      );
    case API_ERROR.notEnabledForAccount:
      return new TaskError(
        'NoStream',
        'JetStream is not enabled for the account of this user',
        'Enable it, or set delivery to core.',
      );
    default:
      return new TaskError(
        'StreamRefused',
        `The stream did not take the event: ${apiErrorText(error)}`,
        'Check the limits of the stream (max_msgs, max_bytes, max_msgs_per_subject with discard new) and of its account.',
      );
  }
}
