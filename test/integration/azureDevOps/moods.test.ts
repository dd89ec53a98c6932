import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, test } from 'node:test';
import { AzureDevOps } from '../../support/azureDevOps/azureDevOps.ts';
import { Entra } from '../../support/azureDevOps/entra.ts';
import { listsBuilds, previewsRun, startsRun } from '../../support/azureDevOps/kinds.ts';
import {
  broken,
  cut,
  htmlWithSuccess,
  parametersRefused,
  redirected,
  reset,
  retryAfterOnSuccess,
  signInAsked,
  slow,
  throttled,
  unavailable,
} from '../../support/azureDevOps/moods.ts';
import type { Mood } from '../../support/azureDevOps/standInServer.ts';
import { ask, list, start } from './asking.ts';

const WITHIN_MS = 10_000;

/** Waits for a condition. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + WITHIN_MS; !(await holds());) {
    assert.ok(Date.now() < end, `not within ${WITHIN_MS} ms`);
    await delay(20);
  }
}

/** An organization with a pipeline, and a mood for the next run that is started. */
async function moody(mood: Mood) {
  const azure = await AzureDevOps.start();
  azure.feel(mood, { times: 1, when: startsRun });
  return { azure, pipeline: azure.pipelines.declare(), [Symbol.asyncDispose]: () => azure.stop() };
}

describe('a run is not started', { concurrency: 4 }, () => {
  for (const [name, mood, status, body] of [
    ['with 203 and the sign-in page', signInAsked('page'), 203, /Sign In/],
    ['with 302 to the sign-in page', signInAsked('redirect'), 302, /Object moved/],
    ['with 401 for an expired token', signInAsked('unauthorized'), 401, /TF400813: The user '' is not authorized/],
    ['with 401 for a foreign token', signInAsked('unauthorized', 'stranger'), 401, /InvalidIdentityException/],
    [
      'with 400 of the pipeline',
      parametersRefused('pipeline', 'a is bad'),
      400,
      /a is bad.*PipelineValidationException/,
    ],
    ['with 400 of the build', parametersRefused('build', 'a is bad'), 400, /ValidationResults":\[.*"a is bad"/],
    ['with 429', throttled({ retryAfter: 5 }), 429, /TF400733/],
    ['with 500', broken(), 500, /TF400898/],
    ['with 502', unavailable(502), 502, /^<!DOCTYPE html>/],
    ['with 503', unavailable(503), 503, /^<!DOCTYPE html>/],
    ['with 504', unavailable(504), 504, /^<!DOCTYPE html>/],
    ['with a page and 200', htmlWithSuccess(), 200, /Sign In/],
    ['with a redirect', redirected('https://elsewhere.example/'), 302, /^$/],
  ] as const) {
    test(`${name}, once`, async () => {
      await using it = await moody(mood);
      const { azure, pipeline } = it;
      const answer = await start(azure, pipeline);
      assert.equal(answer.status, status);
      assert.match(answer.text, body);
      assert.equal(azure.runs.length, 0);
      assert.equal((await list(azure)).status, 200);
      assert.equal((await start(azure, pipeline)).status, 200);
      assert.equal(azure.runs.length, 1);
    });
  }

  test('when the connection breaks before it is stored', async () => {
    await using it = await moody(reset());
    await assert.rejects(start(it.azure, it.pipeline));
    assert.equal(it.azure.runs.length, 0);
  });
});

describe("a run is started, but its caller can't know", { concurrency: 4 }, () => {
  for (const [name, mood] of [
    ['when the connection breaks after it was stored', reset({ done: true })],
    ['when the answer is cut in the middle', cut()],
  ] as const) {
    test(name, async () => {
      await using it = await moody(mood);
      await assert.rejects(start(it.azure, it.pipeline));
      assert.equal(it.azure.runs.length, 1);
      assert.equal((await start(it.azure, it.pipeline)).status, 200);
    });
  }

  test('when an internal error follows after it was stored', async () => {
    await using it = await moody(broken({ done: true }));
    assert.equal((await start(it.azure, it.pipeline)).status, 500);
    assert.equal(it.azure.runs.length, 1);
  });

  test('when the caller gives up before a slow response', async () => {
    await using it = await moody(slow(60_000));
    const patience = new AbortController();
    const refused = assert.rejects(start(it.azure, it.pipeline, {}, { signal: patience.signal }));
    await until(() => it.azure.runs.length === 1);
    patience.abort();
    await refused;
  });

  test('even after the caller gave up', async () => {
    await using it = await moody(slow(2_000, { done: 'after' }));
    const patience = new AbortController();
    const refused = assert.rejects(start(it.azure, it.pipeline, {}, { signal: patience.signal }));
    await it.azure.asked(1);
    patience.abort();
    await refused;
    assert.equal(it.azure.runs.length, 0);
    await until(() => it.azure.runs.length === 1);
  });

  test('except with 200 and a Retry-After', async () => {
    await using it = await moody(retryAfterOnSuccess({ retryAfter: 2 }));
    const { status, headers, json } = await start(it.azure, it.pipeline);
    assert.deepEqual([status, headers.get('retry-after'), json.id], [200, '2', it.azure.runs[0]!.id]);
    assert.deepEqual([headers.get('x-ratelimit-limit'), headers.get('x-ratelimit-remaining')], ['200', '10']);
  });
});

describe('moods', { concurrency: 4 }, () => {
  test('affect starting runs, previewing them or listing builds', async () => {
    await using azure = await AzureDevOps.start();
    const pipeline = azure.pipelines.declare();
    const statuses = async () => [
      (await start(azure, pipeline)).status,
      (await start(azure, pipeline, { previewRun: true })).status,
      (await list(azure)).status,
      (await ask(azure, `Shop/_apis/build/builds/${azure.runs[0]?.id ?? 0}`)).status,
    ];
    await start(azure, pipeline);
    for (const [when, wanted] of [
      [startsRun, [503, 200, 200, 200]],
      [previewsRun, [200, 503, 200, 200]],
      [listsBuilds, [200, 200, 503, 200]],
    ] as const) {
      const takeBack = azure.feel(unavailable(), { when });
      assert.deepEqual(await statuses(), wanted);
      takeBack();
    }
  });

  test('strike by chance, repeatably by seed, and otherwise leave the turn to others', async () => {
    const statusesOf = async (seed: number) => {
      await using azure = await AzureDevOps.start();
      azure.feel(throttled(), { chance: 0.3, seed });
      azure.feel(unavailable(), { chance: 0.3, seed: seed + 1 });
      const statuses: number[] = [];
      for (let number = 0; number < 100; number++) statuses.push((await list(azure)).status);
      return statuses;
    };
    const first = await statusesOf(7);
    assert.deepEqual(await statusesOf(7), first);
    assert.notDeepEqual(await statusesOf(8), first);
    const count = (wanted: number) => first.filter((status) => status === wanted).length;
    assert.ok(count(429) > 15 && count(429) < 45, String(count(429)));
    assert.ok(count(503) > 8 && count(503) < 35, String(count(503)));
    assert.ok(count(200) > 30, String(count(200)));
  });

  test('never strike at a chance of 0, and count only when they strike', async () => {
    await using azure = await AzureDevOps.start();
    azure.feel(unavailable(), { chance: 0 });
    for (let number = 0; number < 20; number++) assert.equal((await list(azure)).status, 200);
    azure.feel(throttled(), { chance: 0.5, times: 2 });
    const statuses: number[] = [];
    for (let number = 0; number < 40; number++) statuses.push((await list(azure)).status);
    assert.equal(statuses.filter((status) => status === 429).length, 2);
  });

  test('redirect to another host, which records a caller that follows', async () => {
    await using azure = await AzureDevOps.start();
    await using elsewhere = await AzureDevOps.start({ organization: 'fabrikam' });
    for (const status of [301, 302, 307, 308] as const) {
      azure.feel(redirected(`${elsewhere.url}_apis/projects`, status), { times: 1 });
      const answer = await list(azure);
      assert.deepEqual([answer.status, answer.headers.get('location')], [status, `${elsewhere.url}_apis/projects`]);
    }
    assert.equal(elsewhere.requests.length, 0);
    azure.feel(redirected(`${elsewhere.url}_apis/projects`), { times: 1 });
    await fetch(`${azure.url}_apis/projects`);
    assert.equal(elsewhere.requests.length, 1);
  });
});

describe('a token of Entra', { concurrency: 4 }, () => {
  test('that expires while a request is in flight is still valid for it', async () => {
    await using entra = await Entra.start();
    await using azure = await AzureDevOps.start({ entra });
    const pipeline = azure.pipelines.declare();
    const authorization = `Bearer ${await entra.issue(entra.register())}`;
    azure.feel(slow(300), { times: 1 });
    const answer = start(azure, pipeline, {}, { authorization });
    await azure.asked(1);
    await until(() => azure.runs.length === 1);
    entra.revokeTokens();
    assert.equal((await answer).status, 200);
    assert.equal((await start(azure, pipeline, {}, { authorization })).status, 203);
  });
});
