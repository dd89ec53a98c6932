import assert from 'node:assert/strict';
import { test } from 'node:test';
import { headers } from 'nats';
import { BridgeProcess, runBridge, type CommandRun } from '../../support/bridge/bridgeProcess.ts';
import { setUp } from '../../support/bridge/commandsHere.ts';
import { json, startFakeServer } from '../../support/bridge/fakeServer.ts';
import { BUILD, hookBody, SHOP } from '../../support/bridge/hookPosts.ts';
import { startNatsServer } from '../../support/nats/natsServer.ts';
import { Admin } from '../../support/nats/testStream.ts';

const OPTIONS = { env: { PAT: 'dead-letters-pat', HOOK: 'a hook secret of some length' } };
const AUTHORIZATION = `Basic ${Buffer.from(`hooks:${OPTIONS.env.HOOK}`).toString('base64')}`;

function configuration(nats: string, organization: string, event: string): string {
  return `nats: { servers: [${nats}] }
azureDevOps: { organization: "${organization}", identity: { kind: pat, patEnv: PAT } }
http: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }
hooks: { passwordEnvs: [HOOK], sharedSecret: true, events: [{ event: ${event} }] }
`;
}

function rowsOf({ stdout }: CommandRun): string[][] {
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split('\t'));
}

test('dead letters are listed and shown, with their original bytes', async () => {
  await using server = await startNatsServer();
  const yaml = configuration(server.url, 'http://127.0.0.1:1/contoso', 'git.push');
  await setUp(yaml, OPTIONS);
  const empty = await runBridge(['deadLetters', 'list'], yaml, OPTIONS);
  assert.deepEqual([empty.status, empty.stdout, empty.stderr], [0, '', 'There are no dead letters.\n']);
  const routes = await runBridge(['routes', 'list'], yaml, OPTIONS);
  assert.deepEqual([routes.status, routes.stdout, routes.stderr], [0, '', 'The configuration has no routes.\n']);

  await using admin = await Admin.connect([server.url]);
  const given = headers();
  given.set('Bridge-Reason', 'unusable');
  given.set('Bridge-Detail', 'no id \u001b[31m');
  given.set('Content-Type', 'application/json');
  const body = Buffer.from([0x7b, 0xff, 0x0a, 0x00, 0x7d]);
  const stream = admin.connection.jetstream();
  await stream.publish('bridge.dead.hooks.unusable', body, { headers: given });
  for (let index = 0; index < 70; index++) await stream.publish('bridge.dead.runs.deploy-web', 'x');
  await admin.manager.streams.deleteMessage('BRIDGE_DEAD', 2);

  const listed = await runBridge(['deadLetters', 'list'], yaml, OPTIONS);
  const [heading, first, second, ...others] = rowsOf(listed);
  assert.deepEqual([listed.status, listed.stderr, others.length], [0, '70 dead letters.\n', 68]);
  assert.deepEqual(heading, ['N', 'TIME', 'FUNCTION', 'ROUTE OR REASON', 'BYTES', 'REASON', 'REPLAYED']);
  assert.deepEqual(first?.toSpliced(1, 1), ['1', 'hooks', 'unusable', '5', 'unusable: no id \\u{1b}[31m', '-']);
  assert.deepEqual(second?.toSpliced(1, 1), ['3', 'runs', 'deploy-web', '1', '', '-']);

  const shown = await runBridge(['deadLetters', 'show', '1'], yaml, OPTIONS);
  assert.equal(shown.status, 0);
  assert.match(shown.stdout, /^N: 1\nTime: \S+Z\nFunction: hooks\nRoute or reason: unusable\n/);
  assert.match(shown.stdout, /\nbridge-detail: no id \\u\{1b\}\[31m\ncontent-type: application\/json\n\n\{/);
  assert.ok(shown.stdout.endsWith(`\n\n${body.toString()}`));
  assert.equal(shown.stderr, '\n');
  const none = await runBridge(['deadLetters', 'show', '2'], yaml, OPTIONS);
  assert.deepEqual([none.status, none.stdout], [1, '']);
  assert.match(none.stderr, /There is no dead letter 2\./);
});

test('a hook that was not configured becomes an event when it is configured and replayed', async (t) => {
  await using server = await startNatsServer();
  const { port } = await startFakeServer(t, (_, response) =>
    json(response, 200, { ...SHOP, authenticatedUser: { id: '1' } }),
  );
  const organization = `http://127.0.0.1:${port}/contoso`;
  const yaml = configuration(server.url, organization, 'git.push');
  await setUp(yaml, OPTIONS);
  await using bridge = await BridgeProcess.start(yaml, OPTIONS);
  await bridge.ready(200);
  const post = async (id: string) => {
    const body = hookBody('build.complete', BUILD, { id, resourceContainers: { project: { id: SHOP.id } } });
    const response = await fetch(`${bridge.publicUrl}/hooks`, {
      method: 'POST',
      body,
      headers: { authorization: AUTHORIZATION },
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  assert.deepEqual(await post('one'), { status: 200, body: { deadLetter: 1 } });
  assert.deepEqual(await post('two'), { status: 200, body: { deadLetter: 2 } });
  const page = (await bridge.admin('/')).text;
  assert.match(page, />notConfigured<\/td><td[^>]*>hooks<\/td><td[^>]*>2<\/td>/);

  const early = await runBridge(['deadLetters', 'replay', '1'], yaml, OPTIONS);
  assert.equal(early.status, 1);
  assert.match(early.stdout, /^1\trefused\tnotConfigured\t/);

  const repaired = configuration(server.url, organization, 'build.complete');
  const one = await runBridge(['deadLetters', 'replay', '1', '--reason', 'it is configured now'], repaired, OPTIONS);
  assert.deepEqual([one.status, one.stdout], [0, '1\tdone\tstream=AZDO\tsequence=1\n']);
  const all = await runBridge(
    ['deadLetters', 'replay', '--route', 'notConfigured', '--reason', 'all'],
    repaired,
    OPTIONS,
  );
  const [again = '', second, ...rest] = all.stdout.split('\n');
  assert.match(
    again,
    /^1\trefused\tduplicate\tnothing was done: it was replayed at \d{4}-\S+Z by .+: AZDO:1$/,
    all.stderr,
  );
  assert.deepEqual([all.status, second, rest], [0, '2\tdone\tstream=AZDO\tsequence=2', ['']]);
  // Azure DevOps may have posted it once more meanwhile.
  assert.deepEqual((await post('three')).body, { deadLetter: 3 });
  await using admin = await Admin.connect([server.url]);
  const subject = 'azdo.contoso.Shop.build.completed.v1';
  assert.equal((await admin.connection.jetstream().publish(subject, '{}', { msgID: 'three' })).seq, 3);
  const late = await runBridge(['deadLetters', 'replay', '3'], repaired, OPTIONS);
  assert.deepEqual(
    [late.status, late.stdout],
    [0, '3\trefused\tduplicate\tnothing was done: its event is in the stream already, as AZDO:3\n'],
  );
  const marks = rowsOf(await runBridge(['deadLetters', 'list'], repaired, OPTIONS)).map((row) => row.at(-1));
  assert.match(marks[1] ?? '', /^at \d{4}-\S+Z by .+: AZDO:1$/);
  assert.match(marks[2] ?? '', /^at .+: AZDO:2$/);
  assert.match(marks[3] ?? '', /^refused at .+: duplicate: nothing was done/);
  const shown = await runBridge(['deadLetters', 'show', '1'], repaired, OPTIONS);
  assert.match(shown.stdout, /^Route or reason: notConfigured\nReplayed: at \d{4}-\S+Z by .+: AZDO:1\n/m);
  assert.match(
    (await bridge.admin('/')).text,
    />notConfigured<\/td>.*?>3 <span class="dim">\(2 replayed\)<\/span><\/td>/,
  );
  const nothing = await runBridge(['deadLetters', 'replay', '--route', 'none', '--reason', 'all'], repaired, OPTIONS);
  assert.equal(nothing.status, 1);

  const stored = await admin.manager.streams.getMessage('AZDO', { seq: 2 });
  assert.deepEqual([stored.subject, stored.header.get('ce-id')], [subject, 'two']);
  const ordered: string[][] = [];
  const { state } = await admin.manager.streams.info('BRIDGE_AUDIT');
  for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
    const { subject, data } = await admin.manager.streams.getMessage('BRIDGE_AUDIT', { seq });
    const { decision, reason, user } = JSON.parse(Buffer.from(data).toString());
    if (!subject.startsWith('bridge.decisions.orders.')) continue;
    assert.ok(user !== '');
    ordered.push([subject.slice('bridge.decisions.orders.'.length), decision, reason ?? '']);
  }
  assert.deepEqual(ordered.slice(0, 5), [
    ['setup-apply', 'created', ''],
    ['deadLetters-replay', 'ordered', ''],
    ['deadLetters-replay', 'refused', ordered[2]?.[2] ?? ''],
    ['deadLetters-replay', 'ordered', 'it is configured now'],
    ['deadLetters-replay', 'replayed', 'it is configured now'],
  ]);
  assert.match(ordered[2]?.[2] ?? '', /^notConfigured: /);

  // The audit stream still has the replay of another letter 1.
  await admin.manager.streams.delete('BRIDGE_DEAD');
  await setUp(yaml, OPTIONS);
  assert.deepEqual((await post('four')).body, { deadLetter: 1 });
  const afresh = await runBridge(['deadLetters', 'replay', '1'], repaired, OPTIONS);
  assert.deepEqual([afresh.status, afresh.stdout], [0, '1\tdone\tstream=AZDO\tsequence=4\n']);
});
