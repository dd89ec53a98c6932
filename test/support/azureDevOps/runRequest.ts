import { isObject, parseJson } from '../../../shared/text/json.ts';
import { apiError } from './apiError.ts';
import { json, type Answer, type RecordedRequest } from './standInServer.ts';

/** The body of a request for a run. */
export interface RunRequest {
  /** Undefined: the pipeline's default branch. */
  readonly ref: string | undefined;
  readonly parameters: Readonly<Record<string, string>>;
  /** Names of the variables it sets. */
  readonly variables: readonly string[];
  readonly isPreview: boolean;
}

/** Members that the real service implements and this stand-in refuses, since it doesn't. */
const NOT_HERE = ['stagesToSkip', 'yamlOverride'];

/**
 * Reads the body by azure-devops-node-api's PipelinesInterfaces, where `templateParameters` are strings. Anything else
 * is ignored: azure-devops-docs issue 7814 (a misplaced parameter "has no impact").
 * @returns an error response if it doesn't fit
 */
export function readRunRequest({ headers, body }: RecordedRequest): RunRequest | Answer {
  const mediaType = headers['content-type']?.split(';')[0]?.trim() ?? '';
  if (!/^application\/json$/i.test(mediaType)) {
    const Message = `The request entity's media type '${mediaType}' is not supported for this resource.`;
    return json(415, { count: 1, value: { Message } });
  }
  const value = parseJson(body)?.value;
  if (!isObject(value)) return refuse('runParameters');
  const unknown = NOT_HERE.find((name) => value[name] !== undefined);
  if (unknown !== undefined) throw new Error(`The stand-in's runs don't know ${unknown}.`);
  const { templateParameters = {}, variables = {}, previewRun = false } = value;
  if (!isObject(templateParameters) || !Object.values(templateParameters).every((one) => typeof one === 'string')) {
    return refuse('templateParameters');
  }
  if (!isObject(variables) || !Object.values(variables).every(isObject)) return refuse('variables');
  if (typeof previewRun !== 'boolean') return refuse('previewRun');
  let part: unknown = value;
  for (const name of ['resources', 'repositories', 'self', 'refName']) {
    part = isObject(part) ? part[name] : null;
    if (part === undefined) break;
  }
  if (part !== undefined && typeof part !== 'string') return refuse('resources');
  const parameters = templateParameters as Record<string, string>;
  return { ref: part, parameters, variables: Object.keys(variables), isPreview: previewRun };
}

/** Only the status is certain: a body of the wrong type is a bad request. */
function refuse(name: string): Answer {
  const message = `Value is not valid.\r\nParameter name: ${name}`;
  return apiError(400, 'InvalidArgumentValueException', message, { space: 'Microsoft.Azure.Pipelines.WebApi' });
}
