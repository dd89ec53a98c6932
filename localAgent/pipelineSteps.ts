import { quoted, safeText } from '../shared/text/safeText.ts';
import { parseCondition } from './conditions.ts';
import { didYouMean, stepNameProblem } from './misspelt.ts';
import type { ScriptRequest, TaskRequest } from './localAgent.ts';
import {
  asMap,
  asText,
  asTexts,
  checkKeys,
  problemAt,
  readAt,
  readFlag,
  readNumber,
  unsupported,
} from './pipelineYaml.ts';
import type { Yaml, YamlMap } from './pipelineYaml.ts';

/** A step that only Azure Pipelines itself can run. */
export interface OtherStep {
  /** The task, such as `AzureKeyVault@2`, or the key of a step that stands for one, such as `publish`. */
  readonly other: string;
  readonly name?: string;
  readonly displayName?: string;
}

export type PipelineStep = (TaskRequest | ScriptRequest | OtherStep) & {
  /** The step in the file. */
  readonly source: YamlMap;
};

/** What any step may have. */
export const STEP_KEYS: readonly string[] = [
  'displayName',
  'name',
  'env',
  'condition',
  'enabled',
  'continueOnError',
  'timeoutInMinutes',
  'retryCountOnTaskFailure',
];
/** Inputs that take several lines, and what is between a name and its value in one of them. */
const LINES = new Map(Object.entries({ subject: '', expect: '', trustedkeys: '', outputs: '=', headers: ': ' }));
const SCRIPTS = ['script', 'bash'] as const;
/** Keys of steps that stand for tasks this machine does not have. */
const OTHERS = ['download', 'publish', 'powershell', 'pwsh', 'getPackage'];
/** Fetch options mean nothing here, since the files are already there. */
const CHECKOUT_KEYS = [
  ...['checkout', 'clean', 'displayName', 'fetchDepth', 'fetchTags', 'lfs', 'persistCredentials', 'submodules'],
];

/** The repository of a checkout step: `self`, `none` or one that the file declares; undefined for any other step. */
export function checkoutOf(entry: YamlMap, where: string): string | undefined {
  if (!('checkout' in entry)) return undefined;
  checkKeys(entry, CHECKOUT_KEYS, `a step of ${where}`);
  return asText(entry.checkout, where);
}

/** @returns undefined for a step that does nothing: it's disabled, or only says what not to download */
export function readStep(entry: YamlMap, job: string): PipelineStep | undefined {
  const where = `a step of ${job}`;
  const text = (key: string): string | undefined => (key in entry ? asText(entry[key], where) : undefined);
  const [name, displayName, workingDirectory] = [text('name'), text('displayName'), text('workingDirectory')];
  const nameProblem = name === undefined ? undefined : stepNameProblem(name);
  if (nameProblem !== undefined) throw problemAt(entry, `${job}: ${nameProblem}`, 'name');
  const other = OTHERS.find((key) => key in entry);
  if (other !== undefined) {
    if (entry[other] === 'none' || !readFlag(entry, 'enabled', true, where)) return undefined;
    return {
      other,
      source: entry,
      ...(name !== undefined && { name }),
      ...(displayName !== undefined && { displayName }),
    };
  }
  const scriptKey = SCRIPTS.find((key) => key in entry);
  if (!scriptKey && !('task' in entry)) {
    const keys = Object.keys(entry);
    const [hint = ''] = keys.map((key) => didYouMean(key, ['task', 'checkout', ...SCRIPTS, ...OTHERS])).filter(Boolean);
    throw new Error(`${unsupported(`a step with the keys ${keys.join(', ')}`, job).message}.${hint}`);
  }
  // Those of a task's step are checked where its inputs are known.
  if (scriptKey) checkKeys(entry, [...STEP_KEYS, scriptKey, 'workingDirectory'], where);

  const common = {
    source: entry,
    ...(name !== undefined && { name }),
    ...(displayName !== undefined && { displayName }),
    env: asTexts(entry.env ?? {}, where),
    condition: readCondition(entry, where, ['variables']),
    continueOnError: readFlag(entry, 'continueOnError', false, where),
    timeoutInMinutes: readNumber(entry, 'timeoutInMinutes', where),
    retryCountOnTaskFailure: readNumber(entry, 'retryCountOnTaskFailure', where),
  };
  if (!readFlag(entry, 'enabled', true, where)) return undefined;
  if (!scriptKey) return { ...common, task: asText(entry.task, where), inputs: readInputs(entry.inputs || {}, where) };
  return {
    ...common,
    script: asText(entry[scriptKey], where),
    ...(workingDirectory !== undefined && { workingDirectory }),
  };
}

function readInputs(value: Yaml, where: string): Record<string, string> {
  const inputs = asMap(value, where);
  return Object.fromEntries(
    Object.entries(inputs).map(([key, input = '']) => {
      const read = (): string => asText(input, `${key} of ${where}`, (text) => adviceOnInput(key, input, text));
      return [key, readAt(inputs, read, key)];
    }),
  );
}

/** How to write a list or mapping that is given to an input: a task's inputs are texts. Undefined: nobody knows. */
function adviceOnInput(key: string, value: Yaml, text: string): string | undefined {
  const between = LINES.get(key.toLowerCase());
  const [line] = between === undefined ? [] : linesOf(value, between);
  const below = ` Write "${key}: |" and below it, indented further,`;
  if (line !== undefined) return `${below} a line for each, such as ${quoted(line)}.`;
  return key.toLowerCase() === 'payload' && !/^[[{]/.test(text) ? `${below} the JSON.` : undefined;
}

/** The lines that a list or mapping is meant to be. */
function linesOf(value: Yaml, between: string): string[] {
  if (typeof value === 'string') return [value];
  if (Array.isArray(value)) return (value as readonly Yaml[]).flatMap((item) => linesOf(item, between));
  return Object.entries(value).flatMap(([name, one]) =>
    between !== '' && typeof one === 'string' ? [`${name}${between}${one}`] : [],
  );
}

/** The text of a valid condition; `roots` are what its values may begin with. */
export function readCondition(entry: YamlMap, where: string, roots: readonly string[]): string {
  const text = asText(entry.condition ?? 'succeeded()', where);
  try {
    parseCondition(text, roots);
  } catch {
    const meant = correctedExpression(text, !roots.includes('dependencies'));
    if (!isCondition(meant, roots)) throw unsupported(`condition: ${text}`, where);
    const problem = safeText(`The condition of ${where} has a mistake: ${text}. Write condition: ${meant}`);
    throw problemAt(entry, problem, 'condition');
  }
  return text;
}

function isCondition(text: string, roots: readonly string[]): boolean {
  try {
    parseCondition(text, roots);
    return true;
  } catch {
    return false;
  }
}

/**
 * An expression without the mistakes that are often made: double quotes, `output` for `outputs`, and in the condition of a step
 * `step.output`, which is a variable there.
 */
export function correctedExpression(text: string, isOfStep = false): string {
  const mistakes =
    /'(?:[^']|'')*'|"([^"']*)"|\.output(?=\[)|(?<![\w.])(?!(?:variables|dependencies|stageDependencies)\b)[A-Za-z_]\w*(?:\.\w+)+/g;
  return text.replace(mistakes, (part, inner: string | undefined) => {
    if (inner !== undefined) return `'${inner}'`;
    if (part === '.output') return '.outputs';
    return part.startsWith("'") || !isOfStep ? part : `variables['${part}']`;
  });
}
