import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import { AckPolicy, RetentionPolicy } from 'nats';
import type { StartPosition } from '../../../shared/bus.ts';
import { casesOf } from '../../support/form.ts';
import { natsServerBinary, startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';
import { NOWHERE, openBus, Recorder } from '../../support/nats/openBus.ts';
import { TcpProxy } from '../../support/nats/tcpProxy.ts';
import { Admin, type TestStream } from '../../support/nats/testStream.ts';

const MINUTE = 60_000;
const SECOND_IN_NANOSECONDS = 1e9;

// Of 2.10, all that a wait asks for is as it is on 2.15.
for (const line of casesOf(['2.9', '2.10', '2.15'] as const, (one) => one !== '2.10')) {
  describe(`reading a stream of nats-server ${line}`, { concurrency: 4 }, () => {
    let server: NatsServer;
    let admin: Admin;
    let streams = 0;

    before(async () => {
      server = await startNatsServer({ binary: natsServerBinary(line) });
      assert.ok(server.version.startsWith(`${line}.`));
      admin = await Admin.connect([server.url]);
    });
    after(async () => {
      await admin[Symbol.asyncDispose]();
      await server.stop();
    });

    /** A stream of one test, on subjects of its own. */
    const newStream = (config?: Parameters<Admin['stream']>[1]): Promise<TestStream> =>
      admin.stream(`s${++streams}`, config);

    /** A stream with a1, b1, a2 on the subjects a, b, a: sequences 1, 2, 3. Time passes between b1 and a2. */
    async function shortStream(): Promise<{ stream: TestStream; beforeA2: number }> {
      const stream = await newStream();
      await stream.publish('a', 'a1');
      await stream.publish('b', 'b1');
      const { time } = await admin.manager.streams.getMessage(stream.name, { last_by_subj: `${stream.name}.b` });
      return { stream, beforeA2: time.getTime() + 1 };
    }

    const positions: readonly {
      name: string;
      start: (beforeA2: number) => StartPosition;
      found: string[];
    }[] = [
      { name: 'now', start: () => ({ from: 'now' }), found: [] },
      { name: 'all', start: () => ({ from: 'all' }), found: ['a1', 'b1', 'a2'] },
      { name: 'lastPerSubject', start: () => ({ from: 'lastPerSubject' }), found: ['b1', 'a2'] },
      { name: 'a sequence', start: () => ({ from: 'sequence', after: 1 }), found: ['b1', 'a2'] },
      { name: 'sequence 0', start: () => ({ from: 'sequence', after: 0 }), found: ['a1', 'b1', 'a2'] },
      { name: 'the last sequence', start: () => ({ from: 'sequence', after: 3 }), found: [] },
      { name: 'a time', start: (at) => ({ from: 'time', at, correctSkew: false }), found: ['a2'] },
      {
        name: 'the start of the run',
        start: () => ({ from: 'time', at: Date.now() - MINUTE, correctSkew: true }),
        found: ['a1', 'b1', 'a2'],
      },
    ];
    // Where a start is counted by the server, both lines; where each line does the same, the newest.
    const ON_OLDEST = ['all', 'lastPerSubject', 'a time'];
    const tried = casesOf(positions, ({ name }) => line !== '2.9' || ON_OLDEST.includes(name));
    for (const { name, start, found } of tried) {
      test(`from ${name}, and on after the link breaks`, async () => {
        await using proxy = await TcpProxy.start(server.port);
        await using open = await openBus([proxy.url]);
        const { stream, beforeA2 } = await shortStream();
        await waitUntil(beforeA2);
        await stream.publish('a', 'a2');

        await using reading = await open.read({ subjects: [`${stream.name}.>`], start: start(beforeA2) });
        const { seen } = reading;
        await seen.count(found.length);
        await stream.publish('b', 'live');
        await seen.count(found.length + 1);

        proxy.cut();
        await stream.publish('a', 'gap1', 'gap2');
        proxy.mend();
        await seen.count(found.length + 3);
        await stream.publish('a', 'end');
        await seen.count(found.length + 4);
        assert.deepEqual(seen.payloads, [...found, 'live', 'gap1', 'gap2', 'end']);
        assert.equal(seen.downs.length, 1);
        assert.equal(seen.ups.length, 1);
        assert.equal(reading.subscription.stream, stream.name);
      });

      test(`from ${name}: a link that breaks before the first event loses none`, async () => {
        await using proxy = await TcpProxy.start(server.port);
        await using open = await openBus([proxy.url]);
        const stream = await newStream();
        await stream.publish('other', 'other');
        const position = start(Date.now() - MINUTE);
        await using reading = await open.read({
          subjects: [`${stream.name}.a`],
          start: position.from === 'sequence' ? { from: 'sequence', after: 1 } : position,
        });
        const { seen } = reading;
        proxy.cut();
        await stream.publish('a', 'gap1', 'gap2', 'gap3');
        proxy.mend();
        await seen.count(3);
        await stream.publish('a', 'end');
        await seen.count(4);
        assert.deepEqual(seen.payloads, ['gap1', 'gap2', 'gap3', 'end']);
      });
    }

    test("lastPerSubject still gives only each subject's last event if the link breaks halfway", async () => {
      await using proxy = await TcpProxy.start(server.port);
      await using open = await openBus([proxy.url]);
      const stream = await newStream();
      await stream.fill(6_000, (index) => `subject${Math.ceil(index / 2)}`);
      await using reading = await open.read({ subjects: [`${stream.name}.>`], start: { from: 'lastPerSubject' } });
      const { seen } = reading;
      seen.onMessage = ({ place: { sequence } = NOWHERE }) => {
        if (sequence !== 200) return;
        proxy.cut();
        setImmediate(() => proxy.mend());
      };
      await seen.count(3_000);
      await stream.publish('end', 'end');
      await seen.count(3_001);
      assert.deepEqual(seen.sequences, [...Array.from({ length: 3_000 }, (_, index) => 2 * (index + 1)), 6_001]);
      assert.equal(seen.downs.length, 1);
    });

    test("lastPerSubject misses none of a subject's events while the link is down", async () => {
      await using proxy = await TcpProxy.start(server.port);
      await using open = await openBus([proxy.url]);
      const stream = await newStream();
      await stream.fill(3_000, (index) => `subject${index}`);
      await using reading = await open.read({ subjects: [`${stream.name}.>`], start: { from: 'lastPerSubject' } });
      const { seen } = reading;
      let published: Promise<unknown> | undefined;
      seen.onMessage = ({ place: { sequence } = NOWHERE }) => {
        if (sequence !== 50) return;
        proxy.cut();
        published = stream.publish('subject1', 'one', 'two').finally(() => proxy.mend());
      };
      await seen.count(3_002);
      await published;
      assert.deepEqual(
        seen.sequences,
        Array.from({ length: 3_002 }, (_, index) => index + 1),
      );
    });

    test('lastPerSubject works for several subjects', async () => {
      await using open = await openBus([server.url]);
      const stream = await newStream();
      await stream.publish('a', 'a1', 'a2');
      await stream.publish('noise', 'noise');
      await stream.publish('b', 'b1');
      const subjects = [`${stream.name}.a`, `${stream.name}.b`];
      await using reading = await open.read({ subjects, start: { from: 'lastPerSubject' } });
      await stream.publish('a', 'a3');
      await reading.seen.count(3);
      assert.deepEqual(reading.seen.payloads, ['a2', 'b1', 'a3']);
    });

    test('several subjects are filtered by the server if possible, and arrive in order', async () => {
      await using open = await openBus([server.url]);
      const stream = await newStream();
      await stream.publish('a.built', '1');
      await stream.publish('noise', '2');
      await stream.publish('b', '3');
      const subjects = [`${stream.name}.a.*`, `${stream.name}.b`];
      await using reading = await open.read({ subjects, start: { from: 'all' } });
      await stream.publish('a.done', '4');
      await reading.seen.count(3);
      assert.deepEqual(reading.seen.payloads, ['1', '3', '4']);
      const [consumer] = await stream.consumers();
      assert.deepEqual(consumer?.config.filter_subjects, line === '2.9' ? undefined : subjects);
      assert.equal(consumer?.config.filter_subject, undefined);
    });

    test('several subjects from a start time miss no event of any of them', async () => {
      await using open = await openBus([server.url]);
      const stream = await newStream();
      await stream.publish('a', 'before');
      await delay(5);
      const at = Date.now();
      await delay(5);
      await stream.publish('a', 'a1', 'a2');
      await stream.publish('b', 'b1');
      const subjects = [`${stream.name}.a`, `${stream.name}.b`];
      await using reading = await open.read({ subjects, start: { from: 'time', at, correctSkew: false } });
      await stream.publish('a', 'a3');
      await reading.seen.until(() => reading.seen.payloads.includes('a3'), 'the last event');
      assert.deepEqual(reading.seen.payloads, ['a1', 'a2', 'b1', 'a3']);
    });

    test('an event on two overlapping subjects arrives once', async () => {
      await using open = await openBus([server.url]);
      const stream = await newStream();
      await stream.publish('app.built', 'both');
      await stream.publish('app.tested', 'one');
      await stream.publish('other.built', 'other');
      await stream.publish('other.tested', 'none');
      const subjects = [`${stream.name}.app.*`, `${stream.name}.*.built`];
      await using reading = await open.read({ subjects, start: { from: 'all' } });
      await stream.publish('app.built', 'end');
      await reading.seen.count(4);
      assert.deepEqual(reading.seen.payloads, ['both', 'one', 'other', 'end']);
    });

    test("a subject may be wider than the stream's", async () => {
      await using open = await openBus([server.url]);
      const stream = await newStream({ subjects: ['wide.a.*'] });
      await admin.connection.jetstream().publish('wide.a.1', 'first');
      await using reading = await open.read({ subjects: ['wide.>'], start: { from: 'all' } });
      assert.equal(reading.subscription.stream, stream.name);
      await admin.connection.jetstream().publish('wide.a.2', 'second');
      await reading.seen.count(2);
      assert.deepEqual(reading.seen.payloads, ['first', 'second']);
      await stream.delete();
    });

    test('subjects in two streams are refused, naming both streams', async () => {
      await using open = await openBus([server.url]);
      const [one, other] = [await newStream(), await newStream()];
      await assert.rejects(open.read({ subjects: [`${one.name}.a`, `${other.name}.a`], start: { from: 'now' } }), {
        code: 'NoStream',
        problem: `The subjects are not all in one stream: "${one.name}.a" in ${one.name}; "${other.name}.a" in ${other.name}`,
        remedy: /^Wait on subjects of one stream/,
      });
      await assert.rejects(
        open.read({ subjects: [`${other.name}.a`], stream: one.name, start: { from: 'now' } }),
        (error: Error) =>
          error.message.includes(`"${one.name}" captures ${one.name}.> and so never holds ${other.name}.a`),
      );
    });

    test('a stream or subject that does not exist is named', async () => {
      await using open = await openBus([server.url]);
      await assert.rejects(open.read({ subjects: ['nowhere.a'], start: { from: 'now' } }), {
        code: 'NoStream',
        problem: 'No stream captures the subject "nowhere.a"',
      });
      await assert.rejects(open.read({ subjects: ['nowhere.a'], stream: 'NOWHERE', start: { from: 'now' } }), {
        code: 'NoStream',
        problem: 'There is no stream "NOWHERE" in the account of this user',
      });
    });

    test('a start sequence beyond the end of the stream is refused', async () => {
      await using open = await openBus([server.url]);
      const stream = await newStream();
      await stream.publish('a', '1', '2');
      await assert.rejects(open.read({ subjects: [`${stream.name}.a`], start: { from: 'sequence', after: 3 } }), {
        code: 'InvalidInput',
        problem: `startSequence: the stream "${stream.name}" ends at sequence 2, before 3`,
      });
    });

    for (const kind of ['mirror', 'sources'] as const) {
      test(`a stream that ${kind === 'mirror' ? 'mirrors' : 'sources'} another one`, async () => {
        await using open = await openBus([server.url]);
        const origin = await newStream();
        const copy = await newStream(
          kind === 'mirror' ? { mirror: { name: origin.name } } : { sources: [{ name: origin.name }] },
        );
        await origin.publish('a', '1');
        await origin.publish('b', 'other subject');
        await using reading = await open.read({
          subjects: [`${origin.name}.a`],
          stream: copy.name,
          start: { from: 'all' },
        });
        await origin.publish('a', '2');
        await reading.seen.count(2);
        assert.deepEqual(reading.seen.payloads, ['1', '2']);
        assert.deepEqual(new Set(reading.seen.messages.map(({ place }) => place?.stream)), new Set([copy.name]));
      });
    }

    test('a work queue is refused and keeps its events', async () => {
      await using open = await openBus([server.url]);
      const stream = await newStream({ retention: RetentionPolicy.Workqueue });
      await stream.publish('a', 'job');
      await assert.rejects(open.read({ subjects: [`${stream.name}.a`], start: { from: 'all' } }), {
        code: 'Unsupported',
        problem: `The stream "${stream.name}" is a work queue: reading it would take events from its workers`,
        remedy: 'Wait on a stream that mirrors or sources it.',
      });
      assert.equal(await stream.messages(), 1);
      assert.deepEqual(await stream.consumers(), []);
    });

    test('a stream with interest retention is read with a notice', async () => {
      await using open = await openBus([server.url]);
      const stream = await newStream({ retention: RetentionPolicy.Interest });
      await using reading = await open.read({ subjects: [`${stream.name}.a`], start: { from: 'all' } });
      assert.match(reading.seen.notices.join(), /keeps events only while a consumer wants them/);
      await stream.publish('a', 'wanted');
      await reading.seen.count(1);
      assert.deepEqual(reading.seen.payloads, ['wanted']);
    });

    for (const retention of [RetentionPolicy.Limits, RetentionPolicy.Interest]) {
      test(`nothing is taken from a stream's other consumers (retention ${retention})`, async () => {
        await using open = await openBus([server.url]);
        const stream = await newStream({ retention });
        await admin.manager.consumers.add(stream.name, { durable_name: 'worker', ack_policy: AckPolicy.Explicit });
        await using reading = await open.read({ subjects: [`${stream.name}.>`], start: { from: 'now' } });
        await stream.publish('a', '1', '2', '3');
        await reading.seen.count(3);
        await reading.subscription.stop();

        const worker = await admin.connection.jetstream().consumers.get(stream.name, 'worker');
        const taken: string[] = [];
        for await (const message of await worker.fetch({ max_messages: 3, expires: 5_000 })) {
          taken.push(message.string());
          message.ack();
        }
        assert.deepEqual(taken, ['1', '2', '3']);
      });
    }

    test("a wait's consumer is its own, leaves no trace, and outlives a killed step by at most a minute", async () => {
      await using open = await openBus([server.url]);
      const stream = await newStream();
      await using one = await open.read({ subjects: [`${stream.name}.a`], start: { from: 'now' } });
      await using other = await open.read({ subjects: [`${stream.name}.a`], start: { from: 'now' } });
      const consumers = await stream.consumers();
      assert.equal(new Set(consumers.map(({ name }) => name)).size, 2);
      for (const { config } of consumers) {
        assert.equal(config.durable_name, undefined);
        assert.equal(config.ack_policy, 'none');
        assert.equal(config.mem_storage, true);
        assert.equal(config.inactive_threshold, 60 * SECOND_IN_NANOSECONDS);
        assert.equal(config.filter_subject, `${stream.name}.a`);
      }
      await stream.publish('a', '1');
      await Promise.all([one.seen.count(1), other.seen.count(1)]);
      await one.subscription.stop();
      assert.equal((await stream.consumers()).length, 1);
      await other.subscription.stop();
      assert.deepEqual(await stream.consumers(), []);
    });

    test('a consumer that an administrator deletes is replaced, and no event is missed meanwhile', async () => {
      await using open = await openBus([server.url]);
      const stream = await newStream();
      await using reading = await open.read({ subjects: [`${stream.name}.>`], start: { from: 'now' } });
      for (const round of ['1', '2', '3']) {
        await stream.deleteConsumers();
        await stream.publish('a', round);
        await reading.seen.count(Number(round));
      }
      assert.deepEqual(reading.seen.payloads, ['1', '2', '3']);
      assert.deepEqual(reading.seen.downs, []);
      await reading.subscription.stop();
      assert.deepEqual(await stream.consumers(), []);
    });

    test('an event with the headers of a JetStream status is still an event', async () => {
      await using open = await openBus([server.url]);
      const stream = await newStream();
      await using reading = await open.read({ subjects: [`${stream.name}.>`], start: { from: 'now' } });
      const blocks = [
        'NATS/1.0 409 Consumer Deleted\r\n\r\n',
        'NATS/1.0 100 Idle Heartbeat\r\n\r\n',
        'NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 1000\r\nNats-Pending-Bytes: 0\r\n\r\n',
        'NATS/1.0 404 No Messages\r\n\r\n',
        'NATS/1.0 503\r\n\r\n',
        'NATS/1.0 409 Server Shutdown\r\nNats-Last-Consumer: 7\r\nNats-Last-Stream: 7\r\n\r\n',
      ];
      for (const block of blocks) await publishRaw(server, `${stream.name}.a`, block, '');
      await stream.publish('a', 'end');
      await reading.seen.count(blocks.length + 1);
      assert.deepEqual(reading.seen.sequences, [1, 2, 3, 4, 5, 6, 7]);
      assert.deepEqual(reading.seen.messages[5]?.headers.get('nats-last-stream'), ['7']);
      assert.deepEqual(
        open.step.lines.filter((text) => text.includes('again')),
        [],
      );
      assert.equal((await stream.consumers()).length, 1);
    });

    test('20,000 past events arrive once each and in order, even if the link breaks meanwhile', async () => {
      await using proxy = await TcpProxy.start(server.port);
      await using open = await openBus([proxy.url]);
      const stream = await newStream();
      await stream.fill(20_000, () => 'a');
      assert.equal(await stream.messages(), 20_000);
      await using reading = await open.read({ subjects: [`${stream.name}.a`], start: { from: 'all' } });
      reading.seen.onMessage = ({ place: { sequence } = NOWHERE }) => {
        if (sequence !== 7_000) return;
        proxy.cut();
        setImmediate(() => proxy.mend());
      };
      await reading.seen.count(20_000);
      await stream.publish('a', 'end');
      await reading.seen.count(20_001);
      assert.deepEqual(
        reading.seen.sequences,
        Array.from({ length: 20_001 }, (_, index) => index + 1),
      );
      assert.equal(reading.seen.downs.length, 1);
    });

    test('a stream whose first events are gone is read from the first one left', async () => {
      await using open = await openBus([server.url]);
      const stream = await newStream({ max_msgs: 2 });
      await stream.publish('a', '1', '2', '3', '4');
      await using reading = await open.read({ subjects: [`${stream.name}.a`], start: { from: 'sequence', after: 1 } });
      await reading.seen.count(2);
      await stream.publish('a', '5');
      await reading.seen.count(3);
      assert.deepEqual(reading.seen.payloads, ['3', '4', '5']);
    });

    test('a server that allows only small batches gets requests for small batches', async () => {
      await using limited = await startNatsServer({
        binary: natsServerBinary(line),
        jetStream: false,
        config: `jetstream { store_dir: ${JSON.stringify(`${server.storeDir}-limited`)}, limits { max_request_batch: 10 } }`,
      });
      await using limitedAdmin = await Admin.connect([limited.url]);
      await using open = await openBus([limited.url]);
      const stream = await limitedAdmin.stream('LIMITED');
      await stream.fill(100, () => 'a');
      await using reading = await open.read({ subjects: ['LIMITED.a'], start: { from: 'all' } });
      await reading.seen.count(100);
      assert.deepEqual(
        open.step.lines.filter((text) => text.includes('again')),
        [],
      );
    });
  });
}

describe('when the clocks of agent and server differ', () => {
  const HOUR = 60 * MINUTE;
  for (const [how, skew] of [
    ['is an hour ahead', HOUR],
    ['is an hour behind', -HOUR],
    ['is 3 s ahead', 3_000],
    ['is 3 s behind', -3_000],
  ] as const) {
    test(`the start of the run is corrected if the agent ${how}`, async (t) => {
      await using server = await startNatsServer();
      await using admin = await Admin.connect([server.url]);
      const stream = await admin.stream('CI');
      await stream.publish('a', 'before the run');
      await waitUntil(Date.now() + 500);
      const { now } = Date;
      t.mock.method(Date, 'now', () => now() + skew);
      const runStart = Date.now();
      await waitUntil(runStart + 500);
      await stream.publish('a', 'in the run');
      await using open = await openBus([server.url]);
      await using reading = await open.read({
        subjects: ['CI.a'],
        start: { from: 'time', at: runStart, correctSkew: true },
      });
      await stream.publish('a', 'end');
      await reading.seen.count(2);
      assert.deepEqual(reading.seen.payloads, ['in the run', 'end']);
      const [notice = ''] = reading.seen.notices;
      const [, ms, direction] = /is (\d+) ms (ahead of|behind) this agent's/.exec(notice) ?? [];
      assert.ok(Math.abs(Number(ms) - Math.abs(skew)) < 500, notice);
      assert.equal(direction, skew > 0 ? 'behind' : 'ahead of');
      assert.equal((await stream.consumers()).length, 1);
    });
  }

  test('a start time from the user is used unchanged, and so is the start of the run when they differ by 1 s', async (t) => {
    await using server = await startNatsServer();
    await using admin = await Admin.connect([server.url]);
    const stream = await admin.stream('CI');
    const start = Date.now() - MINUTE;
    await stream.publish('a', 'event');
    const { now } = Date;
    for (const [skew, correctSkew] of [
      [HOUR, false],
      [1_000, true],
    ] as const) {
      t.mock.method(Date, 'now', () => now() + skew);
      await using open = await openBus([server.url]);
      await using reading = await open.read({ subjects: ['CI.a'], start: { from: 'time', at: start, correctSkew } });
      await reading.seen.count(1);
      assert.deepEqual(reading.seen.notices, []);
      t.mock.reset();
    }
  });
});

test("a server that takes 4.5 s to answer isn't taken for one with a skewed clock", async () => {
  await using server = await startNatsServer();
  await using admin = await Admin.connect([server.url]);
  // A stream of this kind is told of just before the request that shows the clock of the server.
  const stream = await admin.stream('CI', { retention: RetentionPolicy.Interest });
  await admin.manager.consumers.add('CI', { durable_name: 'worker', ack_policy: AckPolicy.Explicit });
  const runStart = Date.now();
  await stream.publish('a', 'in the run');
  await using open = await openBus([server.url]);
  const seen = new (class extends Recorder {
    override notice(text: string): void {
      super.notice(text);
      void server.pause();
      setTimeout(() => server.resume(), 4_500);
    }
  })();
  const subscription = await open.bus.readStream(
    { subjects: ['CI.a'], stream: 'CI', start: { from: 'time', at: runStart, correctSkew: true } },
    seen,
    open.step.clock.signal,
  );
  await seen.count(1);
  assert.equal(seen.notices.length, 1);
  await subscription.stop();
});

test('an event on two overlapping subjects of core NATS arrives once', async () => {
  await using server = await startNatsServer({ jetStream: false });
  await using admin = await Admin.connect([server.url]);
  await using open = await openBus([server.url]);
  await using reading = await open.subscribe(['app.*', '*.built', 'app.built']);
  for (const subject of ['app.built', 'app.tested', 'other.built', 'other.tested', 'app.end'])
    admin.connection.publish(subject, subject);
  await reading.seen.until(() => reading.seen.payloads.includes('app.end'), 'the last event');
  assert.deepEqual(reading.seen.payloads, ['app.built', 'app.tested', 'other.built', 'app.end']);
});

/** Resolves when the clock has passed a time, in milliseconds since the epoch. */
async function waitUntil(time: number): Promise<void> {
  while (Date.now() <= time) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Publishes with a header block of any bytes, which no client library would send. */
async function publishRaw(server: NatsServer, subject: string, headers: string, payload: string): Promise<void> {
  const socket = createConnection(server.port, server.host);
  await once(socket, 'data');
  const size = headers.length + payload.length;
  socket.write('CONNECT {"verbose":false,"headers":true,"protocol":1}\r\n');
  socket.write(`HPUB ${subject} ${headers.length} ${size}\r\n${headers}${payload}\r\nPING\r\n`);
  const [answer] = await once(socket, 'data');
  assert.match(String(answer), /PONG/);
  socket.destroy();
}
