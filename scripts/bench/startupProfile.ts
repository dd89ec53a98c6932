import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryFolder } from '../../localAgent/index.ts';
import { median } from './table.ts';

/** A process as the agent starts it: a bundle that is not minified, so that its functions have names. */
export interface Launch {
  readonly bundle: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

const ROUNDS = 9;
const INTERVAL_US = 100;

/** What V8 writes: nodes of a tree of calls, and which of them ran at each sample. Times are in microseconds. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** A function on the stack, with the module it is in: of the bundle, or of Node (`node:…`). */
interface Frame {
  readonly name: string;
  readonly module: string;
}

/** Where each phase begins, in their order: in the first sample with a function of this module, or of this name in it. */
const PHASES: readonly (readonly [phase: string, begins: (frame: Frame) => boolean])[] = [
  ["Node's own start", () => true],
  ['reading and compiling the bundle', ({ name }) => name === 'executeUserEntryPoint'],
  ['running what the bundle loads', ({ module }) => !module.startsWith('node:') && module !== ''],
  ['inputs and service connection', ({ module }) => /^tasks\/\w+\/inputs\.ts/.test(module)],
  ['the contract: JSON Schema library, schema', ({ module }) => module === 'shared/contract/compile.ts'],
  ['checking and encoding the event', ({ name }) => name === 'prepareEvent'],
  ['dialling', ({ name }) => name === 'openNatsBus'],
  ['signing in', ({ name }) => name === 'processInfo'],
  ['publishing, or the first fetch', ({ name }) => name === 'publishToStream' || name === 'readStream'],
  ['outputs and receipt', ({ module }) => /^tasks\/\w+\/report\.ts$/.test(module)],
  ['exit', ({ name }) => name === 'reallyExit' || name === 'exit'],
];

export interface Profile {
  /** Milliseconds of each phase, by the time that passed; a phase the step does not have is absent. */
  readonly phases: ReadonlyMap<string, number>;
  /** Milliseconds by whose code ran, Node's included where that code called it. */
  readonly packages: ReadonlyMap<string, number>;
}

/** Medians of several runs of a step under V8's profiler, which makes it slower by some tenths. */
export function profile(launch: Launch): Profile {
  const modules = modulesByLine(launch.bundle);
  const runs = Array.from({ length: ROUNDS }, () => readRun(runProfiled(launch), launch.bundle, modules));
  return { phases: medians(runs.map((run) => run.phases)), packages: medians(runs.map((run) => run.packages)) };
}

function runProfiled({ bundle, cwd, env }: Launch): CpuProfile {
  const folder = temporaryFolder('profile-');
  const flags = ['--cpu-prof', `--cpu-prof-interval=${INTERVAL_US}`, `--cpu-prof-dir=${folder}`];
  const { status } = spawnSync(process.execPath, [...flags, bundle], { cwd, env, stdio: 'ignore' });
  if (status !== 0) throw new Error(`The profiled step ended with exit code ${status}.`);
  return JSON.parse(readFileSync(path.join(folder, readdirSync(folder)[0] ?? ''), 'utf8')) as CpuProfile;
}

/** The module of each line of a bundle: esbuild writes its path ahead of it. */
function modulesByLine(bundle: string): string[] {
  let module = '';
  return readFileSync(bundle, 'utf8')
    .split('\n')
    .map((line) => (module = /^\s*\/\/ ((?:shared|tasks|node_modules|scripts)\/\S+)$/.exec(line)?.[1] ?? module));
}

function readRun({ nodes, samples, timeDeltas }: CpuProfile, bundle: string, modules: readonly string[]): Profile {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)));
  const file = path.join(path.basename(path.dirname(bundle)), 'index.js');
  /** From the innermost call outwards. */
  const stackOf = (sample: number): Frame[] => {
    const stack: Frame[] = [];
    for (let node = byId.get(sample); node !== undefined; node = byId.get(parents.get(node.id) ?? Number.NaN)) {
      const { functionName: name, url, lineNumber } = node.callFrame;
      stack.push({ name, module: path.normalize(url).endsWith(file) ? (modules[lineNumber] ?? '') : url });
    }
    return stack;
  };
  const phases = new Map<string, number>();
  const packages = new Map<string, number>();
  let current = 0;
  for (const [index, sample] of samples.entries()) {
    const stack = stackOf(sample);
    const ms = (timeDeltas[index] ?? 0) / 1_000;
    current = Math.max(
      current,
      PHASES.findLastIndex(([, begins]) => stack.some(begins)),
    );
    add(phases, PHASES[current]?.[0] ?? '', ms);
    add(packages, packageOf(stack), ms);
  }
  return { phases, packages };
}

function add(sums: Map<string, number>, name: string, value: number): void {
  sums.set(name, (sums.get(name) ?? 0) + value);
}

function packageOf(stack: readonly Frame[]): string {
  const { module } = stack.find((frame) => frame.module !== '' && !frame.module.startsWith('node:')) ?? { module: '' };
  if (module !== '') return /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(module)?.[1] ?? 'the tasks themselves';
  if (stack.some(({ name }) => name === 'wrapSafe')) return 'V8, compiling the bundle';
  return stack[0]?.name === '(idle)' || stack[0]?.name === '(program)' ? 'waiting' : 'Node itself';
}

function medians(runs: readonly ReadonlyMap<string, number>[]): Map<string, number> {
  const names = [...new Set(runs.flatMap((run) => [...run.keys()]))];
  return new Map(names.map((name) => [name, median(runs.map((run) => run.get(name) ?? 0))]));
}

/** Bytes of a bundle by the package they come from, from esbuild's report. */
export function bytesByPackage(metafile: string): Map<string, number> {
  const { outputs } = JSON.parse(readFileSync(metafile, 'utf8')) as {
    outputs: Record<string, { inputs: Record<string, { bytesInOutput: number }> }>;
  };
  const bytes = new Map<string, number>();
  for (const [module, { bytesInOutput }] of Object.values(outputs).flatMap(({ inputs }) => Object.entries(inputs))) {
    const name = module.startsWith('meta-schema:')
      ? 'meta-schemas, compiled by ajv'
      : (/.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(module)?.[1] ?? 'the tasks themselves');
    add(bytes, name, bytesInOutput);
  }
  return bytes;
}
