import type { Holdings, ReceivedMessage, StoredEvent, StreamLookup } from '../../bus.ts';
import { reasonOf, TaskError } from '../../errors.ts';
import { covers } from '../../subject.ts';
import { API_ERROR, apiErrorText, jetStreamOffError, type JetStreamApi } from '../jetStreamApi.ts';
import type { Links } from '../link/links.ts';
import { headersIn } from '../link/rawMessage.ts';
import { deniedToService } from '../permissions.ts';
import { nearSubjectsIn } from '../streamHints.ts';
import { storedElsewhere } from '../subjectTransforms.ts';

const REQUEST_TIMEOUT_MS = 5_000;
/** Each request about what a stream holds: nobody needs it for more than a hint. */
const HOLDINGS_MS = 1_000;
/** Each takes a request of its own. */
const MOST_PATTERNS = 8;
/** Subjects that are compared, in some ten milliseconds: the process has others to serve meanwhile. */
const MOST_SUBJECTS = 2_000;

/** Reads single messages of streams, each by one request and without a consumer. */
export class MessageLookup implements StreamLookup {
  constructor(private readonly links: Links) {}

  next(stream: string, sequence: number, pattern: string): Promise<ReceivedMessage | undefined> {
    return this.message(stream, sequence, pattern);
  }

  async message(stream: string, sequence: number, pattern?: string): Promise<ReceivedMessage | undefined> {
    const link = await this.links.linkWithin(REQUEST_TIMEOUT_MS);
    const query = { seq: sequence, ...(pattern === undefined ? {} : { next_by_subj: pattern }) };
    const answer = await this.links.api(link).message(stream, query);
    switch (answer.kind) {
      case 'ok': {
        const { subject, seq, time, hdrs = '', data = '' } = answer.response.message;
        return {
          subject,
          headers: headersIn(Buffer.from(hdrs, 'base64')),
          payload: Buffer.from(data, 'base64'),
          place: { stream, sequence: seq },
          storedAt: Date.parse(time),
          receivedAt: Date.now(),
        };
      }
      case 'apiError':
        switch (answer.error.err_code) {
          case API_ERROR.messageNotFound:
            return undefined;
          case API_ERROR.streamNotFound:
            throw new TaskError('NoStream', `There is no stream "${stream}"`, 'Create it in the account of this user.');
          case API_ERROR.notEnabledForAccount:
            throw jetStreamOffError(link);
          default:
            throw new TaskError('StreamRefused', `The stream "${stream}" refused: ${apiErrorText(answer.error)}`);
        }
      case 'denied':
        throw deniedToService(answer.violation.operation, answer.violation.subject);
      case 'noResponders':
        throw jetStreamOffError(link);
      case 'timeout':
      case 'lost':
        throw new TaskError('Timeout', `The stream "${stream}" did not answer`);
    }
  }

  async holdings(stream: string, subjects: readonly string[]): Promise<Holdings | undefined> {
    const link = this.links.last;
    if (link === undefined || link.isClosed) return undefined;
    const api = this.links.api(link);
    try {
      const [info, last] = await Promise.all([api.streamInfo(stream, HOLDINGS_MS), lastOn(api, stream, subjects)]);
      if (info.kind !== 'ok') return undefined;
      const { state, config } = info.response;
      return {
        near: last === undefined ? await nearSubjectsIn(api, stream, state.num_subjects, subjects, MOST_SUBJECTS) : [],
        last,
        stored: state.last_seq,
        removed: state.last_seq - state.messages,
        elsewhere: storedElsewhere(stream, config, subjects),
      };
    } catch (error) {
      this.links.log.debug(`What the stream ${stream} holds could not be looked up: ${reasonOf(error)}`);
      return undefined;
    }
  }
}

/** The last message of a stream on any of the patterns, without a consumer. */
async function lastOn(api: JetStreamApi, stream: string, patterns: readonly string[]): Promise<Holdings['last']> {
  if (patterns.length > MOST_PATTERNS) return 'unknown';
  const answers = await Promise.all(
    patterns.map((pattern) => api.message(stream, { last_by_subj: pattern }, HOLDINGS_MS)),
  );
  let last: StoredEvent | undefined;
  for (const answer of answers) {
    if (answer.kind === 'apiError' && answer.error.err_code === API_ERROR.messageNotFound) continue;
    if (answer.kind !== 'ok') return 'unknown';
    const { subject, seq, time } = answer.response.message;
    if (!patterns.some((pattern) => covers(pattern, subject))) return 'unknown';
    const storedAt = Date.parse(time);
    if (last === undefined || seq > last.place.sequence)
      last = { subject, place: { stream, sequence: seq }, storedAt: Number.isNaN(storedAt) ? undefined : storedAt };
  }
  return last;
}
