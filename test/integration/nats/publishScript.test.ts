import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../../../scripts/build/manifest.ts';

const TOKEN = 'entra-token';

/** Runs scripts/publish.sh where `az` gives a token and `npx` prints what it is to run. */
function publishFrom(files: readonly string[], ...organizations: readonly string[]) {
  const folder = mkdtempSync(path.join(tmpdir(), 'publish-'));
  try {
    const artifact = path.join(folder, 'artifact');
    mkdirSync(artifact);
    for (const file of files) writeFileSync(path.join(artifact, file), '');
    const commands = { az: `echo "$*" >&2; echo ${TOKEN}`, npx: 'printf "%s\\n" "npx" "$@"' };
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
  const { status, stderr, lines, file } = publishFrom(['one.vsix', 'one.cdx.json'], 'contoso', 'fabrikam');
  assert.equal(status, 0, stderr);
  assert.match(stderr, /account get-access-token --resource 499b84ac-1321-427f-aa17-267ca6975798 /);
  assert.equal(lines[0], `##vso[task.setsecret]${TOKEN}`);
  assert.ok(!lines[1]?.includes(TOKEN));
  assert.deepEqual(lines.slice(2), [
    ...['npx', '--no-install', 'tfx', 'extension', 'publish', '--vsix', file, '--auth-type', 'pat', '--token', TOKEN],
    ...['--no-prompt', '--share-with', 'contoso', 'fabrikam'],
  ]);
});

test('the public channel is shared with nobody in particular', () => {
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
