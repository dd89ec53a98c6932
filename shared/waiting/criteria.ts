import type { Fields } from '../inputs/fields.ts';
import { reasonOf } from '../errors.ts';
import { compileExpression, type Expression } from '../expression/expression.ts';
import { withoutQuoted } from '../expression/jmespath.ts';
import { parseTrustedKeys, type TrustedKey } from '../signing/signature.ts';
import { knownSecrets } from '../text/masker.ts';
import { quoted, shortened } from '../text/safeText.ts';

const MOST_EVENTS = 10_000;

/** An expression with the text it was compiled from. */
export interface NamedExpression extends Expression {
  readonly text: string;
}

/** What an event has to be, and how many have to come. */
export interface WaitCriteria {
  /** Patterns, none covered by another. */
  readonly subjects: readonly string[];
  readonly delivery: 'jetStream' | 'core';
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
  /** How long to wait, from when the clock started. */
  readonly timeoutMs: number;
  readonly idleTimeoutMs: number | undefined;
  /** What is read from the event that decides. */
  readonly outputs: readonly { readonly name: string; readonly expression: NamedExpression }[];
}

/**
 * Reads the conditions of a wait from inputs of these names; problems are noted in `fields`. Call {@link readOutputs} after
 * everything else, so that problems are reported in the order of the inputs.
 *
 * @param mostEvents the most that `count` may ask for
 */
export function readCriteria(
  fields: Fields,
  mostEvents = MOST_EVENTS,
): Omit<WaitCriteria, 'subjects' | 'delivery' | 'timeoutMs' | 'outputs'> {
  const expression = (name: string) => readExpression(fields, name, fields.text(name));
  return {
    onInvalid: fields.oneOf('onInvalid', ['skip', 'fail']),
    match: expression('match'),
    failWhen: expression('failWhen'),
    correlationId: fields.expanded('correlationId'),
    ...readQuorum(fields, mostEvents),
    trustedKeys: readTrustedKeys(fields),
    maxEventAgeMs: fields.duration('maxEventAge'),
    idleTimeoutMs: fields.duration('idleTimeout'),
  };
}

const LITERALLY =
  'Set it, or check its spelling. To compare with such a text itself, write $ as \\u0024 in a JSON literal: `"\\u0024(name)"`.';

/** Compiles an expression; problems are noted in `fields` under the name. */
export function readExpression(fields: Fields, name: string, text: string | undefined): NamedExpression | undefined {
  if (text === undefined) return undefined;
  if (!fields.isExpanded(name, text, LITERALLY)) return undefined;
  // A message that quotes part of the expression would show part of the secret, or a respelt name from it.
  const holdsSecret = knownSecrets.mask(text) !== text;
  try {
    const expression = compileExpression(text);
    const { certain, likely } = expression.mistakes;
    if (certain.length > 0 && holdsSecret)
      fields.problem(`${name}: names what no event has, and holds a secret, so no more of it is shown`);
    else for (const mistake of certain) fields.problem(`${name}: ${mistake}`);
    if (!holdsSecret) for (const doubt of likely) fields.warning(`${name}: ${doubt}.`);
    return { ...expression, ...(holdsSecret && { nearMiss: () => undefined, dataFields: [] }), text };
  } catch (error) {
    fields.problem(
      holdsSecret
        ? `${name}: is not a JMESPath expression, and holds a secret, so no more of it is shown. Put what the secret stands for in single quotes`
        : `${name}: ${quoted(text)} is not a JMESPath expression: ${reasonOf(error)}`,
    );
    return undefined;
  }
}

function readQuorum(fields: Fields, mostEvents: number): Pick<WaitCriteria, 'count' | 'distinctBy' | 'expect'> {
  const count = fields.integer('count', 1, 1, mostEvents);
  const distinctBy = readExpression(fields, 'distinctBy', fields.text('distinctBy'));
  const expect = [...new Set(fields.lines('expect'))];
  fields.isExpanded('expect', expect.join('\n'));
  if (expect.length === 1) fields.warnOfCommas('expect', expect[0] ?? '', 'value');
  if (expect.length === 0) return { count, distinctBy, expect: undefined };
  if (fields.text('distinctBy') === undefined)
    fields.problem('expect: needs distinctBy, the expression whose values it lists');
  fields.unused('count', 'expect replaces it', '1');
  return { count: expect.length, distinctBy, expect };
}

function readTrustedKeys(fields: Fields): readonly TrustedKey[] | undefined {
  const text = fields.text('trustedKeys');
  if (text === undefined || !fields.isExpanded('trustedKeys', text)) return undefined;
  const { keys, problems } = parseTrustedKeys(text);
  for (const { problem, remedy } of problems) fields.problem(`trustedKeys: ${problem}`, remedy);
  return keys;
}

/** The beginning of another output in the same line. Only variables of `let`, which have a `$`, are set with `=`. */
const ANOTHER_OUTPUT = /(?<=[\s,;])[A-Za-z_][\w.-]*\s*=(?!=)/g;
/** What stands before and after the first `=`. */
const OUTPUT = /^([^=]*)=(?!=)(.*)$/;
/** A name, which may hold spaces by mistake. */
const OUTPUT_NAME = /^(?:[^\s'"`]+|\w[\w .-]*)$/;
/** Outputs of one line that are looked at and written out. */
const MOST_WRITTEN = 5;

/** Reads what is taken from the event that decides: `name=JMESPath` lines of the input `outputs`. */
export function readOutputs(fields: Fields): WaitCriteria['outputs'] {
  const names = new Set<string>();
  return fields.lines('outputs').flatMap((line) => {
    const [, before = '', text = ''] = OUTPUT.exec(line) ?? [];
    const name = OUTPUT_NAME.test(before.trim()) ? before.trim() : '';
    // Parts of a line that holds a secret would show part of the secret.
    const write = (...parts: string[]) =>
      knownSecrets.mask(line) === line ? parts.map((it) => shortened(it, 80)).join(' and ') : '';
    if (name === '' || text.trim() === '') {
      const [, key, value = ''] =
        /^([A-Za-z_]\w*)\s*:\s*(\S.*)$/.exec(line) ?? /^(?=data\.(?:\w+\.)*([A-Za-z_]\w*)$)(.*)$/.exec(line) ?? [];
      const remedy = key === undefined ? '' : write(`${key}=${value}`);
      fields.problem(`outputs: ${quoted(line)} is not of the form name=JMESPath`, remedy && `Write ${remedy}.`);
      return [];
    }
    const several = outputsIn(name, text);
    if (several.length > 1) {
      const written = write(...several.slice(0, MOST_WRITTEN).map((it) => quoted(it)));
      const more = several.length > MOST_WRITTEN ? ' and so on' : '';
      fields.problem(
        `outputs: ${quoted(line)} holds several outputs in one line`,
        `Write one name=expression per line${written && `: ${written}${more}`}.`,
      );
      return [];
    }
    if (!/^[A-Za-z_]\w*$/.test(name)) {
      const nearest = name.replace(/\W/g, '_').replace(/^\d/, '_$&');
      const remedy = write(`${nearest}=${text.trim()}`);
      fields.problem(
        `outputs: ${quoted(name)} is not a valid name: it needs letters, digits and underscores, and cannot begin with a digit`,
        remedy && `Write ${remedy}.`,
      );
      return [];
    }
    if (names.has(name.toLowerCase())) fields.problem(`outputs: the name ${quoted(name)} is given twice`);
    names.add(name.toLowerCase());
    const expression = readExpression(fields, `outputs: ${name}`, text.trim());
    return expression === undefined ? [] : [{ name, expression }];
  });
}

/** The outputs in one line, each as `name=expression`. */
function outputsIn(name: string, text: string): string[] {
  const trimmed = text.trim();
  const starts = [...withoutQuoted(trimmed).matchAll(ANOTHER_OUTPUT)].map(({ index }) => index);
  const parts = [0, ...starts].map((start, index) => trimmed.slice(start, starts[index]).trim());
  const outputs = parts.map((part, index) => `${index === 0 ? `${name}=` : ''}${part.replace(/[,;]$/, '').trimEnd()}`);
  // Between spaces alone, it may as well be a comparison with one = too few.
  const areSeparated = parts
    .slice(0, -1)
    .slice(0, MOST_WRITTEN)
    .every((part, index) => /[,;]$/.test(part) || isExpression(index === 0 ? part : part.replace(/^[^=]*=/, '')));
  return areSeparated ? outputs : [];
}

function isExpression(text: string): boolean {
  try {
    compileExpression(text);
    return true;
  } catch {
    return false;
  }
}
