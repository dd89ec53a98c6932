import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { connect } from 'nats';
import { bundleTests } from '../../../scripts/build/tests.ts';
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

/** `npm run pipeline`, as JavaScript: its TypeScript would be read anew for each run. Of its packages, none is in it. */
let program = '';
const bundles = mkdtempSync(path.join(ROOT, '.cache', 'pipeline-'));
before(async () => {
  [program = ''] = await bundleTests([[path.join(ROOT, 'localAgent/pipeline.ts')]], bundles);
});
after(() => rmSync(bundles, { recursive: true, force: true }));

/** Runs `npm run pipeline` without the packing, called from a folder. */
async function localRun(from: string, args: readonly string[], env: Record<string, string> = {}): Promise<LocalRun> {
  const child = spawn(process.execPath, [program, ...args], {
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
      config: `authorization: { users: [{ user: ci, password: ${PASSWORD} }, { user: open }, { user: some, password: some, permissions: { publish: "ci.>" } }] }, no_auth_user: open`,
    });
    const client = await connect({ servers: server.url, user: 'ci', pass: PASSWORD });
    await (await client.jetstreamManager()).streams.add({ name: 'CI', subjects: ['ci.>'] });
    await client.close();
  });
  after(() => server.stop());

  it("runs an example against the author's own server, in a copy of its folder", async () => {
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

  it('starts a server and a stream for the run, and ends them with it', async () => {
    const { exitCode, stdout, stderr } = await localRun(EXAMPLES, ['image-ready.yml', '--nats']);
    assert.deepEqual([exitCode, stderr], [0, ''], stdout);
    const [, url = ''] =
      /^Started nats-server \S+ at (nats:\/\/127\.0\.0\.1:\d+) with the stream CI \(ci\.>\), for the service connection nats-ci\./.exec(
        stdout,
      ) ?? assert.fail(stdout);
    await assert.rejects(connect({ servers: url, reconnect: false, timeout: 2_000 }), /CONNECTION_REFUSED/);
  });

  it("creates the requested streams for connections that aren't given", async () => {
    const folder = temporaryFolder('project-');
    const step = (connection: string, subject: string): string =>
      `- { task: PublishNatsEvent@1, inputs: { natsConnection: ${connection}, subject: ${subject}, payload: '1' } }\n`;
    writeFileSync(path.join(folder, 'a.yml'), `steps:\n${step('given', 'ci.a.v1')}${step('own', 'shop.$(which).v1')}`);
    const args = ['a.yml', '--nats', '--stream', 'MINE=shop.a.*', '--connection', `given=${server.url}`];
    const { exitCode, stdout } = await localRun(folder, [...args, '--variable', 'which=a']);
    assert.equal(exitCode, 0, stdout);
    assert.match(stdout, /with the stream MINE \(shop\.a\.\*\), for the service connection own\. /);
    assert.deepEqual(
      [...stdout.matchAll(/^ {2}stream +(\S+)$/gm)].map(([, name]) => name),
      ['CI', 'MINE'],
    );
  });

  it('repeats its warnings at the end, each once', async () => {
    const folder = temporaryFolder('project-');
    const step = (connection: string): string =>
      `- { task: PublishNatsEvent@1, condition: failed(), inputs: { natsConnection: ${connection}, subject: ci.a.v1 } }\n`;
    const script = `- script: echo '$(approval.event.order)'; echo "in $PWD/a"; for i in $PWD/b/a.json 1 1 2 3 4 5 6 7 8; do echo "##vso[task.logissue type=warning]$i"; done\n`;
    const steps = ['nats-ci', 'nats-cj', 'nats-ci2'].map(step).join('');
    writeFileSync(path.join(folder, 'a.yml'), `steps:\n${steps}${script}`);
    const { exitCode, stdout, stderr } = await localRun(folder, ['a.yml', '--nats']);
    assert.deepEqual([exitCode, stderr], [0, ''], stdout);
    assert.match(stdout, /for the service connections nats-ci, nats-cj, and nats-ci2\. /);
    assert.match(stdout, /^Job │ in \/.+\/project-[^/]+\/a$/m);
    const [, end = ''] = /\n\n(12 warnings:\n.*)$/s.exec(stdout) ?? assert.fail(stdout);
    assert.deepEqual(end.split('\n'), [
      '12 warnings:',
      "  a.yml:3:62: The service connections nats-ci and nats-cj differ by one letter, and --nats stands in for any name. In Azure DevOps, a pipeline with a connection that isn't there fails. If one is misspelt, fix it.",
      '  Job: The text keeps $(approval.event.order) as it is: no step is named approval. Give the step that sets it `name: approval`.',
      '  Job: b/a.json',
      ...Array.from({ length: 7 }, (_, index) => `  Job: ${index + 1}`),
      '  … The others are in the log above.',
      '',
      'The run: Succeeded',
      '',
    ]);
  });

  it('says at once that a wait is in vain since the only sender has failed', async () => {
    const folder = temporaryFolder('project-');
    const nats = 'natsConnection: nats-ci, subject: ci.a.v1';
    const yaml = `jobs:
- job: Build
  steps:
  - { task: PublishNatsEvent@1, inputs: { ${nats}, payload: '{ "a" }' } }
- job: Deploy
  steps:
  - { task: WaitForNatsEvent@1, inputs: { ${nats}, timeout: 2s } }
`;
    writeFileSync(path.join(folder, 'a.yml'), yaml);
    const { exitCode, stdout } = await localRun(folder, ['a.yml', '--nats']);
    assert.equal(exitCode, 1);
    const warning =
      'a.yml:7:7: This wait for "ci.a.v1" takes its whole timeout of 2s unless the event comes from elsewhere: nothing in this file publishes it any more: the step of job Build failed (a.yml:4:7). Ctrl+C ends the run.';
    const [told, timedOut] = [`\nDeploy │ ##[warning]${warning}\n`, '##[error]Timeout: '].map((part) =>
      stdout.indexOf(part),
    );
    assert.ok(told! >= 0 && timedOut! > told!, stdout);
    assert.ok(stdout.endsWith(`\n1 warning:\n  Deploy: ${warning}\n\nThe run: Failed\n`), stdout);
  });

  it("creates a stream that the author's server lacks, and leaves an existing one alone", async () => {
    const folder = temporaryFolder('project-');
    const publish = `{ task: PublishNatsEvent@1, inputs: { natsConnection: n, subject: shop.a.v1, payload: '1' } }`;
    writeFileSync(path.join(folder, 'a.yml'), `steps: [${publish}]`);
    const n = { url: server.url, scheme: 'UsernamePassword', parameters: { username: 'ci', password: PASSWORD } };
    writeFileSync(path.join(folder, 'c.json'), JSON.stringify({ n }));
    const streams = ['--stream', 'CI=other.>', '--stream', 'SHOP=shop.>'];
    const { exitCode, stdout, stderr } = await localRun(folder, ['a.yml', '--connection-file', 'c.json', ...streams]);
    assert.deepEqual([exitCode, stderr], [0, ''], stdout);
    assert.match(
      stdout,
      /^Left the stream CI \(ci\.>\) of n as it is\.\nCreated the stream SHOP \(shop\.>\) for n\.\n/,
    );
    assert.match(stdout, /^ {2}stream +SHOP$/m);

    // A user that may only publish can't create one.
    const some = { ...n, parameters: { username: 'some', password: 'some' } };
    writeFileSync(path.join(folder, 'some.json'), JSON.stringify({ n: some }));
    const denied = await localRun(folder, ['a.yml', '--connection-file', 'some.json', '--stream', 'SHOP=shop.>']);
    assert.deepEqual([denied.exitCode, denied.stdout], [2, '']);
    assert.match(
      denied.stderr,
      /Permissions Violation for Publish .* may not create streams\. Create the stream as an/,
    );

    // A mistake in the file is found before anything is created.
    writeFileSync(path.join(folder, 'none.yml'), 'steps: [{ script: a }]');
    for (const [file, name, problem] of [
      ['a.yml', 'm', /^a\.yml:1:\d+: .*service connection n which could not be found/],
      ['none.yml', 'n', /it refuses the stream MINE \(ci\.a\): subjects overlap/],
    ] as const) {
      const connection = `${name}=${server.url}`;
      const refused = await localRun(folder, [file, '--connection', connection, '--stream', 'MINE=ci.a']);
      assert.deepEqual([refused.exitCode, refused.stdout], [2, '']);
      assert.match(refused.stderr, problem);
    }
  });

  it('starts no server for a file with a mistake, or when none is needed', async () => {
    const folder = temporaryFolder('project-');
    const step = (inputs: string): string =>
      `steps:\n- task: WaitForNatsEvent@1\n  inputs: { natsConnection: n, ${inputs} }\n`;
    for (const [name, text, problem] of [
      ['tag.yml', `${step('subject: ci.a')}  env: { A: !(b) }`, /^tag\.yml:4:13: YAML reads "!\(b\)" as a tag/],
      [
        'input.yml',
        `${step('subject: ci.a, mach: a')}- task: WaitForNatsEvent@1\n  inputs: { subject: ci.a }`,
        /^input\.yml:3:47: .* no input "mach"\. Did you mean match\?\ninput\.yml:4:3: .* requires the input "natsConnection"\. .*\n$/,
      ],
      ['root.yml', step('subject: $(any).a'), /^root\.yml:3:32: --nats can't tell which stream .* --stream 'NAME=/],
      ['none.yml', 'steps: [{ script: a }]', /^pipeline: --nats: no step needs a server/],
    ] as const) {
      writeFileSync(path.join(folder, name), text);
      const { exitCode, stdout, stderr } = await localRun(folder, [name, '--nats']);
      assert.deepEqual([exitCode, stdout], [2, ''], name);
      assert.match(stderr, problem);
    }
  });

  it('keeps its server for steps that run after Ctrl+C, which a terminal sends to all processes', async () => {
    const folder = temporaryFolder('project-');
    const wait = '{ task: WaitForNatsEvent@1, inputs: { natsConnection: n, subject: ci.a, timeout: 1m } }';
    const tell = `{ task: PublishNatsEvent@1, condition: always(), inputs: { natsConnection: n, subject: ci.b.v1, payload: '1' } }`;
    writeFileSync(path.join(folder, 'a.yml'), `steps: [${wait}, ${tell}]`);
    const child = spawn(process.execPath, ['--import', 'tsx', 'localAgent/pipeline.ts', 'a.yml', '--nats'], {
      cwd: ROOT,
      env: { PATH: process.env['PATH'], INIT_CWD: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      timeout: 60_000,
    });
    let stdout = '';
    child.stdout.on('data', (bytes: Buffer) => {
      const isWaiting = stdout.includes('│ waiting');
      stdout += bytes.toString();
      if (!isWaiting && stdout.includes('│ waiting')) process.kill(-(child.pid ?? assert.fail()), 'SIGINT');
    });
    const [exitCode] = (await once(child, 'close')) as [number | null];
    assert.equal(exitCode, 1, stdout);
    assert.match(stdout, /verdict="cancelled"/);
    assert.match(stdout, /\nSucceeded +PublishNatsEvent /);
    assert.match(stdout, /\nThe run: Canceled\n$/);
  });

  it("doesn't pack again what is packed, and doesn't mention an audit", () => {
    const { status, stdout, stderr } = spawnSync('npm', ['run', 'pipeline', '--', 'none.yml'], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    assert.equal(status, 2);
    assert.match(stderr, /^pipeline: the pipeline file: there is no file/);
    assert.match(stdout, /^\n> nats-event-tasks@\S+ pipeline\n> .*\n\n$/);
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

  it('reads secrets from the environment and a file, shows none, and fails if the run fails', async () => {
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
    assert.match(
      stdout,
      /\nFailed +CmdLine \(CmdLine\), \d+ ms\n\n1 warning:\n {2}Job: The password .*\n\nThe run: Failed\n$/,
    );
    assert.ok(!stdout.includes('hunter2') && !stdout.includes(PASSWORD));
  });

  it("names the steps that it can't run, and starts nothing", async () => {
    const { exitCode, stdout, stderr } = await localRun(project(), [...arguments_, 'exit=0'], secrets);
    assert.deepEqual([exitCode, stdout], [2, '']);
    assert.match(
      stderr,
      /^pipeline: Only Azure Pipelines itself .*:\n {2}job Job: AzureKeyVault@2 "Fetch secrets"\n.*--skip-other-tasks/,
    );
  });
});
