import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectTo } from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../../../scripts/build/manifest.ts';

const LIMIT_MS = 90_000;

/** Runs the demo like `npm run demo`, in a terminal of 120 columns. */
async function runDemo(onText: (text: string, interrupt: () => void) => void = () => {}) {
  const child = spawn(process.execPath, ['--import', 'tsx', path.join(ROOT, 'test/demo/demo.ts')], {
    cwd: ROOT,
    env: { ...process.env, COLUMNS: '120' },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT_MS,
  });
  let [stdout, stderr] = ['', ''];
  child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
  child.stdout.on('data', (text: Buffer) => {
    stdout += text.toString();
    onText(stdout, () => child.kill('SIGINT'));
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

test('The demo shows on one screen how a build leads to a deployment, and ends with the chain and what to do next', async () => {
  const { code, stdout, stderr } = await runDemo();
  assert.deepEqual([code, stderr], [0, '']);
  const lines = stdout.trim().split('\n');
  assert.ok(lines.length <= 40, `${lines.length} lines`);
  assert.deepEqual(
    lines.filter((line) => line.length > 120),
    [],
  );
  assert.match(stdout, /Deploying shop\/web:\d+ at sha256:/);
  assert.match(stdout, /dead letter, untrusted: it is not signed/);
  assert.match(stdout, /no agent +│ Verdict: matched\n.* RELEASE:2, .*\n.*release-web +│ Releasing\n/);
  const [, run, chain = ''] =
    /\$ nats-event-bridge why (\d+)\n(.*)\n\nNext: npm run pipeline -- FILE\.yml --nats .* See docs\/README\.md\.\n$/s.exec(
      stdout,
    ) ?? [];
  const steps = chain
    .replaceAll(/\n +(?![ └])/g, ' ')
    .trimEnd()
    .split('\n');
  const when = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  `;
  const expected = [
    String.raw`^${when}event shop-web-\d+ ci\.shop\.image-ready\.v1 \(CI:1\), published by run \d+ of Shop/build-web$`,
    `^└─ ${when}route deploy-web: started$`,
    String.raw`^   └─ ${when}run ${run} http://\S+/_build/results\?buildId=${run}$`,
    String.raw`^      └─ ${when}event \S+ azdo\.contoso\.Shop\.build\.completed\.v1 \(AZDO:1\), a service hook of run ${run} of Shop/deploy-web$`,
  ];
  assert.equal(steps.length, expected.length, chain);
  for (const [index, pattern] of expected.entries()) assert.match(steps[index]!, new RegExp(pattern));
});

test('The demo ends at Ctrl+C, says so, and leaves no server behind', async () => {
  let port: number | undefined;
  const { code, stdout, stderr } = await runDemo((text, interrupt) => {
    if (port !== undefined) return;
    const found = /server=127\.0\.0\.1:(\d+)/.exec(text);
    if (found === null) return;
    port = Number(found[1]);
    interrupt();
  });
  assert.equal(code, 130, stdout + stderr);
  assert.match(stderr, /demo: interrupted/);
  assert.doesNotMatch(stdout, /why \d+/);
  const socket = connectTo({ host: '127.0.0.1', port: port! });
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNREFUSED');
});
