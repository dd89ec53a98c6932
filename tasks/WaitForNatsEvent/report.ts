import type { Agent } from '../agent/agent.ts';
import { TaskError } from '../../shared/errors.ts';
import { VIEW_FIELDS } from '../../shared/event/receivedEvent.ts';
import { exactJson } from '../../shared/text/json.ts';
import { isoTime } from '../../shared/text/duration.ts';
import { setOutputs, writeFile } from '../agent/outputs.ts';
import { logLine } from '../../shared/text/logLine.ts';
import type { Clock } from '../../shared/clock.ts';
import type { StepEnd } from '../agent/run.ts';
import { attachSummary } from '../agent/summary/attach.ts';
import type { WaitStep } from './inputs.ts';
import type { JudgedEvent } from '../../shared/waiting/judge.ts';
import { decidingEvents, waitSummary } from './summary.ts';
import { describePlace } from '../../shared/waiting/explain.ts';
import {
  askedOutputs,
  emptyOutputs,
  foreignOutputs,
  placeOutputs,
  type RefusedOutputs,
} from '../../shared/waiting/outputs.ts';
import type { Verdict } from '../../shared/waiting/verdict.ts';
import type { WaitOutcome } from '../../shared/waiting/wait.ts';
import { writeReceipt, type ReceiptParts } from '../agent/receipt.ts';

/** Every output of the task besides `event.<name>`, so that one without a value does not compile. */
type OwnOutput = 'verdict' | 'count' | 'eventFile' | 'receiptFile';

/** Says how the wait ended: outputs, files, the summary of the run, and the end of the step. */
export async function reportOutcome(
  agent: Agent,
  step: WaitStep,
  outcome: WaitOutcome,
  clock: Clock,
): Promise<StepEnd> {
  const eventFile = writeFile(agent, 'nats-events', 'json', eventList(outcome.matched));
  const values = askedOutputs(step.request.outputs, outcome.deciding?.event);
  // A value that can't be passed on safely fails the step: a later step would work with nothing.
  const isUnsafe = 'problem' in values && !isFailure(step, outcome.verdict);
  const told: WaitOutcome = isUnsafe ? { ...outcome, verdict: 'error', error: unsafe(values, eventFile) } : outcome;
  const { verdict, missing } = told;
  const event = outcome.deciding?.event;
  const own: Record<OwnOutput, string> = {
    verdict,
    count: String(outcome.matched.length),
    eventFile,
    receiptFile: writeReceipt(agent, 'WaitForNatsEvent', step, receipt(step, told, clock)),
  };
  const asked = 'values' in values ? values.values : {};
  // If there isn't room for all, the requested ones go before those whose length an event decides.
  setOutputs(agent, { ...own, ...placeOutputs(event), ...asked, ...foreignOutputs(event, missing) });
  const empty = event === undefined ? [] : emptyOutputs(step.request.outputs, asked, event);
  for (const { text, isMisspelt } of empty) {
    if (isMisspelt) agent.warning(text);
    else agent.info(text);
  }
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

function unsafe({ code, problem, advice }: RefusedOutputs, eventFile: string): TaskError {
  return new TaskError(code, `outputs: ${problem}`, `${advice} the file in the output eventFile: ${eventFile}.`);
}

function isFailure({ request }: WaitStep, verdict: Verdict): boolean {
  return verdict === 'timedOut' ? request.onTimeout === 'fail' : verdict !== 'matched';
}

/** A JSON array with an event per line, one event at a time: together they can exceed the longest string. */
function* eventList(events: readonly JudgedEvent[]): Generator<string> {
  yield '[';
  for (const [index, judged] of events.entries()) {
    yield `${index === 0 ? '' : ',\n'}${storable(judged)}`;
    judged.event.forget();
  }
  yield ']\n';
}

/** JSON that is nested too deeply can be read but not written: such an event is stored as raw bytes. */
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
