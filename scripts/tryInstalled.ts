/**
 * Runs the pipeline azure-pipelines.try.yml, which uses the installed tasks of the dev channel, and fails unless it
 * succeeds with this very version of them. An organization takes some minutes to install an update: until then the
 * pipeline runs with the version before and is run again.
 * Usage, in a pipeline only, with Node.js 24 and nothing installed, since it has a token: node scripts/tryInstalled.ts
 *   (TRY_PIPELINE_ID: the number of that pipeline; SYSTEM_ACCESSTOKEN: the job's token, which needs "Queue builds" on it
 *   and nothing else)
 */
import { readExtension, readJson, readTask, TASK_NAMES, type PackageManifest } from './build/manifest.ts';
import { stampTask } from './build/channels.ts';
import { setTimeout as delay } from 'node:timers/promises';

const ATTEMPTS = 15;
const PAUSE_MS = Number(process.env['TRY_PAUSE_MS'] || 60_000);
const RUN_MS = 20 * 60_000;

interface Timeline {
  readonly records: readonly { readonly task?: { readonly id: string; readonly version: string } | null }[];
}

const project = readJson('package.json') as PackageManifest;
const wanted = new Map(
  TASK_NAMES.map((name) => {
    const { id, version } = stampTask(readTask(name), project, 'dev');
    return [id.toLowerCase(), `${version.Major}.${version.Minor}.${version.Patch}`];
  }),
);

for (let attempt = 1; ; attempt++) {
  const { id, result } = await runPipeline();
  const used = await tasksOf(id);
  const isThisVersion = [...wanted].every(([task, version]) => used.get(task) === version);
  console.log(
    `Run ${id}: ${result}, with ${[...used].map(([task, version]) => `${task} ${version}`).join(', ') || 'none of the tasks'}`,
  );
  if (isThisVersion && result === 'succeeded') break;
  if (isThisVersion) throw new Error(`The installed tasks did not pass: run ${id} ended as ${result}.`);
  if (attempt === ATTEMPTS) throw new Error(`${readExtension().name} ${project.version} was not installed in time.`);
  await delay(PAUSE_MS);
}

/** Runs the pipeline from the commit of this run to its end. */
async function runPipeline(): Promise<{ id: number; result: string }> {
  const body = { resources: { repositories: { self: { refName: variable('BUILD_SOURCEBRANCH') } } } };
  const { id } = await call<{ id: number }>(`pipelines/${variable('TRY_PIPELINE_ID')}/runs`, body);
  for (const deadline = Date.now() + RUN_MS; Date.now() < deadline;) {
    await delay(PAUSE_MS / 6);
    const { status, result } = await call<{ status: string; result?: string }>(`build/builds/${id}`);
    if (status === 'completed') return { id, result: result ?? 'unknown' };
  }
  throw new Error(`Run ${id} did not end within ${RUN_MS / 60_000} minutes.`);
}

/** The versions of our tasks that a run has used, by their ids. */
async function tasksOf(run: number): Promise<Map<string, string>> {
  const { records } = await call<Timeline>(`build/builds/${run}/timeline`);
  const tasks = records.flatMap(({ task }) => (task ? [[task.id.toLowerCase(), task.version] as const] : []));
  return new Map(tasks.filter(([id]) => wanted.has(id)));
}

async function call<Answer>(route: string, body?: object): Promise<Answer> {
  const project = encodeURIComponent(variable('SYSTEM_TEAMPROJECT'));
  const response = await fetch(`${variable('SYSTEM_COLLECTIONURI')}${project}/_apis/${route}?api-version=7.1`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${variable('SYSTEM_ACCESSTOKEN')}`, 'content-type': 'application/json' },
    signal: AbortSignal.timeout(60_000),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${route}: HTTP ${response.status} ${response.statusText}`);
  return (await response.json()) as Answer;
}

function variable(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`The variable ${name} is not set.`);
  return value;
}
