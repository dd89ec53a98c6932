import { parseDocument } from 'yaml';
import { apiError } from './apiError.ts';
import type { Answer } from './standInServer.ts';

/** A parameter as a pipeline's YAML declares it. Values are strings here, as in a request. */
export interface ParameterDeclaration {
  readonly name: string;
  readonly type: 'string' | 'number' | 'boolean' | 'object';
  readonly default?: string;
  /** The only values it accepts. */
  readonly values?: readonly string[];
}

export interface ParameterProblem {
  readonly kind: 'unknown' | 'type' | 'value' | 'missing';
  readonly message: string;
}

/** Which of the two errors reports invalid parameters: by the kind of problem, or always the same. */
export type ValidationForm = 'byProblem' | 'pipeline' | 'build';

/**
 * The problems with a run's parameters:
 * - runtime parameters page: a parameter has a type and may be restricted to `values`; its default is the first of the
 *   `values`, and without these it's required;
 * - runner.server issue 236: the YAML service refuses an undeclared parameter as unexpected.
 */
export function parameterProblems(
  declared: readonly ParameterDeclaration[],
  given: Readonly<Record<string, string>>,
): ParameterProblem[] {
  const problems: ParameterProblem[] = Object.keys(given)
    .filter((name) => !declared.some((one) => one.name === name))
    .map((name) => ({ kind: 'unknown', message: `Unexpected parameter '${name}'` }));
  for (const { name, type, default: fallback, values } of declared) {
    const value = given[name] ?? fallback ?? values?.[0];
    if (value === undefined) {
      problems.push({ kind: 'missing', message: `A value for the '${name}' parameter must be provided.` });
    } else if (!isOfType(value, type)) {
      const message = `The '${name}' parameter value '${value}' is not a valid ${capitalised(type)}.`;
      problems.push({ kind: 'type', message });
    } else if (values !== undefined && !values.includes(value)) {
      problems.push({ kind: 'value', message: `The '${name}' parameter is not a valid value: '${value}'.` });
    }
  }
  return problems;
}

/**
 * The response that reports problems:
 * - pipeline security inputs page and others' captures: PipelineValidationException, each problem on a line after
 *   the YAML file's name;
 * - azure-devops-node-api issue 392: BuildRequestValidationFailedException with a list of results, for a missing value.
 */
export function refuseParameters(problems: readonly ParameterProblem[], form: ValidationForm): Answer {
  const isBuild = form === 'build' || (form === 'byProblem' && problems.every(({ kind }) => kind === 'missing'));
  if (!isBuild) return invalidPipeline(problems.map(({ message }) => `/azure-pipelines.yml: ${message}`).join('\n'));
  return apiError(
    400,
    'BuildRequestValidationFailedException',
    'Could not queue the build because there were validation errors or warnings.',
    {
      ...{ space: 'Microsoft.TeamFoundation.Build.WebApi', assembly: 'Microsoft.TeamFoundation.Build2.WebApi' },
      customProperties: { ValidationResults: problems.map(({ message }) => ({ result: 'error', message })) },
    },
  );
}

/** The 400 of the Pipelines area. */
export function invalidPipeline(message: string): Answer {
  return apiError(400, 'PipelineValidationException', message, { space: 'Microsoft.Azure.Pipelines.WebApi' });
}

function isOfType(value: string, type: ParameterDeclaration['type']): boolean {
  switch (type) {
    case 'string':
      return true;
    case 'boolean':
      return /^(true|false)$/i.test(value);
    case 'number':
      return /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(value);
    case 'object':
      return parseDocument(value).errors.length === 0;
  }
}

function capitalised(word: string): string {
  return `${word[0]!.toUpperCase()}${word.slice(1)}`;
}
