import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { connect } from 'nats';
import { EXAMPLES } from '../../support/agent/exampleRun.ts';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';

const ROOT = path.join(import.meta.dirname, '../../..');
const PASSWORD = 'password-of-ci';

interface LocalRun {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `npm run pipeline` without the packing, called from a folder. */
async function localRun(from: string, args: readonly string[], env: Record<string, string> = {}): Promise<LocalRun> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'localAgent/pipeline.ts', ...args], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], INIT_CWD: from, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
  });
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { exitCode: await ended, stdout, stderr };
}

describe('npm run pipeline', { concurrency: 2 }, () => {
  let server: NatsServer;
  before(async () => {
    server = await startNatsServer({
      config: `authorization: { users: [{ user: ci, password: ${PASSWORD} }, { user: open }] }, no_auth_user: open`,
    });
    const client = await connect({ servers: server.url, user: 'ci', pass: PASSWORD });
    await (await client.jetstreamManager()).streams.add({ name: 'CI', subjects: ['ci.>'] });
    await client.close();
  });
  after(() => server.stop());

  it('runs an example against a server of the author, in a copy of its folder', async () => {
    const { exitCode, stdout, stderr } = await localRun(EXAMPLES, [
      'image-ready.yml',
      ...['--connection', `nats-ci=${server.url}`, '--variable', 'Build.BuildId=4321'],
    ]);
    assert.deepEqual([exitCode, stderr], [0, ''], stdout);
    assert.match(stdout, /^Deploy │ Deploying shop\/web:4321 at sha256:[0-9a-f]{64}$/m);
    assert.match(stdout, /^Succeeded +Wait until the image is ready \(wait\), \d+ ms$/m);
    assert.match(stdout, /^ {2}event\.image +shop\/web:4321$/m);
    assert.match(stdout, /\nJob Deploy: Succeeded\n/);
    assert.match(stdout, /\nThe run: Succeeded\n$/);
    assert.ok(!existsSync(path.join(EXAMPLES, 'image-ready.json')));
  });

  /** A pipeline with a secret, a step of another task, and a parameter that lets it fail. */
  function project(): string {
    const folder = temporaryFolder('project-');
    writeFileSync(
      path.join(folder, 'azure-pipelines.yml'),
      `
      parameters: [{ name: exit, type: number }]
      steps:
        - task: AzureKeyVault@2
          displayName: Fetch secrets
          inputs: { KeyVaultName: shop }
        - task: PublishNatsEvent@1
          name: publish
          inputs: { natsConnection: nats, subject: ci.local.v1, payload: '{ "a": 1 }', correlationId: $(natsToken) }
        - script: echo "the token is $TOKEN"; exit \${{ parameters.exit }}
          env: { TOKEN: $(natsToken) }
      `,
    );
    const connection = {
      url: server.url,
      scheme: 'UsernamePassword',
      parameters: { username: 'ci', password: { env: 'CI_PASSWORD' } },
    };
    writeFileSync(path.join(folder, 'connections.json'), JSON.stringify({ nats: connection }));
    return folder;
  }
  const secrets = { CI_PASSWORD: PASSWORD, NATS_TOKEN: 'hunter2' };
  const arguments_ = [
    ...['azure-pipelines.yml', '--connection-file', 'connections.json', '--secret', 'natsToken=NATS_TOKEN'],
    ...['--parameter'],
  ];

  it('takes secrets from the environment and a file, and shows none; a failed run is no success', async () => {
    const { exitCode, stdout } = await localRun(
      project(),
      [...arguments_, 'exit=3', '--skip-other-tasks', '--debug'],
      secrets,
    );
    assert.equal(exitCode, 1);
    assert.match(stdout, /^Job │ left out: AzureKeyVault@2 "Fetch secrets"$/m);
    assert.match(stdout, /^Job │ the token is \*\*\*$/m);
    assert.match(stdout, /^Job │ ##\[debug\]/m);
    assert.match(stdout, /^ {2}correlationId +\*\*\*$/m);
    assert.match(stdout, /^ {2}sequence +\d+$/m);
    assert.match(stdout, /\nFailed +CmdLine \(CmdLine\), \d+ ms\n\nThe run: Failed\n$/);
    assert.ok(!stdout.includes('hunter2') && !stdout.includes(PASSWORD));
  });

  it('names the steps that it cannot run, and begins nothing', async () => {
    const { exitCode, stdout, stderr } = await localRun(project(), [...arguments_, 'exit=0'], secrets);
    assert.deepEqual([exitCode, stdout], [2, '']);
    assert.match(
      stderr,
      /^pipeline: Only Azure Pipelines itself .*:\n {2}job Job: AzureKeyVault@2 "Fetch secrets"\n.*--skip-other-tasks/,
    );
  });
});
