import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, fstatSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { irregularity, openRegularFile, readRegularFile } from '../../../shared/regularFile.ts';
import { temporaryFolder } from '../../../localAgent/vsix.ts';

const folder = temporaryFolder('regular-');
const file = (name: string): string => path.join(folder, name);

test('a regular file is read in full, also through a link, up to a limit', () => {
  writeFileSync(file('a'), 'abcdef');
  symlinkSync('a', file('link'));
  for (const name of ['a', 'link']) assert.deepEqual(readRegularFile(file(name), 6), Buffer.from('abcdef'));
  assert.equal(readRegularFile(file('a'), 5), undefined);
  writeFileSync(file('empty'), '');
  assert.deepEqual(readRegularFile(file('empty'), 0), Buffer.alloc(0));
});

test('a file longer than its reported size is read to its end, up to the limit', () => {
  // What the kernel shows there says that it has no bytes.
  assert.equal(statSync('/proc/self/maps').size, 0);
  assert.ok((readRegularFile('/proc/self/maps', 1_000_000)?.length ?? 0) > 1_000);
  assert.equal(readRegularFile('/proc/self/maps', 100), undefined);
});

test("folders, named pipes and devices aren't opened, since that could hang", () => {
  mkdirSync(file('folder'));
  assert.equal(spawnSync('mkfifo', [file('pipe')]).status, 0);
  symlinkSync('pipe', file('to-pipe'));
  for (const [name, kind] of [
    [file('folder'), 'folder, not a file'],
    [file('pipe'), 'named pipe, not a regular file'],
    [file('to-pipe'), 'named pipe, not a regular file'],
    ['/dev/zero', 'device, not a regular file'],
  ] as const) {
    const message = `it is a ${kind}`;
    assert.equal(irregularity(statSync(name)), message);
    assert.throws(() => openRegularFile(name), { message });
    assert.throws(() => readRegularFile(name, 10), { message });
  }
  assert.throws(() => openRegularFile(file('missing')), { code: 'ENOENT' });
  const descriptor = openRegularFile(file('a'));
  assert.equal(irregularity(fstatSync(descriptor)), undefined);
  closeSync(descriptor);
});
