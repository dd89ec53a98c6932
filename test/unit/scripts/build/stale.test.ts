import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../../../localAgent/index.ts';
import { ROOT } from '../../../../scripts/build/manifest.ts';
import { isStale } from '../../../../scripts/build/stale.ts';

const PARTS = [
  'tasks',
  'bridge',
  'shared',
  'images',
  'scripts',
  'test/unit/scripts',
  'vss-extension.json',
  'README.md',
  'LICENSE',
];
const BEFORE = new Date('2026-01-01');
const PACKED = new Date('2026-01-02');

/** A copy of the sources, all of them older than its package. */
function packedCopy(): (part: string) => string {
  const root = temporaryFolder('packed-');
  for (const part of [...PARTS, 'package.json', 'package-lock.json'])
    cpSync(path.join(ROOT, part), path.join(root, part), { recursive: true });
  for (const file of readdirSync(root, { recursive: true, encoding: 'utf8' }))
    utimesSync(path.join(root, file), BEFORE, BEFORE);
  const at = (part: string) => path.join(root, part);
  mkdirSync(at('dist/bridge'), { recursive: true });
  writeFileSync(at('dist/some.vsix'), '');
  utimesSync(at('dist/some.vsix'), PACKED, PACKED);
  return at;
}

test("a package is stale if any of its sources is newer; tests and other scripts don't count", () => {
  const at = packedCopy();
  assert.equal(isStale(at('')), false);
  for (const other of ['test/unit/scripts/build/stale.test.ts', 'scripts/bench.ts'])
    utimesSync(at(other), new Date(), new Date());
  assert.equal(isStale(at('')), false);
  for (const part of [
    ...[
      'shared/text/json.ts',
      'bridge/main.ts',
      'bridge/config/config.schema.json',
      'tasks/PublishNatsEvent/task.json',
      'scripts/build/build.ts',
      'vss-extension.json',
    ],
    ...['images/logo.svg', 'README.md', 'package.json', 'package-lock.json'],
  ]) {
    utimesSync(at(part), new Date(), new Date());
    assert.equal(isStale(at('')), true, part);
    utimesSync(at(part), BEFORE, BEFORE);
  }
  rmSync(at('shared/text/json.ts'));
  assert.equal(isStale(at('')), true, 'a missing file is not stale');
});

test('no package, several, one of the dev channel or one without the bridge is stale', () => {
  const at = packedCopy();
  rmSync(at('dist/bridge'), { recursive: true });
  assert.equal(isStale(at('')), true);
  mkdirSync(at('dist/bridge'));
  assert.equal(isStale(at('')), false);
  writeFileSync(at('dist/other.vsix'), '');
  assert.equal(isStale(at('')), true);
  rmSync(at('dist/some.vsix'));
  renameSync(at('dist/other.vsix'), at('dist/me-dev.nats-event-tasks-dev-0.1.0.vsix'));
  assert.equal(isStale(at('')), true);
  rmSync(at('dist'), { recursive: true });
  assert.equal(isStale(at('')), true);
});
