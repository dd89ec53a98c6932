import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../localAgent/index.ts';
import { ROOT } from '../../scripts/build/manifest.ts';

test('the quick start leads from a fresh clone to the demo', () => {
  const clone = path.join(temporaryFolder('quickstart-'), 'clone');
  execFileSync('git', ['clone', '--quiet', ROOT, clone]);
  // The PATH of an ordinary user on Debian.
  const folders = (process.env['PATH'] ?? '').split(path.delimiter).filter((folder) => !folder.endsWith('sbin'));
  const quickstart = () =>
    execFileSync('bash', ['scripts/quickstart.sh'], {
      cwd: clone,
      encoding: 'utf8',
      stdio: 'pipe',
      env: { ...process.env, PATH: folders.join(path.delimiter) },
    });
  const said = quickstart();
  assert.match(said, /^Installing npm packages/m);
  assert.match(said, /^nats-server is in \/usr\/sbin\. .* PATH="\$PATH:\/usr\/sbin"$/m);
  assert.match(quickstart(), /^The npm packages are installed already\.$/m);
  assert.match(said, /^Next: npm run pipeline -- FILE\.yml --nats /m);
  assert.match(said, /^\$ nats-event-bridge why 20164\n(.*\n){4,}.* a service hook of run 20164 of /m);
});
