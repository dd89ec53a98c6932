/**
 * Stands for the part of Azure DevOps that tasks without an agent call back to, for any number of plans with one task each:
 * it only stores which tasks are completed, since the ids of a plan's parts follow from its own.
 * Usage: tsx scripts/bench/planServer.ts; prints its URL, then a line of JSON for each call that ends a task or breaks a rule
 * (see {@link PlanNote}), and ends with its standard input.
 */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { PIPELINE, PROJECT, taskOf, type PlanNote } from './planTask.ts';

interface Answer {
  readonly status: number;
  readonly body?: unknown;
}

const ROUTE =
  /^\/contoso\/([\da-f-]{36})\/_apis\/distributedtask\/hubs\/build\/plans\/([\da-f-]{36})(\/[^?]*)?\?api-version=/;
const NOT_FOUND: Answer = { status: 404, body: { message: 'There is no such thing.' } };
const LOG = { lineCount: 1, createdOn: '2026-05-31T08:09:10Z', location: null };

const completed = new Set<string>();

function note(entry: PlanNote): void {
  process.stdout.write(`${JSON.stringify(entry)}\n`);
}

async function answer(request: IncomingMessage): Promise<Answer> {
  const [, project, plan = '', place = ''] = ROUTE.exec(request.url ?? '') ?? [];
  const task = taskOf(plan);
  if (project !== PROJECT || task === undefined) return NOT_FOUND;
  if (request.headers.authorization !== `Bearer ${task.token}`)
    return { status: 401, body: { message: "The token doesn't belong to this plan." } };
  const records = `/timelines/${task.timeline}/records`;
  switch (`${request.method} ${place}`) {
    case 'GET ':
      return {
        status: 200,
        body: { scopeIdentifier: PROJECT, planId: plan, planType: 'Build', version: 12, definition: PIPELINE },
      };
    case `GET ${records}`: {
      const state = completed.has(plan) ? 'completed' : 'inProgress';
      const value = ['Stage', 'Phase', 'Job'].map((type) => ({ id: task.job, type, state: 'inProgress', issues: [] }));
      return { status: 200, body: { count: 4, value: [...value, { id: task.instance, type: 'Task', state }] } };
    }
    case `PATCH ${records}`:
      await text(request);
      return { status: 200, body: { count: 1, value: [{ id: task.instance, type: 'Task' }] } };
    case 'POST /logs':
      await text(request);
      return { status: 200, body: { id: 5, path: `logs\\${task.instance}`, ...LOG } };
    case 'POST /logs/5':
      await text(request);
      return { status: 200, body: { id: 5, ...LOG } };
    case 'POST /events': {
      const at = performance.timeOrigin + performance.now();
      const { name, jobId, taskId, result } = JSON.parse(await text(request)) as Record<string, unknown>;
      const isTask = name === 'TaskCompleted' && jobId === task.job && taskId === task.instance;
      note({ plan, at, result: isTask ? String(result) : 'of another task', isAgain: completed.has(plan) });
      completed.add(plan);
      return { status: 204 };
    }
    default:
      return NOT_FOUND;
  }
}

const server = createServer((request, response) => {
  void answer(request).then(({ status, body }) => {
    response.statusCode = status;
    if (body === undefined) response.end();
    else response.setHeader('Content-Type', 'application/json').end(JSON.stringify(body));
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}/contoso/`);
});
process.stdin.on('end', () => process.exit()).resume();
