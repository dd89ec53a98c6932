import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Projects } from '../../../../bridge/hooks/projects.ts';
import { TaskError } from '../../../../shared/errors.ts';
import { SHOP } from '../../../support/bridge/hookPosts.ts';
import { MemoryBucket, MemoryLog } from '../../../support/bridge/memoryNats.ts';

const OTHER_ID = '00000000-ce1f-45d1-b94d-e6bf2464ba2c';

/** The projects of one replica; all replicas share the bucket. */
function replica(
  bucket = new MemoryBucket(),
  askName: (id: string) => Promise<string | undefined> = () => Promise.resolve(undefined),
) {
  const log = new MemoryLog();
  const time = { now: 1_000_000 };
  let asked = 0;
  const projects = new Projects({
    bucket,
    askName: (id) => {
      asked++;
      return askName(id);
    },
    log,
    now: () => time.now,
  });
  return { projects, bucket, log, time, asked: () => asked };
}

describe("A project's token in the subject", () => {
  test('is the name in the body, pinned on first sight', async () => {
    const { projects, bucket, asked } = replica();
    const shop = await projects.resolve(SHOP.id, 'My Shop');
    assert.deepEqual(shop, { id: SHOP.id, name: 'My Shop', token: 'My-Shop' });
    assert.deepEqual(bucket.texts, {
      'token.My-Shop': SHOP.id,
      [`project.${SHOP.id}`]: '{"token":"My-Shop","name":"My Shop"}',
    });
    assert.equal(asked(), 0);
    const { calls } = bucket;
    assert.deepEqual(await projects.resolve(SHOP.id.toUpperCase(), undefined), shop);
    assert.equal(bucket.calls, calls, 'the project was looked up again');
  });

  test('stays when the project is renamed, in all replicas', async () => {
    const { bucket, projects } = replica();
    await projects.resolve(SHOP.id, 'Shop');
    const renamed = { id: SHOP.id, name: 'Store', token: 'Shop' };
    assert.deepEqual(await projects.resolve(SHOP.id, 'Store'), renamed);
    assert.deepEqual(await replica(bucket).projects.resolve(SHOP.id, 'Store'), renamed);
  });

  test('is looked up in Azure DevOps if the body has no name; a later look finds a new name', async () => {
    let name = 'Shop';
    const { projects, time, asked } = replica(undefined, () => Promise.resolve(name));
    for (let hook = 0; hook < 5; hook++) assert.equal((await projects.resolve(SHOP.id, undefined)).name, 'Shop');
    assert.equal(asked(), 1);
    name = 'Store';
    time.now += 600_000;
    assert.deepEqual(await projects.resolve(SHOP.id, undefined), { id: SHOP.id, name: 'Store', token: 'Shop' });
  });

  test('is the id, unpinned, while the name is unknown', async () => {
    let isThere = false;
    const ask = () => (isThere ? Promise.resolve('Shop') : Promise.reject(new Error('it is down')));
    const { projects, bucket, time, asked, log } = replica(undefined, ask);
    for (let hook = 0; hook < 5; hook++)
      assert.deepEqual(await projects.resolve(SHOP.id, undefined), { id: SHOP.id, name: SHOP.id, token: SHOP.id });
    assert.equal(asked(), 1);
    assert.deepEqual(bucket.texts, {});
    assert.match(log.lines.join(), /did not return the name of the project 6ce9.*: it is down/);
    isThere = true;
    time.now += 30_000;
    assert.deepEqual(await projects.resolve(SHOP.id, undefined), { id: SHOP.id, name: 'Shop', token: 'Shop' });
  });

  test('stays, and keeps the last name, while Azure DevOps is down', async () => {
    const { bucket, projects } = replica();
    await projects.resolve(SHOP.id, 'Shop');
    const other = replica(bucket, () => Promise.reject(new Error('it is down')));
    assert.deepEqual(await other.projects.resolve(SHOP.id, undefined), { id: SHOP.id, name: 'Shop', token: 'Shop' });
  });

  test('is not held up by an Azure DevOps that does not answer', async () => {
    const { projects } = replica(undefined, () => new Promise(() => {}));
    const begin = Date.now();
    assert.equal((await projects.resolve(SHOP.id, undefined)).token, SHOP.id);
    assert.ok(Date.now() - begin < 1_900);
  });

  test('belongs to one project; a second one is refused, and that is reported', async () => {
    const { projects, log, bucket, time } = replica();
    await projects.resolve(SHOP.id, 'My.Shop');
    const clash = { kind: 'clash', name: 'My Shop', token: 'My-Shop', owner: SHOP.id };
    for (let hook = 0; hook < 5; hook++) assert.deepEqual(await projects.resolve(OTHER_ID, 'My Shop'), clash);
    assert.equal(log.lines.length, 1);
    assert.match(
      log.lines[0]!,
      /^warning The project "My Shop" .* "My-Shop" as the project "6ce9.*Rename the project "My Shop" in Azure DevOps, and replay them\.$/,
    );
    assert.deepEqual(await replica(bucket).projects.resolve(OTHER_ID, 'My Shop'), clash);
    assert.deepEqual(await projects.resolve(OTHER_ID, 'Our Shop'), {
      id: OTHER_ID,
      name: 'Our Shop',
      token: 'Our-Shop',
    });
    time.now += 600_000;
    assert.deepEqual(await projects.resolve(OTHER_ID, 'My Shop'), { id: OTHER_ID, name: 'My Shop', token: 'Our-Shop' });
  });

  test('survives a crash between claim and pin', async () => {
    const bucket = new MemoryBucket();
    await bucket.create('token.Shop', Buffer.from(SHOP.id));
    assert.deepEqual(await replica(bucket).projects.resolve(SHOP.id, 'Shop'), { ...SHOP, token: 'Shop' });
  });

  test('is what the faster of two replicas pins', async () => {
    const bucket = new MemoryBucket();
    const results = await Promise.all(['Shop', 'Store'].map((name) => replica(bucket).projects.resolve(SHOP.id, name)));
    assert.deepEqual(new Set(results.map((result) => result.token)).size, 1);
  });

  test('is looked up once for all hooks that come together', async () => {
    const { projects, asked } = replica(undefined, () => Promise.resolve('Shop'));
    await Promise.all(Array.from({ length: 64 }, () => projects.resolve(SHOP.id, undefined)));
    assert.equal(asked(), 1);
  });

  test('is unknown while the bucket does not answer', async () => {
    const { projects, bucket } = replica();
    bucket.failure = new TaskError('Timeout', 'It did not answer');
    await assert.rejects(projects.resolve(SHOP.id, 'Shop'), { code: 'Timeout' });
    bucket.failure = undefined;
    assert.equal((await projects.resolve(SHOP.id, 'Shop')).token, 'Shop');
  });
});
