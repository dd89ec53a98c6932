/**
 * The main job on real parts: starts a NATS server with JetStream, runs examples/image-ready.yml with the two tasks of the
 * packed .vsix as an agent would, and shows both jobs' logs side by side, in the order of time.
 */
import { cpSync } from 'node:fs';
import path from 'node:path';
import { runPipelineFile, temporaryFolder } from '../localAgent/index.ts';
import type { LogLine } from '../localAgent/index.ts';
import { cancelOnInterrupt, printOutputs } from '../localAgent/runReport.ts';
import { StreamServer } from '../localAgent/streamServer.ts';
import { ROOT } from './build/manifest.ts';

const EXAMPLE = 'examples/image-ready.yml';
const WIDTH = Math.max(100, Math.min(process.stdout.columns || 170, 200));
const COLUMN = Math.floor((WIDTH - 17) / 2);

await using nats = await StreamServer.start('CI', 'ci.>');
console.log(`nats-server ${nats.server.version} with JetStream on ${nats.url}, stream CI for ci.>\n`);
console.log(`Running ${EXAMPLE}: the jobs Build and Deploy, each on an agent of its own.\n`);
const lines: { readonly job: string; readonly line: LogLine }[] = [];
// A copy, since the pipeline writes files.
const sources = temporaryFolder('demo');
cpSync(path.join(ROOT, 'examples'), sources, { recursive: true });
const run = await runPipelineFile(path.join(ROOT, EXAMPLE), {
  sources,
  variables: { 'Build.BuildId': '42', 'Build.DefinitionName': 'shop', 'Build.RequestedFor': 'Jane Doe' },
  connections: { 'nats-ci': { url: nats.url, scheme: 'None' } },
  signal: cancelOnInterrupt(),
  onLine: (line, job) => lines.push({ job, line: { ...line, text: line.text.replace(/^##\[section\]/, '── ') } }),
});
printSideBySide();
for (const step of run.jobs.flatMap((job) => job.steps)) {
  if (step.outputs.size === 0) continue;
  console.log(`\nOutputs of "${step.name}":`);
  printOutputs(step);
}

const verdict = run.jobs
  .flatMap((job) => job.steps)
  .find((step) => step.name === 'wait')
  ?.outputs.get('verdict');
console.log(`\nVerdict: ${verdict ?? 'none'}, pipeline: ${run.result}`);
if (verdict !== 'matched' || run.result !== 'Succeeded') process.exitCode = 1;

function printSideBySide(): void {
  const jobs = ['Build', 'Deploy'];
  const begin = Math.min(...lines.map(({ line }) => line.at));
  console.log(`${'ms'.padStart(6)} │ ${jobs.map((job) => job.padEnd(COLUMN)).join(' │ ')}`);
  console.log(`${'─'.repeat(7)}┼${jobs.map(() => '─'.repeat(COLUMN + 2)).join('┼')}`);
  // The preamble of each task (its name, version and author) only takes space here.
  const shown = lines.filter(({ line }) => !/^(={5,}|(Task|Description|Version|Author|Help) +:)/.test(line.text));
  for (const { job, line } of shown.sort((one, other) => one.line.at - other.line.at)) {
    for (const [index, part] of wrap(line.text).entries()) {
      const time = index === 0 ? String(line.at - begin) : '';
      console.log(`${time.padStart(6)} │ ${jobs.map((name) => (name === job ? part : '').padEnd(COLUMN)).join(' │ ')}`);
    }
  }
}

function wrap(text: string): string[] {
  return text === '' ? [''] : (text.match(new RegExp(`.{1,${COLUMN}}(?:\\s|$)|.{1,${COLUMN}}`, 'gu')) ?? []);
}
