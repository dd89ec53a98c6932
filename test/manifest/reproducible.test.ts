import { unzipSync } from 'fflate';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { BRIDGE_FILE, BRIDGE_PARTS, ROOT } from '../../scripts/build/manifest.ts';
import { vsixDigests } from '../../scripts/release/vsixDigests.ts';
import { filesIn } from '../support/filesIn.ts';
import { copyByLinks } from '../support/linkedCopy.ts';

/** What the image is built from, which therefore has to be enough. */
const SOURCES = [
  ...readFileSync(path.join(ROOT, 'bridge/deploy/Dockerfile'), 'utf8').matchAll(/^COPY (?!--)(.+) \S+$/gm),
]
  .flatMap(([, sources = '']) => sources.split(' '))
  .filter((source, index, all) => all.indexOf(source) === index);
/** Compilers, Nodes for the tests, types and maps, which packaging does not use: more than half of all files. */
const NOT_NEEDED =
  /^(node-\d+-linux-x64|typescript|prettier|eslint.*|@typescript-eslint|es-abstract|@hyperjump)$|\.(d\.[cm]?ts|map)$/;

// On the same file system, so that the installed packages can be linked.
mkdirSync(path.join(ROOT, '.cache'), { recursive: true });
const folder = mkdtempSync(path.join(ROOT, '.cache', 'another place '));
const copy = path.join(folder, 'clone');
before(() => {
  mkdirSync(copy);
  // Only a release asks for the changelog.
  for (const source of [...SOURCES, 'CHANGELOG.md']) {
    cpSync(path.join(ROOT, source), path.join(copy, source), { recursive: true });
  }
  copyByLinks(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'), NOT_NEEDED);
});
after(() => rmSync(folder, { recursive: true, force: true }));

test('the same source packed in another folder gives the same files, byte for byte', () => {
  const { status, stderr } = packCopy();
  assert.equal(status, 0, stderr);
  const [ours, theirs] = [digestsIn(ROOT), digestsIn(copy)];
  for (const file of ['PublishNatsEvent/index.js', 'the .cdx.json', `bridge/${BRIDGE_FILE}`, 'bridge/sbom.cdx.json'])
    assert.ok(file in ours, Object.keys(ours).join());
  assert.ok(Object.keys(ours).some((file) => file.startsWith(`bridge/${BRIDGE_PARTS}/`)));
  assert.deepEqual(theirs, ours);
});

test("an incomplete release isn't packed, and the previous package is removed", () => {
  const { status, stderr } = packCopy('--release', 'v0.0.9');
  assert.equal(status, 1);
  assert.match(stderr, /This can't be released yet:\n- the tag is v0\.0\.9, but package\.json has the version/);
  assert.deepEqual(
    readdirSync(path.join(copy, 'dist')).filter((file) => /\.(vsix|cdx\.json)$/.test(file)),
    [],
  );
});

test('no packed file contains a path of the build machine', () => {
  for (const [file, bytes] of Object.entries(unzipSync(readFileSync(packageIn(ROOT, '.vsix'))))) {
    for (const place of [ROOT, os.homedir() + path.sep])
      assert.ok(!Buffer.from(bytes).includes(place), `${file}: ${place}`);
  }
});

function packCopy(...options: readonly string[]) {
  return spawnSync(process.execPath, ['--import', 'tsx', path.join(copy, 'scripts', 'package.ts'), ...options], {
    cwd: copy,
    encoding: 'utf8',
    env: { ...process.env, TZ: 'Pacific/Chatham', LANG: 'tr_TR.UTF-8' },
  });
}

function packageIn(root: string, ending: string): string {
  const dist = path.join(root, 'dist');
  const file = readdirSync(dist).find((name) => name.endsWith(ending));
  return path.join(dist, file ?? `no *${ending}: run npm run package`);
}

function digestsIn(root: string): Record<string, string> {
  const digestOf = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');
  const bridge = path.join(root, 'dist', 'bridge');
  return {
    ...vsixDigests(packageIn(root, '.vsix')),
    'the .cdx.json': digestOf(packageIn(root, '.cdx.json')),
    ...Object.fromEntries(filesIn(bridge).map((file) => [`bridge/${file}`, digestOf(path.join(bridge, file))])),
  };
}
