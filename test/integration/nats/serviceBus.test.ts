import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { OutgoingMessage, PubAck } from '../../../shared/bus.ts';
import type { ConnectionSettings } from '../../../shared/connection/settings.ts';
import { TaskError } from '../../../shared/errors.ts';
import { openServiceBus } from '../../../shared/nats/serviceBus.ts';
import { usersConfig, type UserPermissions } from '../../support/nats/natsAccounts.ts';
import { natsServerBinary, startNatsServer } from '../../support/nats/natsServer.ts';
import { openService, until } from '../../support/nats/openService.ts';
import { settingsFor } from '../../support/nats/openBus.ts';
import { TcpProxy } from '../../support/nats/tcpProxy.ts';
import { Admin } from '../../support/nats/testStream.ts';

const LINES = ['2.9', '2.10', '2.15'] as const;
const PASSWORD = 'pw';

const silent = { info: () => {}, warning: () => {}, debug: () => {} };

function message(subject: string, id?: string, payload = 'payload'): OutgoingMessage {
  return { subject, headers: id === undefined ? [] : [['Nats-Msg-Id', id]], payload: Buffer.from(payload) };
}

/** A server where the service may do only this. */
function permitting(permissions: UserPermissions): string {
  const admin = { user: 'admin', password: PASSWORD };
  return usersConfig(admin, { user: 'service', password: PASSWORD, permissions });
}

const asService: Partial<ConnectionSettings> = {
  authentication: { kind: 'userPassword', username: 'service', password: PASSWORD },
};

for (const line of LINES) {
  describe(`A service on nats-server ${line}`, { concurrency: true }, () => {
    test('publishes concurrently, with the ack of each message giving its own place', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      await admin.stream('CI');
      await using open = await openService(server.url);
      const acks = await Promise.all(
        Array.from({ length: 500 }, (_, index) =>
          open.bus.publisher.publish(message(`CI.${index}`, `id-${index}`, `payload ${index}`), 5_000),
        ),
      );
      assert.equal(new Set(acks.map(({ sequence }) => sequence)).size, 500);
      for (const index of [0, 123, 499]) {
        const stored = await open.bus.lookup.message('CI', acks[index]!.sequence);
        assert.equal(stored?.subject, `CI.${index}`);
        assert.equal(Buffer.from(stored.payload).toString(), `payload ${index}`);
        assert.deepEqual(stored.headers.get('nats-msg-id'), [`id-${index}`]);
      }
      const again = await open.bus.publisher.publish(message('CI.7', 'id-7'), 5_000);
      assert.deepEqual(again, { stream: 'CI', sequence: acks[7]!.sequence, duplicate: true });
    });

    test('a publish in flight when the server is killed fails in time, and the next one uses the next link', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      await admin.stream('CI');
      await using proxy = await TcpProxy.start(server.port);
      await using open = await openService(proxy.url);
      await open.bus.publisher.publish(message('CI.a', 'first'), 5_000);

      proxy.mute();
      const lost = assert.rejects(open.bus.publisher.publish(message('CI.a', 'second'), 20_000), {
        code: 'ConnectionLost',
        message: /The link broke before the stream had answered/,
      });
      while ((await admin.manager.streams.info('CI')).state.messages < 2) await delay(10);
      proxy.cut();
      await server.kill();
      await lost;
      const begin = Date.now();
      await assert.rejects(open.bus.publisher.publish(message('CI.a', 'third'), 500), { code: 'ConnectionLost' });
      assert.ok(Date.now() - begin < 2_000);
      assert.equal(open.bus.isLinkUp, false);

      await server.restart();
      proxy.mend();
      // Nobody asks for the link: it comes back by itself.
      await until(() => open.bus.isLinkUp, 'the link is back');
      const acks = await Promise.all(
        ['second', 'third'].map((id) => open.bus.publisher.publish(message('CI.a', id), 5_000)),
      );
      assert.deepEqual(acks, [
        { stream: 'CI', sequence: 2, duplicate: true },
        { stream: 'CI', sequence: 3, duplicate: false },
      ]);
      assert.match(open.lines.join('\n'), /warning The link to \S+ broke: .*\ninfo connected/s);
    });

    test("a server that hangs is a timeout after the caller's limit", async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      await admin.stream('CI');
      await using open = await openService(server.url);
      await server.pause();
      const begin = Date.now();
      await assert.rejects(open.bus.publisher.publish(message('CI.a', 'one'), 300), {
        code: 'Timeout',
        message: /did not acknowledge the message on "CI.a" within \d+ ms/,
      });
      assert.ok(Date.now() - begin >= 290);
      server.resume();
      const ack = await open.bus.publisher.publish(message('CI.a', 'two'), 5_000);
      assert.equal(ack.sequence, 2);
    });

    test('a message that no stream captures, that is too large or that a full stream rejects is refused at once', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line), maxPayload: 10_000 });
      await using admin = await Admin.connect([server.url]);
      await admin.stream('CI', { max_msgs: 1, discard: 'new' as never });
      await admin.stream('SMALL', { max_msg_size: 100 });
      await using open = await openService(server.url);
      const { publisher } = open.bus;
      await publisher.publish(message('CI.a'), 5_000);
      const begin = Date.now();
      await assert.rejects(publisher.publish(message('elsewhere'), 20_000), { code: 'NoStream' });
      await assert.rejects(publisher.publish(message('CI.a', undefined, 'x'.repeat(10_001)), 20_000), {
        code: 'TooLarge',
      });
      await assert.rejects(publisher.publish(message('SMALL.a', undefined, 'x'.repeat(200)), 20_000), {
        code: 'TooLarge',
      });
      await assert.rejects(publisher.publish(message('CI.b'), 20_000), { code: 'StreamRefused' });
      const expecting = { ...message('CI.a'), headers: [['Nats-Expected-Stream', 'OTHER'] as const] };
      await assert.rejects(publisher.publish(expecting, 20_000), { code: 'NoStream', message: /wrong stream/ });
      assert.ok(Date.now() - begin < 5_000);
      admin.connection.subscribe('answered', { callback: (_, request) => void request.respond('who?') });
      await admin.connection.flush();
      await assert.rejects(publisher.publish(message('answered'), 20_000), { code: 'NoStream', message: /subscriber/ });
    });

    test('a refused subject is denied at once, and others go on', async () => {
      const config = permitting({ publish: { allow: ['CI.a', 'quiet'] } });
      await using server = await startNatsServer({ binary: natsServerBinary(line), config });
      await using admin = await Admin.connect([server.url], { user: 'admin', pass: PASSWORD });
      await admin.stream('CI');
      // Somebody listens, so that there is no answer at all.
      admin.connection.subscribe('quiet', { callback: () => undefined });
      await admin.connection.flush();
      await using open = await openService(server.url, asService);
      const { publisher } = open.bus;
      const quiet = assert.rejects(publisher.publish(message('quiet'), 1_000), { code: 'Timeout' });
      const denied = assert.rejects(publisher.publish(message('CI.b'), 20_000), {
        message:
          'Denied: The NATS server does not let this user publish to "CI.b". Grant it publish permission for "CI.b".',
      });
      const begin = Date.now();
      await denied;
      assert.ok(Date.now() - begin < 900);
      assert.equal((await publisher.publish(message('CI.a'), 20_000)).sequence, 1);
      await quiet;
    });

    test('a refused inbox is denied at once, and works once it is allowed', async () => {
      const denying = permitting({ publish: { allow: ['CI.>'] }, subscribe: { allow: ['nothing'] } });
      await using server = await startNatsServer({ binary: natsServerBinary(line), config: denying });
      await using admin = await Admin.connect([server.url], { user: 'admin', pass: PASSWORD });
      await admin.stream('CI');
      await using open = await openService(server.url, asService);
      const begin = Date.now();
      for (let attempt = 0; attempt < 3; attempt++) {
        await assert.rejects(open.bus.publisher.publish(message('CI.a'), 20_000), {
          code: 'Denied',
          message: /does not let this user subscribe to "_INBOX\.\w+\.\*"/,
        });
      }
      assert.ok(Date.now() - begin < 5_000);
      await server.reload(permitting({ publish: { allow: ['CI.>'] } }));
      let ack: PubAck | undefined;
      await until(async () => {
        ack = await open.bus.publisher.publish(message('CI.a'), 5_000).catch(() => undefined);
        return ack !== undefined;
      }, 'a message is stored');
      assert.equal(ack?.stream, 'CI');
    });

    test("keeps values in a bucket, and never overwrites someone else's", async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      await admin.connection.jetstream().views.kv('PINS');
      await using open = await openService(server.url);
      const bucket = open.bus.keyValue('PINS');
      const text = async (key: string) => Buffer.from((await bucket.get(key))?.value ?? []).toString();

      assert.equal(await bucket.get('a'), undefined);
      const first = await bucket.create('a', Buffer.from('one'));
      assert.equal(first, 1);
      assert.equal(await bucket.create('a', Buffer.from('other')), undefined);
      assert.equal(await text('a'), 'one');
      const second = await bucket.update('a', Buffer.from('two'), first);
      assert.equal(second, 2);
      assert.equal(await bucket.update('a', Buffer.from('other'), first), undefined);
      const { value, ...entry } = (await bucket.get('a'))!;
      assert.deepEqual({ ...entry, value: Buffer.from(value).toString() }, { key: 'a', value: 'two', revision: 2 });
      await bucket.delete('a');
      assert.equal(await bucket.get('a'), undefined);
      assert.equal(await bucket.create('a', Buffer.from('three')), 4);
      const created = await Promise.all(Array.from({ length: 20 }, () => bucket.create('b', Buffer.from('x'))));
      assert.equal(created.filter((revision) => revision !== undefined).length, 1);

      await server.kill();
      await server.restart();
      await until(() => open.bus.isLinkUp, 'the link is back');
      assert.equal(await text('a'), 'three');
      await admin.connected();
      await admin.manager.streams.delete('KV_PINS');
      const missing = { code: 'NoStream', message: /There is no key-value bucket "PINS"/ };
      await assert.rejects(bucket.get('a'), missing);
      await assert.rejects(bucket.create('a', Buffer.from('x')), missing);
      await assert.rejects(bucket.update('a', Buffer.from('x'), 1), missing);
    });

    test('a bucket that is denied, or whose server stops, fails in time', async () => {
      const config = permitting({ publish: { allow: ['CI.>', '$JS.API.STREAM.MSG.GET.KV_PINS'] } });
      await using server = await startNatsServer({ binary: natsServerBinary(line), config });
      await using admin = await Admin.connect([server.url], { user: 'admin', pass: PASSWORD });
      await admin.connection.jetstream().views.kv('PINS');
      await using proxy = await TcpProxy.start(server.port);
      await using open = await openService(proxy.url, asService);
      const bucket = open.bus.keyValue('PINS');
      await assert.rejects(bucket.create('a', Buffer.from('x')), {
        code: 'Denied',
        message: /publish to "\$KV\.PINS\.a"/,
      });
      proxy.mute();
      const begin = Date.now();
      const lost = assert.rejects(bucket.get('a'), { code: 'ConnectionLost' });
      setTimeout(() => proxy.cut(), 100);
      await lost;
      assert.ok(Date.now() - begin < 2_000);
    });

    test('looks up single messages of a stream', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      const stream = await admin.stream('CI');
      await stream.publish('a', 'one', 'two');
      await using open = await openService(server.url);
      const { lookup } = open.bus;
      const second = await lookup.message('CI', 2);
      assert.equal(second?.subject, 'CI.a');
      assert.deepEqual(second.place, { stream: 'CI', sequence: 2 });
      assert.equal(Buffer.from(second.payload).toString(), 'two');
      assert.ok(Math.abs(second.storedAt! - Date.now()) < 60_000);
      assert.equal(await lookup.message('CI', 9), undefined);
      await assert.rejects(lookup.message('NONE', 1), { code: 'NoStream', message: /There is no stream "NONE"/ });
    });
  });
}

describe('The links of a service', { concurrency: true }, () => {
  test('sign in with the current secret', async () => {
    const user = (password: string) => usersConfig({ user: 'service', password });
    await using server = await startNatsServer({ config: user('old') });
    let password = 'old';
    const settings = () =>
      settingsFor([server.url], { authentication: { kind: 'userPassword', username: 'service', password } });
    const controller = new AbortController();
    const lines: string[] = [];
    const log = { ...silent, warning: (text: string) => void lines.push(text) };
    const bus = await openServiceBus(settings, controller.signal, log);
    try {
      password = 'new';
      await server.reload(user('new'));
      await until(() => lines.length > 0, 'the link broke');
      await until(() => bus.isLinkUp, 'the link is back');
    } finally {
      await bus.close();
    }
  });

  test('a dial in progress when the bus is closed leaves no connection behind', async () => {
    await using server = await startNatsServer();
    await using admin = await Admin.connect([server.url]);
    await using proxy = await TcpProxy.start(server.port);
    const open = await openService(proxy.url);
    proxy.cut();
    await until(() => !open.bus.isLinkUp, 'the link is down');
    await server.pause();
    proxy.mend();
    // It is dialled, and the server accepts it when it goes on.
    await until(() => proxy.connections > 0, 'a dial is under way');
    await open[Symbol.asyncDispose]();
    server.resume();
    await admin.connected();
    await until(() => proxy.connections === 0, 'the dialled connection is closed');
    assert.equal(open.bus.isLinkUp, false);
    await assert.rejects(open.bus.publisher.publish(message('CI.a'), 1_000), { code: 'ConnectionLost' });
  });

  test('a first connection that fails closes its token source', async () => {
    let isClosed = false;
    const idToken = {
      current: () => Promise.reject(new TaskError('Denied', 'There is no token')),
      newerThan: () => Promise.resolve(undefined),
      awaited: () => undefined,
      close: () => void (isClosed = true),
    };
    const settings = settingsFor(['nats://127.0.0.1:1'], { authentication: { kind: 'oidc', idToken } });
    await assert.rejects(
      openServiceBus(() => settings, new AbortController().signal, silent),
      { code: 'Denied' },
    );
    assert.equal(isClosed, true);
  });
});

// Other tests would notice that it moves the clock.
test('a service says that it keeps trying while the server refuses its sign-in', async (t) => {
  const user = (password: string) => usersConfig({ user: 'service', password });
  await using server = await startNatsServer({ config: user('old') });
  const settings = () =>
    settingsFor([server.url], {
      authentication: { kind: 'userPassword', username: 'service', password: 'old' },
    });
  const STILL_DOWN = /^The link is still down: .+\. Trying again every 2 s\. /;
  const lines: string[] = [];
  const troubles: string[] = [];
  const log = { ...silent, warning: (text: string) => void lines.push(text) };
  const onDown = ({ reason }: { readonly reason: string }) => void troubles.push(reason);
  const bus = await openServiceBus(settings, new AbortController().signal, log, onDown);
  try {
    await server.reload(user('new'));
    await until(() => troubles.length > 1, 'the server refused the sign-in');
    // A refusal counts as a passing fault for half a minute.
    const now = Date.now.bind(Date);
    const later = t.mock.method(Date, 'now', () => now() + 31_000);
    await until(() => lines.some((line) => STILL_DOWN.test(line)), 'the refusal is reported');
    later.mock.restore();
    assert.match(troubles.at(-1)!, /rejected|refused|Authorization/i);
    await server.reload(user('old'));
    await until(() => bus.isLinkUp, 'the link is back');
  } finally {
    await bus.close();
  }
});
