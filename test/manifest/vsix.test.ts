import { strFromU8, unzipSync } from 'fflate';
import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { repositoryPage, stampTask } from '../../scripts/build/channels.ts';
import { listingOf } from '../../scripts/release/listing.ts';
import {
  AGENTLESS_TASK,
  readJson,
  readTask,
  ROOT,
  TASK_NAMES,
  type PackageManifest,
} from '../../scripts/build/manifest.ts';
import { LocalAgent, temporaryFolder, unpackVsix } from '../../localAgent/index.ts';
import { brokenLinks, readMarkdown } from '../support/documents/documents.ts';

const DIST = path.join(ROOT, 'dist');
const project = readJson('package.json') as PackageManifest;
const packages = readdirSync(DIST).filter((file) => file.endsWith('.vsix'));
const bytes = readFileSync(path.join(DIST, packages[0] ?? 'no .vsix: run npm run package'));
const contents = unzipSync(bytes);

test('packaging leaves exactly one .vsix, for the prod channel and below 450,000 bytes', () => {
  assert.deepEqual(packages, [`${project.publisher}.nats-event-tasks-${project.version}.vsix`]);
  assert.ok(bytes.length < 450_000, `${bytes.length} bytes`);
});

test('the .vsix holds the two agent tasks, the agentless one, icons and pictures, the listing, licence and notices, and nothing else', () => {
  const files = Object.keys(contents).filter((entry) => !entry.endsWith('/'));
  assert.deepEqual(files.sort(), [
    'LICENSE.txt',
    'PublishNatsEvent/icon.png',
    'PublishNatsEvent/index.js',
    'PublishNatsEvent/package.json',
    'PublishNatsEvent/task.json',
    'ThirdPartyNotices.txt',
    'WaitForNatsEvent/icon.png',
    'WaitForNatsEvent/index.js',
    'WaitForNatsEvent/package.json',
    'WaitForNatsEvent/task.json',
    'WaitForNatsEventAgentless/icon.png',
    'WaitForNatsEventAgentless/task.json',
    '[Content_Types].xml',
    'extension.vsixmanifest',
    'extension.vsomanifest',
    'images/bridge-icon.png',
    'images/connection-icon.png',
    'images/extension-icon.png',
    'images/failed-wait.png',
    'images/overview.png',
    'images/status.png',
    'images/summary.png',
    'images/why.png',
    'overview.md',
  ]);
});

test('the packed task.json files are the stamped ones', () => {
  for (const task of [...TASK_NAMES, AGENTLESS_TASK] as const) {
    assert.deepEqual(JSON.parse(text(`${task}/task.json`)), stampTask(readTask(task), project, 'prod'));
  }
});

test('the tasks start below a package.json of type module, as with an agent installed in a repository', async () => {
  for (const task of TASK_NAMES) assert.deepEqual(JSON.parse(text(`${task}/package.json`)), { type: 'commonjs' });
  const folder = temporaryFolder('module-');
  writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}');
  const extension = path.join(folder, '_work', '_tasks');
  cpSync(unpackVsix(), extension, { recursive: true });
  const agent = new LocalAgent({ extension, connections: { nats: { url: 'nats://127.0.0.1', scheme: 'None' } } });
  for (const task of TASK_NAMES) {
    const { errors, logText } = await agent.runTask({ task: `${task}@1`, inputs: { natsConnection: 'nats' } });
    assert.match(errors.join('\n'), /^InvalidInput: .*subject: is required/, logText);
  }
});

test('the manifest lists the icon and each picture for the Marketplace', () => {
  const assets = text('extension.vsixmanifest').matchAll(
    /<Asset Type="[\w.]+\.(Icons|Screenshots)\.(\w+)"[^>]* Path="([^"]*)"/g,
  );
  assert.deepEqual([...assets].map(([, kind = '', name = '', file = '']) => `${kind} ${name} ${file}`).sort(), [
    'Icons Default images/extension-icon.png',
    'Screenshots 1 images/why.png',
    'Screenshots 2 images/failed-wait.png',
    'Screenshots 3 images/summary.png',
    'Screenshots 4 images/status.png',
  ]);
});

test('the listing is the README with links from package.json, and without dead ones', () => {
  const overview = text('overview.md');
  const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  assert.equal(overview, listingOf(readme, repositoryPage(project), Object.keys(contents)));
  assert.deepEqual(brokenLinks(readMarkdown(unpackVsix(), 'overview.md')), []);
  assert.doesNotMatch(overview, /\]\(http:|\.svg\)/, 'the Marketplace takes neither http: nor SVG');
});

/** The libraries that the bridge has and no task. */
const OF_BRIDGE = ['@azure/identity', 'fastify', 'jose', 'prom-client', 'tweetnacl', 'undici', 'yaml'];

test("the licence is ours, and the notices hold the bundled packages' licences, each next to its code", () => {
  assert.equal(text('LICENSE.txt'), readFileSync(path.join(ROOT, 'LICENSE'), 'utf8'));
  const noticesOf = (name: string) =>
    OF_BRIDGE.includes(name)
      ? readFileSync(path.join(ROOT, 'dist/bridge/ThirdPartyNotices.txt'), 'utf8')
      : text('ThirdPartyNotices.txt');
  const { dependencies } = readJson('package.json') as { dependencies: Record<string, string> };
  for (const [name, version] of Object.entries(dependencies)) {
    const licence = readdirSync(path.join(ROOT, 'node_modules', name)).find((file) => /^licen[cs]e/i.test(file));
    const itsText = readFileSync(path.join(ROOT, 'node_modules', name, licence ?? ''), 'utf8').trim();
    const notices = noticesOf(name);
    assert.ok(notices.includes(`\n\n${name} ${version} (`) && notices.includes(itsText), name);
  }
});

test("the packed code imports only Node's built-in modules", () => {
  for (const task of TASK_NAMES) {
    const { outputs } = readJson(`dist/build/${task}/meta.json`) as {
      outputs: Record<string, { imports: { path: string; external?: boolean }[] }>;
    };
    const imports = Object.values(outputs).flatMap((output) => output.imports.map((imported) => imported.path));
    assert.ok(imports.includes('net'), 'this is not the report of the bundle');
    const builtins = new Set(builtinModules);
    for (const name of imports) assert.ok(builtins.has(name.replace(/^node:/, '')), `${task} imports ${name}`);
  }
});

function text(file: string): string {
  return strFromU8(contents[file] ?? new Uint8Array());
}
