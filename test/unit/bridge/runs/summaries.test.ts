import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Summaries } from '../../../../bridge/runs/summaries.ts';

test('a summary that is being written when the bridge stops is written to its end', async () => {
  let begun = () => {};
  const hasBegun = new Promise<void>((resolve) => (begun = resolve));
  let written = false;
  const note = async () => {
    begun();
    await new Promise((resolve) => setTimeout(resolve, 50));
    written = true;
  };
  const summaries = new Summaries('deploy', { note }, 1);
  summaries.add('notMatching', { stream: 'CI', sequence: 1 });
  // Its timer alone doesn't keep a process alive.
  const alive = setInterval(() => {}, 1_000);
  await hasBegun;
  await summaries.close();
  clearInterval(alive);
  assert.ok(written, 'the bridge stopped before the summary was written');
});
