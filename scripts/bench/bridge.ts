import { spawn, type ChildProcess } from 'node:child_process';
import { createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { Agent, request } from 'undici';
import { connect } from 'nats';
import { startNatsServer } from '../../localAgent/natsServer.ts';
import { BenchBridge } from './bridgeProcess.ts';
import { CALLOUT_TITLE, measureSignIns } from './callout.ts';
import { measureRuns, RUNS_TITLE } from './runs.ts';
import { paced } from './load.ts';
import { median, percentile, type Benchmark, type Row } from './table.ts';
import { measureWaits, WAITS_TITLE } from './waits.ts';

const HOOKS = 20_000;
const HOOK_BYTES = 2_048;
const CONNECTIONS = 64;
const ROUNDS = 3;
const PROJECT = '6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c';
const SECRET = 'the secret of the benchmark';

/** How the packed bridge handles hooks, events and waits, against the bare libraries in the same run. */
export const bridge: Benchmark = {
  title: `Hooks of ${HOOK_BYTES} bytes over ${CONNECTIONS} connections, each stored before its answer; baseline: fastify awaiting js.publish of the nats package; medians of ${ROUNDS} with ${HOOKS.toLocaleString('en')} each. ${RUNS_TITLE}. ${WAITS_TITLE}. ${CALLOUT_TITLE}`,
  async run(long) {
    return [
      ...(await measureHooks()),
      ...(await measureRuns(long)),
      ...(await measureWaits(long)),
      ...(await measureSignIns()),
    ];
  },
};

async function measureHooks(): Promise<Row[]> {
  await using server = await startNatsServer({ config: 'max_payload: 3MB' });
  await addStream(server.url, 'BENCH', 'bench.>');
  await using bridge = await BenchBridge.start(configurationFor(server.url), { secret: SECRET, pat: SECRET });
  const baseline = await startBaseline(server.url);
  const url = `${bridge.url}/hooks`;
  try {
    const rates: number[] = [];
    const baselines: number[] = [];
    // The first round of each is slower, while the code is compiled.
    for (let round = 0; round <= ROUNDS; round++) {
      const [rate, other] = [await rateOf(url), await rateOf(baseline.url)];
      if (round === 0) continue;
      rates.push(rate);
      baselines.push(other);
    }
    const p99 = await latencyAt(url, median(rates) / 4);
    return [
      {
        what: 'hooks accepted and acknowledged',
        figure: median(rates),
        unit: 'hooks/s',
        baseline: median(baselines),
        required: { atLeast: 0.6 },
      },
      { what: 'p99 of an answer at a quarter of that rate', figure: p99, unit: 'ms', required: { atMost: 25 } },
      { what: 'peak memory of the bridge', figure: bridge.peakMegabytes, unit: 'MB', required: { atMost: 200 } },
    ];
  } finally {
    baseline.child.kill();
    await once(baseline.child, 'close');
  }
}

/** Nothing listens at that address: no hook needs Azure DevOps. */
function configurationFor(url: string): string {
  return `nats: { servers: ["${url}"] }
azureDevOps: { organization: "http://127.0.0.1:9/contoso/", identity: { kind: pat, patFile: pat } }
http: { listen: "127.0.0.1:0", admin: "127.0.0.1:0" }
hooks: { passwordFiles: [secret], events: [{ event: build.complete }] }
`;
}

async function addStream(url: string, name: string, subject: string): Promise<void> {
  const connection = await connect({ servers: url });
  await (await connection.jetstreamManager()).streams.add({ name, subjects: [subject] });
  await connection.close();
}

async function startBaseline(url: string): Promise<{ readonly child: ChildProcess; readonly url: string }> {
  const script = path.join(import.meta.dirname, 'hookPublish.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', script, url, 'bench.hook'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return { child, url: `http://127.0.0.1:${line}/hooks` };
}

const AUTHORIZATION = `Basic ${Buffer.from(`hooks.${PROJECT}:${createHmac('sha256', SECRET).update(PROJECT).digest('base64url')}`).toString('base64')}`;

/** A hook as Azure DevOps posts it, of {@link HOOK_BYTES}. */
function hook(): string {
  const body = (text: string) =>
    JSON.stringify({
      id: randomUUID(),
      eventType: 'build.complete',
      publisherId: 'tfs',
      createdDate: '2026-05-31T08:09:10.0000000Z',
      resource: { id: 4242, definition: { name: 'web' }, project: { id: PROJECT, name: 'Shop' }, text },
      resourceContainers: { project: { id: PROJECT, baseUrl: 'http://127.0.0.1:9/contoso/' } },
    });
  return body('x'.repeat(HOOK_BYTES - body('').length));
}

async function post(url: string, dispatcher: Agent): Promise<void> {
  const headers = { authorization: AUTHORIZATION, 'content-type': 'application/json; charset=utf-8' };
  const { statusCode, body } = await request(url, { method: 'POST', dispatcher, headers, body: hook() });
  const text = await body.text();
  if (statusCode !== 200 || !text.includes('sequence')) throw new Error(`${statusCode}: ${text}`);
}

/** Answers per second while each connection always has one request under way. */
async function rateOf(url: string): Promise<number> {
  const dispatcher = new Agent({ connections: CONNECTIONS, pipelining: 1 });
  let left = HOOKS;
  const begin = performance.now();
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (left-- > 0) await post(url, dispatcher);
    }),
  );
  const ms = performance.now() - begin;
  await dispatcher.close();
  return (HOOKS / ms) * 1_000;
}

/** The 99th percentile of the time to an answer, in milliseconds, at a fixed rate of hooks per second, however slow others are. */
async function latencyAt(url: string, perSecond: number): Promise<number> {
  const dispatcher = new Agent({ connections: CONNECTIONS, pipelining: 1 });
  const times = await paced(perSecond, () => timed(url, dispatcher));
  await dispatcher.close();
  return percentile(times, 0.99);
}

async function timed(url: string, dispatcher: Agent): Promise<number> {
  const begin = performance.now();
  await post(url, dispatcher);
  return performance.now() - begin;
}
