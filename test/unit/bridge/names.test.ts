import assert from 'node:assert/strict';
import { test } from 'node:test';
import { namesOf } from '../../../bridge/names.ts';

test('the only bridge of an account has plain names', () => {
  const names = namesOf('');
  assert.deepEqual([names.of('BRIDGE_DEAD'), names.subject('bridge.dead.>')], ['BRIDGE_DEAD', 'bridge.dead.>']);
});

test('the names and subjects of an instance are its own', () => {
  const names = namesOf('blue');
  assert.deepEqual(
    [names.of('BRIDGE_DEAD'), names.subject('bridge.dead.>')],
    ['blue_BRIDGE_DEAD', 'blue.bridge.dead.>'],
  );
});
