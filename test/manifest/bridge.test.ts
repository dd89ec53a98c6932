import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../localAgent/index.ts';
import { BRIDGE_FILE, BRIDGE_FOLDER, BRIDGE_PARTS, readJson, ROOT } from '../../scripts/build/manifest.ts';
import { LEAST } from '../support/bridge/configurationFile.ts';
import { filesIn } from '../support/filesIn.ts';

const project = readJson('package.json') as { version: string; engines: { node: string } };

/** Runs npm without the network, as on a machine that has none. */
function npm(args: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync('npm', [...args, '--offline', '--no-audit', '--no-fund'], {
    cwd,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  return stdout;
}

test("the bridge's folder holds everything needed to run it, and lists its contents", () => {
  assert.deepEqual(readdirSync(BRIDGE_FOLDER).sort(), [
    'LICENSE',
    'README.md',
    'ThirdPartyNotices.txt',
    'callout-policy.schema.json',
    BRIDGE_PARTS,
    'config.schema.json',
    BRIDGE_FILE,
    'package.json',
    'sbom.cdx.json',
  ]);
  const { name, version, engines, bin } = JSON.parse(readFileSync(path.join(BRIDGE_FOLDER, 'package.json'), 'utf8'));
  assert.deepEqual(
    [name, version, engines, bin],
    ['nats-event-bridge', project.version, project.engines, { 'nats-event-bridge': BRIDGE_FILE }],
  );
  for (const [copy, original] of [
    ['config.schema.json', 'bridge/config/config.schema.json'],
    ['callout-policy.schema.json', 'bridge/callout/policy.schema.json'],
  ] as const)
    assert.equal(readFileSync(path.join(BRIDGE_FOLDER, copy), 'utf8'), readFileSync(path.join(ROOT, original), 'utf8'));
});

test('the bridge can be packed, installed offline in an empty folder, and run', () => {
  const folder = temporaryFolder('installed-');
  npm(['pack', '--pack-destination', folder], BRIDGE_FOLDER);
  const archive = `nats-event-bridge-${project.version}.tgz`;
  assert.deepEqual(readdirSync(folder), [archive]);
  npm(['install', `./${archive}`], folder);
  const command = path.join(folder, 'node_modules/.bin/nats-event-bridge');
  assert.ok(statSync(command).isFile());
  const run = (...args: readonly string[]) => {
    // npx is a command file on Windows, which only a shell runs.
    const shell = process.platform === 'win32';
    const options = ['--offline', '--no-install', 'nats-event-bridge', ...args];
    const { status, stdout, stderr } = spawnSync('npx', options, { cwd: folder, encoding: 'utf8', shell });
    return { status, stdout, stderr };
  };
  assert.deepEqual(run('--version'), { status: 0, stdout: `${project.version}\n`, stderr: '' });

  const check = ['check', '--offline', '--config', 'bridge.yml'];
  writeFileSync(path.join(folder, 'bridge.yml'), LEAST);
  assert.deepEqual([run(...check).status, run(...check).stdout], [0, '']);
  writeFileSync(path.join(folder, 'bridge.yml'), LEAST.replace('nats:', 'nat:'));
  const { status, stdout } = run(...check);
  assert.equal(status, 1);
  assert.match(stdout, /nat: is not a key that the bridge knows/);
});

test('the bridge runs from a clone with npm run bridge', () => {
  const { stdout } = spawnSync('npm', ['run', '--silent', 'bridge', '--', '--version'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  assert.equal(stdout, `${project.version}\n`);
});

test('no file of the bridge contains a path of the build machine', () => {
  const files = filesIn(BRIDGE_FOLDER);
  assert.ok(files.some((file) => file.startsWith(`${BRIDGE_PARTS}/run-`)));
  for (const file of files) {
    const text = readFileSync(path.join(BRIDGE_FOLDER, file), 'utf8');
    for (const place of [ROOT, os.homedir() + path.sep]) assert.ok(!text.includes(place), `${file}: ${place}`);
  }
});
