import { isObject, parseJson } from '../../../shared/text/json.ts';
import { apiError } from './apiError.ts';
import { isoTime } from './isoTime.ts';
import type { PlanIssuer } from './planIssuer.ts';
import type { Plan, Plans, PlanTask, TaskResult, TaskState } from './plans.ts';
import type { ApiRequest, ApiRoute } from './routes.ts';
import { json, type Answer } from './standInServer.ts';

const SPACE = 'Microsoft.TeamFoundation.DistributedTask.WebApi';
const PLAN = '{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}';
const HUBS = ['build', 'release', 'gates', 'checks'];
const GUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;
const NO_TASK = '00000000-0000-0000-0000-000000000000';
const MOST_LINE = 1_024;
const STATES = ['pending', 'inProgress', 'completed'];
const RESULTS = ['succeeded', 'failed'];
const FIELDS = ['id', 'state', 'result', 'variables', 'log', 'percentComplete', 'currentOperation'];

type PlanHandler = (plan: Plan, request: ApiRequest) => Answer | Promise<Answer>;

/** The distributed task plan area, as far as agentless tasks call back to it. */
export function planRoutes(plans: Plans, issuer: PlanIssuer): ApiRoute[] {
  const refuse = (status: number, typeKey: string, message: string): Answer => {
    plans.brokenRules.push(message);
    return apiError(status, typeKey, message, { space: SPACE });
  };
  const route = (method: ApiRoute['method'], place: string, handle: PlanHandler): ApiRoute => ({
    method,
    path: `${PLAN}${place}`,
    answer: (request) => {
      const plan = findPlan(plans, request, refuse);
      return 'status' in plan ? plan : handle(plan, request);
    },
  });
  const invalid = (message: string) => refuse(400, 'InvalidArgumentValueException', message);

  /** The parsed body; an error response if it isn't a JSON object. */
  const bodyOf = ({ headers, body }: ApiRequest): { readonly value: Record<string, unknown> } | Answer => {
    const type = headers['content-type']?.split(';')[0]?.trim().toLowerCase();
    if (type !== 'application/json') return refuse(415, 'UnsupportedMediaType', `The media type is ${type}.`);
    const value = parseJson(body)?.value;
    return isObject(value) ? { value } : invalid('The body is no JSON object.');
  };

  const timelineOf = (plan: Plan, { parameters }: ApiRequest): Answer | undefined =>
    parameters['timeline']!.toLowerCase() === plan.timeline
      ? undefined
      : refuse(404, 'TimelineNotFoundException', `No timeline ${parameters['timeline']!} is in the plan ${plan.id}.`);

  /** The problem with a record to change. */
  const recordProblem = (plan: Plan, record: unknown): string | undefined => {
    if (!isObject(record) || typeof record['id'] !== 'string' || !GUID.test(record['id'])) return 'A record has no id.';
    const unknown = Object.keys(record).find((name) => !FIELDS.includes(name));
    if (unknown !== undefined) return `A record has no ${unknown}.`;
    const { state, log, percentComplete: percent, currentOperation: operation, variables = {} } = record;
    if (state !== undefined && !STATES.some((one) => one === state)) return 'A record has no such state.';
    if (log !== undefined && !(isObject(log) && plan.logs.has(Number(log['id']))))
      return 'A record has an unknown log.';
    if (percent !== undefined && !(Number.isInteger(percent) && Number(percent) >= 0 && Number(percent) <= 100))
      return 'percentComplete is no whole number from 0 to 100.';
    if (operation !== undefined && typeof operation !== 'string') return 'currentOperation is no text.';
    const isVariable = (one: unknown) =>
      isObject(one) && typeof one['value'] === 'string' && typeof (one['isSecret'] ?? false) === 'boolean';
    if (!isObject(variables) || !Object.values(variables).every(isVariable)) return 'A variable has no value.';
    return undefined;
  };

  const change = (plan: Plan, { id, ...fields }: Record<string, unknown>) => {
    const task = plan.tasks.get(String(id).toLowerCase());
    if (task === undefined) {
      plans.brokenRules.push(`The record ${String(id)} is that of no task.`);
      return;
    }
    if (task.state === 'completed' && fields['variables'] !== undefined)
      plans.brokenRules.push('Outputs came after TaskCompleted: nobody sees them.');
    const { variables, ...others } = fields as Partial<TaskState>;
    const [old, log] = [task.log, others.log].map((one) => one && plan.logs.get(one.id));
    // Repeating a log loses nothing.
    if (old && log && old.isOwn !== true && old.text !== log.text)
      plans.brokenRules.push('A second log takes the place of the first one.');
    Object.assign(task.variables, variables);
    Object.assign(task, others);
  };

  return [
    route('GET', '', (plan) => json(200, planBody(plan))),
    route('GET', '/timelines/{timeline}/records', (plan, request) => {
      const value = [...plan.tasks.values()].map(recordBody);
      return timelineOf(plan, request) ?? json(200, { count: value.length, value });
    }),
    route('PATCH', '/timelines/{timeline}/records', (plan, request) => {
      const wrong = timelineOf(plan, request);
      if (wrong !== undefined) return wrong;
      const body = bodyOf(request);
      if ('status' in body) return body;
      const { value: records, count } = body.value;
      if (!Array.isArray(records) || records.length !== count) return invalid('The records and their count differ.');
      const problem = records.map((one) => recordProblem(plan, one)).find((one) => one !== undefined);
      if (problem !== undefined) return invalid(problem);
      for (const record of records as Record<string, unknown>[]) change(plan, record);
      const value = [...plan.tasks.values()].map(recordBody);
      return json(200, { count: value.length, value });
    }),
    route('POST', '/logs', (plan, request) => {
      const body = bodyOf(request);
      if ('status' in body) return body;
      const { path } = body.value;
      if (typeof path !== 'string' || !/^logs\\[\da-f-]{36}$/i.test(path)) return invalid('The path is none of a log.');
      const id = plan.logs.size + 1;
      plan.logs.set(id, { path, text: '' });
      return json(200, { id, path, lineCount: 0, createdOn: isoTime(Date.now()), location: null });
    }),
    route('POST', '/logs/{log}', (plan, request) => {
      const log = plan.logs.get(Number(request.parameters['log']));
      if (log === undefined) return refuse(404, 'TaskLogNotFoundException', `No log ${request.parameters['log']!}.`);
      if (request.headers['content-type'] !== 'application/octet-stream')
        return refuse(415, 'UnsupportedMediaType', 'A log is bytes.');
      if (request.body === '') return invalid('There are no bytes.');
      log.text += request.body
        .split('\n')
        .map((line) => line.slice(0, MOST_LINE))
        .join('\n');
      return json(200, {
        id: Number(request.parameters['log']),
        path: log.path,
        lineCount: log.text.split('\n').length,
      });
    }),
    route('POST', '/events', (plan, request) => {
      const body = bodyOf(request);
      if ('status' in body) return body;
      const { name, jobId, taskId, result } = body.value;
      if (name !== 'TaskAssigned' && name !== 'TaskStarted' && name !== 'TaskCompleted')
        return invalid(`There is no event ${String(name)}.`);
      if (![jobId, taskId].every((id) => typeof id === 'string' && GUID.test(id))) return invalid('An id is no GUID.');
      const isCompletion = name === 'TaskCompleted';
      if (isCompletion && !RESULTS.includes(String(result))) return invalid(`There is no result ${String(result)}.`);
      const task = taskOf(plan, String(jobId), String(taskId));
      // A user's report: an event for a task that has ended, for whatever reason, is an internal error.
      if (task?.state === 'completed') return noSession(plan);
      plan.events.push({
        ...{ name, jobId: String(jobId), taskId: String(taskId), isIgnored: task === undefined },
        result: isCompletion ? String(result) : undefined,
      });
      if (task === undefined) plans.brokenRules.push(`${name} is for no task: nobody hears of it.`);
      else if (isCompletion) {
        Object.assign(task, { state: 'completed', result });
        task.complete(result as TaskResult);
      }
      return { status: 204 };
    }),
    route('POST', '/jobs/{job}/oidctoken', async (plan, request) => {
      const body = bodyOf(request);
      if ('status' in body) return body;
      const job = request.parameters['job']!.toLowerCase();
      if (!plan.jobs.has(job)) return refuse(404, 'TaskOrchestrationJobNotFoundException', `No job ${job}.`);
      if (request.identity.job?.id !== job)
        return refuse(403, 'AccessCheckException', 'The token is one of another job of the plan.');
      return json(200, { oidcToken: await issuer.issue(plan) });
    }),
  ];
}

/** The plan of a request; an error response if the caller has no such plan. */
function findPlan(
  plans: Plans,
  { identity, parameters, method }: ApiRequest,
  refuse: (status: number, typeKey: string, message: string) => Answer,
): Plan | Answer {
  const { project = '', hub = '', plan: id = '' } = parameters;
  if (!GUID.test(project) || !GUID.test(id)) return refuse(400, 'InvalidArgumentValueException', 'An id is no GUID.');
  if (!HUBS.includes(hub.toLowerCase())) return refuse(404, 'TaskHubNotFoundException', `There is no task hub ${hub}.`);
  if (identity.job?.plan !== id.toLowerCase())
    return refuse(403, 'AccessCheckException', `The token is none of a job of the plan ${id}.`);
  const plan = plans.find(id);
  if (plan === undefined || plan.fate === 'deleted')
    return apiError(404, 'TaskOrchestrationPlanNotFoundException', `No plan found for identifier ${id}.`, {
      space: SPACE,
    });
  if (plan.hub.toLowerCase() !== hub.toLowerCase() || plan.project.id.toLowerCase() !== project.toLowerCase())
    return refuse(404, 'TaskOrchestrationPlanNotFoundException', `The plan ${id} is in another hub or project.`);
  return plan.fate === 'ended' && method !== 'GET' ? noSession(plan) : plan;
}

/** The task of an event; gates before version 13 send the task's id as the job's. */
function taskOf(plan: Plan, jobId: string, taskId: string): PlanTask | undefined {
  if (plan.isOldGate) return taskId === NO_TASK ? plan.tasks.get(jobId.toLowerCase()) : undefined;
  const task = plan.tasks.get(taskId.toLowerCase());
  return task?.job === jobId.toLowerCase() ? task : undefined;
}

/** What users report about events for a plan whose orchestration has ended. */
function noSession({ id }: Plan): Answer {
  const message = `No orchestration session found for id ${id}.`;
  return apiError(500, 'OrchestrationSessionNotFoundException', message, { space: 'Microsoft.VisualStudio.Services' });
}

function planBody(plan: Plan) {
  const { id, project, hub, version, definition, owner, timeline } = plan;
  return {
    ...{ scopeIdentifier: project.id, planId: id, planType: hub, version, planGroup: `${project.id}:${definition.id}` },
    ...{ artifactUri: `vstfs:///Build/Build/${owner.id}`, timeline: { id: timeline, changeId: 1, location: null } },
    ...{ definition: { ...definition, _links: {} }, owner: { ...owner, _links: {} } },
  };
}

function recordBody({ instance, job, state, result, variables, log, percentComplete, currentOperation }: PlanTask) {
  return {
    ...{ id: instance, parentId: job, type: 'Task', name: 'WaitForNatsEventAgentless', state, result, variables },
    ...{ log, percentComplete, currentOperation, changeId: 1, attempt: 1, issues: [] },
  };
}
