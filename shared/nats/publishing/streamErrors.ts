import { TaskError } from '../../errors.ts';
import { API_ERROR, apiErrorText, jetStreamOffError, type ApiError } from '../jetStreamApi.ts';
import type { Link } from '../link/link.ts';
import type { Links } from '../link/links.ts';
import { noStreamError } from '../streamHints.ts';

/** How long "nobody answers on this subject" may mean a stream electing its leader. */
const LEADER_ELECTION_MS = 10_000;
const FLUSH_TIMEOUT_MS = 5_000;
/** A stream without a leader answers no questions about itself: try again soon. */
const INFO_TIMEOUT_MS = 1_000;

/**
 * Why a stream does not answer, as a clause. Throws when it will not do so later: there is none, as far as this user may
 * know.
 *
 * @param since when acknowledgements stopped coming, in milliseconds since the epoch
 * @param streamWasThere whether one had come before
 * @param isSilent whether something receives the messages and stays silent; otherwise nothing does
 */
export async function checkStream(
  links: Links,
  link: Link,
  subject: string,
  since: number,
  streamWasThere: boolean,
  isSilent: boolean,
): Promise<string> {
  const api = links.api(link);
  const isLong = Date.now() - since > LEADER_ELECTION_MS;
  const [names, flushed] = await Promise.all([api.streamNames(subject), link.flush(FLUSH_TIMEOUT_MS)]);
  // A server that answers nothing at all may never do so again; another one may.
  if (flushed === undefined) await link.close('the server did not answer');
  switch (names.kind) {
    case 'ok': {
      const [stream] = names.response.streams ?? [];
      if (stream !== undefined) {
        const silence = `the stream "${stream}" did not answer, as one does that has no leader`;
        if (!isSilent) return silence;
        // A user who may not ask gets both reasons.
        const info = await api.streamInfo(stream, INFO_TIMEOUT_MS);
        if (info.kind !== 'ok') return `${silence} or that acknowledges nothing (no_ack)`;
        if (info.response.config.no_ack === true) throw noAckError(stream);
        return silence;
      }
      if (!streamWasThere || isLong) throw await noStreamError(api, subject, 'publish');
      break;
    }
    case 'apiError':
      if (names.error.err_code === API_ERROR.notEnabledForAccount) throw jetStreamOffError(link);
      break;
    case 'noResponders':
      if (link.connection.info?.jetstream !== true) throw jetStreamOffError(link);
      if (isLong) throw await noStreamError(api, subject, 'publish');
      break;
    case 'denied':
      if (!isLong) break;
      throw new TaskError(
        'NoStream',
        `Nobody has answered on the subject "${subject}" for ${LEADER_ELECTION_MS / 1_000} s: no stream captures it, or its stream has no leader${isSilent ? ' or acknowledges nothing (no_ack)' : ''}`,
        `Create a stream for it. If this user may publish to "${api.prefix}.STREAM.NAMES", the error says which it is.`,
      );
    case 'timeout':
    case 'lost':
  }
  return 'JetStream did not answer, as it does without a leader';
}

/** Whether the event is stored stays unknown, as after any other timeout; this one is not worth waiting for. */
function noAckError(stream: string): TaskError {
  return new TaskError(
    'Timeout',
    `No acknowledgement came, since the stream "${stream}" gives none (no_ack): nothing confirms that it stored what was sent`,
    'It most likely did: look before you send again. Turn no_ack off (a stream of ">" needs narrower subjects first), or set delivery to core.',
  );
}

/** Whether the stream may take the message in a moment. It may even have it already, and then treats it as a duplicate. */
export function isPassing({ code, err_code, description }: ApiError): boolean {
  switch (err_code) {
    case API_ERROR.duplicateInProcess:
    case API_ERROR.tooManyRequests:
    case API_ERROR.notLeader:
      return true;
    case API_ERROR.storeFailed:
      // Else the stream is full.
      return description === 'store is closed';
    case API_ERROR.insufficientResources:
    case API_ERROR.notEnabledForAccount:
      return false;
    default:
      return code === 503;
  }
}

/** The error for a message that the stream won't accept. */
export function refusedByStream(error: ApiError, subject: string, expectedStream: string | undefined): TaskError {
  const refusal = `The stream did not take the event: ${apiErrorText(error)}`;
  switch (error.err_code) {
    case API_ERROR.wrongStream:
      return new TaskError(
        'Conflict',
        `The subject "${subject}" is not captured by the stream "${expectedStream ?? ''}" but by another one`,
        'Correct the input "stream", or leave it empty.',
      );
    case API_ERROR.wrongLastSequence:
    case API_ERROR.wrongLastMessageId:
      return new TaskError('Conflict', refusal, 'Another event was stored in between.');
    case API_ERROR.messageTooLarge:
    case API_ERROR.headersTooLarge:
      return new TaskError('TooLarge', refusal, 'Make the event smaller, or raise max_msg_size of the stream.');
    case API_ERROR.notEnabledForAccount:
      return new TaskError(
        'NoStream',
        'JetStream is not enabled for the account of this user',
        'Enable it, or set delivery to core.',
      );
    default:
      return new TaskError(
        'StreamRefused',
        refusal,
        'Check the limits of the stream (max_msgs, max_bytes, max_msgs_per_subject with discard new) and of its account.',
      );
  }
}
