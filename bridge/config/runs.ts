import { reasonOf } from '../../shared/errors.ts';
import { parseTime } from '../../shared/event/cloudEvent.ts';
import { Fields } from '../../shared/inputs/fields.ts';
import { Problems } from '../../shared/inputs/problems.ts';
import { parseTrustedKeys, type TrustedKey } from '../../shared/signing/signature.ts';
import { subjectProblem, withoutCovered } from '../../shared/subject.ts';
import { quoted } from '../../shared/text/safeText.ts';
import { readCriteria, readExpression } from '../../shared/waiting/criteria.ts';
import { BRIDGE_AUDIT, BRIDGE_DEAD, type Names } from '../names.ts';
import type { ParameterSettings, RouteSettings } from '../settings.ts';
import type { Section } from './section.ts';

const HOUR_MS = 3_600_000;
/** As long as the bridge remembers what it has started. */
const MOST_AGE_MS = 7 * 24 * HOUR_MS;
/** The parameter that identifies a run. */
export const EVENT_ID_PARAMETER = 'natsEventId';
const EVENT_ID_EXPRESSION = 'event.id';
/** Ids, names of images and versions, but nothing that means something to YAML or a shell. */
const DEFAULT_PATTERN = /^[\w.:/@+=,-]{0,512}$/u;
const PARAMETER_NAME = /^[A-Za-z_][\w.-]*$/;

/** Reads `runs`. */
export function readRuns(root: Section, names: Names, contracts: readonly string[]): RouteSettings[] {
  const sections = root.sections('runs');
  const first = new Map<string, number>();
  return sections.map((section, index) => {
    const name = section.text('name') ?? '';
    const earlier = first.get(name);
    if (earlier !== undefined) {
      const line = section.surroundings.lineOf(['runs', earlier, 'name']);
      section.note(
        'name',
        `is the name of runs[${earlier}] (line ${line}), too`,
        "Rename the newer of the two: a route's consumer, pauses and history go by its name.",
      );
    } else if (name !== '') first.set(name, index);
    return readRoute(section, name, names, contracts, root.has('publisherPolicyFile'));
  });
}

/** @param hasPolicy whether `check` holds publishers to a policy */
function readRoute(
  section: Section,
  name: string,
  names: Names,
  contracts: readonly string[],
  hasPolicy: boolean,
): RouteSettings {
  const fields = fieldsOf(section);
  const { match, correlationId } = readCriteria(fields);
  const trustedKeys = readTrustedKeys(section);
  const publishers = section.sections('publishers').map((publisher) => ({
    project: publisher.text('project') ?? '',
    pipeline: publisher.text('pipeline') ?? '*',
  }));
  if (publishers.length > 0 && trustedKeys === undefined && !hasPolicy)
    section.warn(
      'publishers',
      'is what events say of themselves, since there are no trustedKeys',
      'Add trustedKeys; or let only these pipelines publish on the subject, and name the policy that says so in publisherPolicyFile.',
    );
  const mode = section.text('mode');
  return {
    name,
    mode: mode === 'preview' || mode === 'off' ? mode : 'on',
    subjects: readSubjects(section),
    stream: readStream(section, names),
    contract: readContract(section, contracts),
    criteria: {
      match,
      correlationId,
      trustedKeys,
      maxEventAgeMs: section.duration('maxEventAge', HOUR_MS, MOST_AGE_MS),
    },
    publishers,
    pipeline: readPipeline(section.section('pipeline')),
    ...readParameters(section.section('parameters')),
    concurrency: section.number('concurrency', 4),
    maxPerMinute: section.number('maxPerMinute', 60),
    pauseAfter: section.number('pauseAfter', 10),
    maxDeliver: section.number('maxDeliver', 8),
    startFrom: readStart(section),
    allowHooks: section.flag('allowHooks'),
  };
}

/** Presents the section's texts as inputs of a wait, so that the same code reads what they share. */
function fieldsOf(section: Section): Fields {
  /** A wait's problems begin with the name of the input. */
  const about = (text: string): [name: string, problem: string] => {
    const colon = text.indexOf(': ');
    return [text.slice(0, colon), text.slice(colon + 2)];
  };
  class Noted extends Problems {
    override note(problem: string, remedy = ''): void {
      const [name, clause] = about(problem);
      section.note(name, clause, remedy);
    }
  }
  const source = {
    // A wait's other inputs aren't keys here; keys and ages are read like the rest of the configuration.
    text: (name: string) => (['trustedKeys', 'maxEventAge'].includes(name) ? undefined : section.text(name)),
    warning: (text: string) => {
      const [name, sentences] = about(text);
      section.warn(name, sentences.slice(0, -1));
    },
  };
  return new Fields(source, new Noted('the configuration'));
}

function readSubjects(section: Section): string[] {
  const single = section.text('subject');
  const subjects = single === undefined ? section.texts('subject') : [single];
  for (const [index, subject] of subjects.entries()) {
    const problem = subjectProblem(subject, 'pattern');
    if (problem === undefined) continue;
    const clause = `${quoted(subject)} ${problem}`;
    if (single === undefined) section.noteItem('subject', index, clause);
    else section.note('subject', clause);
  }
  return withoutCovered(subjects);
}

function readStream(section: Section, names: Names): string {
  const stream = section.text('stream') ?? '';
  if ([names.of(BRIDGE_AUDIT), names.of(BRIDGE_DEAD)].includes(stream))
    section.note('stream', `${quoted(stream)} is written by the bridge itself`, 'Name the stream with the events.');
  return stream;
}

function readContract(section: Section, contracts: readonly string[]): string | undefined {
  const contract = section.text('contract');
  if (contract === undefined || contracts.includes(contract)) return contract;
  const known = contracts.length === 0 ? 'There are none' : `There are ${contracts.join(', ')}`;
  section.note('contract', `${quoted(contract)} is not one of contracts`, `${known}: add it to contracts.`);
  return contract;
}

function readTrustedKeys(section: Section): readonly TrustedKey[] | undefined {
  const texts = section.texts('trustedKeys');
  const read = texts.map((text, index) => {
    const { keys, problems } = parseTrustedKeys(text.replace(/[\r\n]/g, ' '));
    for (const { problem, remedy } of problems)
      section.noteItem(
        'trustedKeys',
        index,
        `${quoted(text)} can't be used: ${problem.replace('line 1: ', '')}`,
        remedy,
      );
    return keys;
  });
  return read.length === 0 ? undefined : read.flat();
}

function readPipeline(section: Section): RouteSettings['pipeline'] {
  const branch = section.text('branch');
  if (branch !== undefined && !/^refs\/\S+$/.test(branch))
    section.note('branch', `${quoted(branch)} is not a full name of a branch`, 'Write it like refs/heads/main.');
  return { project: section.text('project') ?? '', id: section.number('id', 0), branch };
}

function readParameters(section: Section): Pick<RouteSettings, 'parameters' | 'eventId'> {
  let eventId = { isMapped: false, pattern: DEFAULT_PATTERN };
  const parameters = section.keys.flatMap((name): ParameterSettings[] => {
    const isShort = section.text(name) !== undefined;
    const own = isShort ? section : section.section(name);
    const value = isShort ? name : 'value';
    const pattern = isShort ? DEFAULT_PATTERN : readPattern(own);
    if (!PARAMETER_NAME.test(name))
      section.note(name, `${quoted(name)} is not a name of a parameter`, 'Use letters, digits, `_`, `-` and dots.');
    if (name === EVENT_ID_PARAMETER) {
      if (own.text(value)?.trim() !== EVENT_ID_EXPRESSION)
        own.note(
          value,
          `is not ${EVENT_ID_EXPRESSION}, by which the bridge finds a run again`,
          `Write ${EVENT_ID_PARAMETER}: ${EVENT_ID_EXPRESSION}.`,
        );
      eventId = { isMapped: true, pattern };
      return [];
    }
    const expression = readExpression(fieldsOf(own), value, own.text(value));
    return expression === undefined ? [] : [{ name, expression, pattern }];
  });
  return { parameters, eventId };
}

function readPattern(section: Section): RegExp {
  const text = section.text('pattern');
  if (text === undefined) return DEFAULT_PATTERN;
  try {
    const pattern = new RegExp(text, 'u');
    if (!text.startsWith('^') || !text.endsWith('$'))
      section.warn(
        'pattern',
        `${quoted(text)} also fits what only holds such a text somewhere`,
        'Anchor it: begin with ^ and end with $.',
      );
    return pattern;
  } catch (error) {
    // V8 repeats the whole expression before it says what is wrong.
    const reason = reasonOf(error).split(': ').at(-1);
    section.note(
      'pattern',
      `${quoted(text)} is not a regular expression: ${reason}`,
      'Put a backslash before a bracket or brace that stands for itself.',
    );
    return DEFAULT_PATTERN;
  }
}

function readStart(section: Section): RouteSettings['startFrom'] {
  const text = section.text('startFrom') ?? 'new';
  if (text === 'new' || text === 'all') return text;
  const time = parseTime(text);
  if (time === undefined)
    section.note('startFrom', `${quoted(text)} is not a time`, 'Write it like 2026-11-28T09:00:00Z.');
  return time ?? 'new';
}
