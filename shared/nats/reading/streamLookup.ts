import type { ReceivedMessage, StreamLookup } from '../../bus.ts';
import { TaskError } from '../../errors.ts';
import { API_ERROR, apiErrorText, jetStreamOffError } from '../jetStreamApi.ts';
import type { Links } from '../link/links.ts';
import { headersIn } from '../link/rawMessage.ts';
import { deniedToService } from '../permissions.ts';

const REQUEST_TIMEOUT_MS = 5_000;

/** Reads single messages of streams, each by one request and without a consumer. */
export class MessageLookup implements StreamLookup {
  constructor(private readonly links: Links) {}

  next(stream: string, sequence: number, pattern: string): Promise<ReceivedMessage | undefined> {
    return this.message(stream, sequence, pattern);
  }

  async message(stream: string, sequence: number, pattern?: string): Promise<ReceivedMessage | undefined> {
    const link = await this.links.linkWithin(REQUEST_TIMEOUT_MS);
    const answer = await this.links.api(link).message(stream, sequence, pattern);
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
}
