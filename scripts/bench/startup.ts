import { spawn } from 'node:child_process';
import { build } from 'esbuild';
import { once } from 'node:events';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { builtVsix, LocalAgent, temporaryFolder, unpackVsix, type TaskRequest } from '../../localAgent/index.ts';
import { StreamServer } from '../../localAgent/streamServer.ts';
import { BUILD_FOLDER } from '../build/build.ts';
import { ROOT, TASK_NAMES } from '../build/manifest.ts';
import { measuringPeak, peakOf } from './peakMemory.ts';
import { bytesByPackage } from './bundleSizes.ts';
import { markdownOf, median, type Benchmark, type Row } from './table.ts';

const ROUNDS = 21;
const PEAK_ROUNDS = 3;

const PAYLOAD = {
  ...{ id: '6f1b9d2e-3c1a-4b6e-9f56-0d9b8a5c7e11', at: '2026-05-31T08:00:00Z', region: 'eu', version: '1.2.3' },
  ...{ count: 3, tags: ['a', 'b'], service: 'shop' },
};
/** Twenty keywords that check something. */
const SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  required: ['id', 'at', 'service'],
  additionalProperties: false,
  properties: {
    id: { type: 'string', format: 'uuid' },
    at: { type: 'string', format: 'date-time' },
    region: { enum: ['eu', 'us'] },
    version: { type: 'string', pattern: '^\\d+\\.\\d+\\.\\d+$', maxLength: 20 },
    count: { type: 'integer', minimum: 0, maximum: 10 },
    tags: { type: 'array', items: { type: 'string' }, uniqueItems: true },
    service: { $ref: '#/$defs/name' },
  },
  $defs: { name: { type: 'string' } },
};
const EVENT = { natsConnection: 'nats', subject: 'bench.start.v1', payload: JSON.stringify(PAYLOAD) };

const STEPS = {
  'publish with a schema': { task: 'PublishNatsEvent@1', inputs: { ...EVENT, schemaFile: 'event.schema.json' } },
  publish: { task: 'PublishNatsEvent@1', inputs: EVENT },
  'wait for an event that is there': {
    task: 'WaitForNatsEvent@1',
    inputs: { natsConnection: 'nats', subject: EVENT.subject, startFrom: 'all' },
  },
} as const satisfies Record<string, TaskRequest>;
type StepName = keyof typeof STEPS;
const NAMES = Object.keys(STEPS) as StepName[];

/** A process started the way the agent starts it. */
interface Launch {
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}
type Launches = Readonly<Record<StepName, Launch>>;

const certificates = process.env.NODE_EXTRA_CA_CERTS;

/** Whole processes, from start to exit, against an empty one and a plain program with the same libraries. */
export const startup: Benchmark = {
  title:
    `Whole processes from start to exit, Node ${process.versions.node}, a server on this machine; medians of ${ROUNDS} alternating runs; ` +
    (certificates === undefined
      ? 'NODE_EXTRA_CA_CERTS is not set'
      : 'NODE_EXTRA_CA_CERTS is set, which each of them, the empty one too, reads when it starts'),
  run: () =>
    onServer(async (launches, agent) => {
      const { publish } = launches;
      const candidates: Record<string, Launch> = {
        empty: { ...publish, args: ['-e', '0'] },
        plain: { ...launches['publish with a schema'], args: [await plainBundle()] },
        ...launches,
      };
      const runs: Record<string, number[]> = {};
      // The first round is not counted: it brings the files into memory.
      for (let round = 0; round <= ROUNDS; round++) {
        for (const [name, launch] of Object.entries(candidates)) {
          const ms = await measure(launch);
          if (round > 0) (runs[name] ??= []).push(ms);
        }
      }
      const ms = (name: string) => median(runs[name] ?? []);
      const row = (name: StepName, baseline: 'empty' | 'plain', atMost: number): Row => ({
        what: `${name}; baseline: ${baseline === 'empty' ? 'an empty Node' : 'the plain program'}`,
        figure: ms(name),
        unit: 'ms',
        baseline: ms(baseline),
        required: { atMost },
      });
      return [
        { what: 'the plain program; baseline: an empty Node', figure: ms('plain'), unit: 'ms', baseline: ms('empty') },
        row('publish with a schema', 'plain', 0.75),
        row('publish with a schema', 'empty', 2.2),
        row('publish', 'empty', 2),
        row('wait for an event that is there', 'empty', 2.2),
        { ...(await peak(agent)), required: { atMost: 75 } },
        { what: 'the .vsix', figure: kilobytes(builtVsix()), unit: 'KB', required: { atMost: 439 } },
        ...TASK_NAMES.map((task) => ({
          what: `the code of ${task}`,
          figure: kilobytes(path.join(BUILD_FOLDER, task, 'index.js')),
          unit: 'KB',
          required: { atMost: 600 },
        })),
      ];
    }),
  details: describe,
};

/** What the bundles are made of. */
function describe(): string {
  const sizes = TASK_NAMES.map((task) => bytesByPackage(path.join(BUILD_FOLDER, task, 'meta.json')));
  const names = [...new Set(sizes.flatMap((bytes) => [...bytes.keys()]))];
  const sizeOf = (name: string) => sizes.map((bytes) => (bytes.get(name) ?? 0) / 1_024);
  const largest = (name: string) => Math.max(...sizeOf(name));
  const lines = names
    .sort((one, other) => largest(other) - largest(one))
    .map((name) => [name, ...sizeOf(name).map((kilobytes) => kilobytes.toFixed(1))]);
  const sums = sizes.map((bytes) => ([...bytes.values()].reduce((sum, size) => sum + size, 0) / 1_024).toFixed(1));
  return `Kilobytes of each bundle, minified:\n\n${markdownOf([['', ...TASK_NAMES], ...lines, ['together', ...sums]])}`;
}

/** Runs something beside a server with a stream that holds one event, and an agent whose connection leads to it. */
async function onServer<Result>(
  act: (launches: Launches, agent: LocalAgent) => Result | Promise<Result>,
): Promise<Result> {
  await using server = await StreamServer.start('BENCH', 'bench.>');
  await server.client.jetstream().publish(EVENT.subject, EVENT.payload);
  const sources = temporaryFolder('sources-');
  writeFileSync(path.join(sources, 'event.schema.json'), JSON.stringify(SCHEMA));
  const agent = new LocalAgent({
    extension: unpackVsix(),
    sources,
    connections: { nats: { url: server.url, scheme: 'None' } },
  });
  const launches = {} as Record<StepName, Launch>;
  for (const name of NAMES) launches[name] = await recordLaunch(agent, STEPS[name]);
  return await act(launches, agent);
}

/** How the agent starts a step's process: it is run once with code ahead of it that notes this. */
async function recordLaunch(agent: LocalAgent, request: TaskRequest): Promise<Launch> {
  const folder = temporaryFolder('launch-');
  const [note, preload] = [path.join(folder, 'launch.json'), path.join(folder, 'preload.mjs')];
  writeFileSync(
    preload,
    `import { writeFileSync } from 'node:fs';
     const { NODE_OPTIONS, ...env } = process.env;
     writeFileSync(${JSON.stringify(note)}, JSON.stringify({ args: [process.argv[1]], cwd: process.cwd(), env }));`,
  );
  const step = await agent.runTask({ ...request, env: { NODE_OPTIONS: `--import=${pathToFileURL(preload).href}` } });
  if (step.result !== 'Succeeded') throw new Error(step.logText);
  const launch = JSON.parse(readFileSync(note, 'utf8')) as Launch;
  return {
    ...launch,
    env: { ...launch.env, ...(certificates === undefined ? {} : { NODE_EXTRA_CA_CERTS: certificates }) },
  };
}

/** Milliseconds from the start of a process to its end with all its output read. */
async function measure({ args, cwd, env }: Launch): Promise<number> {
  const begin = performance.now();
  const child = spawn(process.execPath, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => (output += bytes.toString()));
  const [code] = (await once(child, 'close')) as [number];
  const ms = performance.now() - begin;
  if (code !== 0 || output.includes('result=Failed')) throw new Error(output);
  return ms;
}

async function peak(agent: LocalAgent): Promise<Row> {
  const peaks: number[] = [];
  for (let round = 1; round <= PEAK_ROUNDS; round++) {
    for (const name of NAMES) {
      const memory = measuringPeak();
      await agent.runTask({ ...STEPS[name], env: memory.env });
      peaks.push(peakOf(memory));
    }
  }
  return { what: 'peak memory, of the step that needs most', figure: Math.max(...peaks), unit: 'MB' };
}

/** The plain program, bundled with all that its libraries load. */
async function plainBundle(): Promise<string> {
  const outfile = path.join(temporaryFolder('plain-'), 'index.js');
  await build({
    absWorkingDir: ROOT,
    entryPoints: ['scripts/bench/plainPublish.ts'],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    minify: true,
    logLevel: 'warning',
  });
  return outfile;
}

function kilobytes(file: string): number {
  return statSync(file).size / 1_024;
}
