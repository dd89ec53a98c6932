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

function postsRun({ method, path }: RecordedRequest): boolean {
  return method === 'POST' && /\/_apis\/pipelines\/[^/]+\/runs$/i.test(path);
}
