import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test, type TestContext } from 'node:test';
import { DeadLetters, type DeadLetter } from '../../../../bridge/audit/deadLetters.ts';
import { TaskError } from '../../../../shared/errors.ts';
import { headersOf, largerThan, MemoryLog, MemoryPublisher, textOf } from '../../../support/bridge/memoryNats.ts';

const LETTER: DeadLetter = {
  function: 'hooks',
  name: 'unusable',
  reason: 'unusable',
  detail: "The post isn't a service hook: the body isn't JSON",
  source: 'a project',
  headers: [['Content-Type', 'text/plain']],
  payload: Buffer.from('hello'),
};

/** Dead letters in an in-memory stream, with a clock that the test moves. */
function open(context: TestContext) {
  context.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.UTC(2026, 10, 28, 12) });
  const publisher = new MemoryPublisher();
  const log = new MemoryLog();
  const counted: string[] = [];
  const letters = new DeadLetters({
    publisher,
    subjectPrefix: 'bridge.dead',
    stream: 'BRIDGE_DEAD',
    metrics: { deadLetter: (of, reason) => void counted.push(`${of} ${reason}`) },
    now: () => Date.now(),
    log,
  });
  /** Moves the clock, and runs what that triggers. */
  const pass = async (ms: number) => {
    context.mock.timers.tick(ms);
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  return { letters, publisher, log, counted, pass };
}

describe('A dead letter', () => {
  test('has the original bytes, and says what it was and why', async (context) => {
    const { letters, publisher, counted } = open(context);
    const letter: DeadLetter = {
      ...LETTER,
      function: 'runs',
      name: 'deploy web',
      route: 'deploy web',
      place: { stream: 'CI', sequence: 7 },
      headers: [
        ['ce-id', '1'],
        ['Nats-Msg-Id', 'm-1'],
        ['Bridge-Reason', 'none at all'],
        ['X-Text', 'a\r\nBridge-Route: other'],
      ],
      notes: { Project: 'p-1' },
    };
    assert.equal(await letters.write(letter, 1_000), 1);
    const [stored] = publisher.stored;
    assert.equal(stored!.subject, 'bridge.dead.runs.deploy-web');
    assert.equal(stored!.payload, letter.payload);
    assert.deepEqual(headersOf(stored!), {
      'Nats-Expected-Stream': 'BRIDGE_DEAD',
      'Bridge-Reason': 'unusable',
      'Bridge-Detail': LETTER.detail,
      'Bridge-Route': 'deploy web',
      'Bridge-Stream': 'CI',
      'Bridge-Sequence': '7',
      'Bridge-Project': 'p-1',
      'ce-id': '1',
      'Bridge-Original-Nats-Msg-Id': 'm-1',
      'Bridge-Original-Bridge-Reason': 'none at all',
      'X-Text': 'a  Bridge-Route: other',
    });
    assert.deepEqual(counted, ['runs unusable']);
  });

  test('is stored without its bytes if it is too large, with a warning', async (context) => {
    const { letters, publisher, log } = open(context);
    publisher.failure = largerThan(100);
    const payload = Buffer.alloc(101, 'x');
    assert.equal(await letters.write({ ...LETTER, payload }, 1_000), 1);
    const [stored] = publisher.stored;
    assert.equal(stored!.payload.length, 0);
    const { 'Bridge-Size': size, 'Bridge-SHA-256': sha256, 'Bridge-Reason': reason } = headersOf(stored!);
    assert.deepEqual([size, sha256, reason], ['101', createHash('sha256').update(payload).digest('hex'), 'unusable']);
    assert.match(log.lines.join(), /warning The dead letter 1 .* lacks its 101 bytes.*Raise max_payload/);
  });

  test('that the stream rejects is an error, and is not counted', async (context) => {
    const { letters, publisher, counted } = open(context);
    publisher.failure = () => new TaskError('Timeout', 'It did not answer');
    await assert.rejects(letters.write(LETTER, 1_000), { code: 'Timeout' });
    assert.deepEqual(counted, []);
  });
});

describe('Too many dead letters from one source', () => {
  test('are only counted from the 121st per minute on, and summed up in one letter per minute', async (context) => {
    const { letters, publisher, counted, pass } = open(context);
    const write = (reason: string, source = 'a project') =>
      letters.write({ ...LETTER, name: reason, reason, source }, 1_000);
    for (let number = 1; number <= 120; number++) {
      assert.equal(await write('unusable'), number);
      await pass(100);
    }
    for (let number = 1; number <= 30; number++) assert.equal(await write('unusable'), null);
    for (let number = 1; number <= 5; number++) assert.equal(await write('notConfigured'), null);
    assert.equal(await write('unusable', 'another project'), 121);
    assert.equal(counted.length, 156);
    // There's no room for another one until a minute after the first.
    await pass(47_900);
    assert.equal(await write('unusable'), null);
    await pass(100);
    assert.equal(await write('unusable'), 122);
    assert.equal(publisher.on('bridge.dead.hooks.limited').length, 0);
    await pass(12_000);
    const [summary, ...others] = publisher.on('bridge.dead.hooks.limited');
    assert.deepEqual(others, []);
    assert.deepEqual(JSON.parse(textOf(summary!)), {
      source: 'hooks a project',
      count: 36,
      reasons: { unusable: 31, notConfigured: 5 },
      from: '2026-11-28T12:00:12.000Z',
      to: '2026-11-28T12:01:12.000Z',
    });
    assert.match(headersOf(summary!)['Bridge-Detail'] ?? '', /^36 letters of one source were not kept/);
    await pass(120_000);
    assert.equal(publisher.on('bridge.dead.hooks.limited').length, 1);
  });

  test('do not include those that could not be stored', async (context) => {
    const { letters, publisher } = open(context);
    publisher.failure = () => new TaskError('Timeout', 'It did not answer');
    for (let number = 1; number <= 130; number++) await assert.rejects(letters.write(LETTER, 1_000));
    publisher.failure = () => undefined;
    assert.equal(await letters.write(LETTER, 1_000), 1);
  });

  test('are summed up when the bridge stops; a summary that fails is tried again', async (context) => {
    const { letters, publisher, log, pass } = open(context);
    for (let number = 1; number <= 122; number++) await letters.write(LETTER, 1_000);
    publisher.failure = () => new TaskError('Timeout', 'It did not answer');
    await pass(60_000);
    assert.match(log.lines.join(), /The letter that tells of 2 dead letters .* could not be written/);
    publisher.failure = () => undefined;
    await pass(60_000);
    assert.equal((JSON.parse(textOf(publisher.on('bridge.dead.hooks.limited')[0]!)) as { count: number }).count, 2);

    for (let number = 1; number <= 121; number++) await letters.write(LETTER, 1_000);
    await letters.close();
    assert.equal((JSON.parse(textOf(publisher.on('bridge.dead.hooks.limited')[1]!)) as { count: number }).count, 1);
  });
});
