import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { parse, stringify } from 'yaml';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { BRIDGE_FOLDER, ROOT } from '../../../scripts/build/manifest.ts';
import { AzureDevOps } from '../../support/azureDevOps/azureDevOps.ts';
import type { Pipeline } from '../../support/azureDevOps/pipelines.ts';
import { filesEndingWith, readMarkdown, yamlBlocks, type MarkdownFile } from '../../support/documents/documents.ts';
import { commandsToRun } from '../../support/documents/shellBlocks.ts';
import { freePort } from '../../support/freePort.ts';
import { startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';
import { Admin } from '../../support/nats/testStream.ts';

const SECRET = 'a secret of the hooks';
const LIMIT_MS = 120_000;
/** Pages whose commands other tests run. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'README.md': 'test/e2e/tasks/quickStart.test.ts, test/long/quickstart.test.ts',
  'docs/senders.md': 'test/e2e/tasks/quickStart.test.ts',
};
const seen = new Set(Object.keys(ELSEWHERE));
const overview = readMarkdown(ROOT, 'docs/bridge/README.md');
const route = yamlBlocks(readMarkdown(ROOT, 'docs/bridge/runs.md')).filter((yaml) => yaml.startsWith('# bridge.yml'));
const PIPELINE = `steps:
  - task: PublishNatsEvent@1
    inputs: { natsConnection: nats-ci, subject: ci.shop.done.v1, payload: '{}' }
`;

/** The parts of a configuration that these tests change. */
interface Configuration {
  readonly http?: object;
  readonly runs?: readonly { readonly pipeline: object }[];
}

/** The blocks of commands on a page, each as one text. */
function blocksOf(page: MarkdownFile): string[] {
  seen.add(page.file);
  return commandsToRun(page).map((lines) => lines.join('\n'));
}

async function until(what: string, look: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + LIMIT_MS; !(await look());) {
    if (Date.now() > deadline) throw new Error(`No ${what}`);
    await delay(50);
  }
}

describe('The commands in the documents', () => {
  let nats: NatsServer;
  let azure: AzureDevOps;
  let admin: Admin;
  let pipeline: Pipeline;
  let installed: string;
  let ports: Readonly<Record<'8080' | '9090' | '4222', number>>;
  before(async () => {
    [nats, azure] = await Promise.all([startNatsServer({ config: 'max_payload: 3MB' }), AzureDevOps.start()]);
    admin = await Admin.connect([nats.url]);
    const [image, natsEventId] = ['image', 'natsEventId'].map(
      (name) => ({ name, type: 'string', default: '' }) as const,
    );
    pipeline = azure.pipelines.declare({ project: 'Shop', parameters: [image!, natsEventId!] });
    ports = { 4222: nats.port, 8080: await freePort(), 9090: await freePort() };
    installed = temporaryFolder('installed-');
  });
  after(async () => {
    await admin[Symbol.asyncDispose]();
    await azure.stop();
    await nats.stop();
  });

  /** The documents' configurations merged into one, with the test's addresses, identity and pipeline. */
  function here(...parts: readonly string[]): string {
    const { http, runs, ...rest } = Object.assign({}, ...parts.map((part) => parse(part) as object)) as Configuration;
    return stringify({
      ...rest,
      nats: { servers: [nats.url] },
      azureDevOps: { organization: azure.url, identity: { kind: 'pat', patFile: 'pat' } },
      http: {
        publicUrl: 'https://bridge.example.com/',
        ...http,
        listen: `127.0.0.1:${ports[8080]}`,
        admin: `127.0.0.1:${ports[9090]}`,
      },
      ...(runs && { runs: runs.map((run) => ({ ...run, pipeline: { ...run.pipeline, id: pipeline.id } })) }),
    });
  }

  /** A working folder with a configuration and the token. */
  function folderWith(parts: readonly string[], files: Readonly<Record<string, string>> = {}): string {
    const folder = temporaryFolder('reader-');
    for (const [name, text] of Object.entries({ ...files, pat: azure.pat, 'bridge.yml': here(...parts) }))
      writeFileSync(path.join(folder, name), text, { mode: 0o600 });
    return folder;
  }

  /**
   * Runs blocks of commands one after the other in one shell, as a reader would, and returns their output.
   * `run --config` continues in the background once it is ready; the shell ends it. Fails if a command fails.
   */
  async function shell(
    folder: string,
    blocks: readonly string[],
    replacements: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    assert.ok(blocks.join('').length > 0);
    let commands = blocks
      .join('\n')
      .replaceAll(/127\.0\.0\.1:(4222|8080|9090)/g, (_, port) => `127.0.0.1:${ports[port as '4222']}`);
    for (const [from, to] of Object.entries(replacements)) {
      assert.ok(commands.includes(from), from);
      commands = commands.replaceAll(from, to);
    }
    const ready = `curl --silent --fail http://127.0.0.1:${ports[9090]}/readyz`;
    commands = commands.replaceAll(
      /^.* run --config \S+/gm,
      (run) =>
        `${run} 2> run.log & until ${ready} > ready.json; do kill -0 $! || { cat run.log; exit 1; }; sleep 0.1; done`,
    );
    const script = `set -Eeuo pipefail
trap 'echo "This failed: $BASH_COMMAND" >&2' ERR
trap 'trap "" TERM; kill 0; wait' EXIT
fails() { if "$@"; then return 1; fi; }
npm() {
  case "$1 \${2-}" in
    'ci '* | 'run package') ;; # whoever runs this test has done so
    'run bridge') (shift 3; nats-event-bridge "$@") ;; # which reads files of the clone
    run*) (INIT_CWD="$PWD" command npm --silent --prefix '${ROOT}' "$@") ;;
    *) command npm "$@" ;;
  esac
}
${commands}
`;
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'bash', '-c', script], {
      cwd: folder,
      env: {
        PATH: `${path.join(installed, 'bin')}:${process.env['PATH']}`,
        HOME: installed,
        npm_config_offline: 'true',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      // Its own process group, which the shell ends with itself.
      detached: true,
      timeout: LIMIT_MS,
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (text: Buffer) => (stdout += text.toString()));
    child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
    const [code] = await once(child, 'close');
    assert.equal(code, 0, `${commands}\n${stdout}\n${stderr}`);
    return stdout + stderr;
  }

  async function publish(data: string, msgID = ''): Promise<void> {
    await admin.connection.jetstream().publish('ci.shop.image-ready.v1', data, msgID === '' ? {} : { msgID });
  }

  test("the bridge's overview installs, sets up and runs it, and stores a hook", async () => {
    const folder = folderWith(yamlBlocks(overview).slice(0, 1));
    const [install = '', ...others] = blocksOf(overview);
    await shell(folder, [install], { './dist/bridge': BRIDGE_FOLDER, '--global': `--global --prefix ${installed}` });
    const { id } = azure.organization.projects.find(({ name }) => name === 'Shop')!;
    const said = await shell(folder, others, { 'PROJECT_ID=…': `PROJECT_ID=${id}` });
    assert.match(said, /There are no dead letters/);
    const stored = await admin.manager.streams.getMessage('AZDO', { seq: 1 });
    assert.equal(stored.subject, 'azdo.contoso.Shop.build.completed.v1');
    assert.equal([...azure.subscriptions.all.values()].length, 2);
  });

  test("the package's page checks a configuration, prints its setup and runs it", async () => {
    const page = readMarkdown(ROOT, 'bridge/README.md');
    const said = await shell(folderWith(yamlBlocks(page), { 'hook-secret': SECRET }), blocksOf(page));
    assert.match(said, /AZDO/);
  });

  test('subscriptions are planned, created, checked and removed', async () => {
    const page = readMarkdown(ROOT, 'docs/bridge/hooks.md');
    const [commands = '', password = ''] = blocksOf(page);
    const folder = folderWith(yamlBlocks(page).slice(0, 1), { 'hook-secret': SECRET });
    await shell(folder, [commands]);
    const said = await shell(folder, [password], { $PROJECT_ID: azure.organization.projects[0]!.id });
    assert.match(said, /^[\w-]{43}\n$/);
  });

  test('a route is set up, checked, run and resumed, and its dead letters are replayed', async () => {
    const page = readMarkdown(ROOT, 'docs/bridge/runs.md');
    const [server = '', setUp = '', ...later] = blocksOf(page).filter((block) => block !== '');
    assert.match(server, /^nats-server /);
    const folder = folderWith(route);
    const running = shell(folder, [setUp, 'until [[ -e enough ]]; do sleep 0.1; done']);
    const started = () => readFileSync(path.join(folder, 'run.log'), { flag: 'a+', encoding: 'utf8' });
    await until('the bridge', () => started().includes('"event":"listening"'));
    const [event = ''] = /\{ "image".*?\}/.exec(page.text) ?? [];
    await publish(event, 'image-1');
    for (let letter = 1; letter <= 7; letter++) await publish(event.replace('1.4.0', ' no tag'));
    await until('a run', () => azure.runs.length === 1);
    await until('7 letters', async () => (await admin.manager.streams.info('BRIDGE_DEAD')).state.messages === 7);
    writeFileSync(path.join(folder, 'enough'), '');
    await running;
    assert.equal(azure.runs[0]?.parameters['image'], 'shop/web:1.4.0');

    const fixed = route.map((yaml) => yaml.replace('/:@-', '/:@ -'));
    // All of the route's letters, one of which the previous command has replayed.
    const said = await shell(folderWith(fixed), later);
    assert.match(said, /^7\trefused\tduplicate\t/m);
    assert.match(said, /^The route deploy-web is not paused\.$/m);
    assert.equal(azure.runs.length, 8);
  });

  test('the page about who did what gets answers, and tries, pauses, resumes and replays its route', async () => {
    const page = readMarkdown(ROOT, 'docs/bridge/who-did-that.md');
    // The events and runs are the previous test's, whose route has another name.
    const folder = folderWith(route.map((yaml) => yaml.replace('name: deploy-web', 'name: deploy')));
    await shell(folder, ['nats-event-bridge setup --apply --config bridge.yml']);
    const said = await shell(folder, blocksOf(page), {
      20163: String(azure.runs[0]!.id),
      'nats-event-bridge routes try deploy --event CI:2': 'fails nats-event-bridge routes try deploy --event CI:2',
      'nats-event-bridge routes replay': 'fails nats-event-bridge routes replay',
    });
    assert.match(said, /^The route deploy is paused\.\nThe route deploy is resumed\.$/m);
    assert.match(said, /^7 dead letters\.$/m);
    assert.match(said, /^1 started, 1 unsafeValue\.$/m);
  });

  test("the callout's page makes its keys, prints its setup and tries a token", async () => {
    const page = readMarkdown(ROOT, 'docs/bridge/callout.md');
    const [configuration = ''] = yamlBlocks(page);
    const policy = readFileSync(path.join(ROOT, 'examples/auth-callout/policy.json'), 'utf8');
    const folder = temporaryFolder('reader-');
    for (const [name, text] of Object.entries({
      'bridge.yml': configuration,
      'policy.json': policy,
      'token.txt': 'no token',
    }))
      writeFileSync(path.join(folder, name), text);
    const [keys = '', ...others] = blocksOf(page).filter((block) => block !== '');
    await shell(folder, [keys], { '/etc/nats-event-callout': '.' });
    const said = await shell(folder, others, {
      'nats-event-bridge callout try': 'fails nats-event-bridge callout try',
    });
    assert.match(said, /^authorization \{$/m);
    assert.match(said, /^denied: what the client sent is not a JWT$/m);
  });

  test('the page about operating installs the package and the units', async () => {
    const page = readMarkdown(ROOT, 'docs/bridge/operating.md');
    const folder = temporaryFolder('machine-');
    await shell(
      ROOT,
      [
        `npm pack ${BRIDGE_FOLDER} --pack-destination ${folder}`,
        `mkdir --parents ${folder}/etc/systemd/system`,
        ...blocksOf(page),
      ],
      {
        './nats-event-bridge-': `${folder}/nats-event-bridge-`,
        '/opt/': `${folder}/opt/`,
        '/etc/nats': `${folder}/etc/nats`,
        ' /etc/systemd': ` ${folder}/etc/systemd`,
      },
    );
    assert.deepEqual(readdirSync(path.join(folder, 'etc/systemd/system')), [
      'nats-event-bridge.service',
      'nats-event-callout.service',
    ]);
    assert.deepEqual(readdirSync(path.join(folder, 'etc/nats-event-callout/keys')).sort(), [
      'issuer.nk',
      'responder.nk',
      'xkey.nk',
    ]);
  });

  test('the page about waits makes their secrets', async () => {
    const folder = temporaryFolder('reader-');
    await shell(folder, blocksOf(readMarkdown(ROOT, 'docs/bridge/waits.md')));
    const [token = '', key = ''] = ['waits-token', 'sealing-key'].map((name) =>
      readFileSync(path.join(folder, name), 'utf8'),
    );
    assert.match(token, /^[0-9a-f]{64}\n$/);
    assert.equal(Buffer.from(key, 'base64').length, 32);
  });

  test('pipelines run as the page about local runs says', async () => {
    const clone = path.join(temporaryFolder('work-'), 'clone');
    mkdirSync(clone);
    mkdirSync(path.join(clone, '../shop'));
    writeFileSync(path.join(clone, '../shop/azure-pipelines.yml'), PIPELINE);
    cpSync(path.join(ROOT, 'examples'), path.join(clone, 'examples'), { recursive: true });
    // Another test runs the blocks about agentless waits: test/e2e/together/localRun.test.ts.
    const page = blocksOf(readMarkdown(ROOT, 'docs/local-run.md')).slice(0, 2);
    const contributing = readMarkdown(ROOT, 'CONTRIBUTING.md');
    const [, ownServer = '', keptServer = '', look = ''] = blocksOf(contributing);
    mkdirSync(path.join(clone, '../look'));
    writeFileSync(path.join(clone, '../look/look.yml'), yamlBlocks(contributing)[0] ?? '');
    const [, withStream = ''] = keptServer.split(/^nats-server .* &\n/m);
    await admin.manager.streams.delete('CI');
    const said = await shell(clone, [ownServer, withStream, look, ...page], { 'nats://localhost:4222': nats.url });
    assert.match(said, /^Created the stream CI \(ci\.>\) for nats-ci\.$/m);
    assert.match(said, /\[\{"subject":"ci\.shop\.image-ready\.v1","data":\{"image":/);
    assert.equal(said.match(/^The run: Succeeded$/gm)?.length, 6);
  });

  test('the servers of the pages start', async () => {
    const pages = ['docs/bridge/runs.md', 'docs/local-run.md', 'CONTRIBUTING.md'].map((file) =>
      readMarkdown(ROOT, file),
    );
    const lines = pages.flatMap(
      (page) =>
        blocksOf(page)
          .join('\n')
          .match(/^nats-server .* &$/gm) ?? [],
    );
    assert.deepEqual([lines.length, new Set(lines).size], [3, 1]);
    const port = await freePort();
    const folder = temporaryFolder('reader-');
    await shell(folder, [lines[0]!, `until exec 3<> /dev/tcp/127.0.0.1/${port}; do sleep 0.1; done 2> /dev/null`], {
      'nats-server': `nats-server --port ${port} --store_dir ${folder}`,
    });
  });

  test('every other command is run by another test, or marked', () => {
    for (const file of filesEndingWith(ROOT, '.md')) {
      if (seen.has(file)) continue;
      assert.deepEqual(commandsToRun(readMarkdown(ROOT, file)).flat(), [], file);
    }
  });
});
