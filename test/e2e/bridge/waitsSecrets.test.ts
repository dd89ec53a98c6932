import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { bucketKey, type WaitKey, type WaitRecord } from '../../../bridge/waits/record.ts';
import { seal } from '../../../bridge/waits/sealing.ts';
import { apiError } from '../../support/azureDevOps/apiError.ts';
import type { AgentlessTask } from '../../support/azureDevOps/agentlessTask.ts';
import { completesTask, readsPlan, setsOutputs, writesLog } from '../../support/azureDevOps/kinds.ts';
import { WaitsScene } from '../../support/bridge/waitsScene.ts';
import { BEARER, SEALING_KEY } from '../../support/bridge/waitsReceiver.ts';

const ROUNDS = 12;

test('no job token, connection token or sealing key is anywhere in plain text', async () => {
  await using scene = await WaitsScene.open();
  const { azure } = scene;
  // Azure DevOps' errors quote the secrets it was sent, in several forms.
  const complain = ({ headers }: { readonly headers: Readonly<Record<string, unknown>> }) => {
    const given = String(headers['authorization']);
    const token = given.replace(/^Bearer /, '');
    const text = `Not with ${given}, ${encodeURIComponent(token)}, ${Buffer.from(token).toString('base64')}.`;
    return Promise.resolve(apiError(400, 'InvalidArgumentValueException', text));
  };
  azure.feel(complain, { when: (request) => setsOutputs(request) || writesLog(request), chance: 0.3, seed: 1 });
  azure.feel(complain, { when: (request) => readsPlan(request) || completesTask(request), chance: 0.1, seed: 2 });
  const bridge = await scene.start();
  const tokens: string[] = [];
  const answers: string[] = [];
  const task = () => {
    const made = scene.task(bridge);
    tokens.push(made.token);
    return made;
  };
  const execute = async (one: AgentlessTask, inputs: Record<string, string>, headers?: Record<string, string>) => {
    const { status, text } = await one.execute({ subject: 'ci.done', ...inputs }, headers);
    answers.push(text);
    return status;
  };
  const statuses = new Set<number>();
  for (let round = 0; round < ROUNDS; round++) {
    const [matched, cancelled, again] = [task(), task(), task()];
    statuses.add(await execute(matched, { match: 'data.ok' }));
    statuses.add(await execute(cancelled, { match: 'data.never' }));
    statuses.add(await execute(again, { match: 'data.ok' }));
    again.token = azure.plans.token(again.plan, again.task);
    tokens.push(again.token);
    statuses.add(await execute(again, { match: 'data.ok' }));
    // Refused, with the token in unexpected places.
    const own = task();
    statuses.add(await execute(own, { match: `data == '${own.token}'` }));
    statuses.add(await execute(task(), { match: `data.[${cancelled.token}` }));
    const mixed = task();
    for (const name of ['X-Plan-Url', 'X-Plan-Id', 'X-Timeline-Id', 'X-Hub-Name', 'X-Run-Start', 'X-Project-Id'])
      statuses.add(await execute(mixed, {}, mixed.headers({ [name]: mixed.token })));
    statuses.add(await execute(mixed, {}, mixed.headers({ 'X-Job-Token': `${mixed.token} x` })));
    statuses.add(await execute(mixed, {}, mixed.headers({ Authorization: `Bearer ${mixed.token}` })));
    statuses.add(await execute(mixed, {}, mixed.headers({ Authorization: `Bearer ${BEARER}x` })));
    statuses.add(await execute(mixed, {}, mixed.headers({ 'X-Job-Token': task().token })));
    answers.push((await cancelled.cancel()).text, (await mixed.cancel()).text);
    await scene.publish({ ok: true });
  }
  assert.deepEqual(
    [200, 400, 401, 403].filter((status) => !statuses.has(status)),
    [],
  );
  // One wait keeps its token until the end.
  const open = task();
  while ((await execute(open, { match: 'data.never' })) !== 200);
  // A cancel that got an error from Azure DevOps has ended nothing.
  await scene.until('all that can end has ended', async () =>
    [...(await scene.records()).values()].every(
      ({ state }) =>
        state.state !== 'decided' && (state.state !== 'waiting' || state.call.inputs['match'] === 'data.never'),
    ),
  );
  const pages = [bridge.text, (await bridge.admin('/metrics')).text, (await bridge.admin('/')).text];
  const audit = JSON.stringify(await scene.decisions());
  const logs = azure.requests.filter((request) => writesLog(request) || setsOutputs(request)).map(({ body }) => body);
  const bucket = [...(await scene.entries()).values()].map((bytes) => Buffer.from(bytes).toString());
  // Everything that the server ever wrote.
  bridge.signal('SIGTERM');
  await bridge.ended;
  const { server } = scene;
  await server.restart();
  const files = readdirSync(server.storeDir, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => readFileSync(path.join(file.parentPath, file.name)).toString('latin1'));

  const places: Readonly<Record<string, readonly string[]>> = {
    ...{ log: [bridge.text], metrics: [pages[1]!], page: [pages[2]!], audit: [audit], bucket, files, answers },
    'logs and outputs of tasks': logs,
  };
  assert.ok(
    files.some((text) => text.includes('"sealed":"')) && files.some((text) => text.includes('bridge.decision')),
  );
  assert.ok(
    bridge.text.includes('Not with') || audit.includes('Not with'),
    'nothing was refused, so the test proved nothing',
  );
  const secrets = [...tokens, BEARER, SEALING_KEY.toString('base64'), azure.pat];
  // As they'd appear in JSON, URLs and Basic credentials.
  const forms = secrets.flatMap((secret) => [
    secret,
    encodeURIComponent(secret),
    ...[0, 1, 2].map((shift) => inBase64(secret, shift)),
  ]);
  for (const [place, texts] of Object.entries(places))
    for (const text of texts) for (const form of forms) assert.ok(!text.includes(form), `${place}: ${form}`);
});

test('a record that someone else moved, changed or wrote decides nothing and sends nothing', async () => {
  await using scene = await WaitsScene.open();
  const bridge = await scene.start();
  const jetStream = scene.admin.connection.jetstream();
  const put = (key: string, bytes: Uint8Array) => jetStream.publish(`$KV.BRIDGE_WAITS.${key}`, bytes);
  const [victim, source, healthy] = [
    await scene.wait(bridge, { match: 'data.ok' }),
    await scene.wait(bridge, { match: 'data.never' }),
    await scene.wait(bridge, { match: 'data.ok' }),
  ];
  const bytes = (await scene.entries()).get(source.key)!;
  const text = Buffer.from(bytes).toString();
  const { key, planUrl, state } = (await scene.records()).get(source.key)!;
  const keyOf = (others: Partial<WaitKey>) => ({ ...key, ...others });
  const alter = (change: (record: Record<string, unknown>) => unknown) =>
    Buffer.from(JSON.stringify({ ...(JSON.parse(text) as object), ...(change(JSON.parse(text)) as object) }));
  const sealedAgain = (record: Partial<WaitRecord>, by: Uint8Array) =>
    Buffer.from(seal({ key, planUrl, state, ...record }, [by]));
  const flipped = ({ sealed }: Record<string, unknown>) => {
    const box = Buffer.from(String(sealed), 'base64');
    box[20]! ^= 1;
    return { sealed: box.toString('base64') };
  };
  const instance = randomUUID();
  const foreignKey = randomBytes(32);
  const decided = {
    ...{ state: 'decided', call: (state as { call: object }).call, decidedAt: Date.now() },
    ending: { verdict: 'matched', reason: '', counts: {}, missing: 0, outputs: { verdict: 'matched' } },
  } as unknown as WaitRecord['state'];
  const forged: readonly (readonly [what: string, place: string, bytes: Uint8Array])[] = [
    ['moved over another wait', victim.key, bytes],
    ['moved to a new key', bucketKey(keyOf({ instance })), bytes],
    ['moved with the key in it changed', bucketKey(keyOf({ instance })), alter(() => ({ key: keyOf({ instance }) }))],
    ['with a bit changed', source.key, alter(flipped)],
    ['with another plan URL', source.key, alter(() => ({ planUrl: 'http://127.0.0.1:9/evil/' }))],
    ['without a seal', source.key, alter(() => ({ sealed: Buffer.from(JSON.stringify(decided)).toString('base64') }))],
    ['with a truncated seal', source.key, alter(({ sealed }) => ({ sealed: String(sealed).slice(0, 40) }))],
    ['of another version', source.key, alter(() => ({ v: 2 }))],
    ['sealed by another key', source.key, sealedAgain({ state: decided }, foreignKey)],
    [
      "sealed by another key with the right key's id",
      source.key,
      Buffer.from(
        JSON.stringify({
          ...(JSON.parse(sealedAgain({ state: decided }, foreignKey).toString()) as object),
          kid: (JSON.parse(text) as { kid: string }).kid,
        }),
      ),
    ],
    ["that isn't a record", source.key, Buffer.from('{}')],
    ["that isn't JSON", source.key, randomBytes(300)],
    ['at an invalid key', 'wait.x', bytes],
  ];
  const unreadable = async () => (await bridge.metric('waits_unreadable_total')) ?? 0;
  const asked = scene.azure.requests.length;
  for (const [what, place, forgedBytes] of forged) {
    const before = await unreadable();
    await put(place, forgedBytes);
    await scene.until(`a record ${what} is counted`, async () => (await unreadable()) > before);
    assert.ok(
      bridge.lines.some((line) => line.event === 'waitUnreadable' && line['key'] === place),
      what,
    );
  }
  await scene.publish({ ok: true });
  assert.equal(await scene.ended(healthy.task), 'succeeded');
  // The same goes for a replica that finds them when it starts.
  bridge.signal('SIGTERM');
  assert.equal(await bridge.ended, 0);
  const next = await scene.start();
  const other = await scene.wait(next, { match: 'data.ok', startFrom: 'all' });
  assert.equal(await scene.ended(other.task), 'succeeded');
  const since = scene.azure.requests.slice(asked).map((request) => request.path);
  for (const { task } of [victim, source]) {
    assert.equal(task.task.state, 'inProgress');
    assert.ok(!since.some((one) => one.includes(task.plan.id)), since.join('\n'));
  }
  const entries = await scene.entries();
  assert.deepEqual(Buffer.from(entries.get(victim.key)!), Buffer.from(bytes));
  // Its task gets an error, not a success.
  victim.task.bridge = next.publicUrl;
  assert.equal((await victim.task.execute({ subject: 'ci.done', match: 'data.ok' })).status, 503);
  assert.equal((await victim.task.cancel()).status, 503);
});

/** The base64 of a text after `shift` other bytes, without the characters that depend on its neighbours. */
function inBase64(text: string, shift: number): string {
  const encoded = Buffer.concat([Buffer.alloc(shift), Buffer.from(text)]).toString('base64');
  return encoded.replace(/=+$/, '').slice(shift === 0 ? 0 : 4, -1);
}
