import type { ReceivedEvent } from '../event/receivedEvent.ts';
import { interruptible, isInterruption } from '../text/interruptible.ts';
import { isObject } from '../text/json.ts';
import { probablyMeant } from '../text/nearest.ts';
import { quoted } from '../text/safeText.ts';

/** Names below `data`, from the outside in. */
export type FieldPath = readonly string[];

/** Reading the event again, and comparing its names. */
const LIMIT_MS = 100;
/** Absent fields that are told of. */
const MOST_ABSENT = 3;
const MOST_NAMES = 20;
/** Names that may be the one that is meant. */
const MOST_COMPARED = 1_000;

/** Whether the data has the field, whatever it holds. */
export function hasField(data: unknown, path: FieldPath): boolean {
  return leadsTo(data, path).length === path.length;
}

/**
 * Sentences on fields that no event had, with the names that the last event has there, and no values. The last full stop is
 * missing; empty when that takes too long to find out.
 */
export function describeAbsent(absent: readonly FieldPath[], event: ReceivedEvent): readonly string[] {
  if (absent.length === 0) return [];
  try {
    return interruptible(() => absent.slice(0, MOST_ABSENT).flatMap((path) => sentencesOn(path, event.data)), LIMIT_MS);
  } catch (error) {
    if (!isInterruption(error)) throw error;
    return [];
  }
}

/**
 * The first of the fields that an event doesn't have although it has one of nearly the same name. Both are as an expression has
 * them, such as `data.image`. Undefined when there is none. Has no limit of its own.
 *
 * @param named fields that aren't meant, since the expression names them as well
 */
export function misspeltField(
  fields: readonly FieldPath[],
  event: ReceivedEvent,
  named: readonly FieldPath[],
): { readonly absent: string; readonly meant: string } | undefined {
  for (const path of fields) {
    const { meant } = meantBy(path, event.data);
    if (meant === undefined || named.some((one) => meant.every((name, index) => one[index] === name))) continue;
    return { absent: shown(path), meant: shown(meant) };
  }
  return undefined;
}

/** Asks for the field that {@link misspeltField} finds, as a clause; empty when there is none, or finding it takes too long. */
export function askForField(
  fields: readonly FieldPath[],
  event: ReceivedEvent,
  named: readonly FieldPath[] = fields,
): string {
  if (fields.length === 0) return '';
  try {
    const misspelt = interruptible(() => misspeltField(fields, event, named), LIMIT_MS);
    return misspelt === undefined ? '' : `did you mean ${misspelt.meant}?`;
  } catch (error) {
    if (!isInterruption(error)) throw error;
    return '';
  }
}

/** How far a path leads, what is there, and the path that is probably meant, as far as there is one. */
function meantBy(path: FieldPath, data: unknown) {
  const parent = leadsTo(data, path);
  const name = path[parent.length];
  const value = parent.reduce<unknown>((outer, one) => (isObject(outer) ? outer[one] : undefined), data);
  if (name === undefined || !isObject(value)) return { parent, value };
  const meant = probablyMeant(name, Object.keys(value).slice(0, MOST_COMPARED));
  if (meant === undefined) return { parent, value };
  const whole = [...parent, meant, ...path.slice(parent.length + 1)];
  return { parent, value, meant: leadsTo(data, whole) };
}

function sentencesOn(path: FieldPath, data: unknown): string[] {
  const { parent, value, meant } = meantBy(path, data);
  const asked = `No event had ${shown(path)}`;
  if (!isObject(value)) return [asked, `In the last one, ${shown(parent)} is not an object`];
  const names = Object.keys(value);
  const listed = names.slice(0, MOST_NAMES).map(shownName);
  const has = listed.length === 0 ? 'nothing' : `${listed.join(', ')}${names.length > MOST_NAMES ? ', …' : ''}`;
  return [
    `${asked}${meant === undefined ? '' : ` (did you mean ${shown(meant)}?)`}`,
    `In the last one, ${shown(parent)} has ${has}`,
  ];
}

/** How far a path leads. */
function leadsTo(data: unknown, path: FieldPath): FieldPath {
  let value = data;
  for (const [index, name] of path.entries()) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return path.slice(0, index);
    value = value[name];
  }
  return path;
}

function shown(path: FieldPath): string {
  return ['data', ...path.map(shownName)].join('.');
}

/** A name as an expression has it, shortened. */
function shownName(name: string): string {
  return /^[A-Za-z_]\w{0,79}$/.test(name) ? name : quoted(name);
}
