import { TaskError } from '../errors.ts';
import { covers, overlap } from '../subject.ts';
import { probablyMeant } from '../text/nearest.ts';
import { isObject } from '../text/json.ts';
import { quoted } from '../text/safeText.ts';
import type { JetStreamApi, ListedStream } from './jetStreamApi.ts';
import { lettersWrong, nearSubjects } from './nearSubjects.ts';
import { mayBeStoredAs } from './subjectTransforms.ts';

/** The step has already failed: don't hold it up for long. */
const LOOK_MS = 1_000;
/** Streams named as nearly right. */
const MOST_NAMED = 3;
/** A stream with more subjects isn't asked for them: the list is megabytes long. */
const MOST_SUBJECTS = 20_000;

/** Says that no stream captures a subject, with the streams that nearly do, as far as this user may see them. */
export async function noStreamError(api: JetStreamApi, subject: string, use: 'wait' | 'publish'): Promise<TaskError> {
  const { near, copies } = await streamsFor(api, subject).catch(() => ({ near: [], copies: [] }));
  const remedies = [
    ...near,
    ...(use === 'wait' ? copies : []),
    near.length > 0
      ? 'Correct the subject, or the subjects of the stream; or set delivery to core for events that nobody needs to find later.'
      : `Create one in the account of this user${commandFor(subject)}, or set delivery to core for events that nobody needs to find later.`,
  ];
  return new TaskError('NoStream', `No stream captures the subject "${subject}"`, remedies.join(' '));
}

/** Says that no stream has this name. @param names the streams there are, one of which is probably meant */
export function noSuchStreamError(stream: string, names: readonly string[] = []): TaskError {
  const meant = probablyMeant(stream, names);
  return new TaskError(
    'NoStream',
    `There is no stream "${stream}" in the account of this user`,
    `${meant === undefined ? '' : `Did you mean "${meant}"? `}Correct the input "stream", or leave it empty to find the stream from the subject.`,
  );
}

/** The names of the streams, as far as this user may know them. */
export async function knownNames(api: JetStreamApi): Promise<readonly string[]> {
  const answer = await api.streamNames(undefined, LOOK_MS).catch(() => undefined);
  return answer?.kind === 'ok' ? (answer.response.streams ?? []) : [];
}

/**
 * The subjects of events in a stream that are nearly inside the patterns, as far as the server tells in time; none where some
 * are inside them.
 *
 * @param subjectCount how many subjects the stream has, or had a while ago
 * @param mostSubjects a stream with more isn't asked for them
 */
export async function nearSubjectsIn(
  api: JetStreamApi,
  stream: string,
  subjectCount: unknown,
  patterns: readonly string[],
  mostSubjects = MOST_SUBJECTS,
): Promise<readonly string[]> {
  if (typeof subjectCount !== 'number' || subjectCount > mostSubjects) return [];
  const answer = await api.streamSubjects(stream, '>', LOOK_MS).catch(() => undefined);
  if (answer?.kind !== 'ok') return [];
  const subjects = Object.keys(answer.response.state.subjects ?? {});
  if (subjects.length > mostSubjects) return [];
  if (subjects.some((subject) => patterns.some((pattern) => covers(pattern, subject)))) return [];
  return nearSubjects(patterns, subjects, MOST_NAMED);
}

/** Sentences about the streams that nearly capture a subject, and about those that may hold its events all the same. */
async function streamsFor(api: JetStreamApi, subject: string): Promise<Record<'near' | 'copies', readonly string[]>> {
  const answer = await api.streamList(LOOK_MS);
  if (answer.kind === 'denied') return { near: await relatives(api, subject), copies: [] };
  const streams = answer.kind === 'ok' ? (answer.response.streams ?? []) : [];
  return {
    near: streams.flatMap((stream) => nearMiss(stream, subject)).slice(0, MOST_NAMED),
    copies: streams.flatMap((stream) => copyOf(stream, subject, streams)).slice(0, MOST_NAMED),
  };
}

/** A user who may only list names learns which streams capture subjects with the same first part. */
async function relatives(api: JetStreamApi, subject: string): Promise<string[]> {
  const [first = ''] = subject.split('.');
  if (isWildcard(first)) return [];
  const answer = await api.streamNames(`${first}.>`, LOOK_MS);
  const names = answer.kind === 'ok' ? (answer.response.streams ?? []) : [];
  return names.slice(0, MOST_NAMED).map((name) => `The stream "${name}" captures other subjects of "${first}.>".`);
}

function nearMiss({ config: { name, subjects = [] } }: ListedStream, subject: string): string[] {
  for (const own of subjects) {
    const captures = `The stream "${name}" captures ${quoted(own)}, which`;
    if (overlap(own.toLowerCase(), subject.toLowerCase()))
      return [`${captures} differs from the subject in upper and lower case.`];
    const letters = lettersWrong(own, subject) ?? 0;
    if (letters > 0)
      return [`${captures} differs from the subject in ${letters === 1 ? 'one letter' : `${letters} letters`}.`];
    if (isOfOtherLength(own, subject)) {
      const parts = subject.split('.').length;
      const ownParts = own.split('.').length;
      return [
        `${captures} covers ${ownParts} ${own.endsWith('>') ? 'or more parts' : ownParts === 1 ? 'part' : 'parts'}, and the subject has ${parts}.`,
      ];
    }
  }
  return [];
}

/** Whether a subject begins like a pattern, and has too few or too many parts for it. */
function isOfOtherLength(pattern: string, subject: string): boolean {
  const own = pattern.split('.');
  const parts = subject.split('.');
  // An open-ended pattern has at least this many parts.
  const isTooShort = parts.length < own.length && !subject.endsWith('>');
  const isTooLong = parts.length > own.length && !pattern.endsWith('>');
  if ((!isTooShort && !isTooLong) || isWildcard(own[0]) || own[0] !== parts[0]) return false;
  const length = Math.min(own.length, parts.length);
  return overlap(own.slice(0, length).join('.'), parts.slice(0, length).join('.'));
}

function copyOf({ config }: ListedStream, subject: string, all: readonly ListedStream[]): string[] {
  const { name } = config;
  // Key-value buckets and object stores hold no events.
  if (/^(?:KV|OBJ)_/.test(name)) return [];
  const named = `name it in the input "stream" (stream: ${name})`;
  if (mayBeStoredAs(config, subject))
    return [`The stream "${name}" stores events of other subjects under this one (subject transform): ${named}.`];
  // Streams of this account have been asked for the subject.
  const isElsewhere = (origin: unknown) =>
    isObject(origin) && !all.some((other) => origin.external === undefined && other.config.name === origin.name);
  const sources: readonly unknown[] = Array.isArray(config.sources) ? config.sources : [];
  if (![config.mirror, ...sources].some(isElsewhere)) return [];
  const copies = config.mirror === undefined ? 'draws on streams' : 'mirrors a stream';
  return [`The stream "${name}" ${copies} from elsewhere and may hold such events: to read it, ${named}.`];
}

/** How to create a stream for the subject, in parentheses; nothing where its first part is not plain. */
function commandFor(subject: string): string {
  const [first = '', ...others] = subject.split('.');
  if (!/^[\w-]+$/.test(first)) return '';
  const captured = others.length === 0 ? first : `${first}.>`;
  return ` (nats stream add ${first.toUpperCase()} --subjects '${captured}' --defaults)`;
}

function isWildcard(token: string | undefined): boolean {
  return token === '*' || token === '>';
}
