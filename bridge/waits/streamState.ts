import { TaskError } from '../../shared/errors.ts';
import { STREAM_NOT_FOUND, type JetStream, type StreamInfo } from '../jetStream/api.ts';

/** The stream that is judged; undefined where there is none of this name. @throws TaskError where JetStream doesn't say */
export async function streamInfo(
  jetStream: Pick<JetStream, 'stream'>,
  stream: string,
): Promise<StreamInfo | undefined> {
  const answer = await jetStream.stream(stream);
  if (answer.kind === 'ok') return answer.value;
  if (answer.kind === 'error' && answer.errorCode === STREAM_NOT_FOUND) return undefined;
  throw new TaskError('Timeout', `The stream "${stream}" does not answer (${answer.kind})`);
}

/** How waits end whose stream is no more. */
export function gone(stream: string): TaskError {
  return new TaskError('NoStream', `The stream "${stream}" was deleted while this task waited`);
}

/** How waits end whose stream is another one now. */
export function createdAgain(stream: string): TaskError {
  return new TaskError(
    'NoStream',
    `The stream "${stream}" was deleted and created again while this task waited`,
    'Run the job again.',
  );
}
