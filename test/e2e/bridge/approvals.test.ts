import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVENT_ID, RunsScene } from '../../support/bridge/runsBridge.ts';

test('check warns of an approval that relies on who requested the run', async () => {
  const image = { name: 'image', type: 'string', default: '' } as const;
  await using scene = await RunsScene.open({ pipeline: { parameters: [EVENT_ID, image], environment: 'prod.web' } });
  const { environments } = scene.azure;
  environments.declare('prod-old', true);
  const quiet = await scene.command(['check']);
  assert.doesNotMatch(quiet.stdout, /environment/);

  environments.declare('prod', true);
  const told = await scene.command(['check']);
  assert.match(
    told.stdout,
    /^warning: route deploy: the environment "prod" has an approval that the requester of a run may not give, but the requester is the bridge's identity/m,
  );
  assert.equal(told.status, 0, told.stdout);

  environments.isHidden = true;
  const hidden = await scene.command(['check']);
  assert.doesNotMatch(hidden.stdout, /environment/);
  assert.equal(hidden.status, 0, hidden.stdout);
});
