import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { headers, type JetStreamClient } from 'nats';
import { runBridge } from '../../support/bridge/bridgeProcess.ts';
import { setUp } from '../../support/bridge/commandsHere.ts';
import { usersConfig } from '../../support/nats/natsAccounts.ts';
import { startNatsServer } from '../../support/nats/natsServer.ts';
import { Admin } from '../../support/nats/testStream.ts';

const OPTIONS = { env: { PAT: 'why-pat', HOOK: 'a hook secret of some length' } };

function configuration(nats: string): string {
  return `nats: { servers: [${nats}] }
azureDevOps: { organization: "http://127.0.0.1:1/contoso", identity: { kind: pat, patEnv: PAT } }
hooks: { passwordEnvs: [HOOK], sharedSecret: true, events: [{ event: build.complete }] }
runs:
  - { name: deploy-web, subject: ci.>, stream: CI, pipeline: { project: Shop, id: 42 } }
`;
}

/** Publishes an event like a pipeline's run; returns its sequence. */
async function publish(
  stream: JetStreamClient,
  subject: string,
  id: string,
  run: string | undefined,
  isStructured = false,
  data: unknown = 1,
): Promise<number> {
  const own = {
    specversion: '1.0',
    id,
    source: '/shop',
    type: 'test',
    ...(run === undefined ? {} : { azprunid: run }),
  };
  const given = headers();
  if (isStructured) given.set('Content-Type', 'application/cloudevents+json');
  else for (const [name, value] of Object.entries(own)) given.set(`ce-${name}`, value);
  const payload = isStructured ? JSON.stringify({ ...own, data }) : '1';
  return (await stream.publish(subject, payload, { headers: given })).seq;
}

/** Writes a decision in the audit stream's form. */
async function decide(stream: JetStreamClient, decision: Readonly<Record<string, unknown>>): Promise<void> {
  const data = { function: 'runs', name: 'deploy-web', ...decision };
  await stream.publish(`bridge.decisions.${data.function}.${data.name}`, JSON.stringify(data));
}

test('why shows what led to an event and what came of it, for any id in the chain', async () => {
  await using server = await startNatsServer();
  const yaml = configuration(server.url);
  await using admin = await Admin.connect([server.url]);
  await admin.stream('CI', { subjects: ['ci.>'] });
  await setUp(yaml, OPTIONS);
  const stream = admin.connection.jetstream();

  const unknown = await runBridge(['why', 'nobody'], yaml, OPTIONS);
  assert.deepEqual([unknown.status, unknown.stdout], [1, '']);
  assert.match(unknown.stderr, /Nothing is known of nobody\.\n$/);

  for (let index = 0; index < 100; index++) await publish(stream, 'ci.noise', `noise-${index}`, undefined);
  const image = await publish(stream, 'ci.image', 'image##vso[1]', '100', true, {
    image: 'web ##vso[x]',
    '##vso[k]': [OPTIONS.env.HOOK],
  });
  await decide(stream, {
    decision: 'started',
    event: { id: 'image', place: { stream: 'CI', sequence: image } },
    followed: { run: 7, url: 'https://dev.azure.com/contoso/7' },
  });
  const deployed = await publish(stream, 'ci.deployed', 'deployed', '7');
  await decide(stream, {
    decision: 'invalid',
    reason: 'data.image is missing ##vso[task.complete]',
    event: { id: 'deployed', place: { stream: 'CI', sequence: deployed } },
    followed: { deadLetter: 4 },
  });
  await decide(stream, {
    ...{ function: 'waits', name: 'rule-0', decision: 'satisfied' },
    event: { id: 'deployed', place: { stream: 'CI', sequence: deployed } },
  });
  // Events stored in two streams in the same millisecond have no order.
  await delay(5);
  const hook = await publish(stream, 'azdo.contoso.Shop.build.completed.v1', 'hook', '7');
  const noise = { stream: 'CI', firstSequence: 1, lastSequence: 100, count: 100 };
  await decide(stream, { decision: 'notMatching', reason: '100 notMatching', followed: noise });
  // The last event of a stream may be deleted.
  const last = await publish(stream, 'ci.noise', 'last', undefined);
  await admin.manager.streams.deleteMessage('CI', last);

  const byTime = await runBridge(['why', 'deployed'], yaml, OPTIONS);
  assert.equal(byTime.status, 0, byTime.stderr);
  assert.deepEqual(byTime.stdout.replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ {2}/g, '').split('\n'), [
    `event image##_vso[1] ci.image (CI:${image}), published by run 100`,
    '└─ route deploy-web: started',
    '   └─ run 7 https://dev.azure.com/contoso/7',
    `      └─ event deployed ci.deployed (CI:${deployed}), published by run 7`,
    '         ├─ route deploy-web: invalid, data.image is missing ##_vso[task.complete] (dead letter 4)',
    '         └─ waits.rules[0]: satisfied',
    '',
  ]);

  const chain = async (id: string) => {
    const { status, stdout, stderr } = await runBridge(['why', id, '--json'], yaml, OPTIONS);
    assert.equal(status, 0, stderr);
    const answer = JSON.parse(stdout) as { id: string; chain: Record<string, unknown>[] };
    assert.equal(answer.id, id.replace('##', '##_'));
    return answer.chain.map(({ kind, id: own, stream: of, sequence, run, route, decision, reason, url }) =>
      kind === 'event'
        ? { kind, id: own, stream: of, sequence, run }
        : kind === 'run'
          ? { kind, id: own, url }
          : { kind, route, decision, reason },
    );
  };
  const whole = [
    { kind: 'event', id: 'image##_vso[1]', stream: 'CI', sequence: image, run: 100 },
    { kind: 'decision', route: 'deploy-web', decision: 'started', reason: '' },
    { kind: 'run', id: 7, url: 'https://dev.azure.com/contoso/7' },
    { kind: 'event', id: 'deployed', stream: 'CI', sequence: deployed, run: 7 },
    {
      kind: 'decision',
      route: 'deploy-web',
      decision: 'invalid',
      reason: 'data.image is missing ##_vso[task.complete]',
    },
    { kind: 'decision', route: 'rule-0', decision: 'satisfied', reason: '' },
    { kind: 'event', id: 'hook', stream: 'AZDO', sequence: hook, run: 7 },
  ];
  for (const id of [`CI:${image}`, '7', 'image##vso[1]']) assert.deepEqual(await chain(id), whole, id);
  assert.deepEqual(await chain('100'), [{ kind: 'run', id: 100, url: null }, ...whole]);
  const names = (await chain('hook')).map(({ kind, id }) => `${String(kind)} ${String(id)}`);
  assert.deepEqual(names, ['event image##_vso[1]', 'decision undefined', 'run 7', 'event hook']);

  const passed = await chain('noise-50');
  assert.deepEqual(passed[1], {
    kind: 'decision',
    route: 'deploy-web',
    decision: 'notMatching',
    reason: '100 notMatching',
  });
  assert.deepEqual([passed[0]?.id, passed.length], ['noise-50', 2]);

  const shown = `{
  "image": "web ##_vso[x]",
  "##_vso[k]": [
    "***"
  ]
}`;
  const { stdout } = await runBridge(['why', '7', '--data'], yaml, OPTIONS);
  assert.ok(stdout.endsWith(`\n\nThe data of CI:${image}:\n${shown}\n`), stdout);
  const json = await runBridge(['why', 'hook', '--data', '--json'], yaml, OPTIONS);
  const { chain: withData } = JSON.parse(json.stdout) as { chain: { data?: unknown }[] };
  assert.deepEqual(
    withData.map(({ data }) => data),
    [undefined, undefined, undefined, 1],
  );

  const silent = async (...routes: readonly (readonly [name: string, subject: string])[]) => {
    const more = routes.map(
      ([name, subject]) =>
        `  - { name: ${name}, subject: ${subject}, stream: CI, pipeline: { project: Shop, id: 42 } }\n`,
    );
    return (await runBridge(['why', `CI:${image}`], yaml + more.join(''), OPTIONS)).stderr.trimEnd().split('\n');
  };
  const stranger = ['api', 'ci.api'] as const;
  assert.deepEqual(await silent(['slow', 'ci.image'], stranger), [
    `The route slow hasn't decided on it yet. If it didn't match, that is summed up within a minute; nats-event-bridge routes try slow --event CI:${image} says why. What was stored before a route began, as its startFrom says, is never decided on. nats-event-bridge routes list says what a route waits for.`,
    "The route api doesn't take ci.image in CI.",
  ]);
  const six = Array.from({ length: 6 }, (_, index) => [`api-${index}`, 'ci.api'] as const);
  assert.deepEqual(await silent(stranger, ['web', 'ci.web']), ["The routes api, web don't take ci.image in CI."]);
  assert.deepEqual(await silent(...six), ["6 other routes don't take ci.image in CI."]);

  const { state } = await admin.manager.streams.info('CI');
  // Only setup's own consumer: the command leaves none behind.
  assert.equal(state.consumer_count, 1);
});

test('why and deadLetters name the permissions that they lack, and do not say that nothing is known', async () => {
  const permissions = {
    publish: { allow: ['$JS.API.STREAM.INFO.*'], deny: ['$JS.API.STREAM.INFO.BRIDGE_DEAD'] },
    subscribe: { allow: ['_INBOX.>'] },
  };
  await using server = await startNatsServer({
    config: usersConfig({ user: 'bridge', password: 'secret', permissions }, { user: 'admin', password: 'secret' }),
  });
  await using admin = await Admin.connect([server.url], { user: 'admin', pass: 'secret' });
  for (const name of ['CI', 'AZDO', 'BRIDGE_AUDIT']) {
    await admin.stream(name, { subjects: [`${name}.>`] });
    await publish(admin.connection.jetstream(), `${name}.1`, 'e-1', undefined);
  }
  const yaml = configuration(server.url).replace('] }', '], user: bridge, passwordEnv: PASSWORD }');
  const { status, stdout, stderr } = await runBridge(['why', 'CI:1'], yaml, {
    env: { ...OPTIONS.env, PASSWORD: 'secret' },
  });
  assert.deepEqual([status, stdout], [1, '']);
  const needs = (stream: string) =>
    `${stream} could not be read to its end: the bridge's user needs publish permission for "$JS.API.CONSUMER.CREATE.${stream}.>"; nats-event-bridge check names all that it lacks.`;
  assert.deepEqual(stderr.trimEnd().split('\n').slice(1), [
    'CI:1 could not be read: The NATS server does not let this user publish to "$JS.API.STREAM.MSG.GET.CI".',
    ...['BRIDGE_AUDIT', 'AZDO', 'CI'].map(needs),
    'In what could be read, there is nothing about CI:1.',
  ]);
  const letters = await runBridge(['deadLetters', 'list'], yaml, { env: { ...OPTIONS.env, PASSWORD: 'secret' } });
  assert.deepEqual([letters.status, letters.stdout], [1, '']);
  assert.match(
    letters.stderr,
    /Denied: The NATS server does not let this user publish to "(\$JS\.API\.STREAM\.INFO\.BRIDGE_DEAD)"\. Grant it publish permission for "\1"; nats-event-bridge setup prints all that it needs\.$/m,
  );
  const elsewhere = yaml.replace('user: bridge', 'inboxPrefix: elsewhere, user: bridge');
  const deaf = await runBridge(['deadLetters', 'list'], elsewhere, { env: { ...OPTIONS.env, PASSWORD: 'secret' } });
  assert.match(
    deaf.stderr,
    /Denied: The NATS server does not let this user subscribe to "(elsewhere\.\*\.\*)"\. Grant it subscribe permission for "\1"; .* Or set nats\.inboxPrefix to/,
  );
});

test('why says what it could not read, and asks for a missing id', async () => {
  await using server = await startNatsServer();
  const none = await runBridge(['why', 'anything'], configuration(server.url), OPTIONS);
  assert.deepEqual([none.status, none.stdout], [1, '']);
  assert.match(none.stderr, /BRIDGE_AUDIT could not be read to its end: .*stream not found/);
  assert.match(none.stderr, /CI could not be read to its end: .*stream not found/);
  const nothing = await runBridge(['why'], configuration(server.url), OPTIONS);
  assert.equal(nothing.status, 2);
  assert.match(nothing.stderr, /Write why ID/);
});
