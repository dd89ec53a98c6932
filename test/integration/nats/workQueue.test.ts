import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AckPolicy, DeliverPolicy } from 'nats';
import type { QueuedMessage, WorkQueue } from '../../../shared/bus.ts';
import type { ServiceBus } from '../../../shared/nats/serviceBus.ts';
import { natsServerBinary, startNatsServer } from '../../support/nats/natsServer.ts';
import { openService, until } from '../../support/nats/openService.ts';
import { Admin } from '../../support/nats/testStream.ts';

const LINES = ['2.9', '2.10', '2.15'] as const;
const ACK_WAIT_MS = 1_000;
const PATIENT_MS = 60_000;
const NS_PER_MS = 1_000_000;

async function addConsumer(admin: Admin, ackWaitMs = ACK_WAIT_MS): Promise<void> {
  await admin.manager.consumers.add('CI', {
    durable_name: 'workers',
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    ack_wait: ackWaitMs * NS_PER_MS,
    max_ack_pending: 1_000,
  });
}

/** One worker, and what it was told. */
class Worker {
  readonly messages: QueuedMessage[] = [];
  readonly story: string[] = [];
  readonly queue: WorkQueue;

  constructor(bus: ServiceBus) {
    this.queue = bus.workQueue('CI', 'workers', {
      arrived: (message) => {
        this.messages.push(message);
      },
      down: (problem) => void this.story.push(`down: ${problem.message}`),
      up: () => void this.story.push('up'),
    });
  }

  get texts(): string[] {
    return this.messages.map(({ message }) => Buffer.from(message.payload).toString());
  }

  async has(count: number): Promise<void> {
    await until(() => this.messages.length >= count, `${count} messages of ${this.texts.join()}`);
  }
}

for (const line of LINES) {
  describe(`A durable consumer of nats-server ${line}`, { concurrency: true }, () => {
    test('delivers each message once, up to the requested number, until it is acked', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      const stream = await admin.stream('CI');
      await addConsumer(admin);
      await stream.publish('a', '1', '2', '3', '4', '5');
      await using service = await openService(server.url);
      const worker = new Worker(service.bus);
      worker.queue.want(2);
      await worker.has(2);
      const [first] = worker.messages;
      assert.deepEqual(first?.message.place, { stream: 'CI', sequence: 1 });
      assert.equal(first.message.subject, 'CI.a');
      assert.deepEqual([first.deliveries, worker.texts], [1, ['1', '2']]);
      worker.messages.splice(0).forEach((message) => message.ack());
      worker.queue.want(3);
      await worker.has(3);
      assert.deepEqual(worker.texts, ['3', '4', '5']);
      worker.messages.forEach((message) => message.ack());
      await until(async () => {
        const [consumer] = await stream.consumers();
        return consumer?.num_ack_pending === 0 && consumer.num_pending === 0;
      }, 'all are acknowledged');
      worker.queue.stop();
    });

    test('redelivers a message that nobody works on, and one after the requested pause', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      const stream = await admin.stream('CI');
      await addConsumer(admin);
      await stream.publish('a', 'kept', 'dropped', 'retried', 'ended');
      await using service = await openService(server.url);
      const worker = new Worker(service.bus);
      worker.queue.want(8);
      await worker.has(4);
      const [kept, , retried, ended] = worker.messages;
      const timer = setInterval(() => kept?.working(), ACK_WAIT_MS / 4);
      ended?.term();
      const askedAt = Date.now();
      retried?.retry(300);
      await worker.has(6);
      clearInterval(timer);
      const again = worker.messages.slice(4);
      assert.deepEqual(
        again.map(({ message, deliveries }) => [Buffer.from(message.payload).toString(), deliveries]),
        [
          ['retried', 2],
          ['dropped', 2],
        ],
      );
      const pausedMs = again[0]!.message.receivedAt - askedAt;
      assert.ok(pausedMs >= 250 && pausedMs < 900, `${pausedMs} ms`);
      worker.queue.stop();
    });

    // Older servers leave the question unanswered, so there it takes until the silence is noticed.
    const tellsAtOnce = line !== '2.9';
    if (tellsAtOnce)
      test("that doesn't exist yet is found once it does", async () => {
        await using server = await startNatsServer({ binary: natsServerBinary(line) });
        await using admin = await Admin.connect([server.url]);
        const stream = await admin.stream('CI');
        await stream.publish('a', '1');
        await using service = await openService(server.url);
        const worker = new Worker(service.bus);
        worker.queue.want(1);
        await until(() => worker.story.length > 0, 'it says so');
        assert.match(worker.story[0]!, /^down: NoStream: The stream "CI" has no consumer "workers"\. Create it: /);
        await addConsumer(admin);
        await worker.has(1);
        assert.deepEqual(worker.story.slice(1), ['up']);
        worker.queue.stop();
      });

    test('says that there is no JetStream', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line), jetStream: false });
      await using service = await openService(server.url);
      const worker = new Worker(service.bus);
      worker.queue.want(1);
      await until(() => worker.story.length > 0, 'it says so');
      assert.equal(
        worker.story[0],
        "down: NoStream: JetStream isn't there. Enable it for the server and the account of this user.",
      );
      worker.queue.stop();
    });

    test('continues when the server comes back, and an ack from before still counts', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      const stream = await admin.stream('CI');
      // The server may take longer to come back than others wait for an answer.
      await addConsumer(admin, PATIENT_MS);
      await stream.publish('a', '1');
      await using service = await openService(server.url);
      const worker = new Worker(service.bus);
      worker.queue.want(1);
      await worker.has(1);
      worker.queue.want(0);
      // In order: a server that is killed may forget what it has delivered just before, and deliver it again.
      const restarted = server.restart();
      await until(() => worker.story.length > 0, 'it is down');
      await restarted;
      await until(() => service.bus.isLinkUp, 'the link is up');
      worker.messages.splice(0)[0]?.ack();
      worker.queue.want(2);
      await stream.publish('a', '2');
      await worker.has(1);
      assert.deepEqual([worker.texts, worker.story.at(-1)], [['2'], 'up']);
      await until(async () => (await stream.consumers())[0]?.num_ack_pending === 1, 'the first one is acknowledged');
      worker.queue.stop();
    });
  });
}
