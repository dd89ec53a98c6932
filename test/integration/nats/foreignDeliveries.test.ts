import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { AckPolicy, DeliverPolicy } from 'nats';
import { natsServerBinary, startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';
import { openBus } from '../../support/nats/openBus.ts';
import { Admin } from '../../support/nats/testStream.ts';

const PASSWORD = 'pw';
const USERS = ['waiter', 'intruder'].map((user) => `{ user: ${user}, password: ${PASSWORD} }`).join(', ');

/** Which consumer an intruder lets deliver to the inbox of a wait, given the name of the wait's own. */
const CONSUMERS: Readonly<Record<string, (own: string) => { readonly stream: string; readonly name: string }>> = {
  'of a stream of his own': () => ({ stream: 'OTHER', name: 'intruder' }),
  'of a stream of his own, named as the one of the wait': (own) => ({ stream: 'OTHER', name: own }),
  'of the stream of the wait': () => ({ stream: 'CI', name: 'intruder' }),
};

for (const [server, config] of [
  ['2.10', ''],
  ['2.15', ''],
  ['2.15, which names the domain in its reply subjects', 'feature_flags { js_ack_fc_v2: true }'],
] as const) {
  describe(`A wait on nats-server ${server}`, () => {
    let nats: NatsServer;
    let waiter: Admin;
    let intruder: Admin;

    before(async () => {
      const binary = natsServerBinary(server.startsWith('2.10') ? '2.10' : '2.15');
      nats = await startNatsServer({ binary, config: `authorization { users: [${USERS}] }\n${config}` });
      [waiter, intruder] = [await connectAs('waiter'), await connectAs('intruder')];
    });
    after(async () => {
      await waiter[Symbol.asyncDispose]();
      await intruder[Symbol.asyncDispose]();
      await nats.stop();
    });
    const connectAs = (user: string) => Admin.connect([nats.url], { user, pass: PASSWORD });

    for (const [whose, consumerFor] of Object.entries(CONSUMERS)) {
      it(`sees no event that a consumer ${whose} delivers to its inbox`, async () => {
        const stream = await waiter.stream('CI');
        // Its events come under the subject that is waited for.
        const transform = { subject_transform: { src: 'OTHER.done', dest: 'CI.done' } };
        const other = await intruder.stream('OTHER', transform);
        await other.publish('done', 'forged');
        await stream.publish('earlier', 'forged');
        const pulls = intruder.connection.subscribe('$JS.API.CONSUMER.MSG.NEXT.CI.*', { max: 1 });
        await intruder.connection.flush();

        const authentication = { kind: 'userPassword', username: 'waiter', password: PASSWORD } as const;
        await using open = await openBus([nats.url], { authentication });
        await using reading = await open.read({ subjects: ['CI.done', 'CI.earlier'], start: { from: 'now' } });
        for await (const { subject, reply } of pulls) {
          const { stream: from, name } = consumerFor(subject.split('.').at(-1) ?? '');
          const inbox = intruder.connection.subscribe(reply!)[Symbol.asyncIterator]();
          const delivered = async (): Promise<void> => {
            while (!(await inbox.next()).value?.reply?.includes(`.${from}.${name}.`));
          };
          const push = { deliver_subject: reply!, deliver_policy: DeliverPolicy.All, ack_policy: AckPolicy.None };
          await intruder.manager.consumers.add(from, { name, ...push });
          await delivered();
          await stream.publish('done', 'true');
          await reading.seen.count(1);
          // Once more, now that the wait knows how its own deliveries look.
          await other.publish('done', 'forged');
          await delivered();
        }
        await stream.publish('done', 'again');
        await reading.seen.count(2);
        assert.deepEqual(reading.seen.payloads, ['true', 'again']);
        assert.deepEqual(reading.seen.sequences, [2, 3]);
        const ignored = open.step.lines.filter((line) => line.includes('did not deliver; that was ignored'));
        assert.equal(ignored.length, 1, open.step.lines.join('\n'));
        assert.ok(!open.step.lines.some((line) => line.includes('Reading the stream again')));
        await stream.delete();
        await other.delete();
      });
    }

    it('sees its own events, in order and once', async () => {
      const stream = await waiter.stream('CI');
      await stream.fill(3_000, (index) => `n${index % 3}`);
      const authentication = { kind: 'userPassword', username: 'waiter', password: PASSWORD } as const;
      await using open = await openBus([nats.url], { authentication });
      await using reading = await open.read({ subjects: ['CI.>'], start: { from: 'all' } });
      await reading.seen.count(3_000);
      assert.deepEqual(
        reading.seen.sequences,
        Array.from({ length: 3_000 }, (_, index) => index + 1),
      );
      assert.ok(Math.abs(reading.seen.messages[0]!.storedAt! - Date.now()) < 60_000);
      assert.ok(!open.step.lines.some((line) => line.includes('Reading the stream again')));
      await stream.delete();
    });
  });
}
