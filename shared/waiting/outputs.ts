import { reasonOf } from '../errors.ts';
import type { ReceivedEvent } from '../event/receivedEvent.ts';
import { isoTime } from '../text/duration.ts';
import { interruptible, isInterruption } from '../text/interruptible.ts';
import { exactJson } from '../text/json.ts';
import { misspeltField } from './absentFields.ts';
import type { WaitCriteria } from './criteria.ts';

/**
 * Why a value from outside must not become a variable, as a clause; undefined when it may. Before each later step, the agent
 * expands `$(name)` in the values of variables, which could put a secret there. It passes variables on through the environment,
 * where a NUL character ends a value: on Windows, the rest would become another variable; elsewhere, no later step could start.
 */
export function outputProblem(value: string): string | undefined {
  if (value.includes('$(')) return 'holds "$(", which the agent would expand in later steps';
  return value.includes('\0') ? 'holds a NUL character, which no environment variable can' : undefined;
}

/**
 * Longest value of an output, in bytes of UTF-8. Later steps get it as an environment variable, which Windows limits to
 * 32,766 characters and Linux to 128 KiB; with a longer one, none of them would start.
 */
export const MAX_OUTPUT_BYTES = 16 * 1_024;
/** Names and values of all outputs of a step together, in bytes of UTF-8: each later step gets those of all steps before. */
export const MAX_OUTPUTS_BYTES = 64 * 1_024;

/** How much of {@link MAX_OUTPUTS_BYTES} outputs take up. */
export function outputsSize(outputs: Readonly<Record<string, string>>): number {
  return Object.entries(outputs).reduce((sum, output) => sum + Buffer.byteLength(output.join('')), 0);
}

/** Room for the outputs that every wait has and that are never long, in bytes. */
const OWN_OUTPUTS_BYTES = 4 * 1_024;

/** How long computing all of `outputs` from an event may take, in milliseconds. */
const OUTPUTS_MS = 1_000;

/** How long looking for misspelt fields may take, in milliseconds: reading the event again, and comparing its names. */
const MISSPELT_MS = 100;

/** Values that can't be passed on safely. */
export interface RefusedOutputs {
  readonly code: 'ContractViolation' | 'TooLarge';
  /** A clause. */
  readonly problem: string;
  /** The beginning of a sentence that ends with where the event is found. */
  readonly advice: string;
}

/**
 * The values of the input `outputs` from the deciding event, by variable name. They are empty when no event decided: a
 * later step would otherwise find `$(wait.event.name)` itself.
 *
 * @param limitMs for all of them, in milliseconds
 * @param calls see {@link interruptible}
 */
export function askedOutputs(
  outputs: WaitCriteria['outputs'],
  event: ReceivedEvent | undefined,
  limitMs = OUTPUTS_MS,
  calls = 1,
): { readonly values: Readonly<Record<string, string>> } | RefusedOutputs {
  // Most waits ask for none, and an interruptible call takes as long as all else that an event takes.
  if (event === undefined || outputs.length === 0)
    return { values: Object.fromEntries(outputs.map(({ name }) => [`event.${name}`, ''])) };
  let doing = '';
  const read = ({ name, expression }: (typeof outputs)[number]) => {
    doing = name;
    const value = expression.evaluate(event.view) ?? '';
    return [`event.${name}`, typeof value === 'string' ? value : exactJson(value)] as const;
  };
  let values: Record<string, string>;
  try {
    values = interruptible(() => Object.fromEntries(outputs.map(read)), limitMs, calls);
  } catch (error) {
    const reason = isInterruption(error) ? `it was interrupted after ${limitMs} ms` : reasonOf(error);
    const problem = `${doing} fails on the event: ${reason}`;
    return { code: 'ContractViolation', problem, advice: 'The event is in' };
  }
  const advice = 'Read it from';
  for (const { name } of outputs) {
    const text = values[`event.${name}`] ?? '';
    const size = Buffer.byteLength(text);
    if (size > MAX_OUTPUT_BYTES) {
      const most = `an output takes at most ${MAX_OUTPUT_BYTES}`;
      return { code: 'TooLarge', problem: `the value of ${name} has ${size} bytes, and ${most}`, advice };
    }
    const problem = outputProblem(text);
    if (problem !== undefined) return { code: 'ContractViolation', problem: `the value of ${name} ${problem}`, advice };
  }
  const bytes = outputsSize(values);
  if (bytes <= MAX_OUTPUTS_BYTES - OWN_OUTPUTS_BYTES) return { values };
  const most = `all outputs of a step take at most ${MAX_OUTPUTS_BYTES} together`;
  const problem = `the values have ${bytes} bytes with their names, and ${most}`;
  return { code: 'TooLarge', problem, advice: 'Ask for fewer, and read the others from' };
}

/** An output without a value. */
export interface EmptyOutput {
  /** A sentence. */
  readonly text: string;
  /** Whether the event has a field of nearly the same name. */
  readonly isMisspelt: boolean;
}

/** Says which of the outputs are empty, and why. Optional fields are nothing to warn of; names that are misspelt are. */
export function emptyOutputs(
  outputs: WaitCriteria['outputs'],
  values: Readonly<Record<string, string>>,
  event: ReceivedEvent,
): readonly EmptyOutput[] {
  const empty = outputs.filter(({ name }) => values[`event.${name}`] === '');
  if (empty.length === 0) return [];
  const found: ReturnType<typeof misspeltField>[] = [];
  try {
    interruptible(() => {
      for (const { dataFields } of empty.map(({ expression }) => expression))
        found.push(misspeltField(dataFields, event, dataFields));
    }, MISSPELT_MS);
  } catch (error) {
    if (!isInterruption(error)) throw error;
  }
  return empty.map(({ name }, index) => {
    const misspelt = found[index];
    const why =
      misspelt === undefined
        ? 'is empty, since the event has nothing there.'
        : `is empty: the event has no ${misspelt.absent}. Did you mean ${misspelt.meant}?`;
    return { text: `outputs: event.${name} ${why}`, isMisspelt: misspelt !== undefined };
  });
}

/** Where and when the event was, as outputs: never long. */
export function placeOutputs(event: ReceivedEvent | undefined) {
  return {
    sequence: String(event?.place?.sequence ?? ''),
    publishedAt: isoTime(event?.publishedAt),
    receivedAt: isoTime(event?.message.receivedAt),
    latencyMs: String(event?.latencyMs ?? ''),
  };
}

/** The outputs whose length others decide. */
export function foreignOutputs(event: ReceivedEvent | undefined, missing: readonly string[] | number) {
  return {
    subject: event?.subject ?? '',
    messageId: event?.messageId ?? '',
    stream: event?.place?.stream ?? '',
    correlationId: event?.correlationId ?? '',
    traceparent: event?.traceparent ?? '',
    missing: typeof missing === 'number' ? String(missing) : missing.join(', '),
  };
}
