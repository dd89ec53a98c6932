import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Outcome } from '../../../../bridge/azureDevOps/client.ts';
import { Pipelines } from '../../../../bridge/runs/pipelines.ts';

/** Which of these builds are found as the run with these parameters. */
async function found(asked: Record<string, string>, builds: readonly (Record<string, unknown> | undefined)[]) {
  const value = builds.map((templateParameters, index) => ({ id: index + 1, url: '', templateParameters }));
  const ok: Outcome = {
    kind: 'ok',
    status: 200,
    body: { value },
    retryAfterMs: undefined,
    continuationToken: undefined,
  };
  const pipelines = new Pipelines({
    azureDevOps: { call: () => Promise.resolve(ok), ask: () => Promise.resolve(ok) },
    gate: { trouble: () => {}, success: () => {} },
    now: () => 0,
  });
  const outcome = await pipelines.find({ project: 'Shop', id: 42, branch: undefined }, 'e-1', asked, 0);
  assert.ok(outcome.kind === 'list');
  return outcome.runs.map(({ id }) => id);
}

test("a run that another route started for the same event isn't ours", async () => {
  const of = (environment: string) => ({ natsEventId: 'e-1', environment });
  assert.deepEqual(await found(of('staging'), [of('production'), of('staging')]), [2]);
});

test("a run with another event's id or none is not ours", async () => {
  assert.deepEqual(await found({}, [{ natsEventId: 'e-2' }, {}, undefined, { natsEventId: 'e-1' }]), [4]);
});

test('a run is ours even if Azure DevOps formats or omits values its own way', async () => {
  const ways: [asked: string, given: unknown][] = [
    ...([
      ['true', 'True'],
      ['1.0', '1'],
      ['{"a": 1}', '{"a":1}'],
      ['[1]', '- 1'],
      ['x', undefined],
      ['1', 1],
    ] as const),
  ].map(([asked, given]) => [asked, given]);
  for (const [asked, given] of ways)
    assert.deepEqual(await found({ p: asked }, [{ natsEventId: 'e-1', p: given }]), [1], `${asked} ${String(given)}`);
  for (const [asked, given] of [
    ['true', 'false'],
    ['1', '2'],
    ['web:1', 'web:2'],
    ['', 'x'],
  ] as const)
    assert.deepEqual(await found({ p: asked }, [{ natsEventId: 'e-1', p: given }]), [], `${asked} ${given}`);
});
