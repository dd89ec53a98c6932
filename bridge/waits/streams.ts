import { overlap } from '../../shared/subject.ts';
import { quoted } from '../../shared/text/safeText.ts';
import { STREAM_NOT_FOUND, type Answer, type JetStream, type StreamInfo } from '../jetStream/api.ts';
import type { WaitRequest } from './criteria.ts';
import type { WaitStart } from './record.ts';
import { Refusal, Unavailable } from './refusal.ts';

/** Finds the stream that a wait reads, and where in it the wait begins. @throws Refusal, Unavailable */
export async function findStart(
  { stream, criteria, startFrom }: Pick<WaitRequest, 'stream' | 'criteria' | 'startFrom'>,
  jetStream: Pick<JetStream, 'stream' | 'streamNames'>,
  ownStreams: readonly string[],
): Promise<WaitStart> {
  const { subjects } = criteria;
  const name = stream ?? (await streamOf(subjects, jetStream));
  if (ownStreams.includes(name))
    throw new Refusal(
      400,
      `subject: ${shownList(subjects)} is written by the bridge itself`,
      'Wait on other subjects.',
    );
  const { config, state } = valueOf(await jetStream.stream(name), `the stream ${quoted(name)}`, () => {
    throw new Refusal(400, `stream: there is no stream ${quoted(name)}`, 'Correct it, or leave it empty.');
  });
  check(config, name, subjects);
  switch (startFrom.from) {
    case 'now':
      return { stream: name, after: state.last_seq };
    case 'all':
      return { stream: name, after: 0 };
    case 'sequence':
      return { stream: name, after: startFrom.after };
    case 'time':
      return { stream: name, after: 0, at: startFrom.at };
  }
}

async function streamOf(subjects: readonly string[], jetStream: Pick<JetStream, 'streamNames'>): Promise<string> {
  const found = new Set<string>();
  for (const subject of subjects) {
    const names = valueOf(await jetStream.streamNames(subject), 'the list of streams');
    if (names.length === 0)
      throw new Refusal(400, `subject: no stream captures ${quoted(subject)}`, 'Create one, or correct the subject.');
    for (const name of names) found.add(name);
  }
  const [first = '', ...others] = found;
  if (others.length === 0) return first;
  throw new Refusal(
    400,
    `subject: ${shownList(subjects)} is in several streams: ${[...found].join(', ')}`,
    'Name the one to read in the input stream.',
  );
}

function check(config: StreamInfo['config'], name: string, subjects: readonly string[]): void {
  if (config.retention === 'workqueue')
    throw new Refusal(
      400,
      `stream: ${quoted(name)} is a work queue: its events go to its workers`,
      'Wait on a stream that mirrors or sources it.',
    );
  const { subjects: captured = [], sources, subject_transform: transform } = config;
  if (captured.length === 0 || sources !== undefined || transform !== undefined) return;
  const outside = subjects.filter((one) => !captured.some((own) => overlap(own, one)));
  if (outside.length > 0)
    throw new Refusal(
      400,
      `subject: the stream ${quoted(name)} captures ${captured.join(', ')} and never holds ${shownList(outside)}`,
      'Correct the subject or the stream.',
    );
}

function valueOf<Value>(answer: Answer<Value>, what: string, onMissing?: () => never): Value {
  switch (answer.kind) {
    case 'ok':
      return answer.value;
    case 'error':
      if (answer.errorCode === STREAM_NOT_FOUND) onMissing?.();
      throw new Unavailable(`JetStream refuses ${what}: ${answer.description}`);
    case 'denied':
      throw new Unavailable(`the bridge's NATS user may not ${answer.verb} to ${answer.subject}`);
    case 'off':
      throw new Unavailable('JetStream is off');
    case 'silent':
      throw new Unavailable(`JetStream does not answer: ${answer.reason}`);
  }
}

function shownList(subjects: readonly string[]): string {
  return subjects.map(quoted).join(', ');
}
