import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connect } from 'nats';
import { RunsScene } from '../../support/bridge/runsBridge.ts';
import { createNKey } from '../../support/nats/natsAccounts.ts';

const IMAGE = { type: 'object', required: ['image'], properties: { image: { type: 'string', maxLength: 10 } } };

/** The event, reason and detail of each of the route's dead letters. */
async function lettersOf(scene: RunsScene): Promise<string[][]> {
  return (await scene.letters()).map(({ header }) => ['ce-id', 'Bridge-Reason', 'Bridge-Detail'].map(header));
}

function startedBy(scene: RunsScene): (string | undefined)[] {
  return scene.azure.runs.map(({ parameters }) => parameters['natsEventId']);
}

describe('A route with trustedKeys', () => {
  test('starts a run for a signature by one of them; everything else is a dead letter', async () => {
    const [trusted, other] = [createNKey(), createNKey()];
    await using scene = await RunsScene.open({ route: [`trustedKeys: ["${trusted.publicKey} ci.done"]`] });
    await using bridge = await scene.start();
    await scene.publish('unsigned');
    await scene.publish('foreign', {}, {}, { seed: other.seed });
    await scene.publish('elsewhere', {}, {}, { seed: trusted.seed, subject: 'ci.else' });
    await scene.publish('signed', {}, {}, { seed: trusted.seed });
    await bridge.logged('runStarted');
    await scene.settled();
    assert.deepEqual(startedBy(scene), ['signed']);
    const letters = await lettersOf(scene);
    assert.deepEqual(
      letters.map(([id, reason]) => [id, reason]),
      ['unsigned', 'foreign', 'elsewhere'].map((id) => [id, 'untrusted']),
    );
    assert.equal(new Set(letters.map(([, , detail]) => detail)).size, 3, JSON.stringify(letters));
    const decisions = (await scene.decisions()) as { decision: string; event: { id: string; signer?: string } }[];
    const started = decisions.find(({ decision }) => decision === 'started');
    assert.deepEqual([started?.event.id, started?.event.signer], ['signed', trusted.publicKey]);
  });

  test('and publishers believes an event about its publisher only if it is signed', async () => {
    const { seed, publicKey } = createNKey();
    await using scene = await RunsScene.open({
      route: [`trustedKeys: [${publicKey}]`, 'publishers: [{ project: Shop, pipeline: build-web }]'],
    });
    await using bridge = await scene.start();
    const web = { azpproject: 'Shop', azppipeline: 'build-web' };
    await scene.publish('claimed', {}, web);
    await scene.publish('other', {}, { ...web, azppipeline: 'build-api' }, { seed });
    await scene.publish('nobody', {}, {}, { seed });
    await scene.publish('proven', {}, web, { seed });
    await bridge.logged('runStarted');
    await scene.settled();
    assert.deepEqual(startedBy(scene), ['proven']);
    const [claimed, other, nobody, ...more] = await lettersOf(scene);
    assert.deepEqual([claimed?.[0], claimed?.[1], more], ['claimed', 'untrusted', []]);
    assert.match(
      other!.join(' '),
      /^other untrusted it was published by "Shop\/build-api", which the route's publishers don't list/,
    );
    assert.deepEqual(nobody, ['nobody', 'untrusted', 'it does not say which pipeline published it']);
    assert.ok(!bridge.text.includes('is what events say of themselves'), bridge.text);
  });
});

test("Without trustedKeys, publishers is only as good as the subject's permissions, and the log says so", async () => {
  const users = `authorization { users: [
    { user: admin, password: pw }
    { user: bridge, password: pw }
    { user: web, password: pw, permissions: { publish: ["ci.web.>"] } }
    { user: api, password: pw, permissions: { publish: ["ci.api.>"] } }
  ] }`;
  await using scene = await RunsScene.open({
    ...{ users, route: ['subject: ci.web.>', 'publishers: [{ project: Shop, pipeline: build-web }]'] },
  });
  await using bridge = await scene.start();
  const { text } = await bridge.logged('configuration');
  assert.match(String(text), /runs\[0\]\.publishers: is what events say of themselves, since there are no trustedKeys/);
  const web = { azpproject: 'Shop', azppipeline: 'build-web' };
  const forged = await connect({ servers: scene.server.url, user: 'api', pass: 'pw' });
  await assert.rejects(forged.jetstream().publish('ci.web.done', '{}'), /permissions violation/i);
  await forged.close();
  await scene.publish('stranger', {}, { ...web, azpproject: 'Other' }, { subject: 'ci.web.done' });
  await scene.publish('owner', {}, web, { subject: 'ci.web.done' });
  await bridge.logged('runStarted');
  await scene.settled();
  assert.deepEqual(startedBy(scene), ['owner']);
  assert.deepEqual(
    (await lettersOf(scene)).map(([id, reason]) => [id, reason]),
    [['stranger', 'untrusted']],
  );
});

test('A route with a contract stores an event that violates it as a dead letter that says how', async () => {
  await using scene = await RunsScene.open({
    more: 'contracts: { image: schemas/image.json }',
    files: { 'schemas/image.json': JSON.stringify(IMAGE) },
    route: ['contract: image'],
  });
  await using bridge = await scene.start();
  await scene.publish('long', { image: 'a-very-long-image' });
  await scene.publish('none', { picture: 'web:1' });
  await scene.publish('good');
  await bridge.logged('runStarted');
  await scene.settled();
  assert.deepEqual(startedBy(scene), ['good']);
  const [long, none, ...others] = await lettersOf(scene);
  assert.deepEqual([long?.slice(0, 2), none?.slice(0, 2), others], [['long', 'invalid'], ['none', 'invalid'], []]);
  assert.match(long![2]!, /image.*10 characters/);
  assert.match(none![2]!, /image/);
  assert.ok(!bridge.text.includes('a-very-long-image'), 'the log shows a value');
  const [first] = await scene.letters();
  assert.equal(first?.data, '{"image":"a-very-long-image"}');
  const digests = new Set((await scene.decisions()).map(({ schemaDigest }) => schemaDigest));
  assert.match([...digests].join(), /^sha256:[0-9a-f]{64}$/);
});
