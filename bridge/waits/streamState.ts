import { TaskError } from '../../shared/errors.ts';
import { STREAM_NOT_FOUND, type JetStream, type StreamInfo } from '../jetStream/api.ts';

/** The stream that is judged; undefined when there is none of this name. @throws TaskError when JetStream doesn't say */
export async function streamInfo(
  jetStream: Pick<JetStream, 'stream'>,
  stream: string,
): Promise<StreamInfo | undefined> {
  const answer = await jetStream.stream(stream);
  if (answer.kind === 'ok') return answer.value;
  if (answer.kind === 'error' && answer.errorCode === STREAM_NOT_FOUND) return undefined;
  throw new TaskError('Timeout', `The stream "${stream}" does not answer (${answer.kind})`);
}

/** How waits end when their stream is gone. */
export function gone(stream: string): TaskError {
  return new TaskError('NoStream', `The stream "${stream}" was deleted while this task waited`);
}

/** How waits end when their stream was replaced. */
export function createdAgain(stream: string): TaskError {
  return new TaskError(
    'NoStream',
    `The stream "${stream}" was deleted and created again while this task waited`,
    'Run the job again.',
  );
}
