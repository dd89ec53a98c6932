import type { Agent } from '../agent/agent.ts';
import type { StartPosition } from '../../shared/bus.ts';
import type { ConnectionSettings } from '../../shared/connection/settings.ts';
import { readPipelineRun, type PipelineRun } from '../agent/pipelineRun.ts';
import { learnSecrets } from '../agent/secrets.ts';
import { readConnection } from '../agent/serviceConnection.ts';
import { StepFields } from '../agent/stepFields.ts';
import { withoutCovered } from '../../shared/subject.ts';
import { readCriteria, readOutputs, type WaitCriteria } from '../../shared/waiting/criteria.ts';
import { readStartFrom, readStartSequence, readStartTime } from '../../shared/waiting/start.ts';

const DEFAULT_TIMEOUT = '30m';
const START_POSITIONS = ['runStart', 'now', 'sequence', 'time', 'lastPerSubject', 'all'] as const;

/** What one step waits for. It holds no secret. */
export interface WaitRequest extends WaitCriteria {
  readonly stream: string | undefined;
  readonly start: StartPosition;
  readonly schemaFile: string | undefined;
  readonly onTimeout: 'fail' | 'warn' | 'succeed';
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
  const fields = new StepFields(agent);
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
    ...readCriteria(fields),
    timeoutMs,
    onTimeout: fields.oneOf('onTimeout', ['fail', 'warn', 'succeed']),
    outputs: readOutputs(fields),
    run: readPipelineRun(agent),
  };
  fields.problems.done();
  return { timeoutMs, connection, request };
}

/** A job that runs out of time is cancelled, however much of the step's timeout is left; 0 means no limit. */
function warnOfJobTimeout(agent: Agent, timeoutMs: number, timeout: string): void {
  const minutes = Number(agent.variable('System.JobTimeout') ?? 0);
  if (minutes > 0 && timeoutMs >= minutes * 60_000)
    agent.warning(
      `timeout: ${timeout} is never reached, since the job is cancelled after ${minutes} minutes. Raise timeoutInMinutes of the job, or lower the timeout.`,
    );
}

function readStart(agent: Agent, fields: StepFields, delivery: WaitCriteria['delivery']): StartPosition {
  const from = readStartFrom(fields, START_POSITIONS);
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
      return { from, after: readStartSequence(fields) };
    case 'time':
      return { from, at: readStartTime(fields), correctSkew: false };
    case 'runStart':
      return { from: 'time', at: readRunStart(agent, fields), correctSkew: true };
  }
}

function readRunStart(agent: Agent, fields: StepFields): number {
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
