import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NODE_VERSIONS, runBundle } from '../../support/bridge/bridgeProcess.ts';

for (const node of NODE_VERSIONS)
  test(`the bridge's way to collect garbage is known to Node ${node}`, () => {
    // V8 says on the standard error, and only there, that it doesn't know an option.
    assert.deepEqual([runBundle(['--version'], node).stderr, runBundle(['--version'], node).status], ['', 0]);
  });
