import { utf8Text } from '../../shared/event/cloudEvent.ts';
import type { Problem } from '../../shared/errors.ts';
import { quoted } from '../../shared/text/safeText.ts';

/** Inputs that are given, by name. */
export type Inputs = Readonly<Record<string, string>>;

/** Sealed, and escaped as JSON escapes the worst of it, it still fits a message of 1 MiB. */
export const MOST_BODY_BYTES = 64 * 1_024;
const END = 'end';

/**
 * Reads the inputs of a task from its body: for each a line `--<plan id> <input name>` and then the value as it is, and at
 * last the line `--<plan id> end`. No value can contain such a line by chance, since nobody knows the plan's ID beforehand.
 *
 * @param plan the plan's ID
 * @param names all known inputs
 * @returns the inputs that are given: a blank value isn't, nor is an unexpanded `$(name)`
 */
export function readBody(
  body: Uint8Array,
  plan: string,
  names: readonly string[],
): { readonly inputs: Inputs } | Problem {
  if (body.length > MOST_BODY_BYTES) return bodyProblem(`has ${body.length} bytes, more than ${MOST_BODY_BYTES}`);
  const text = utf8Text(body);
  if (text === undefined) return bodyProblem('is not UTF-8');
  if (text.includes('\0')) return bodyProblem('holds a NUL character');
  const markers = markersIn(text, `--${plan}`);
  if (markers[0]?.start !== 0) return bodyProblem(`does not begin with the line "--${plan} <input name>"`);
  const inputs = new Map<string, string>();
  for (const [index, { rest, end }] of markers.entries()) {
    const name = rest.replace(/\r$/, '').replace(/^ /, '');
    if (name === END && rest.startsWith(' ')) {
      if (text.slice(end).trim() !== '') return bodyProblem(`goes on after the line "--${plan} end"`);
      return { inputs: Object.fromEntries([...inputs].filter(([input, value]) => isGiven(input, value))) };
    }
    if (!rest.startsWith(' ') || !names.includes(name))
      return bodyProblem(
        `has a line "--${plan}${quoted(rest.replace(/\r$/, '')).slice(1, -1)}", which names no input`,
        `The inputs are ${names.join(', ')}.`,
      );
    if (inputs.has(name)) return bodyProblem(`gives the input ${name} twice`);
    const next = markers[index + 1]?.start ?? text.length + 1;
    inputs.set(name, text.slice(end + 1, Math.max(end + 1, next - 1)).replace(/\r$/, ''));
  }
  return bodyProblem(`does not end with the line "--${plan} end"`);
}

/** A line that begins with the marker, and the rest of it. */
interface Marker {
  readonly start: number;
  /** Without its LF. */
  readonly end: number;
  readonly rest: string;
}

/** Lines that begin with a marker, in any case of its letters. A regular expression would be compiled for each call. */
function markersIn(text: string, marker: string): Marker[] {
  const markers: Marker[] = [];
  for (let start = 0, end = 0; end < text.length; start = end + 1) {
    end = text.indexOf('\n', start);
    if (end < 0) end = text.length;
    const line = text.slice(start, end);
    if (line.slice(0, marker.length).toLowerCase() === marker)
      markers.push({ start, end, rest: line.slice(marker.length) });
  }
  return markers;
}

function isGiven(name: string, value: string): boolean {
  return value.trim() !== '' && value !== `$(${name})`;
}

function bodyProblem(problem: string, remedy = ''): Problem {
  return {
    problem: `the body ${problem}`,
    remedy: `${remedy} Send it as the documentation of agentless waits shows.`.trim(),
  };
}
