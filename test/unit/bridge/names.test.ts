import assert from 'node:assert/strict';
import { test } from 'node:test';
import { namesOf } from '../../../bridge/names.ts';

test('a bridge without an instance has plain names', () => {
  const names = namesOf('');
  assert.deepEqual([names.of('BRIDGE_DEAD'), names.subject('bridge.dead.>')], ['BRIDGE_DEAD', 'bridge.dead.>']);
});

test('an instance prefixes its names and subjects', () => {
  const names = namesOf('blue');
  assert.deepEqual(
    [names.of('BRIDGE_DEAD'), names.subject('bridge.dead.>')],
    ['blue_BRIDGE_DEAD', 'blue.bridge.dead.>'],
  );
});
