/**
 * Writes the tables of inputs and outputs in README.md from each task's task.json.
 * Usage: npm run docs [-- --check]    (--check: change nothing, fail when README.md is stale)
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { readTask, ROOT, TASK_NAMES, type TaskInput } from './manifest.ts';

const README = path.join(ROOT, 'README.md');
const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });

const current = readFileSync(README, 'utf8');
let fresh = current;
for (const name of TASK_NAMES) {
  const task = readTask(name);
  fresh = replaceSection(fresh, 'inputs', name, [
    ['Input', 'Default', 'Meaning'],
    ...task.inputs.map((input) => [`\`${input.name}\``, defaultOf(input), input.helpMarkDown]),
  ]);
  fresh = replaceSection(fresh, 'outputs', name, [
    ['Output', 'Value'],
    ...task.outputVariables.map((output) => [`\`${output.name}\``, output.description]),
    ...task.restrictions.settableVariables.allowed
      .filter((pattern) => pattern.endsWith('.*'))
      .map((pattern) => [`\`${pattern.replace('*', '<name>')}\``, 'The values that the input `outputs` asks for.']),
  ]);
}

if (!values.check) writeFileSync(README, fresh);
else if (fresh !== current) {
  console.error('README.md is stale: its tables are not those of the task.json files. Run: npm run docs');
  process.exitCode = 1;
}

/** Replaces what is between `<!-- kind:task -->` and `<!-- /kind -->` by a table, whose first row is the heading. */
function replaceSection(text: string, kind: string, task: string, rows: string[][]): string {
  const [opening, closing] = [`<!-- ${kind}:${task} -->`, `<!-- /${kind} -->`];
  const start = text.indexOf(opening);
  const end = text.indexOf(closing, start);
  if (start < 0 || end < 0) throw new Error(`README.md has no section ${opening} … ${closing}.`);
  const lines = rows.map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`);
  lines.splice(1, 0, `|${' --- |'.repeat(rows[0]?.length ?? 0)}`);
  // Prettier would pad every row to the longest one, so that each change touched the whole table.
  const table = ['<!-- prettier-ignore-start -->', ...lines, '<!-- prettier-ignore-end -->'].join('\n');
  return `${text.slice(0, start)}${opening}\n\n${table}\n\n${text.slice(end)}`;
}

function defaultOf({ required, defaultValue }: TaskInput): string {
  if (required) return '**required**';
  return defaultValue === undefined ? '' : `\`${defaultValue}\``;
}
