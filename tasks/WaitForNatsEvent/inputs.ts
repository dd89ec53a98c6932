import type { Agent } from '../agent/agent.ts';
import type { StartPosition } from '../../shared/bus.ts';
import { learnSecrets, readConnection, type ConnectionSettings } from '../../shared/connection/settings.ts';
import { reasonOf } from '../../shared/errors.ts';
import { parseTime } from '../../shared/event/cloudEvent.ts';
import { compileExpression, type Expression } from '../../shared/expression/expression.ts';
import { Fields } from '../../shared/inputs/fields.ts';
import { knownSecrets } from '../../shared/text/masker.ts';
import { quoted } from '../../shared/text/safeText.ts';
import { readPipelineRun, type PipelineRun } from '../agent/pipelineRun.ts';
import { parseTrustedKeys, type TrustedKey } from '../../shared/signing/signature.ts';
import { withoutCovered } from '../../shared/subject.ts';

const DEFAULT_TIMEOUT = '30m';
const MOST_EVENTS = 10_000;
const START_POSITIONS = ['runStart', 'now', 'sequence', 'time', 'lastPerSubject', 'all'] as const;

/** An expression with the text it was compiled from. */
export interface NamedExpression extends Expression {
  readonly text: string;
}

/** What one step waits for. It holds no secret. */
export interface WaitRequest {
  /** Patterns, none covered by another. */
  readonly subjects: readonly string[];
  readonly delivery: 'jetStream' | 'core';
  readonly stream: string | undefined;
  readonly start: StartPosition;
  readonly schemaFile: string | undefined;
  readonly onInvalid: 'skip' | 'fail';
  readonly match: NamedExpression | undefined;
  readonly failWhen: NamedExpression | undefined;
  readonly correlationId: string | undefined;
  readonly count: number;
  readonly distinctBy: NamedExpression | undefined;
  /** Replaces `count`. */
  readonly expect: readonly string[] | undefined;
  readonly trustedKeys: readonly TrustedKey[] | undefined;
  readonly maxEventAgeMs: number | undefined;
  readonly timeoutMs: number;
  readonly idleTimeoutMs: number | undefined;
  readonly onTimeout: 'fail' | 'warn' | 'succeed';
  readonly outputs: readonly { readonly name: string; readonly expression: NamedExpression }[];
  readonly run: PipelineRun;
}

export interface WaitStep {
  readonly timeoutMs: number;
  readonly connection: ConnectionSettings;
  readonly request: WaitRequest;
}

/** Reads and checks everything a waiting step is given; throws one error for all problems. */
export function readWait(agent: Agent): WaitStep {
  learnSecrets(agent);
  const fields = new Fields(agent);
  const subjects = withoutCovered(fields.subjectPatterns('subject'));
  const connection = readConnection(agent, fields, 'waitSubjects', subjects);
  const delivery = fields.oneOf('delivery', ['jetStream', 'core']);
  const timeoutMs = fields.duration('timeout', DEFAULT_TIMEOUT);
  warnOfJobTimeout(agent, timeoutMs, fields.text('timeout') ?? DEFAULT_TIMEOUT);
  if (delivery === 'core') fields.unused('stream', 'delivery is core');
  const request: WaitRequest = {
    subjects,
    delivery,
    stream: delivery === 'core' ? undefined : fields.streamName('stream'),
    start: readStart(agent, fields, delivery),
    schemaFile: fields.file('schemaFile'),
    onInvalid: fields.oneOf('onInvalid', ['skip', 'fail']),
    match: readExpression(agent, fields, 'match', fields.text('match')),
    failWhen: readExpression(agent, fields, 'failWhen', fields.text('failWhen')),
    correlationId: fields.expanded('correlationId'),
    ...readQuorum(agent, fields),
    trustedKeys: readTrustedKeys(fields),
    maxEventAgeMs: fields.duration('maxEventAge'),
    timeoutMs,
    idleTimeoutMs: fields.duration('idleTimeout'),
    onTimeout: fields.oneOf('onTimeout', ['fail', 'warn', 'succeed']),
    outputs: readOutputs(agent, fields),
    run: readPipelineRun(agent),
  };
  fields.done();
  return { timeoutMs, connection, request };
}

/** When the job's own time is over, it is cancelled, however much of the step's timeout is left; 0 stands for no limit. */
function warnOfJobTimeout(agent: Agent, timeoutMs: number, timeout: string): void {
  const minutes = Number(agent.variable('System.JobTimeout') ?? 0);
  if (minutes > 0 && timeoutMs >= minutes * 60_000)
    agent.warning(
      `timeout: ${timeout} is not reached, since the job itself may take ${String(minutes)} minutes and is then cancelled. Raise timeoutInMinutes of the job, or lower the timeout.`,
    );
}

function readStart(agent: Agent, fields: Fields, delivery: WaitRequest['delivery']): StartPosition {
  const from = fields.oneOf('startFrom', START_POSITIONS);
  for (const [name, value] of [
    ['startSequence', 'sequence'],
    ['startTime', 'time'],
  ] as const) {
    if (from !== value && fields.text(name) !== undefined)
      fields.problem(`${name}: goes with startFrom: ${value} only, and startFrom is ${from}`);
  }
  if (delivery === 'core') {
    if (from !== 'runStart' && from !== 'now')
      fields.problem(`startFrom: ${from} needs delivery: jetStream, since core NATS keeps no events`);
    return { from: 'now' };
  }
  switch (from) {
    case 'now':
    case 'all':
    case 'lastPerSubject':
      return { from };
    case 'sequence':
      if (fields.text('startSequence') === undefined)
        fields.problem('startSequence: is required with startFrom: sequence');
      return { from, after: fields.integer('startSequence', 0, 0, Number.MAX_SAFE_INTEGER) };
    case 'time':
      return { from, at: readStartTime(fields), correctSkew: false };
    case 'runStart':
      return { from: 'time', at: readRunStart(agent, fields), correctSkew: true };
  }
}

function readStartTime(fields: Fields): number {
  if (fields.text('startTime') === undefined) fields.problem('startTime: is required with startFrom: time');
  const text = fields.expanded('startTime');
  const time = text === undefined ? undefined : parseTime(asRfc3339(text));
  if (text !== undefined && time === undefined)
    fields.problem(
      `startTime: ${quoted(text)} is not a time in ISO 8601 with its offset from UTC, such as 2026-05-31T08:00:00Z`,
    );
  return time ?? 0;
}

/**
 * What ISO 8601 leaves out or shortens and RFC 3339 demands: seconds, and minutes or the colon of the offset. The agent has
 * a space in the place of the T (`System.PipelineStartTime`).
 */
function asRfc3339(text: string): string {
  return text
    .replace(/^([\d-]+) (?=\d)/, '$1T')
    .replace(/(T\d\d:\d\d)(?=Z|[+-])/i, '$1:00')
    .replace(/^([\d-]+T.*[+-]\d\d)(\d\d)?$/i, (_, before: string, minutes = '00') => `${before}:${String(minutes)}`);
}

function readRunStart(agent: Agent, fields: Fields): number {
  const text = agent.variable('System.PipelineStartTime');
  const time = Date.parse(text ?? '');
  if (Number.isNaN(time)) {
    fields.problem(
      'startFrom: runStart needs the variable System.PipelineStartTime, which is absent here. Use now, time, sequence, lastPerSubject or all',
    );
    return 0;
  }
  const attempts = ['System.StageAttempt', 'System.JobAttempt'].map((name) => Number(agent.variable(name) ?? '1'));
  if (attempts.some((attempt) => attempt > 1)) {
    agent.info(
      "This is a later attempt, and the wait begins when the run's first attempt started: an event meant for that attempt also counts. Set correlationId to tell them apart.",
    );
  }
  return time;
}

function readExpression(
  agent: Agent,
  fields: Fields,
  name: string,
  text: string | undefined,
): NamedExpression | undefined {
  if (text === undefined) return undefined;
  fields.warnOfUnset(name, text);
  // What is said about a part of the expression would show that part of a secret.
  const holdsSecret = knownSecrets.mask(text) !== text;
  try {
    const expression = compileExpression(text);
    for (const unknown of holdsSecret ? [] : expression.unknownFields) {
      agent.warning(
        `${name}: events have no field ${quoted(unknown)}, so it is always null. A text is written in single quotes: '${unknown}'.`,
      );
    }
    return { ...expression, text };
  } catch (error) {
    fields.problem(
      holdsSecret
        ? `${name}: is not a JMESPath expression, and holds a secret, so no more of it is shown. Put what the secret stands for in single quotes`
        : `${name}: ${quoted(text)} is not a JMESPath expression: ${reasonOf(error)}`,
    );
    return undefined;
  }
}

function readQuorum(agent: Agent, fields: Fields): Pick<WaitRequest, 'count' | 'distinctBy' | 'expect'> {
  const count = fields.integer('count', 1, 1, MOST_EVENTS);
  const distinctBy = readExpression(agent, fields, 'distinctBy', fields.text('distinctBy'));
  const expect = [...new Set(fields.lines('expect'))];
  for (const value of expect) fields.warnOfUnset('expect', value);
  if (expect.length === 0) return { count, distinctBy, expect: undefined };
  if (fields.text('distinctBy') === undefined)
    fields.problem('expect: needs distinctBy, the expression whose values it lists');
  fields.unused('count', 'expect replaces it', '1');
  return { count: expect.length, distinctBy, expect };
}

function readTrustedKeys(fields: Fields): readonly TrustedKey[] | undefined {
  const text = fields.text('trustedKeys');
  if (text === undefined) return undefined;
  const { keys, problems } = parseTrustedKeys(text);
  for (const { problem, remedy } of problems) fields.problem(`trustedKeys: ${problem}`, remedy);
  return keys;
}

function readOutputs(agent: Agent, fields: Fields): WaitRequest['outputs'] {
  const names = new Set<string>();
  return fields.lines('outputs').flatMap((line) => {
    const [, name = '', text = ''] = /^([A-Za-z_]\w*)\s*=(.*)$/.exec(line) ?? [];
    if (name === '' || text.trim() === '') {
      fields.problem(`outputs: ${quoted(line)} is not of the form name=JMESPath`);
      return [];
    }
    if (names.has(name.toLowerCase())) fields.problem(`outputs: the name ${quoted(name)} is given twice`);
    names.add(name.toLowerCase());
    const expression = readExpression(agent, fields, `outputs: ${name}`, text.trim());
    return expression === undefined ? [] : [{ name, expression }];
  });
}
