/**
 * Runs a pipeline file with the two tasks of the packed .vsix as an agent would, against a server of one's own.
 * Usage: npm run pipeline -- FILE.yml [options], described in docs/local-run.md
 * Exit code: 0 the run has succeeded (with or without issues), 1 it has not, 2 it could not begin.
 */
import { cpSync, existsSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { reasonOf } from '../tasks/shared/errors.ts';
import { OtherTasksError, runPipelineFile, temporaryFolder, unpackVsix } from '../test/support/localAgent/index.ts';
import type { Connection, PipelineFileOptions, PipelineRun } from '../test/support/localAgent/index.ts';
import { bundleModule } from './build.ts';
import { readConnectionFile } from './connectionFile.ts';
import { TASK_NAMES } from './manifest.ts';
import { cancelOnInterrupt, printOutputs } from './runReport.ts';

const USAGE = `Usage: npm run pipeline -- FILE.yml
  --connection NAME=URL      a service connection that needs no secret
  --connection-file FILE     service connections as JSON
  --variable NAME=VALUE      a variable of the run
  --secret NAME=ENV_VAR      a secret variable; its value is that of a variable of the environment
  --parameter NAME=VALUE     a parameter of the file
  --sources FOLDER           the repository of the pipeline (default: the folder of FILE.yml)
  --repository NAME=FOLDER   another repository that the file checks out
  --skip-other-tasks         leave out the steps that only an agent of Azure Pipelines can run
  --inspect STEP             let a task step wait for a debugger, by its name or display name
  --debug                    set System.Debug
The options that name something can be given several times.`;

/** The one that debuggers look at unless they are told otherwise. */
const DEBUGGER_PORT = 9229;
/** Where the user called npm: paths start there. */
const CALLED_FROM = process.env['INIT_CWD'] ?? process.cwd();

let run: PipelineRun;
try {
  const { file, options } = await readArguments();
  run = await runPipelineFile(file, options);
} catch (error) {
  const hint = error instanceof OtherTasksError ? '\nWith --skip-other-tasks they are left out.' : '';
  console.error(`pipeline: ${reasonOf(error)}${hint}`);
  process.exit(2);
}
for (const { stage, name, result, steps } of run.jobs) {
  console.log(`\nJob ${stage === '__default' ? '' : `${stage}.`}${name}: ${result}`);
  for (const step of steps) {
    console.log(`${step.result.padEnd(19)} ${step.displayName} (${step.name}), ${step.durationMs} ms`);
    printOutputs(step);
  }
}
console.log(`\nThe run: ${run.result}`);
process.exitCode = ['Succeeded', 'SucceededWithIssues'].includes(run.result) ? 0 : 1;

async function readArguments(): Promise<{ readonly file: string; readonly options: PipelineFileOptions }> {
  const text = { type: 'string' } as const;
  const texts = { type: 'string', multiple: true, default: [] as string[] } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ...{ connection: texts, 'connection-file': texts, variable: texts, secret: texts, parameter: texts },
      ...{ repository: texts, sources: text, inspect: text },
      ...{ 'skip-other-tasks': flag, debug: flag },
    },
  });
  const [given] = positionals;
  if (given === undefined || positionals.length > 1) throw new Error(`One pipeline file is needed.\n${USAGE}`);
  const file = existing(given, 'the pipeline file', 'isFile');
  const repositories = Object.entries(pairs(values.repository, 'repository')).map(
    ([name, folder]) => [name, copyOf(existing(folder, '--repository', 'isDirectory'))] as const,
  );
  const options: PipelineFileOptions = {
    sources: copyOf(existing(values.sources ?? path.dirname(file), '--sources', 'isDirectory')),
    repositories: Object.fromEntries(repositories),
    connections: {
      ...Object.assign(
        {},
        ...values['connection-file'].map((name) => readConnectionFile(existing(name, '--connection-file', 'isFile'))),
      ),
      ...plainConnections(values.connection),
    },
    variables: { ...ownVariables(file), ...pairs(values.variable, 'variable') },
    secrets: secretsOf(values.secret),
    parameters: pairs(values.parameter, 'parameter'),
    skipOtherTasks: values['skip-other-tasks'],
    debug: values.debug,
    signal: cancelOnInterrupt(),
    onSkip: ({ job, task, title }) =>
      console.log(`${job} │ left out: ${task}${title === undefined ? '' : ` "${title}"`}`),
    onLine: ({ text: line }, job) => console.log(`${job} │ ${line}`),
    ...(values.inspect !== undefined && {
      inspect: { step: values.inspect, port: DEBUGGER_PORT },
      extension: await readableExtension(),
    }),
  };
  return { file, options };
}

/** What differs from run to run, so that two runs do not take each other's events for their own. */
function ownVariables(file: string): Record<string, string> {
  return {
    'Build.BuildId': String(Math.floor(Date.now() / 1000)),
    'Build.DefinitionName': path.basename(file, path.extname(file)),
    'Build.RequestedFor': os.userInfo().username,
  };
}

/** `NAME=VALUE` of an option. An error shows the name of the option only: whatever was typed may be a secret. */
function pairs(given: readonly string[], option: string): Record<string, string> {
  return Object.fromEntries(
    given.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new Error(`--${option} needs NAME=VALUE.`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

function plainConnections(given: readonly string[]): Record<string, Connection> {
  return Object.fromEntries(
    Object.entries(pairs(given, 'connection')).map(([name, url]) => {
      if (url.includes('@')) throw new Error(`--connection ${name}: put what signs in into a --connection-file.`);
      return [name, { url, scheme: 'None' }];
    }),
  );
}

function secretsOf(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    Object.entries(pairs(given, 'secret')).map(([name, variable]) => {
      const value = process.env[variable];
      if (!value) throw new Error(`--secret ${name}: give the name of a variable of the environment that is set.`);
      return [name, value];
    }),
  );
}

function existing(place: string, what: string, kind: 'isFile' | 'isDirectory'): string {
  const absolute = path.resolve(CALLED_FROM, place);
  if (!existsSync(absolute) || !statSync(absolute)[kind]()) {
    throw new Error(`${what}: there is no ${kind === 'isFile' ? 'file' : 'folder'} ${absolute}.`);
  }
  return absolute;
}

/** A copy, as a fresh checkout is one: what the steps write does not land in the author's folder. It goes when the run ends. */
function copyOf(folder: string): string {
  const copy = path.join(temporaryFolder('sources-'), path.basename(folder));
  const left = ['.git', 'node_modules'];
  cpSync(folder, copy, { recursive: true, filter: (source) => !left.includes(path.basename(source)) });
  return copy;
}

/** The packed extension with code that can be read in a debugger, beside its source. */
async function readableExtension(): Promise<string> {
  const folder = temporaryFolder('extension-');
  cpSync(unpackVsix(), folder, { recursive: true });
  for (const task of TASK_NAMES) {
    await bundleModule(`tasks/${task}/index.ts`, path.join(folder, task), { minify: false, sourcemap: 'inline' });
  }
  return folder;
}
