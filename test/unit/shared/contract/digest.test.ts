import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { loadContract } from '../../../../shared/contract/load.ts';

const scratch = await mkdtemp(path.join(tmpdir(), 'digest-'));
after(() => rm(scratch, { recursive: true }));

async function digestOf(folder: string, files: Record<string, string>, root: string): Promise<string> {
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(scratch, folder, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, text);
  }
  return (await loadContract(path.join(scratch, folder, root))).digest;
}

test('the digest in docs/contracts.md is that of its example', async () => {
  const page = await readFile(path.join(import.meta.dirname, '../../../../docs/contracts.md'), 'utf8');
  const example = page.matchAll(/^`contracts\/release\.v1\/([a-z.]+)`:\n\n```json\n(.+?)^```$/gms);
  const files = Object.fromEntries([...example].map(([, name, text]) => [name, text!]));
  assert.deepEqual(Object.keys(files), ['released.json', 'region.json']);
  assert.equal(await digestOf('page', files, 'released.json'), /^sha256:[\da-f]{64}$/m.exec(page)?.[0]);
});

test('the example in docs/contracts.md accepts and refuses what the page says', async () => {
  const contract = await loadContract(path.join(scratch, 'page', 'released.json'));
  const event = { service: 'shop', version: '1.4.2', regions: ['eu-west'] };
  assert.deepEqual(contract.check(event), { outcome: 'valid' });
  assert.deepEqual(contract.check({ ...event, regions: ['mars'] }), {
    outcome: 'violated',
    problems: [{ pointer: '/regions/0', message: 'must be one of "eu-west", "us-east"' }],
  });
});

test('the digest is the hash of the canonical JSON of all files by relative path', async () => {
  const files = {
    'root.json':
      '\ufeff{ "$ref": "sub/part.json",\r\n "maximum": 1E2, "$defs": {"b": {"$ref": "sub/b.json"}, "a": true} }',
    'sub/part.json': '{"title": "\\u00e9", "minimum": 1.0}',
    'sub/b.json': 'true',
    'unused.json': '{}',
  };
  const canonical =
    '{"root.json":{"$defs":{"a":true,"b":{"$ref":"sub/b.json"}},"$ref":"sub/part.json","maximum":100},' +
    '"sub/b.json":true,"sub/part.json":{"minimum":1,"title":"é"}}';
  const expected = `sha256:${createHash('sha256').update(canonical).digest('hex')}`;
  assert.equal(await digestOf('canonical', files, 'root.json'), expected);
});

test('the digest ignores order, layout, location and unused files, but covers every value', async () => {
  const original = await digestOf('original', { 'a.json': '{"$ref":"b.json","title":"x"}', 'b.json': '{}' }, 'a.json');
  const same = { 'a.json': '{\n  "title": "x",\n  "$ref": "b.json"\n}\n', 'b.json': ' { } ', 'c.json': 'broken' };
  assert.equal(await digestOf('other/place', same, 'a.json'), original);
  const changed = [
    { 'a.json': '{"$ref":"b.json","title":"y"}', 'b.json': '{}' },
    { 'a.json': '{"$ref":"b.json","title":"x"}', 'b.json': '{"x-note":1}' },
    { 'a.json': '{"$ref":"b.json","title":"x"}', 'b.json': 'true' },
  ];
  for (const [index, files] of changed.entries()) {
    assert.notEqual(await digestOf(`changed${index}`, files, 'a.json'), original);
  }
});
