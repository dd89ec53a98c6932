import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertSucceeded, countsOf, Scenario, sourcesWith, wait } from '../../support/agent/scenario.ts';

const EVENTS = 1_500;

test("many invalid events can't flood a wait's log, and all of them are counted", async () => {
  await using scene = await Scenario.start();
  const stream = await scene.stream();
  for (let number = 1; number <= EVENTS; number++) scene.client.publish(stream.subject('x'), `"garbage ${number}"`);
  await scene.client.jetstream().publish(stream.subject('x'), '1');
  const sources = sourcesWith({ 'number.json': { type: 'number' } });
  const step = await wait(scene.agent({ sources }), { subject: stream.subject('x'), schemaFile: 'number.json' });
  assertSucceeded(step);
  assert.equal(countsOf(step)['invalid'], EVENTS);
  assert.equal(step.logText.match(/invalid +subject=/g)?.length, 1_000);
  assert.match(step.logText, /Further events of this kind are counted, not listed\./);
});
