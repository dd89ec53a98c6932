import { parseJson, isObject } from '../../../shared/text/json.ts';
import type { RecordedRequest } from './standInServer.ts';

/** Whether a request is to start a run; for moods and for counting. */
export function startsRun(request: RecordedRequest): boolean {
  return postsRun(request) && !previewsRun(request);
}

/** Whether a request is to preview a run. */
export function previewsRun(request: RecordedRequest): boolean {
  const body = parseJson(request.body)?.value;
  return postsRun(request) && isObject(body) && body['previewRun'] === true;
}

/** Whether a request is for a list of builds. */
export function listsBuilds({ method, path }: RecordedRequest): boolean {
  return method === 'GET' && /\/_apis\/build\/builds$/i.test(path);
}

/** Whether a request is to complete a task; for moods and for counting. */
export function completesTask({ method, path, body }: RecordedRequest): boolean {
  return method === 'POST' && /\/plans\/[^/]+\/events$/i.test(path) && body.includes('TaskCompleted');
}

/** Whether a request is to set outputs of a task. */
export function setsOutputs({ method, path, body }: RecordedRequest): boolean {
  return method === 'PATCH' && /\/timelines\/[^/]+\/records$/i.test(path) && body.includes('"variables"');
}

/** Whether a request is to make a log or to fill it. */
export function writesLog({ method, path }: RecordedRequest): boolean {
  return method === 'POST' && /\/plans\/[^/]+\/logs(\/\d+)?$/i.test(path);
}

/** Whether a request is to read a plan. */
export function readsPlan({ method, path }: RecordedRequest): boolean {
  return method === 'GET' && /\/plans\/[^/]+$/i.test(path);
}

function postsRun({ method, path }: RecordedRequest): boolean {
  return method === 'POST' && /\/_apis\/pipelines\/[^/]+\/runs$/i.test(path);
}
