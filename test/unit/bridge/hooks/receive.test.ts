import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { TaskError } from '../../../../shared/errors.ts';
import { BUILD, buildBody, hookBody, SHOP } from '../../../support/bridge/hookPosts.ts';
import { basic, Receiver, SECRET, signedIn } from '../../../support/bridge/hookReceiver.ts';
import { headersOf, largerThan, textOf } from '../../../support/bridge/memoryNats.ts';

const OTHER_ID = '00000000-ce1f-45d1-b94d-e6bf2464ba2c';
const ALL = [
  ...['build.complete', 'git.push', 'ms.vss-pipelinechecks-events.approval-pending', 'ms.vss-x.some-event'],
].map((event) => ({ event, project: '*', inputs: {} }));

describe('POST /hooks', () => {
  test("answers with the event's place, also if it comes again", async () => {
    const receiver = new Receiver();
    const answer = { stream: 'AZDO', sequence: 1, duplicate: false };
    assert.deepEqual(await receiver.post(buildBody()), { status: 200, body: answer });
    assert.deepEqual(await receiver.post(buildBody()), { status: 200, body: { ...answer, duplicate: true } });
    const [event] = receiver.publisher.stored;
    assert.equal(event!.subject, 'azdo.contoso.Shop.build.completed.v1');
    assert.deepEqual(receiver.counted, ['build.completed stored', 'build.completed duplicate']);
    assert.deepEqual([...receiver.lastReceived], [['build.completed', receiver.now / 1_000]]);
    assert.deepEqual(receiver.log.lines, []);
  });

  test('an approval, which names no project, belongs to the one that signed in', async () => {
    const receiver = new Receiver({
      events: ALL,
      askName: (id) => Promise.resolve(id === SHOP.id ? 'Shop' : undefined),
    });
    const resource = { approval: { id: 'a-1' }, projectId: OTHER_ID, run: { id: '7' } };
    const body = hookBody('ms.vss-pipelinechecks-events.approval-pending', resource, { resourceContainers: {} });
    assert.equal((await receiver.post(body)).status, 200);
    assert.equal(receiver.publisher.stored[0]?.subject, 'azdo.contoso.Shop.approval.pending.v1');
    assert.equal(headersOf(receiver.publisher.stored[0])['ce-source'], `https://dev.azure.com/contoso/${SHOP.id}`);
  });

  test('with the shared secret, the body names the project, or there is none', async () => {
    const receiver = new Receiver({ events: ALL, sharedSecret: true });
    const shared = basic('hooks', SECRET);
    await receiver.post(buildBody(), shared);
    const members = { id: '2', resourceContainers: {} };
    await receiver.post(hookBody('build.complete', { id: 1, project: SHOP }, members), shared);
    await receiver.post(hookBody('build.complete', null, { id: '3', resourceContainers: null }), shared);
    assert.deepEqual(
      receiver.publisher.stored.map(({ subject }) => subject),
      [
        'azdo.contoso.Shop.build.completed.v1',
        'azdo.contoso.Shop.build.completed.v1',
        'azdo.contoso.-.build.completed.v1',
      ],
    );
  });

  test('an event unknown to the bridge is stored if it is configured', async () => {
    const receiver = new Receiver({ events: ALL });
    await receiver.post(hookBody('ms.vss-x.some-event', { project: SHOP }));
    assert.equal(receiver.publisher.stored[0]?.subject, 'azdo.contoso.Shop.other.ms-vss-x-some-event.v1');
    assert.deepEqual(receiver.counted, ['other stored']);
    assert.deepEqual(receiver.log.lines, []);
  });

  test('an event without the state that its name depends on is stored as other, with one warning', async () => {
    const event = 'ms.vss-pipelines.run-state-changed-event';
    const receiver = new Receiver({ events: [{ event, project: '*', inputs: {} }] });
    for (const [id, run] of [
      ['1', { state: 'completed' }],
      ['2', {}],
      ['3', { state: 'paused' }],
    ] as const)
      await receiver.post(hookBody(event, { project: SHOP, run }, { id }));
    const other = 'other.ms-vss-pipelines-run-state-changed-event';
    assert.deepEqual(
      receiver.publisher.stored.map(({ subject }) => subject),
      ['run.completed', other, other].map((name) => `azdo.contoso.Shop.${name}.v1`),
    );
    assert.equal(receiver.log.lines.length, 1);
    assert.match(
      receiver.log.lines[0]!,
      /run-state-changed-event was stored as other\..*: its resource\.run\.state is none of inProgress, canceling, completed\./,
    );
  });
});

describe('A post that does not become an event is a dead letter', () => {
  test('with its bytes and harmless headers, and is noted as a decision', async () => {
    const receiver = new Receiver();
    const { headers } = await receiver.refuses('unusable', Buffer.from('{"id":"1"}\n'));
    assert.deepEqual(headers, {
      'Nats-Expected-Stream': 'BRIDGE_DEAD',
      'Bridge-Reason': 'unusable',
      'Bridge-Detail': "The post isn't a service hook: it has no eventType",
      'Bridge-Project': SHOP.id,
      'Content-Type': 'application/json; charset=utf-8',
      'X-VSS-ActivityId': 'activity-1',
      'X-VSS-SubscriptionId': 'subscription-1',
    });
    const [decision] = receiver.publisher.on('bridge.decisions.hooks.unusable');
    const { decision: what, followed } = JSON.parse(textOf(decision!)) as Record<string, unknown>;
    assert.deepEqual([what, followed], ['deadLetter', { deadLetter: 1 }]);
    assert.deepEqual(receiver.counted, ['unknown deadLetter']);
  });

  test('when it is empty', async () => {
    await new Receiver().refuses('unusable', Buffer.alloc(0));
  });

  test('when it comes from another organization, or from an invalid URL', async () => {
    const receiver = new Receiver();
    for (const baseUrl of ['https://dev.azure.com/fabrikam/', 'x', 7, {}]) {
      const other = (container: string) =>
        hookBody('build.complete', BUILD, {
          resourceContainers: { [container]: { baseUrl }, project: { id: SHOP.id } },
        });
      await receiver.refuses('otherOrganization', other('account'));
      await receiver.refuses('otherOrganization', other('collection'));
    }
    const unnamed = {
      resourceContainers: { account: { id: 'x' }, collection: { baseUrl: null }, project: { id: SHOP.id } },
    };
    assert.equal('stream' in ((await receiver.post(hookBody('build.complete', BUILD, unnamed))).body as object), true);
  });

  test('when its project is not the one it signed in for', async () => {
    const receiver = new Receiver({ events: ALL });
    const { headers } = await receiver.refuses('otherProject', buildBody(), signedIn(OTHER_ID));
    assert.match(
      headers['Bridge-Detail'] ?? '',
      new RegExp(`signed in for the project ${OTHER_ID} and carries ${SHOP.id}`),
    );
    assert.equal(headers['Bridge-Event-Id'], '27646e0e-b520-4d2b-9411-bba7524947cd');
    assert.deepEqual(receiver.bucket.texts, {}, 'the bucket holds something');
  });

  test('when hooks.events has no entry for its event, inputs or project', async () => {
    const receiver = new Receiver({
      events: [{ event: 'build.complete', project: 'Shop', inputs: { definitionName: 'api' } }],
    });
    const push = await receiver.refuses('notConfigured', hookBody('git.push', {}));
    assert.equal(push.headers['Bridge-Detail'], 'hooks.events has no entry for "git.push"');
    const build = await receiver.refuses('notConfigured', buildBody());
    assert.equal(build.headers['Bridge-Detail'], 'hooks.events has no entry for "build.complete" with such inputs');
    assert.deepEqual(receiver.counted, ['git.pushed deadLetter', 'build.completed deadLetter']);
    await new Receiver({ events: [{ event: 'build.complete', project: 'Store', inputs: {} }] }).refuses(
      'notConfigured',
      buildBody(),
    );
    await new Receiver({ events: [] }).refuses('notConfigured', buildBody());
    const misspelt = new Receiver({ events: [{ event: 'build.complet', project: '*', inputs: {} }] });
    const { headers } = await misspelt.refuses('notConfigured', buildBody());
    assert.equal(
      headers['Bridge-Detail'],
      'hooks.events has no entry for "build.complete"; is its entry "build.complet" misspelt?',
    );
  });

  test('when its project would share the subjects of another', async () => {
    const receiver = new Receiver({ events: ALL });
    await receiver.post(buildBody());
    const other = { resourceContainers: { project: { id: OTHER_ID } } };
    const body = hookBody('build.complete', { project: { id: OTHER_ID, name: 'Shop' } }, { id: '2', ...other });
    await receiver.refuses('projectClash', body, signedIn(OTHER_ID));
    assert.match(receiver.log.lines.join(), /Rename the project /);
  });

  test('when the message is too large for NATS; without its bytes if those are too large, too', async () => {
    const receiver = new Receiver();
    receiver.publisher.failure = largerThan(100);
    const answer = await receiver.post(buildBody());
    assert.deepEqual(answer, { status: 200, body: { deadLetter: 1 } });
    const [letter] = receiver.publisher.stored;
    assert.equal(letter!.subject, 'bridge.dead.hooks.tooLarge');
    assert.equal(letter!.payload.length, 0);
    assert.equal(headersOf(letter!)['Bridge-Size'], String(buildBody().length));
    assert.equal(headersOf(letter!)['Bridge-Event'], 'build.completed');
    assert.match(receiver.log.lines.join(), /lacks its \d+ bytes/);
  });

  test('but only up to 120 per minute: later ones are answered with null', async (context: TestContext) => {
    // The summary would otherwise take a real minute.
    context.mock.timers.enable({ apis: ['setTimeout'] });
    const receiver = new Receiver();
    const answers = [];
    for (let number = 0; number < 125; number++) answers.push(await receiver.post(Buffer.from('x')));
    assert.equal(receiver.publisher.on('bridge.dead.').length, 120);
    assert.deepEqual(
      answers.slice(120),
      Array.from({ length: 5 }, () => ({ status: 200, body: { deadLetter: null } })),
    );
    assert.equal('stream' in ((await receiver.post(buildBody())).body as object), true);
  });
});

describe('A post that cannot be stored has to be sent again', () => {
  const unavailable = {
    code: 'Unavailable',
    message: "The event cannot be stored now; the bridge's log says why. Send it again.",
  };
  for (const code of ['Timeout', 'ConnectionLost', 'NoStream', 'Denied', 'StreamRefused'] as const) {
    test(`after ${code}`, async () => {
      const receiver = new Receiver();
      receiver.publisher.failure = () => new TaskError(code, 'It did not work');
      for (const body of [buildBody(), Buffer.from('x')]) {
        const answer = await receiver.post(body);
        assert.equal(answer.status, 503);
        assert.deepEqual(answer.body, { error: unavailable });
        assert.match(answer.headers?.['retry-after'] ?? '', /^\d+$/);
      }
      assert.deepEqual(receiver.counted, ['build.completed unavailable', 'unknown unavailable']);
      assert.match(receiver.log.lines.join(), new RegExp(`has to send it again: ${code}: It did not work`));
    });
  }

  test('when its project cannot be looked up, even if nothing answers', async () => {
    const receiver = new Receiver();
    receiver.bucket.failure = new TaskError('Timeout', 'It did not answer');
    assert.equal((await receiver.post(buildBody())).status, 503);
    receiver.bucket.failure = undefined;
    receiver.bucket.get = () => new Promise(() => {});
    const begin = Date.now();
    assert.equal((await receiver.post(buildBody())).status, 503);
    assert.ok(Date.now() - begin < 2_900);
    assert.match(
      receiver.log.lines.at(-1)!,
      /send it again: Timeout: NATS did not answer within \d+ ms when asked for/,
    );
  });

  test('and without a connection to NATS, that is the reason, whatever the error says', async () => {
    const receiver = new Receiver();
    receiver.isLinkUp = false;
    receiver.bucket.failure = new TaskError('Timeout', 'It did not answer');
    const message = 'The event cannot be stored now: the bridge has no connection to NATS. Send it again.';
    const { status, body } = await receiver.post(buildBody());
    assert.deepEqual([status, body], [503, { error: { code: 'Unavailable', message } }]);
    assert.match(receiver.log.lines.at(-1)!, /send it again: the bridge has no connection to NATS$/);
  });
});

describe('A post that is not signed in', () => {
  test('gets a bare 401, and is reported in the log and the audit stream, within limits', async () => {
    const receiver = new Receiver();
    const wrong = basic(`hooks.${SHOP.id}`, 'not the password');
    const answers = [];
    for (const headers of [wrong, {}, basic('admin', SECRET)]) answers.push(await receiver.post(buildBody(), headers));
    for (const answer of answers) assert.deepEqual(answer, answers[0]);
    assert.equal(answers[0]!.status, 401);
    for (let number = 0; number < 50; number++) await receiver.post(buildBody(), wrong);
    assert.deepEqual(receiver.counted, Array(53).fill('unknown unauthorized'));
    assert.equal(receiver.publisher.on('bridge.decisions.hooks.sign-in').length, 10);
    assert.equal(receiver.publisher.stored.length, 10);
    receiver.now += 60_000;
    await receiver.post(buildBody(), wrong);
    assert.match(receiver.log.lines.at(-1)!, /The sign-in of the project 6ce9.* was refused, and 43 more/);
    const told = JSON.stringify([receiver.log.lines, receiver.publisher.stored.map(textOf)]);
    for (const secret of ['not the password', SECRET, 'admin', Buffer.from('admin:').toString('base64').slice(0, 6)])
      assert.equal(told.includes(secret), false, secret);
  });
});
