import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ROOT } from '../../scripts/build/manifest.ts';
import { fileOf, MUTATIONS, readSources } from '../mutations/mutations.ts';

test('every line that a mutation changes is in the source exactly once', () => {
  const sources = readSources(ROOT);
  const lost = MUTATIONS.filter((mutation) => fileOf(mutation, sources) === undefined);
  assert.deepEqual(
    lost.map(({ what }) => what),
    [],
  );
});
