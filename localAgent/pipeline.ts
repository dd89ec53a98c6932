/**
 * Runs a pipeline file with the two tasks of the packed .vsix as an agent would, against a server of one's own.
 * Usage: npm run pipeline -- FILE.yml [options], described in docs/local-run.md
 * Exit code: 0 the run has succeeded (with or without issues), 1 it has not, 2 it could not begin.
 */
import { cpSync } from 'node:fs';
import path from 'node:path';
import { reasonOf } from '../shared/errors.ts';
import { OtherTasksError, runPipelineFile, temporaryFolder, unpackVsix } from './index.ts';
import type { PipelineRun } from './index.ts';
import { TASK_NAMES } from '../scripts/build/manifest.ts';
import { readArguments } from './pipelineArguments.ts';
import { cancelOnInterrupt, printOutputs } from './runReport.ts';

/** The one that debuggers look at unless they are told otherwise. */
const DEBUGGER_PORT = 9229;

let run: PipelineRun;
try {
  // Paths start where the user called npm.
  const { file, inspect, options } = readArguments(process.argv.slice(2), process.env['INIT_CWD'] ?? process.cwd());
  run = await runPipelineFile(file, {
    ...options,
    ...(inspect !== undefined && {
      inspect: { step: inspect, port: DEBUGGER_PORT },
      extension: await readableExtension(),
    }),
    signal: cancelOnInterrupt(),
    onSkip: ({ job, task, title }) =>
      console.log(`${job} │ left out: ${task}${title === undefined ? '' : ` "${title}"`}`),
    onLine: ({ text }, job) => console.log(`${job} │ ${text}`),
  });
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

/** The packed extension with code that can be read in a debugger, beside its source. */
async function readableExtension(): Promise<string> {
  const { bundleModule } = await import('../scripts/build/build.ts');
  const folder = temporaryFolder('extension-');
  cpSync(unpackVsix(), folder, { recursive: true });
  for (const task of TASK_NAMES) {
    await bundleModule(`tasks/${task}/index.ts`, path.join(folder, task), { minify: false, sourcemap: 'inline' });
  }
  return folder;
}
