import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { createAccount, createCurve } from 'nkeys.js';
import { isMap, parseDocument } from 'yaml';
import { ROOT } from '../../scripts/build/manifest.ts';
import { LEAST, read } from '../support/bridge/configurationFile.ts';
import { createNKey } from '../support/nats/natsAccounts.ts';
import { filesEndingWith, readMarkdown, yamlBlocks } from '../support/documents/documents.ts';

/** Files that configurations in documents name, and what tells a workload identity apart. */
const { seed } = createNKey();
const account = Buffer.from(createAccount().getSeed()).toString();
const FILES = {
  'responder.nk': seed,
  'responder.creds': seed,
  'issuer.nk': account,
  'auth-signing.nk': account,
  'ci-signing.nk': account,
  'xkey.nk': Buffer.from(createCurve().getSeed()).toString(),
  'policy.json': readFileSync(path.join(ROOT, 'examples/auth-callout/policy.json'), 'utf8'),
  'bridge.creds': seed,
  'nats.creds': seed,
  'hook-secret': 'a secret of the hooks',
  'client-secret': 'a secret of the application',
  pat: 'a token',
  'waits-token': 'a-token-of-connections',
  'sealing-key': Buffer.alloc(32, 1).toString('base64'),
};
/** Where they are on a machine that runs the units: systemd puts the secrets there. `callout keys` makes a folder of its own. */
const CREDENTIALS = /\/run\/credentials\/nats-event-(bridge|callout)\.service\/|\/etc\/nats-event-callout\/|\bkeys\//g;
const TOKEN_FILE = path.join(ROOT, 'package.json');
const WORKLOAD = { AZURE_TENANT_ID: 'tenant', AZURE_CLIENT_ID: 'client', AZURE_FEDERATED_TOKEN_FILE: TOKEN_FILE };

const FOLDERS = ['docs/bridge', 'bridge'];
const documents = FOLDERS.flatMap((folder) =>
  filesEndingWith(path.join(ROOT, folder), '.md').map((file) => path.join(folder, file)),
);

/** The configurations of the bridge among a document's YAML, parts of one completed. */
function configurationsIn(file: string): string[] {
  return yamlBlocks(readMarkdown(ROOT, file)).flatMap((block) => {
    const { contents } = parseDocument(block);
    const has = (key: string) => isMap(contents) && contents.has(key);
    if (has('nats')) return [block.replace(CREDENTIALS, '')];
    return has('runs') || has('hooks') || has('waits') ? [`${LEAST}${block}`] : [];
  });
}

for (const file of documents)
  test(`the bridge accepts every configuration in ${file}`, () => {
    for (const yaml of configurationsIn(file)) {
      const { warnings } = read(yaml, { files: FILES, env: WORKLOAD });
      assert.deepEqual(warnings, [], yaml);
    }
  });

test('the documents contain configurations', () => {
  assert.ok(configurationsIn('docs/bridge/callout.md').length > 1);
  assert.ok(configurationsIn('docs/bridge/runs.md').length > 0);
});
