import { Fields } from '../../shared/inputs/fields.ts';
import { Problems } from '../../shared/inputs/problems.ts';
import { covers, withoutCovered } from '../../shared/subject.ts';
import { describeMs } from '../../shared/text/duration.ts';
import { quoted } from '../../shared/text/safeText.ts';
import { readCriteria, readOutputs, type WaitCriteria } from '../../shared/waiting/criteria.ts';
import { readStartFrom, readStartSequence, readStartTime } from '../../shared/waiting/start.ts';
import type { Inputs } from './body.ts';

/** The inputs of an agentless wait, by the names of the agent's task. */
export const INPUT_NAMES = [
  ...['subject', 'match', 'failWhen', 'correlationId', 'count', 'distinctBy', 'expect', 'contract', 'onInvalid'],
  ...['trustedKeys', 'startFrom', 'startSequence', 'startTime', 'stream', 'timeout', 'onTimeout', 'maxEventAge'],
  'outputs',
];

const START_POSITIONS = ['runStart', 'now', 'sequence', 'time', 'all'] as const;
/** What has matched is kept in the wait's record. */
const MOST_EVENTS = 1_000;
const DEFAULT_TIMEOUT_MS = 30 * 60_000;
/** Streams of key-value buckets and object stores: they hold no events to wait for. */
const STORES = /^(KV|OBJ)_/;

/** Where a wait begins, before the stream is known. */
export type WaitStartFrom =
  | { readonly from: 'now' | 'all' }
  | { readonly from: 'sequence'; /** Exclusive. */ readonly after: number }
  | { readonly from: 'time'; /** Milliseconds since the epoch. */ readonly at: number };

/** What a wait waits for. */
export interface WaitRequest {
  readonly criteria: WaitCriteria;
  /** Undefined: the one that captures the subjects. */
  readonly stream: string | undefined;
  readonly startFrom: WaitStartFrom;
  /** One of the names of `contracts`. */
  readonly contract: string | undefined;
  readonly onTimeout: 'fail' | 'succeed';
  /** Warnings for the author, as sentences. */
  readonly warnings: readonly string[];
}

export interface ReadingOptions {
  /** Names of `contracts`. */
  readonly contracts: readonly string[];
  readonly maxWaitMs: number;
  /** In milliseconds since the epoch; undefined where Azure DevOps doesn't say. */
  readonly runStart: number | undefined;
  /** Streams of the bridge, which nobody waits on. */
  readonly ownStreams: readonly string[];
}

/**
 * Reads the criteria of a wait with the readers of the agent's task.
 *
 * @throws TaskError for all problems
 */
export function readWaitRequest(inputs: Inputs, options: ReadingOptions): WaitRequest {
  const warnings: string[] = [];
  const source = {
    // Trimmed, as the agent hands them to its tasks.
    text: (name: string) => (Object.hasOwn(inputs, name) ? inputs[name]?.trim() || undefined : undefined),
    warning: (text: string) => void warnings.push(text),
  };
  const fields = new Fields(source, new Problems('the inputs of this task'));
  const subjects = withoutCovered(fields.subjectPatterns('subject'));
  const timeoutMs = readTimeout(fields, options.maxWaitMs);
  const stream = readStream(fields, options.ownStreams);
  const startFrom = readStart(fields, options.runStart);
  const contract = readContract(fields, options.contracts);
  const criteria = readCriteria(fields, MOST_EVENTS);
  if (criteria.count > MOST_EVENTS && criteria.expect !== undefined)
    fields.problem(`expect: lists ${criteria.count} values, and an agentless wait takes ${MOST_EVENTS} at most`);
  const onTimeout = fields.oneOf('onTimeout', ['fail', 'succeed']);
  const outputs = readOutputs(fields);
  fields.problems.done();
  return {
    criteria: { ...criteria, subjects, delivery: 'jetStream', timeoutMs, outputs },
    ...{ stream, startFrom, contract, onTimeout, warnings },
  };
}

/** Whether all subjects of a wait lie within those of a rule. */
export function liesWithin(subjects: readonly string[], ruled: readonly string[]): boolean {
  return subjects.every((subject) => ruled.some((outer) => covers(outer, subject)));
}

function readTimeout(fields: Fields, maxWaitMs: number): number {
  if (fields.text('timeout') === undefined) return Math.min(DEFAULT_TIMEOUT_MS, maxWaitMs);
  const ms = fields.duration('timeout', undefined, describeMs(maxWaitMs)) ?? maxWaitMs;
  if (ms > maxWaitMs)
    fields.problem(
      `timeout: ${quoted(fields.text('timeout') ?? '')} is longer than the bridge's limit of ${describeMs(maxWaitMs)}`,
      'Shorten it, or ask for a higher maxWait in the bridge.',
    );
  return ms;
}

function readStream(fields: Fields, ownStreams: readonly string[]): string | undefined {
  const stream = fields.streamName('stream');
  if (stream !== undefined && (ownStreams.includes(stream) || STORES.test(stream)))
    fields.problem(`stream: ${quoted(stream)} is not a stream of events`, 'Name the stream that captures the subject.');
  return stream;
}

function readStart(fields: Fields, runStart: number | undefined): WaitStartFrom {
  const from = readStartFrom(fields, START_POSITIONS);
  switch (from) {
    case 'now':
    case 'all':
      return { from };
    case 'sequence':
      return { from, after: readStartSequence(fields) };
    case 'time':
      return { from, at: readStartTime(fields) };
    case 'runStart':
      if (runStart === undefined)
        fields.problem(
          'startFrom: runStart needs the header X-Run-Start, which Azure DevOps did not fill in here',
          'Set startFrom to now, or to time with a startTime.',
        );
      return { from: 'time', at: runStart ?? 0 };
  }
}

function readContract(fields: Fields, contracts: readonly string[]): string | undefined {
  const contract = fields.expanded('contract');
  if (contract === undefined) return undefined;
  if (!contracts.includes(contract))
    fields.problem(
      `contract: the bridge knows no contract ${quoted(contract)}`,
      contracts.length === 0
        ? 'It knows none: ask for this one to be added to its contracts.'
        : `It knows ${contracts.join(', ')}.`,
    );
  return contract;
}
