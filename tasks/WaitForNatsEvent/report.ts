import type { Agent } from '../agent/agent.ts';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import { VIEW_FIELDS } from '../../shared/event/receivedEvent.ts';
import { exactJson } from '../../shared/text/json.ts';
import { interruptible, isInterruption } from '../../shared/text/interruptible.ts';
import {
  isoTime,
  MAX_OUTPUT_BYTES,
  MAX_OUTPUTS_BYTES,
  outputProblem,
  outputsSize,
  setOutputs,
  writeFile,
} from '../agent/outputs.ts';
import { logLine } from '../../shared/text/logLine.ts';
import type { Clock } from '../../shared/clock.ts';
import type { StepEnd } from '../agent/run.ts';
import { attachSummary } from '../agent/summary/attach.ts';
import type { WaitStep } from './inputs.ts';
import type { JudgedEvent } from '../../shared/waiting/judge.ts';
import { decidingEvents, waitSummary } from './summary.ts';
import { describePlace } from '../../shared/waiting/explain.ts';
import type { Verdict } from '../../shared/waiting/verdict.ts';
import type { WaitOutcome } from '../../shared/waiting/wait.ts';
import { writeReceipt, type ReceiptParts } from '../agent/receipt.ts';

/** Room for the outputs that every wait has and that are never long, in bytes. */
const OWN_OUTPUTS_BYTES = 4 * 1_024;

/** How long computing all of `outputs` from an event may take, in milliseconds. */
const OUTPUTS_MS = 1_000;

/** Every output of the task besides `event.<name>`, so that one without a value does not compile. */
type OwnOutput =
  'verdict' | 'sequence' | 'publishedAt' | 'receivedAt' | 'latencyMs' | 'count' | 'eventFile' | 'receiptFile';
/** Those whose length others decide. */
type ForeignOutput = 'subject' | 'messageId' | 'stream' | 'correlationId' | 'traceparent' | 'missing';

/** Says how the wait ended: outputs, files, the summary of the run, and the end of the step. */
export async function reportOutcome(
  agent: Agent,
  step: WaitStep,
  outcome: WaitOutcome,
  clock: Clock,
): Promise<StepEnd> {
  const eventFile = writeFile(agent, 'nats-events', 'json', eventList(outcome.matched));
  const values = eventOutputs(step, outcome, eventFile);
  // A value that cannot be handed on safely fails the step: a later step would work with nothing.
  const isUnsafe = 'error' in values && !isFailure(step, outcome.verdict);
  const told: WaitOutcome = isUnsafe ? { ...outcome, verdict: 'error', error: values.error } : outcome;
  const { verdict, missing } = told;
  const event = outcome.deciding?.event;
  const own: Record<OwnOutput, string> = {
    verdict,
    sequence: String(event?.place?.sequence ?? ''),
    publishedAt: isoTime(event?.publishedAt),
    receivedAt: isoTime(event?.message.receivedAt),
    latencyMs: String(event?.latencyMs ?? ''),
    count: String(outcome.matched.length),
    eventFile,
    receiptFile: writeReceipt(agent, 'WaitForNatsEvent', step, receipt(step, told, clock)),
  };
  const foreign: Record<ForeignOutput, string> = {
    subject: event?.subject ?? '',
    messageId: event?.messageId ?? '',
    stream: event?.place?.stream ?? '',
    correlationId: event?.correlationId ?? '',
    traceparent: event?.traceparent ?? '',
    missing: typeof missing === 'number' ? String(missing) : missing.join(', '),
  };
  const asked = 'values' in values ? values.values : {};
  // Where there is no room for all, the ones that were asked for go before those of which an event decides how long they are.
  setOutputs(agent, { ...own, ...asked, ...foreign });
  for (const [name, value] of Object.entries(asked))
    if (value === '' && event !== undefined)
      agent.info(`outputs: ${name} is empty, since the event has nothing there.`);
  const counts = Object.entries(outcome.counts).filter(([name, number]) => name === 'seen' || number > 0);
  const linkBreaks = outcome.linkBreaks.count || undefined;
  agent.info(logLine('verdict', { verdict, ...Object.fromEntries(counts), linkBreaks }));
  await attachSummary(agent, clock.signal, () => waitSummary(step, told, clock));
  return endOf(agent, step, told);
}

function endOf(agent: Agent, step: WaitStep, { verdict, error, deciding }: WaitOutcome): StepEnd {
  if (verdict === 'matched') {
    const place = deciding?.event.place;
    return { result: 'Succeeded', message: place === undefined ? 'Matched' : `Matched ${describePlace(place)}` };
  }
  const failure = error ?? new TaskError('Internal', `The wait ended with the verdict ${verdict}`);
  if (isFailure(step, verdict)) throw failure;
  const result = step.request.onTimeout === 'warn' ? 'SucceededWithIssues' : 'Succeeded';
  if (result === 'SucceededWithIssues') agent.warning(failure.message);
  else agent.info(failure.message);
  return { result, message: failure.message };
}

function isFailure({ request }: WaitStep, verdict: Verdict): boolean {
  return verdict === 'timedOut' ? request.onTimeout === 'fail' : verdict !== 'matched';
}

/**
 * The values of the input `outputs` by the names of their variables, of the last deciding event. They are empty when no
 * event decided: a later step would else find `$(wait.event.name)` itself.
 */
function eventOutputs(
  { request: { outputs } }: WaitStep,
  { deciding }: WaitOutcome,
  eventFile: string,
): { readonly values: Readonly<Record<string, string>> } | { readonly error: TaskError } {
  if (deciding === undefined) return { values: Object.fromEntries(outputs.map(({ name }) => [`event.${name}`, ''])) };
  const refused = (code: 'ContractViolation' | 'TooLarge', problem: string, advice = 'Read it from') => ({
    error: new TaskError(code, `outputs: ${problem}`, `${advice} the file in the output eventFile: ${eventFile}.`),
  });
  let doing = '';
  const read = ({ name, expression }: (typeof outputs)[number]) => {
    doing = name;
    const value = expression.evaluate(deciding.event.view) ?? '';
    return [`event.${name}`, typeof value === 'string' ? value : exactJson(value)] as const;
  };
  let values: Record<string, string>;
  try {
    values = interruptible(() => Object.fromEntries(outputs.map(read)), OUTPUTS_MS);
  } catch (error) {
    const reason = isInterruption(error) ? `it was interrupted after ${OUTPUTS_MS} ms` : reasonOf(error);
    return refused('ContractViolation', `${doing} fails on the event: ${reason}`, 'The event is in');
  }
  for (const { name } of outputs) {
    const text = values[`event.${name}`] ?? '';
    const size = Buffer.byteLength(text);
    if (size > MAX_OUTPUT_BYTES) {
      const most = `an output takes at most ${MAX_OUTPUT_BYTES}`;
      return refused('TooLarge', `the value of ${name} has ${size} bytes, and ${most}`);
    }
    const problem = outputProblem(text);
    if (problem !== undefined) return refused('ContractViolation', `the value of ${name} ${problem}`);
  }
  const bytes = outputsSize(values);
  if (bytes <= MAX_OUTPUTS_BYTES - OWN_OUTPUTS_BYTES) return { values };
  const most = `all outputs of a step take at most ${MAX_OUTPUTS_BYTES} together`;
  const problem = `the values have ${bytes} bytes with their names, and ${most}`;
  return refused('TooLarge', problem, 'Ask for fewer, and read the others from');
}

/** A JSON array with an event per line, one event at a time: together they can be too long for a text. */
function* eventList(events: readonly JudgedEvent[]): Generator<string> {
  yield '[';
  for (const [index, event] of events.entries()) yield `${index === 0 ? '' : ',\n'}${storable(event)}`;
  yield ']\n';
}

/** JSON that is nested too deeply can be read but not written: such an event is kept as its bytes. */
function storable({ event: { view, message } }: JudgedEvent): string {
  try {
    return exactJson(view);
  } catch {
    const others = VIEW_FIELDS.filter((name) => name !== 'data').map((name) => [name, view[name]] as const);
    const dataBase64 = Buffer.from(message.payload).toString('base64');
    return JSON.stringify({ ...Object.fromEntries(others), data: null, dataBase64 });
  }
}

function receipt({ request }: WaitStep, outcome: WaitOutcome, clock: Clock): ReceiptParts {
  const { verdict, error, missing, counts, linkBreaks } = outcome;
  return {
    where: { delivery: request.delivery, subjects: request.subjects, stream: outcome.stream ?? null },
    what: {
      match: request.match?.text ?? null,
      failWhen: request.failWhen?.text ?? null,
      correlationId: request.correlationId ?? null,
      schemaFile: request.schemaFile ?? null,
      schemaDigest: outcome.schemaDigest ?? null,
      events: decidingEvents(outcome).map(({ event, decision, signedBy }) => ({
        decision,
        messageId: event.messageId,
        subject: event.subject,
        stream: event.place?.stream ?? null,
        sequence: event.place?.sequence ?? null,
        source: event.attributes.source ?? null,
        correlationId: event.correlationId ?? null,
        traceparent: event.traceparent ?? null,
        publishedAt: isoTime(event.publishedAt) || null,
        receivedAt: isoTime(event.message.receivedAt),
        signedBy: signedBy ?? null,
      })),
    },
    when: { startedAt: isoTime(clock.startedAt), endedAt: isoTime(clock.now()), deadline: isoTime(clock.deadline) },
    result: { verdict, error: error?.code ?? null, missing, counts, linkBreaks },
  };
}
