/**
 * Writes what the documents repeat of the code: the tables of inputs and outputs in README.md from each task's task.json,
 * and the blocks in docs/permissions.md from the grants that the errors print.
 * Usage: npm run docs [-- --check]    (--check: change nothing, fail when a document is stale)
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import {
  corePublishGrants,
  coreWaitGrants,
  permissionsBlock,
  requestGrants,
  streamPublishGrants,
  streamWaitGrants,
  type Grants,
} from '../tasks/shared/nats/permissions.ts';
import { readTask, ROOT, TASK_NAMES, type TaskInput, type TaskName } from './manifest.ts';

const API = '$JS.API';
const INBOX = '_INBOX';
const SUBJECT = 'ci.shop.image-ready.v1';

/** What each kind of step needs, by the name of its section in docs/permissions.md. */
const GRANTS: Readonly<Record<string, Grants>> = {
  publishToStream: streamPublishGrants(SUBJECT, API, INBOX),
  publishCore: corePublishGrants(SUBJECT),
  request: requestGrants(SUBJECT, INBOX),
  waitNamed: streamWaitGrants(API, 'CI', true, SUBJECT, INBOX),
  waitFound: streamWaitGrants(API, 'CI', false, SUBJECT, INBOX),
  waitSeveral: streamWaitGrants(API, 'CI', false, undefined, INBOX),
  waitCore: coreWaitGrants([SUBJECT]),
};

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });

update('README.md', (text) => TASK_NAMES.reduce(withTables, text));
update('docs/permissions.md', (text) => Object.entries(GRANTS).reduce(withPermissions, text));

function update(file: string, write: (text: string) => string): void {
  const current = readFileSync(path.join(ROOT, file), 'utf8');
  const fresh = write(current);
  if (!values.check) writeFileSync(path.join(ROOT, file), fresh);
  else if (fresh !== current) {
    console.error(`${file} is stale: it is not what the code says. Run: npm run docs`);
    process.exitCode = 1;
  }
}

function withTables(text: string, name: TaskName): string {
  const task = readTask(name);
  const inputs = [
    ['Input', 'Default', 'Meaning'],
    ...task.inputs.map((input) => [`\`${input.name}\``, defaultOf(input), input.helpMarkDown]),
  ];
  const outputs = [
    ['Output', 'Value'],
    ...task.outputVariables.map((output) => [`\`${output.name}\``, output.description]),
    ...task.restrictions.settableVariables.allowed
      .filter((pattern) => pattern.endsWith('.*'))
      .map((pattern) => [`\`${pattern.replace('*', '<name>')}\``, 'The values that the input `outputs` asks for.']),
  ];
  return replaceSection(replaceSection(text, 'inputs', name, tableOf(inputs)), 'outputs', name, tableOf(outputs));
}

function withPermissions(text: string, [mode, grants]: [string, Grants]): string {
  return replaceSection(text, 'permissions', mode, ['```text', ...permissionsBlock(grants), '```'].join('\n'));
}

/** Replaces what is between `<!-- kind:name -->` and `<!-- /kind -->`. */
function replaceSection(text: string, kind: string, name: string, content: string): string {
  const [opening, closing] = [`<!-- ${kind}:${name} -->`, `<!-- /${kind} -->`];
  const start = text.indexOf(opening);
  const end = text.indexOf(closing, start);
  if (start < 0 || end < 0) throw new Error(`There is no section ${opening} … ${closing}.`);
  return `${text.slice(0, start)}${opening}\n\n${content}\n\n${text.slice(end)}`;
}

/** A table, whose first row is the heading. Prettier would pad every row to the longest one. */
function tableOf(rows: string[][]): string {
  const lines = rows.map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`);
  lines.splice(1, 0, `|${' --- |'.repeat(rows[0]?.length ?? 0)}`);
  return ['<!-- prettier-ignore-start -->', ...lines, '<!-- prettier-ignore-end -->'].join('\n');
}

function defaultOf({ required, defaultValue }: TaskInput): string {
  if (required) return '**required**';
  return defaultValue === undefined ? '' : `\`${defaultValue}\``;
}
