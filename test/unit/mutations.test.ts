import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../../scripts/build/manifest.ts';
import { MUTATIONS } from '../mutations/mutations.ts';

test('every line that a mutation makes worse stands in its file, once', () => {
  assert.ok(MUTATIONS.length > 10);
  for (const { what, file, line } of MUTATIONS)
    assert.equal(readFileSync(path.join(ROOT, file), 'utf8').split(line).length, 2, what);
});
