import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { readThirdParty, thirdPartyNotices } from '../../../../scripts/release/thirdParty.ts';

const FOLDER = 'node_modules/some';
const INTEGRITY = `sha512-${Buffer.alloc(64).toString('base64')}`;

/** A project with one installed package, as it is read. */
function readProject(license: unknown, files: Record<string, string>, locked?: object) {
  const root = mkdtempSync(path.join(tmpdir(), 'third-party-'));
  try {
    mkdirSync(path.join(root, FOLDER), { recursive: true });
    const all = { ...files, 'package.json': JSON.stringify({ name: 'some', version: '1.0.0', license }) };
    for (const [file, text] of Object.entries(all)) writeFileSync(path.join(root, FOLDER, file), text);
    const entry = locked ?? { version: '1.0.0', integrity: INTEGRITY };
    writeFileSync(path.join(root, 'package-lock.json'), JSON.stringify({ packages: { [FOLDER]: entry } }));
    return readThirdParty([FOLDER], root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

test('a package is listed with its name, version, licence, licence text and notice', () => {
  const packages = readProject('Apache-2.0', { 'LICENSE.md': 'The licence.\n', NOTICE: 'The notice.\n', 'a.js': '' });
  assert.deepEqual(packages, [
    {
      name: 'some',
      version: '1.0.0',
      licence: 'Apache-2.0',
      texts: ['The licence.', 'The notice.'],
      integrity: INTEGRITY,
    },
  ]);
  assert.match(
    thirdPartyNotices(packages, 'The tasks contain'),
    /-{80}\n\nsome 1\.0\.0 \(Apache-2\.0\)\n\nThe licence\.\n\nThe notice\.\n$/,
  );
});

const REFUSED: [why: string, reason: RegExp, ...Parameters<typeof readProject>][] = [
  [
    'a licence that is not on the list',
    /its licence, "AGPL-3\.0-only", is not one of/,
    'AGPL-3.0-only',
    { LICENSE: 'x' },
  ],
  ['no licence', /its licence, undefined, is not one of/, undefined, { LICENSE: 'x' }],
  ['no licence text', /no licence text/, 'MIT', { 'README.md': 'x', NOTICE: 'x' }],
  ['an empty licence text', /no licence text/, 'MIT', { LICENSE: '\n' }],
  ['another version than is locked', /run npm ci/, 'MIT', { LICENSE: 'x' }, { version: '1.0.1', integrity: INTEGRITY }],
  ['no place in the lock file', /run npm ci/, 'MIT', { LICENSE: 'x' }, {}],
  ['no sha512', /no sha512/, 'MIT', { LICENSE: 'x' }, { version: '1.0.0', integrity: 'sha1-AAAA' }],
];

for (const [why, reason, ...project] of REFUSED) {
  test(`a package with ${why} is not shipped`, () => assert.throws(() => readProject(...project), reason));
}
