import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NODE_VERSIONS, runBundle } from '../../support/bridge/bridgeProcess.ts';

for (const node of NODE_VERSIONS)
  test(`Node ${node} knows the bridge's options for garbage collection`, () => {
    // V8 reports an unknown option on standard error, and only there.
    assert.deepEqual([runBundle(['--version'], node).stderr, runBundle(['--version'], node).status], ['', 0]);
  });
