import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { nodeBinary } from '../../localAgent/index.ts';
import { stampTask } from '../../scripts/build/channels.ts';
import { readJson, readTask, ROOT, TASK_NAMES, type PackageManifest } from '../../scripts/build/manifest.ts';

/** How one run of the pipeline ends, and with which version of the tasks. */
interface Run {
  readonly result: string;
  readonly version: string;
}

const project = readJson('package.json') as PackageManifest;
const tasks = TASK_NAMES.map((name) => stampTask(readTask(name), project, 'dev'));
const { Major, Minor, Patch } = tasks[0]!.version;
const NEW = `${Major}.${Minor}.${Patch}`;
const OLD = '0.9.9';

test('the installed tasks pass once a run with this version succeeds, whatever happened with older ones', async () => {
  const { code, output, queued } = await tryInstalled([
    { result: 'failed', version: OLD },
    { result: 'succeeded', version: OLD },
    { result: 'succeeded', version: NEW },
  ]);
  assert.equal(code, 0, output);
  assert.equal(queued, 3);
  assert.ok(!output.includes('job-token'));
});

test('an unsuccessful run with this version of the installed tasks is final', async () => {
  const { code, output, queued } = await tryInstalled([
    { result: 'failed', version: NEW },
    { result: 'succeeded', version: NEW },
  ]);
  assert.equal(code, 1);
  assert.equal(queued, 1);
  assert.match(output, /run 1 ended as failed/);
});

test('an update that is never installed ends the attempts', async () => {
  const { code, output, queued } = await tryInstalled(
    Array.from({ length: 20 }, () => ({ result: 'succeeded', version: OLD })),
  );
  assert.equal(code, 1);
  assert.equal(queued, 15);
  assert.match(output, /was not installed in time/);
});

/** Runs the script against a service that knows these runs, each of which is still in progress when first asked for. */
async function tryInstalled(runs: readonly Run[]) {
  let queued = 0;
  const asked = new Set<string>();
  const service = createServer((request, response) => {
    const answer = (status: number, body: object): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    const { pathname, search } = new URL(request.url ?? '', 'http://localhost');
    if (request.headers.authorization !== 'Bearer job-token' || search !== '?api-version=7.1') return answer(401, {});
    if (request.method === 'POST' && pathname === '/shop%20team/_apis/pipelines/7/runs')
      return answer(200, { id: ++queued });
    const [, id, part] = /^\/shop%20team\/_apis\/build\/builds\/(\d+)(\/timeline)?$/.exec(pathname) ?? [];
    const run = runs[Number(id) - 1];
    if (run === undefined) return answer(404, {});
    if (part !== undefined) {
      const records = tasks.map((task) => ({ task: { id: task.id.toUpperCase(), version: run.version } }));
      return answer(200, { records: [{ task: null }, {}, ...records, { task: { id: 'other', version: NEW } }] });
    }
    if (asked.has(pathname)) return answer(200, { status: 'completed', result: run.result });
    asked.add(pathname);
    return answer(200, { status: 'inProgress' });
  }).listen(0, '127.0.0.1');
  await once(service, 'listening');
  // As the pipeline runs it, without any package, where that Node.js is among the packages.
  const node = process.platform === 'linux' ? [nodeBinary('24')] : [process.execPath, '--import', 'tsx'];
  const [command, ...options] = [...node, path.join(ROOT, 'scripts', 'tryInstalled.ts')];
  const script = spawn(command, options, {
    cwd: ROOT,
    env: {
      ...process.env,
      SYSTEM_COLLECTIONURI: `http://127.0.0.1:${(service.address() as AddressInfo).port}/`,
      SYSTEM_TEAMPROJECT: 'shop team',
      SYSTEM_ACCESSTOKEN: 'job-token',
      BUILD_SOURCEBRANCH: 'refs/tags/v1.2.3',
      TRY_PIPELINE_ID: '7',
      TRY_PAUSE_MS: '6',
    },
  });
  let output = '';
  for (const stream of [script.stdout, script.stderr]) stream.on('data', (text: Buffer) => (output += text.toString()));
  const [code] = (await once(script, 'close')) as [number | null];
  service.close();
  return { code, output, queued };
}
