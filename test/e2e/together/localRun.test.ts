import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { startNatsServer, type NatsServer } from '../../../localAgent/natsServer.ts';
import { ROOT } from '../../../scripts/build/manifest.ts';
import { BridgeProcess, runBridge } from '../../support/bridge/bridgeProcess.ts';
import { freePort } from '../../support/freePort.ts';

const LIMIT_MS = 60_000;
const PAGE = readFileSync(path.join(ROOT, 'docs/local-run.md'), 'utf8');
const SECTION = /^## Agentless waits\n(.*?)^## /ms.exec(PAGE)?.[1] ?? '';
/** The files that the page tells the reader to write, by name. */
const FILES = Object.fromEntries(
  [...SECTION.matchAll(/^`([\w.]+)`(?:(?!```).)*?```(?:yaml|json)\n(.*?)```/gms)].map(([, name, text]) => [
    name!,
    text!,
  ]),
);
const COMMANDS = [...SECTION.matchAll(/^```sh\n(.*?)```/gms)].flatMap(([, text]) => text!.trim().split('\n'));
const SAYS = (/^```text\n(.*?)```/ms.exec(SECTION)?.[1] ?? '').trim().split('\n');

describe('The page about local runs', () => {
  let nats: NatsServer;
  let bridge: BridgeProcess;
  /** The four files, with addresses that are free on this machine. */
  let files: Record<string, string>;
  before(async () => {
    nats = await startNatsServer();
    const [organization, listen] = [await freePort(), await freePort()];
    const ports = { 4222: nats.port, 8080: listen, 8085: organization, 9090: 0 };
    const replaced = (text: string) =>
      Object.entries(ports).reduce((all, [from, to]) => all.replaceAll(`127.0.0.1:${from}`, `127.0.0.1:${to}`), text);
    files = Object.fromEntries(Object.entries(FILES).map(([name, text]) => [name, replaced(text)]));
    // The lines that make secrets, in a temporary folder instead of ../trial.
    const trial = temporaryFolder('trial-');
    const secrets = COMMANDS.filter((line) => /^(openssl|echo|chmod) /.test(line)).map((line) =>
      line.replaceAll('../trial', trial),
    );
    execFileSync('bash', ['-ec', secrets.join('\n')]);
    for (const name of ['waits-token', 'sealing-key', 'pat'])
      files[name] = readFileSync(path.join(trial, name), 'utf8');
    const yaml = files['bridge.yml'] ?? '';
    const [, ...createStream] = /(--create-stream) '(.*?)'/.exec(COMMANDS.join('\n')) ?? [];
    const { status, stderr } = await runBridge(['setup', '--apply', ...createStream], yaml, { files });
    assert.equal(status, 0, stderr);
    bridge = await BridgeProcess.start(yaml, { files });
    await bridge.ready(200);
  });
  after(async () => {
    await bridge[Symbol.asyncDispose]();
    await nats.stop();
  });

  it('tells the reader to write four files, and to start a server and the bridge', () => {
    assert.deepEqual(Object.keys(FILES), ['bridge.yml', 'approval.schema.json', 'connections.json', 'trial.yml']);
    for (const line of [
      'nats-server --addr 127.0.0.1 --jetstream &',
      'npm run package',
      "npm run bridge -- setup --apply --create-stream 'RELEASE=release.>' --config ../trial/bridge.yml",
      'node dist/bridge/nats-event-bridge.mjs run --config ../trial/bridge.yml &',
    ])
      assert.ok(COMMANDS.includes(line), line);
  });

  /** Runs a command of the page like `npm run pipeline`. */
  async function pipeline(line: string): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const folder = path.dirname(bridge.file);
    const args = line.replace('npm run pipeline -- ', '').replaceAll('../trial', folder).split(' ');
    const child = spawn(process.execPath, ['--import', 'tsx', 'localAgent/pipeline.ts', ...args], {
      cwd: ROOT,
      env: { PATH: process.env['PATH'], INIT_CWD: ROOT },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: LIMIT_MS,
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (text: Buffer) => (stdout += text.toString()));
    child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, stdout, stderr };
  }

  it("runs an approval, silence and a contract violation, with the page's log lines", async () => {
    const runs = COMMANDS.filter((line) => line.startsWith('npm run pipeline '));
    assert.equal(runs.length, 3);
    const said: string[] = [];
    const codes: (number | null)[] = [];
    for (const run of runs) {
      // A run's start is in whole seconds, so events of the previous one could fall into it.
      await delay(1_000 - (Date.now() % 1_000));
      const { code, stdout, stderr } = await pipeline(run);
      assert.equal(stderr, '', stdout);
      codes.push(code);
      assert.ok(!stdout.includes(files['waits-token']!.trim()), 'the log shows the token');
      said.push(
        ...[...stdout.matchAll(/^Decide │ ((?:Verdict|Reason): .*)$/gm)].map(([, line]) =>
          line!.replace(/ (since|of) [\d:.TZ-]+Z /g, ' $1 … '),
        ),
      );
      assert.equal(/^Release │ Releasing, approved by Grace$/m.test(stdout), code === 0);
    }
    assert.deepEqual(codes, [0, 1, 1]);
    assert.deepEqual(said, SAYS);
  });

  it('names a wrong address of the bridge or a wrong token in the first lines', async () => {
    const [run = ''] = COMMANDS.filter((line) => line.startsWith('npm run pipeline '));
    const folder = path.dirname(bridge.file);
    const connections = files['connections.json']!;
    const use = (text: string) => writeFileSync(path.join(folder, 'connections.json'), text);
    use(connections.replace(/"url": "http:[^"]*"/, `"url": "http://127.0.0.1:${await freePort()}"`));
    assert.match((await pipeline(run)).stdout, /^Decide │ ##\[error\]There's no answer: ECONNREFUSED$/m);
    use(connections.replace('{ "file": "waits-token" }', '"another"'));
    assert.match((await pipeline(run)).stdout, /^Decide │ ##\[error\]The answer is 401: \w/m);
    use(connections);
  });
});
