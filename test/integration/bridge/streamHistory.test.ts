import assert from 'node:assert/strict';
import { test } from 'node:test';
import { headers } from 'nats';
import { Budget, StreamHistory, type HistoryOptions } from '../../../bridge/audit/streamHistory.ts';
import { JetStream } from '../../../bridge/jetStream/api.ts';
import { openServiceBus, type ServiceBus } from '../../../shared/nats/serviceBus.ts';
import { MemoryLog } from '../../support/bridge/memoryNats.ts';
import { configurationFile, LEAST, readFile } from '../../support/bridge/configurationFile.ts';
import { usersConfig } from '../../support/nats/natsAccounts.ts';
import { natsServerBinary, startNatsServer } from '../../support/nats/natsServer.ts';
import { Admin } from '../../support/nats/testStream.ts';

async function openBus(url: string, user = ''): Promise<ServiceBus> {
  const servers = `[${url}]${user}`;
  const yaml = LEAST.replace('[nats://127.0.0.1:4222]', servers);
  const { settings } = readFile(configurationFile(yaml), { env: { PASSWORD: 'secret' } });
  return openServiceBus(() => settings.nats(), new AbortController().signal, new MemoryLog());
}

interface Seen {
  readonly sequence: number;
  readonly payload: string;
}

function historyOf(nats: ServiceBus, others: Partial<HistoryOptions> = {}): { history: StreamHistory; seen: Seen[] } {
  const seen: Seen[] = [];
  const jetStream = new JetStream(nats, undefined, 5_000);
  const history = new StreamHistory({
    ...{ nats, jetStream, stream: 'ci', whole: () => false, step: 4, budget: new Budget(1_000, 20_000, Date.now) },
    onMessage: ({ place, payload }) =>
      seen.push({ sequence: place?.sequence ?? 0, payload: Buffer.from(payload).toString() }),
    ...others,
  });
  return { history, seen };
}

async function toItsEnd(history: StreamHistory): Promise<number> {
  for (let steps = 0; ; steps++) {
    if (history.reachedAt === -Infinity) return steps;
    assert.ok(steps < 100, 'reading the stream does not end');
    await history.stepBack();
  }
}

for (const line of ['2.9', '2.15'] as const) {
  test(`a stream of nats-server ${line} is read backwards, with payloads only for events that need them`, async () => {
    await using server = await startNatsServer({ binary: natsServerBinary(line) });
    await using admin = await Admin.connect([server.url]);
    await admin.stream('ci');
    const stream = admin.connection.jetstream();
    for (let index = 1; index <= 10; index++) {
      const given = headers();
      given.set('X-Number', String(index));
      await stream.publish(`ci.${index}`, `payload ${index}`, { headers: given });
    }
    for (const seq of [3, 10]) await admin.manager.streams.deleteMessage('ci', seq);
    const bus = await openBus(server.url);
    try {
      const isSecond = (message: { headers: ReadonlyMap<string, readonly string[]> }) =>
        message.headers.get('x-number')?.[0] === '2';
      const { history, seen } = historyOf(bus, { whole: isSecond });
      assert.match(String(history.unread), /^ci was not read$/);
      await history.stepBack();
      assert.deepEqual(
        seen.map(({ sequence }) => sequence),
        [7, 8, 9],
      );
      assert.match(String(history.unread), /^ci was not read before its sequence 7 \(\d{4}-.+Z\)$/);
      await toItsEnd(history);
      assert.deepEqual(
        seen.map(({ sequence }) => sequence).sort((one, next) => one - next),
        [1, 2, 4, 5, 6, 7, 8, 9],
      );
      assert.deepEqual(
        seen.filter(({ payload }) => payload !== ''),
        [{ sequence: 2, payload: 'payload 2' }],
      );
      assert.deepEqual([history.unread, history.trouble], [undefined, undefined]);
      const whole = historyOf(bus, { whole: 'all' });
      assert.equal(await toItsEnd(whole.history), 3);
      assert.ok(whole.seen.every(({ sequence, payload }) => payload === `payload ${sequence}`));
      assert.equal((await admin.manager.streams.info('ci')).state.consumer_count, 0);
    } finally {
      await bus.close();
    }
  });
}

test("an error in reading a stream is reported, and isn't taken for its end", async () => {
  const permissions = { publish: { allow: ['$JS.API.STREAM.INFO.ci'] }, subscribe: { allow: ['_INBOX.>'] } };
  const reading = { user: 'reader', password: 'secret', permissions };
  const halfway = {
    user: 'halfway',
    password: 'secret',
    permissions: { ...permissions, publish: { allow: ['$JS.API.STREAM.INFO.ci', '$JS.API.CONSUMER.CREATE.ci.>'] } },
  };
  await using server = await startNatsServer({
    config: usersConfig(reading, halfway, { user: 'admin', password: 'secret' }),
  });
  await using admin = await Admin.connect([server.url], { user: 'admin', pass: 'secret' });
  await admin.stream('ci');
  await admin.connection.jetstream().publish('ci.1', '1');
  const [reader, half, all] = await Promise.all([
    openBus(server.url, '\n  user: reader\n  passwordEnv: PASSWORD'),
    openBus(server.url, '\n  user: halfway\n  passwordEnv: PASSWORD'),
    openBus(server.url, '\n  user: admin\n  passwordEnv: PASSWORD'),
  ]);
  try {
    const { history } = historyOf(reader);
    await history.stepBack();
    const lacks = (subject: string) =>
      `ci could not be read to its end: the bridge's user needs publish permission for "${subject}"; nats-event-bridge check names all that it lacks`;
    assert.equal(history.trouble, lacks('$JS.API.CONSUMER.CREATE.ci.>'));
    const unable = historyOf(half).history;
    await unable.stepBack();
    assert.equal(unable.trouble, lacks('$JS.API.CONSUMER.MSG.NEXT.ci.*'));
    assert.equal(history.reachedAt, -Infinity);
    const missing = historyOf(all, { stream: 'nowhere' }).history;
    await missing.stepBack();
    assert.match(missing.unread ?? '', /^nowhere could not be read to its end: .*stream not found/);
    const late = historyOf(all, { budget: new Budget(10, 0, Date.now) }).history;
    await late.stepBack();
    assert.match(late.trouble ?? '', /there was no time to read its messages 1 to 1/);
    const fine = historyOf(all);
    await toItsEnd(fine.history);
    assert.equal(fine.seen.length, 1);
  } finally {
    await Promise.all([reader.close(), half.close(), all.close()]);
  }
});

test('a budget is spent by messages or by time', () => {
  let now = 0;
  const budget = new Budget(3, 100, () => now);
  budget.spend(2);
  assert.deepEqual([budget.isSpent, budget.left], [false, 100]);
  budget.spend(1);
  assert.ok(budget.isSpent);
  const other = new Budget(3, 100, () => now);
  now = 100;
  assert.deepEqual([other.isSpent, other.left], [true, 0]);
});
