/**
 * Runs a pipeline file with the tasks of the packed .vsix as an agent would, against a server of one's own.
 * Usage: npm run pipeline -- FILE.yml [options], described in docs/local-run.md
 * Exit code: 0 the run has succeeded (with or without issues), 1 it has not, 2 it could not begin.
 */
import { reasonOf } from '../shared/errors.ts';
import { OwnServer } from './ownServer.ts';
import { OtherTasksError } from './pipelineChecks.ts';
import { checkPipelineFile, runPipelineFile, type PipelineRun } from './pipelineFile.ts';
import { readArguments } from './pipelineArguments.ts';
import { PipelineFileError } from './pipelineYaml.ts';
import { cancelOnInterrupt, printOutputs, RunWarnings, withRelativePaths } from './runReport.ts';
import { createMissingStreams } from './streams.ts';
import { builtReadable } from './vsix.ts';

/** The port that debuggers use by default. */
const DEBUGGER_PORT = 9229;

const warnings = new RunWarnings();
let run: PipelineRun;
try {
  // Paths start where the user called npm.
  const from = process.env['INIT_CWD'] ?? process.cwd();
  const { file, inspect, nats, streams, options } = readArguments(process.argv.slice(2), from);
  await using server = nats ? await OwnServer.start(file, options, streams) : undefined;
  if (server) {
    for (const line of [server.description, ...server.warnings.map((warning) => `##[warning]${warning}`)]) {
      console.log(line);
      warnings.note(line);
    }
  } else if (streams.length > 0) {
    // A mistake in the file is found before anything is created.
    checkPipelineFile(file, options);
    for (const said of await createMissingStreams(options.connections ?? {}, streams)) console.log(said);
  }
  run = await runPipelineFile(file, {
    ...options,
    connections: { ...server?.connections, ...options.connections },
    ...(inspect !== undefined && {
      inspect: { step: inspect, port: DEBUGGER_PORT },
      extension: builtReadable(),
    }),
    signal: cancelOnInterrupt(),
    onSkip: ({ job, task, title }) =>
      console.log(`${job} │ left out: ${task}${title === undefined ? '' : ` "${title}"`}`),
    onLine: ({ text }, job, sources) => {
      const line = withRelativePaths(text, sources);
      console.log(`${job} │ ${line}`);
      warnings.note(line, job);
    },
  });
} catch (error) {
  const hint = error instanceof OtherTasksError ? '\nWith --skip-other-tasks they are left out.' : '';
  // A problem with the file begins with its place, which terminals and editors lead to.
  console.error(`${error instanceof PipelineFileError ? '' : 'pipeline: '}${reasonOf(error)}${hint}`);
  process.exit(2);
}
for (const { stage, name, result, steps } of run.jobs) {
  console.log(`\nJob ${stage === '__default' ? '' : `${stage}.`}${name}: ${result}`);
  for (const step of steps) {
    console.log(`${step.result.padEnd(19)} ${step.displayName} (${step.name}), ${step.durationMs} ms`);
    printOutputs(step);
  }
}
warnings.print();
console.log(`\nThe run: ${run.result}`);
process.exitCode = ['Succeeded', 'SucceededWithIssues'].includes(run.result) ? 0 : 1;
