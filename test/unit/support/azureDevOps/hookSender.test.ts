import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hookBodies } from '../../../support/azureDevOps/hookBodies.ts';
import { HookSender } from '../../../support/azureDevOps/hookSender.ts';
import { reset, slow } from '../../../support/azureDevOps/moods.ts';
import { StandInServer, type Answer, type RecordedRequest } from '../../../support/azureDevOps/standInServer.ts';
import { createAuthority, type Certificate } from '../../../support/nats/certificates.ts';

/** A second takes a millisecond: a probation's first retry comes after 1.2 s, a first resend almost at once. */
const FAST = 1 / 1_000;
/** A probation of 36 hours takes 130 ms. */
const FASTEST = 1 / 1_000_000;

/** Where hooks arrive: the answers to the first of them are listed, all others are 200. */
class Receiver extends StandInServer {
  readonly #statuses: number[];

  static async start(statuses: readonly number[] = [], certificate?: Certificate): Promise<Receiver> {
    const receiver = new Receiver([...statuses], certificate);
    await receiver.listen();
    return receiver;
  }

  private constructor(statuses: number[], certificate?: Certificate) {
    super(certificate);
    this.#statuses = statuses;
  }

  get url(): string {
    return `${this.origin}/hooks`;
  }

  get bodies() {
    return this.requests.map(({ body }) => JSON.parse(body));
  }

  protected override answer(): Answer {
    const status = this.#statuses.shift() ?? 200;
    return { status, body: `answer ${this.requests.length}` };
  }
}

/** A mood that holds answers back until all of them are let go. */
function gate() {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { open, mood: (_: RecordedRequest, answer: () => Promise<Answer>) => opened.then(answer) };
}

describe('a hook', { concurrency: 4 }, () => {
  const { buildCompleted, gitPushed, workItemUpdated } = hookBodies();

  test("is a POST with its subscription's ids, credentials and headers", async () => {
    await using receiver = await Receiver.start([503]);
    await using sender = new HookSender({ timeScale: FAST });
    const subscription = sender.subscribe({
      ...{ url: receiver.url, basicAuthUsername: 'hooks.id', basicAuthPassword: 'pass:wörd' },
      httpHeaders: 'X-Secret: one two\nX-Other:3',
    });
    const event = buildCompleted();
    const { outcome, attempts, answer } = await subscription.send(event);
    await subscription.send(gitPushed());
    assert.deepEqual([outcome, attempts.length, answer?.status, answer?.text], ['delivered', 2, 200, 'answer 2']);

    const [first, again, next] = receiver.requests;
    assert.deepEqual([first!.method, first!.path], ['POST', '/hooks']);
    const headers = (request: RecordedRequest | undefined, name: string) => request!.headers[name];
    assert.equal(headers(first, 'content-type'), 'application/json; charset=utf-8');
    assert.equal(headers(first, 'authorization'), `Basic ${Buffer.from('hooks.id:pass:wörd').toString('base64')}`);
    assert.deepEqual([headers(first, 'x-secret'), headers(first, 'x-other')], ['one two', '3']);
    const all = [first, again, next];
    assert.deepEqual(new Set(all.map((one) => headers(one, 'x-vss-subscriptionid'))), new Set([subscription.id]));
    for (const name of ['x-vss-activityid', 'request-id']) {
      assert.equal(new Set(all.map((one) => headers(one, name))).size, 3, name);
    }
    assert.deepEqual(
      attempts.map(({ activityId }) => activityId),
      [first, again].map((one) => headers(one, 'x-vss-activityid')),
    );
    const ids = { subscriptionId: subscription.id, notificationId: 1 };
    assert.deepEqual(receiver.bodies.slice(0, 2), [
      { ...ids, ...event },
      { ...ids, ...event },
    ]);
    assert.equal(receiver.bodies[2].notificationId, 2);
  });

  test('has no credentials, and null or plain-text messages, if the subscription says so', async () => {
    await using receiver = await Receiver.start();
    await using sender = new HookSender();
    const url = receiver.url;
    const event = buildCompleted();
    await sender.subscribe({ url, messagesToSend: 'none', detailedMessagesToSend: 'none' }).send(event);
    await sender.subscribe({ url, messagesToSend: 'text' }).send(event);
    assert.equal(receiver.requests[0]!.headers.authorization, undefined);
    const [none, text] = receiver.bodies;
    assert.deepEqual([none.message, none.detailedMessage], [null, null]);
    assert.deepEqual(Object.keys(text.message), ['text']);
    assert.deepEqual(text.detailedMessage, event.detailedMessage);
  });

  test('goes to an https address if the sender trusts its certificate authority', async () => {
    const authority = await createAuthority();
    await using receiver = await Receiver.start([], await authority.server());
    await using knowing = new HookSender({ ca: authority.cert });
    await using other = new HookSender({ timeScale: FASTEST });
    const send = async (sender: HookSender) =>
      (await sender.subscribe({ url: receiver.url }).send(gitPushed())).outcome;
    assert.deepEqual([await send(knowing), await send(other)], ['delivered', 'gaveUp']);
  });

  test('is rendered again for each attempt, with the same id', async () => {
    await using receiver = await Receiver.start([503, 503]);
    await using sender = new HookSender({ timeScale: FAST });
    const states = ['New', 'Active', 'Closed'];
    const render = (attempt: number) => workItemUpdated({ workItemId: 5, state: states[attempt - 1]! });
    const { eventId } = await sender.subscribe({ url: receiver.url }).send(render);
    assert.deepEqual(
      receiver.bodies.map(({ id, resource }) => [id, resource.fields['System.State'].newValue]),
      states.map((state) => [eventId, state]),
    );
  });
});

describe('a hook that fails', { concurrency: 4 }, () => {
  const { gitPushed } = hookBodies();

  for (const status of [408, 502, 503, 504]) {
    test(`with ${status} is sent again, and the subscription stays enabled`, async () => {
      await using receiver = await Receiver.start([status, status]);
      await using sender = new HookSender({ timeScale: FAST });
      const subscription = sender.subscribe({ url: receiver.url });
      const meanwhile: string[] = [];
      const { outcome, attempts } = await subscription.send(() => {
        meanwhile.push(subscription.status);
        return gitPushed();
      });
      assert.deepEqual(
        attempts.map((attempt) => attempt.status),
        [status, status, 200],
      );
      assert.deepEqual([outcome, ...meanwhile], ['delivered', 'enabled', 'enabled', 'enabled']);
    });
  }

  test('is sent again after a broken connection or a late response', async () => {
    await using receiver = await Receiver.start();
    await using sender = new HookSender({ timeScale: FAST, callerTimeoutMs: 1_000 });
    receiver.feel(reset(), { times: 1 });
    receiver.feel(slow(10_000), { times: 1 });
    const subscription = sender.subscribe({ url: receiver.url });
    const { outcome, attempts } = await subscription.send(gitPushed());
    assert.deepEqual(
      attempts.map(({ status, text }) => [status, status === undefined ? text : 'answer']),
      [
        [undefined, 'ECONNRESET'],
        [undefined, 'timeout'],
        [200, 'answer'],
      ],
    );
    assert.deepEqual([outcome, subscription.status], ['delivered', 'enabled']);
  });

  test('is sent again if nobody listens, too', async () => {
    const receiver = await Receiver.start();
    await receiver.stop();
    await using sender = new HookSender({ timeScale: FASTEST });
    const { outcome, attempts, answer } = await sender.subscribe({ url: receiver.url }).send(gitPushed());
    assert.deepEqual([outcome, answer, attempts.length], ['gaveUp', undefined, 16]);
    assert.deepEqual(new Set(attempts.map(({ text }) => text)), new Set(['ECONNREFUSED']));
  });

  test('is retried eight times after the documented pauses, then counts as an enduring failure', async () => {
    await using receiver = await Receiver.start(Array<number>(9).fill(503));
    await using sender = new HookSender({ timeScale: FAST });
    const subscription = sender.subscribe({ url: receiver.url });
    const sent = subscription.send(gitPushed());
    await subscription.reached('onProbation');
    assert.equal(receiver.requests.length, 9);
    const { outcome, attempts } = await sent;
    assert.deepEqual([outcome, attempts.length, subscription.status], ['delivered', 10, 'enabled']);
    const pauses = [1, 2, 4, 8, 16, 32, 60, 60, 1_200];
    for (const [index, pause] of pauses.entries()) {
      const { at, tookMs } = attempts[index]!;
      const passed = attempts[index + 1]!.at - at - tookMs;
      // Both ends are cut to whole milliseconds.
      assert.ok(passed >= pause - 2, `${passed} ms instead of ${pause} ms before resend ${index + 1}`);
    }
  });

  for (const status of [400, 401, 404, 500, 302]) {
    test(`with ${status} puts the subscription on probation: new events are lost until a retry succeeds`, async () => {
      await using receiver = await Receiver.start([status]);
      await using sender = new HookSender({ timeScale: FAST });
      const subscription = sender.subscribe({ url: receiver.url });
      const other = sender.subscribe({ url: receiver.url });
      const sent = subscription.send(gitPushed());
      await subscription.reached('onProbation');
      const meanwhile = await subscription.send(gitPushed());
      assert.deepEqual([meanwhile.outcome, meanwhile.attempts], ['lost', []]);
      assert.equal((await other.send(gitPushed())).outcome, 'delivered');
      const { outcome, attempts } = await sent;
      assert.deepEqual([outcome, attempts.map((attempt) => attempt.status)], ['delivered', [status, 200]]);
      assert.ok(attempts[1]!.at - attempts[0]!.at >= 1_199);
      assert.equal(subscription.status, 'enabled');
      assert.equal((await subscription.send(gitPushed())).outcome, 'delivered');
      assert.deepEqual(
        subscription.reports.map((report) => report.outcome),
        ['lost', 'delivered', 'delivered'],
      );
    });
  }

  test('is given up after seven retries on probation, and the subscription is disabled for good', async () => {
    await using receiver = await Receiver.start(Array<number>(8).fill(500));
    await using sender = new HookSender({ timeScale: FASTEST });
    const subscription = sender.subscribe({ url: receiver.url });
    const { outcome, attempts, answer } = await subscription.send(gitPushed());
    assert.deepEqual([outcome, attempts.length, answer!.status], ['gaveUp', 8, 500]);
    assert.equal(subscription.status, 'disabledBySystem');
    assert.equal((await subscription.send(gitPushed())).outcome, 'lost');
    assert.equal(receiver.requests.length, 8);
  });

  test('with 410 disables the subscription at once, also for those that wait for a resend', async () => {
    await using receiver = await Receiver.start([503, 410]);
    await using sender = new HookSender({ timeScale: 3_600 });
    const subscription = sender.subscribe({ url: receiver.url });
    const waiting = subscription.send(gitPushed());
    await receiver.asked(1);
    const { outcome, attempts } = await subscription.send(gitPushed());
    assert.deepEqual([outcome, attempts.length, subscription.status], ['gaveUp', 1, 'disabledBySystem']);
    const then = await waiting;
    assert.deepEqual([then.outcome, then.attempts.length], ['gaveUp', 1]);
  });
});

describe('a sender', { concurrency: 4 }, () => {
  const { gitPushed } = hookBodies();

  test('has no more posts in flight than connections', async () => {
    await using receiver = await Receiver.start();
    await using sender = new HookSender({ connections: 3 });
    let [underWay, most] = [0, 0];
    receiver.feel(async (_, answer) => {
      most = Math.max(most, ++underWay);
      const given = await slow(20)(_, answer);
      underWay--;
      return given;
    });
    const subscriptions = [sender.subscribe({ url: receiver.url }), sender.subscribe({ url: receiver.url })];
    await Promise.all(Array.from({ length: 24 }, (_, index) => subscriptions[index % 2]!.send(gitPushed())));
    assert.deepEqual([most, receiver.requests.length], [3, 24]);
  });

  test('retries the first of several posts that fail together, and loses the others', async () => {
    await using receiver = await Receiver.start([500, 500]);
    await using sender = new HookSender({ timeScale: FAST });
    const { open, mood } = gate();
    receiver.feel(mood, { times: 2 });
    const subscription = sender.subscribe({ url: receiver.url });
    const sent = [subscription.send(gitPushed()), subscription.send(gitPushed())];
    await receiver.asked(2);
    open();
    const reports = await Promise.all(sent);
    assert.deepEqual(reports.map(({ outcome, attempts }) => `${outcome} ${attempts.length}`).sort(), [
      'delivered 2',
      'lost 1',
    ]);
    assert.equal(subscription.status, 'enabled');
  });

  test('loses posts that are waiting for a connection when a probation begins', async () => {
    await using receiver = await Receiver.start([500, 500]);
    await using sender = new HookSender({ timeScale: FAST, connections: 1 });
    const subscription = sender.subscribe({ url: receiver.url });
    const [failed, , ...others] = await Promise.all(Array.from({ length: 9 }, () => subscription.send(gitPushed())));
    assert.deepEqual([failed!.outcome, failed!.attempts.length], ['delivered', 2]);
    // The second one takes over the connection in the moment of the failure.
    for (const { outcome, attempts } of others) assert.deepEqual([outcome, attempts], ['lost', []]);
  });

  test('ends a probation when a post that was in flight succeeds', async () => {
    await using receiver = await Receiver.start([500]);
    await using sender = new HookSender();
    const { open, mood } = gate();
    receiver.feel(mood, { times: 1 });
    const subscription = sender.subscribe({ url: receiver.url });
    const early = subscription.send(gitPushed());
    await receiver.asked(1);
    const failing = subscription.send(gitPushed());
    await subscription.reached('onProbation');
    open();
    assert.equal((await early).outcome, 'delivered');
    assert.equal(subscription.status, 'enabled');
    await sender.stop();
    assert.equal((await failing).outcome, 'gaveUp');
  });

  test('that stops during the last retry of a probation leaves the subscription as it is', async () => {
    await using receiver = await Receiver.start(Array<number>(8).fill(500));
    const sender = new HookSender({ timeScale: FASTEST });
    receiver.feel(slow(60_000), { when: () => receiver.requests.length === 8 });
    const subscription = sender.subscribe({ url: receiver.url });
    const sent = subscription.send(gitPushed());
    await receiver.asked(8);
    await sender.stop();
    assert.deepEqual([(await sent).outcome, subscription.status], ['gaveUp', 'onProbation']);
  });

  test('can hold dozens of events for resending without a leak warning', async (t) => {
    const warned: string[] = [];
    const note = ({ name, message }: Error) => void warned.push(`${name}: ${message}`);
    process.on('warning', note);
    t.after(() => process.off('warning', note));
    const events = Array.from({ length: 50 }, () => gitPushed());
    await using receiver = await Receiver.start(events.map(() => 503));
    await using sender = new HookSender({ timeScale: FAST, connections: events.length });
    const subscription = sender.subscribe({ url: receiver.url });
    const reports = await Promise.all(events.map((event) => subscription.send(event)));
    assert.ok(reports.every(({ outcome }) => outcome === 'delivered'));
    assert.deepEqual(warned, []);
  });

  test('that stops ends its posts and pauses, and reports them', async () => {
    await using receiver = await Receiver.start([503]);
    const sender = new HookSender();
    const subscription = sender.subscribe({ url: receiver.url });
    const pausing = subscription.send(gitPushed());
    await receiver.asked(1);
    receiver.feel(slow(60_000));
    const underWay = subscription.send(gitPushed());
    await receiver.asked(2);
    await sender.stop();
    const reports = await Promise.all([pausing, underWay]);
    assert.deepEqual(
      reports.map(({ outcome, attempts }) => [outcome, attempts.length, attempts[0]!.text]),
      [
        ['gaveUp', 1, 'answer 1'],
        ['gaveUp', 1, 'stopped'],
      ],
    );
    assert.equal(subscription.status, 'enabled');
  });
});
