import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../../../scripts/build/manifest.ts';

const TOKEN = 'entra-token';

/** Runs scripts/publish.sh where `az` gives a token and `node` prints what it is to run. */
function publishFrom(
  files: readonly string[],
  organizations: readonly string[] = [],
  change?: (artifact: string) => void,
) {
  const folder = mkdtempSync(path.join(tmpdir(), 'publish-'));
  try {
    const artifact = path.join(folder, 'artifact');
    mkdirSync(artifact);
    for (const file of files) writeFileSync(path.join(artifact, file), '');
    if (files.length > 0) assert.equal(checksums('write', artifact).status, 0);
    change?.(artifact);
    const commands = { az: `echo "$*" >&2; echo ${TOKEN}`, node: 'printf "%s\\n" "node" "$@"' };
    for (const [name, body] of Object.entries(commands)) {
      writeFileSync(path.join(folder, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    }
    const run = spawnSync(path.join(ROOT, 'scripts', 'publish.sh'), [artifact, ...organizations], {
      encoding: 'utf8',
      env: { PATH: `${folder}:${process.env['PATH']}` },
    });
    return { ...run, lines: run.stdout.trim().split('\n'), file: path.join(artifact, 'one.vsix') };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('the one packed file is published with a token of Azure DevOps, which is masked before it is used', () => {
  const { status, stderr, lines, file } = publishFrom(['one.vsix', 'one.cdx.json'], ['contoso', 'fabrikam']);
  assert.equal(status, 0, stderr);
  assert.match(stderr, /account get-access-token --resource 499b84ac-1321-427f-aa17-267ca6975798 /);
  assert.equal(lines[0], `##vso[task.setsecret]${TOKEN}`);
  assert.ok(!lines[1]?.includes(TOKEN));
  assert.deepEqual(lines.slice(2), [
    ...[
      'node',
      'node_modules/tfx-cli/_build/tfx-cli.js',
      'extension',
      'publish',
      '--vsix',
      file,
      '--auth-type',
      'pat',
      '--token',
      TOKEN,
    ],
    ...['--no-prompt', '--share-with', 'contoso', 'fabrikam'],
  ]);
});

test("the public channel isn't shared with any organization", () => {
  assert.equal(publishFrom(['one.vsix']).lines.at(-1), '--no-prompt');
});

for (const files of [[], ['one.vsix', 'two.vsix']]) {
  test(`nothing is published from a folder of ${files.length} packages`, () => {
    const { status, stdout, stderr } = publishFrom(files);
    assert.equal(status, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /does not hold exactly one \.vsix/);
  });
}

/** What may have happened to an artifact since it was packed. */
const CHANGES: readonly (readonly [what: string, change: (artifact: string) => void, complaint: RegExp])[] = [
  ['was changed', (artifact) => appendFileSync(path.join(artifact, 'one.vsix'), 'x'), /^> \w{64} {2}one\.vsix$/m],
  ['has one file more', (artifact) => writeFileSync(path.join(artifact, 'b'), ''), /^> \w{64} {2}b$/m],
  ['has one file less', (artifact) => rmSync(path.join(artifact, 'one.cdx.json')), /^< \w{64} {2}one\.cdx\.json$/m],
  ['has no checksums', (artifact) => rmSync(path.join(artifact, 'SHA256SUMS')), /has no SHA256SUMS/],
];

for (const [what, change, complaint] of CHANGES) {
  test(`nothing is published from a folder that ${what}, and nobody signs in`, () => {
    const { status, stdout, stderr } = publishFrom(['one.vsix', 'one.cdx.json'], [], change);
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, complaint);
    assert.doesNotMatch(stderr, /get-access-token/);
  });
}

test('the checksums pass sha256sum, and cover every file but their own', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'sums-'));
  try {
    for (const file of ['b', 'B', 'a b']) writeFileSync(path.join(folder, file), file);
    for (let time = 0; time < 2; time++) {
      const { status, stdout } = checksums('write', folder);
      assert.equal(status, 0);
      assert.deepEqual(stdout.match(/(?<=^\w{64} {2}).+$/gm), ['B', 'a b', 'b']);
    }
    const check = spawnSync('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: folder, encoding: 'utf8' });
    assert.deepEqual([check.status, check.stdout], [0, 'B: OK\na b: OK\nb: OK\n']);
    assert.equal(checksums('check', folder).status, 0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

function checksums(what: string, folder: string) {
  return spawnSync(path.join(ROOT, 'scripts', 'checksums.sh'), [what, folder], { encoding: 'utf8' });
}

/** Runs scripts/push-image.sh where `az` and `docker` print what they are to do. */
function pushFrom(files: readonly string[], registry: string, tag: string, change?: (artifact: string) => void) {
  const folder = mkdtempSync(path.join(tmpdir(), 'push-'));
  try {
    const artifact = path.join(folder, 'artifact');
    mkdirSync(artifact);
    for (const file of files) writeFileSync(path.join(artifact, file), '');
    if (files.length > 0) assert.equal(checksums('write', artifact).status, 0);
    change?.(artifact);
    for (const name of ['az', 'docker'])
      writeFileSync(path.join(folder, name), `#!/bin/sh\necho ${name} "$@"\n`, { mode: 0o755 });
    const run = spawnSync(path.join(ROOT, 'scripts', 'push-image.sh'), [artifact, registry, tag], {
      encoding: 'utf8',
      env: { PATH: `${folder}:${process.env['PATH']}` },
    });
    return { ...run, lines: run.stdout.trim().split('\n'), file: path.join(artifact, 'image.tar.gz') };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('the packed image is pushed under the version of the tag', () => {
  const { status, stderr, lines, file } = pushFrom(['image.tar.gz'], 'contoso', 'v1.2.3');
  assert.equal(status, 0, stderr);
  const image = 'contoso.azurecr.io/nats-event-bridge:1.2.3';
  assert.deepEqual(lines.slice(0, 4), [
    'az acr login --name contoso',
    `docker load --input ${file}`,
    `docker tag nats-event-bridge ${image}`,
    `docker push ${image}`,
  ]);
});

for (const [what, files, registry, tag, complaint] of [
  ['a missing image', [], 'contoso', 'v1.2.3', /does not hold image\.tar\.gz/],
  ['a registry that is not set', ['image.tar.gz'], '$(registry)', 'v1.2.3', /not the name of a registry/],
  ['a branch', ['image.tar.gz'], 'contoso', 'main', /main is not a tag/],
] as const) {
  test(`nothing is pushed for ${what}`, () => {
    const { status, stdout, stderr } = pushFrom(files, registry, tag);
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, complaint);
  });
}

test("an image that changed since it was packed isn't pushed, and nobody signs in", () => {
  const change = (artifact: string) => appendFileSync(path.join(artifact, 'image.tar.gz'), 'x');
  const { status, stdout, stderr } = pushFrom(['image.tar.gz'], 'contoso', 'v1.2.3', change);
  assert.deepEqual([status, stdout], [1, '']);
  assert.match(stderr, /isn't what SHA256SUMS says:\n(.*\n)*> \w{64} {2}image\.tar\.gz/);
});
