/** The runs that are pictured: steps of the packed tasks, run by the local agent against a nats-server of their own. */
import path from 'node:path';
import { LocalAgent, pipelineTime, type StepRun, type TaskRequest } from '../../localAgent/index.ts';
import { RunService } from '../../localAgent/runService.ts';
import { StreamServer } from '../../localAgent/streamServer.ts';
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
  await using nats = await StreamServer.start('CI', 'ci.>');
  await using service = await RunService.start();
  const run = { ...RUN, 'System.PipelineStartTime': pipelineTime(new Date()) };
  const step = (request: TaskRequest, variables = {}): Promise<StepRun> => {
    const connections = { nats: { url: nats.url, scheme: 'None' } };
    const agent = new LocalAgent({
      sources: path.join(ROOT, 'examples'),
      connections,
      variables: { ...run, ...variables },
    });
    return agent.runTask({ ...request, inputs: { natsConnection: 'nats', ...request.inputs } });
  };
  const announce = (region: string, changes = {}) => {
    const payload = PUBLISH_INPUTS.payload.replace('"eu"', `"${region}"`);
    const inputs = { ...PUBLISH_INPUTS, messageId: `image-42-${region}`, payload, ...changes };
    return step({ task: 'PublishNatsEvent@1', inputs });
  };
  const wait = { name: 'wait', task: 'WaitForNatsEvent@1' };

  let announced: Promise<unknown> | undefined;
  const onLine: TaskRequest['onLine'] = ({ text }) => {
    if (text.startsWith('waiting ')) announced = announce('us').then(() => announce('eu'));
  };
  const matched = await step(
    { ...wait, displayName: 'Wait until the image is ready', inputs: WAIT_INPUTS, onLine },
    service.variables,
  );
  await announced;

  const payload = '{ "image": "shop/web:42", "digest": "latest", "region": "apac" }';
  await announce('apac', { payload, schemaFile: '' });
  const failed = await step({
    ...wait,
    displayName: 'Wait until the image is ready in every region',
    inputs: { ...WAIT_INPUTS, match: '', distinctBy: 'data.region', expect: 'eu\nus\napac', timeout: '8s' },
  });
  return { matched, failed, summary: service.summaries[0] ?? '' };
}
