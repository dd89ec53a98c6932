import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readPublish } from '../../tasks/PublishNatsEvent/inputs.ts';
import { FakeAgent } from '../support/fakeAgent.ts';

function warningsOf(inputs: Readonly<Record<string, string>>): readonly string[] {
  const agent = new FakeAgent({
    inputs: { natsConnection: 'nats', subject: 'ci.done.v1', messageId: 'm-1', ...inputs },
    connections: { nats: { url: 'nats://localhost', scheme: 'None' } },
  });
  readPublish(agent);
  return agent.warnings;
}

for (const payload of [
  "{ 'image': 'shop' }",
  '{ "image": "shop", }',
  '{ image: shop }',
  '{ "image": "shop"',
  '[1, 2,]',
]) {
  test(`a payload that begins like JSON and is none is a warning: ${payload}`, () => {
    assert.match(
      warningsOf({ payload }).join('\n'),
      /^The payload begins like JSON, but is none: .* quotes and commas/,
    );
    assert.deepEqual(warningsOf({ payload, contentType: 'text/plain' }), [], 'it is meant');
  });
}

for (const payload of ['{}', '{ "image": "shop" }', '[1, 2]', 'text', '[INFO] done', '42']) {
  test(`no such warning for ${payload}`, () => {
    assert.deepEqual(warningsOf({ payload }), []);
  });
}
