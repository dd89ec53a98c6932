/** The runs that are pictured: steps of the packed tasks, run by the local agent against a nats-server of their own. */
import path from 'node:path';
import { LocalAgent, pipelineTime, type StepRun, type TaskRequest } from '../../localAgent/index.ts';
import { RunService } from '../../localAgent/runService.ts';
import { StreamServer } from '../../localAgent/streamServer.ts';
import { ROOT } from '../build/manifest.ts';
import { picturedBridge, type PicturedBridge } from './bridge.ts';

/** Where the servers on this machine seem to be. */
const NATS = 'nats.example.com:4222';
const ORGANIZATION = 'https://dev.azure.com/contoso/';

/** What people see of the runs. */
export interface PicturedRuns {
  /** A wait for the images of all regions, of which one breaks its contract and one never comes. */
  readonly failed: StepRun;
  /** The Markdown that a wait for the image of one region attached to its run: the image of another one came first. */
  readonly summary: string;
  readonly bridge: PicturedBridge;
}

const SUBJECT = 'ci.shop.image-ready.v1';
const DIGEST = `sha256:${'4a8e17c6'.repeat(8)}`;
const SCHEMA = 'contracts/image-ready.v1.schema.json';
const RUN = {
  'Build.BuildId': '42',
  'Build.DefinitionName': 'shop-ci',
  'Build.RequestedFor': 'Jane Doe',
  'System.TeamProject': 'Shop',
};

/** Runs what is pictured; takes about twenty seconds. */
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
  const announce = (build: string, region: string, digest = DIGEST, schemaFile = SCHEMA) => {
    const payload = `{ "image": "shop/web:${build}", "digest": "${digest}", "region": "${region}" }`;
    const inputs = {
      subject: SUBJECT,
      payload,
      correlationId: build,
      schemaFile,
      messageId: `image-${build}-${region}`,
    };
    return step({ task: 'PublishNatsEvent@1', inputs });
  };
  const wait = { name: 'wait', task: 'WaitForNatsEvent@1' };

  let announced: Promise<unknown> | undefined;
  const onLine: TaskRequest['onLine'] = ({ text }) => {
    if (text.startsWith('waiting ')) announced = announce('42', 'us').then(() => announce('42', 'eu'));
  };
  const inputs = {
    subject: SUBJECT,
    correlationId: '42',
    match: "data.region == 'eu'",
    schemaFile: SCHEMA,
    timeout: '10m',
  };
  await step({ ...wait, displayName: 'Wait until the image is ready', inputs, onLine }, service.variables);
  await announced;

  await (await nats.client.jetstreamManager()).streams.purge('CI');
  await announce('43', 'eu');
  await announce('43', 'apac', 'latest', '');
  const all = { match: '', distinctBy: 'data.region', expect: 'eu\napac', correlationId: '', timeout: '8s' };
  const failed = await step({
    ...wait,
    displayName: 'Wait until the image is ready in all regions',
    inputs: { ...inputs, ...all },
  });
  const { organization, ...bridge } = picturedBridge();
  const log = failed.log.map((line) => ({ ...line, text: line.text.replaceAll(new URL(nats.url).host, NATS) }));
  return {
    failed: { ...failed, log },
    summary: service.summaries[0] ?? '',
    bridge: JSON.parse(JSON.stringify(bridge).replaceAll(organization, ORGANIZATION)) as PicturedBridge,
  };
}
