import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Connection } from '../../../localAgent/index.ts';
import { createMissingStreams } from '../../../localAgent/streams.ts';

const to = (url: string, more: Partial<Connection> = {}): Connection => ({ url, scheme: 'None', ...more });

describe('a stream for the server of a service connection', () => {
  for (const [what, connections, problem] of [
    [
      'no connection to NATS',
      { bridge: to('http://b', { type: 'NatsBridge' }) },
      /^--stream needs a server .*: add --nats, --connection or --connection-file\.$/,
    ],
    [
      'two servers',
      { a: to('nats://a'), b: to('nats://b') },
      /^--stream: .* a and b lead to different servers\. Create/,
    ],
    ['no server', { n: to('nats://127.0.0.1:1') }, /^--stream: the server of n can't be used: .*REFUSED/],
    [
      'a token of Azure Pipelines',
      { n: to('tls://n', { data: { oidc: 'true' } }) },
      /which only Azure Pipelines gives/,
    ],
    [
      'unreadable credentials',
      { n: to('nats://127.0.0.1:1', { parameters: { credentials: 'hunter22' } }) },
      /^--stream: the server of n can't be used: /,
    ],
  ] as const) {
    it(`can't be created with ${what}`, async () => {
      await assert.rejects(createMissingStreams(connections, [{ name: 'CI', subjects: ['ci.>'] }]), (error: Error) => {
        assert.match(error.message, problem);
        return !error.message.includes('hunter22');
      });
    });
  }
});
