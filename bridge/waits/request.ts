import type { Problems } from '../../shared/inputs/problems.ts';
import { quoted } from '../../shared/text/safeText.ts';
import { parseStartTime } from '../../shared/waiting/start.ts';
import type { HttpRequest } from '../http/route.ts';
import { HUBS, type Hub, type WaitKey } from './record.ts';

/** What a task's headers claim, before anything is verified. */
export interface TaskRequest {
  readonly ids: Omit<WaitKey, 'organization'>;
  readonly planUrl: string;
  readonly timeline: string;
  /** The job's. */
  readonly token: string;
}

/** Ids become parts of URLs: nothing else gets there. */
const GUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** Azure DevOps leaves a variable that it doesn't know as it is. */
const UNEXPANDED = /^\$\([^()]*\)$/;
/** What HTTP can carry as a bearer token. */
const TOKEN = /^[\x21-\x7e]+$/;

/** Reads the headers that every call of a task has. Notes problems; the result then mustn't be used. */
export function readTaskRequest(headers: HttpRequest['headers'], problems: Problems): TaskRequest {
  const text = (name: string) => readHeader(headers, name, problems);
  const guid = (name: string): string => {
    const given = text(name)?.toLowerCase() ?? '';
    if (given !== '' && !GUID.test(given)) problems.note(`${name}: ${quoted(given)} is not a GUID`, expected(name));
    return given;
  };
  return {
    planUrl: text('X-Plan-Url') ?? '',
    ids: {
      project: guid('X-Project-Id'),
      hub: readHub(text('X-Hub-Name'), problems),
      plan: guid('X-Plan-Id'),
      job: guid('X-Job-Id'),
      instance: guid('X-Task-Instance-Id'),
    },
    timeline: guid('X-Timeline-Id'),
    token: readToken(text('X-Job-Token'), problems),
  };
}

/** When the run started, in milliseconds since the epoch; undefined where the header is absent or isn't filled in. */
export function readRunStart(headers: HttpRequest['headers'], problems: Problems): number | undefined {
  const text = runStartText(headers);
  if (noteToken(headers, 'X-Run-Start', text, problems)) return undefined;
  if (text === '' || UNEXPANDED.test(text)) return undefined;
  const time = parseStartTime(text);
  if (time === undefined)
    problems.note(
      `X-Run-Start: ${quoted(text)} is not a time in ISO 8601 with its offset from UTC`,
      expected('X-Run-Start'),
    );
  return time;
}

/** The header X-Run-Start as it is; empty where there is none. */
export function runStartText(headers: HttpRequest['headers']): string {
  const text = headers['x-run-start'];
  return typeof text === 'string' ? text.trim() : '';
}

/** What Azure DevOps fills in for each header. */
const VARIABLES: Readonly<Record<string, string>> = {
  'X-Plan-Url': 'system.CollectionUri',
  'X-Project-Id': 'system.TeamProjectId',
  'X-Hub-Name': 'system.HostType',
  'X-Plan-Id': 'system.PlanId',
  'X-Job-Id': 'system.JobId',
  'X-Timeline-Id': 'system.TimelineId',
  'X-Task-Instance-Id': 'system.TaskInstanceId',
  'X-Job-Token': 'system.AccessToken',
  'X-Run-Start': 'system.PipelineStartTime',
};

function expected(name: string): string {
  return `Send $(${VARIABLES[name] ?? ''}) in it.`;
}

function readHeader(headers: HttpRequest['headers'], name: string, problems: Problems): string | undefined {
  const value = headers[name.toLowerCase()];
  const text = typeof value === 'string' ? value.trim() : '';
  if (text === '') problems.note(`${name}: the header is required`, expected(name));
  else if (UNEXPANDED.test(text))
    problems.note(`${name}: ${quoted(text)} is a variable that Azure DevOps doesn't set here`, expected(name));
  else if (name === 'X-Job-Token' || !noteToken(headers, name, text, problems)) return text;
  return undefined;
}

/** Whether a header holds the token of the job, which must not be shown as what is wrong with it. */
function noteToken(headers: HttpRequest['headers'], name: string, text: string, problems: Problems): boolean {
  const token = headers['x-job-token'];
  if (typeof token !== 'string' || token.trim() === '' || !text.includes(token.trim())) return false;
  problems.note(`${name}: holds the job's token`, expected(name));
  return true;
}

function readHub(text: string | undefined, problems: Problems): Hub {
  const hub = HUBS.find((one) => one === text?.toLowerCase());
  if (text !== undefined && hub === undefined)
    problems.note(`X-Hub-Name: ${quoted(text)} is not one of ${HUBS.join(', ')}`, expected('X-Hub-Name'));
  return hub ?? 'build';
}

/** Its problems are reported without showing it. */
function readToken(text: string | undefined, problems: Problems): string {
  if (text !== undefined && !TOKEN.test(text))
    problems.note('X-Job-Token: holds white space or other characters that no token has', expected('X-Job-Token'));
  return text ?? '';
}
