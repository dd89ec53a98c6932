/** The runs that are pictured: steps of the packed tasks, run by the local agent against a nats-server of their own. */
import path from 'node:path';
import type { StepRun } from '../../localAgent/index.ts';
import { RunService } from '../../localAgent/runService.ts';
import { beginWait, publish, Scenario, wait } from '../../test/support/agent/scenario.ts';
import { ROOT } from '../build/manifest.ts';

/** What people see of the runs. */
export interface PicturedRuns {
  /** A wait for the image of one region: that of another one comes first. */
  readonly matched: StepRun;
  /** A wait for the images of all regions, of which one breaks its contract and one never comes. */
  readonly failed: StepRun;
  /** The Markdown that the matched wait attached to its run. */
  readonly summary: string;
}

const SCHEMA = 'contracts/image-ready.v1.schema.json';
const RUN = {
  'Build.BuildId': '42',
  'Build.DefinitionName': 'shop-ci',
  'Build.RequestedFor': 'Jane Doe',
  'System.TeamProject': 'Shop',
};

/** The inputs of the pictured steps, as their forms show them. */
export const PUBLISH_INPUTS = {
  subject: 'ci.shop.image-ready.v1',
  payload: `{ "image": "shop/web:42", "digest": "sha256:${'4a8e17c6'.repeat(8)}", "region": "eu" }`,
  correlationId: '42',
  schemaFile: SCHEMA,
  messageId: 'image-42-eu',
};
export const WAIT_INPUTS = {
  subject: PUBLISH_INPUTS.subject,
  match: "data.region == 'eu'",
  correlationId: '42',
  outputs: 'image=data.image\ndigest=data.digest',
  schemaFile: SCHEMA,
  timeout: '10m',
};

/** Runs the pictured steps; takes about fifteen seconds. */
export async function picturedRuns(): Promise<PicturedRuns> {
  await using scene = await Scenario.start();
  await using service = await RunService.start();
  await scene.manager.streams.add({ name: 'CI', subjects: ['ci.>'] });
  const agent = (variables = {}) =>
    scene.agent({ sources: path.join(ROOT, 'examples'), variables: { ...RUN, ...variables } });

  const { ended } = await beginWait(agent(service.variables), WAIT_INPUTS, {
    displayName: 'Wait until the image is ready',
  });
  const announce = (region: string, changes = {}) =>
    publish(agent(), {
      ...PUBLISH_INPUTS,
      messageId: `image-42-${region}`,
      payload: PUBLISH_INPUTS.payload.replace('"eu"', `"${region}"`),
      ...changes,
    });
  await announce('us');
  await announce('eu');
  const matched = await ended;

  await announce('apac', {
    payload: '{ "image": "shop/web:42", "digest": "latest", "region": "apac" }',
    schemaFile: '',
  });
  const failed = await wait(
    agent(),
    { ...WAIT_INPUTS, match: '', distinctBy: 'data.region', expect: 'eu\nus\napac', timeout: '8s' },
    { displayName: 'Wait until the image is ready in every region' },
  );
  return { matched, failed, summary: service.summaries[0] ?? '' };
}
