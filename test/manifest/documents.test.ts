import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../../scripts/build/manifest.ts';
import type { EventView } from '../../shared/event/receivedEvent.ts';
import { compileExpression } from '../../shared/expression/expression.ts';
import {
  brokenLinks,
  filesEndingWith,
  linkedFiles,
  readMarkdown,
  rowsOf,
  unknownCommands,
  unknownWords,
  yamlBlocks,
  type MarkdownFile,
} from '../support/documents/documents.ts';
import { viewOf } from '../support/event.ts';
import { faultsOfSteps } from '../support/documents/documentedSteps.ts';
import { temporaryFolder } from '../../localAgent/index.ts';

const documents = filesEndingWith(ROOT, '.md').map((file) => readMarkdown(ROOT, file));
const examples = filesEndingWith(path.join(ROOT, 'examples'), '.yml');

test('every relative link and picture in a document points to a file, and every anchor to a heading', () => {
  assertNone(brokenLinks);
});

test('the listing has at most 200 lines', () => {
  assert.ok(readFileSync(path.join(ROOT, 'README.md'), 'utf8').split('\n').length <= 201);
});

test("the documentation's index links to every page", () => {
  const pages = documents
    .map(({ file }) => file)
    .filter((file) => file.startsWith('docs/') && file !== 'docs/README.md');
  const linked = new Set(linkedFiles(readMarkdown(ROOT, 'docs/README.md')));
  assert.ok(pages.length > 20);
  assert.deepEqual(
    pages.filter((file) => !linked.has(file)),
    [],
  );
});

test('every page that a message or comment names exists', () => {
  const named = ['bridge', 'localAgent', 'scripts', 'shared', 'tasks'].flatMap((folder) =>
    filesEndingWith(path.join(ROOT, folder), '.ts').flatMap((file) => [
      ...readFileSync(path.join(ROOT, folder, file), 'utf8').matchAll(/\bdocs\/[\w./-]+\.md\b/g),
    ]),
  );
  const missing = named.map(([page]) => page).filter((page) => !existsSync(path.join(ROOT, page)));
  assert.ok(named.length > 5);
  assert.deepEqual(missing, []);
});

test('the expressions on their page have the results that it shows', () => {
  const page = readMarkdown(ROOT, 'docs/expressions.md');
  const event = page.tokens.find((token) => token.type === 'code' && token.lang === 'json');
  const shown = JSON.parse(String((event as { text?: string } | undefined)?.text)) as EventView;
  const view = viewOf(JSON.stringify({ ...shown.event, data: shown.data }), shown.headers, {
    subject: shown.subject,
    place: { stream: shown.stream, sequence: shown.sequence },
    storedAt: Date.parse(shown.time ?? ''),
  });
  assert.deepEqual(JSON.parse(JSON.stringify(view)), shown);
  const rows = rowsOf(page, 'Expression');
  assert.ok(rows.length > 5);
  for (const [text = '', result = ''] of rows) {
    const expression = compileExpression(text);
    assert.deepEqual(expression.mistakes, { certain: [], likely: [] }, text);
    assert.deepEqual(expression.evaluate(view), JSON.parse(result), text);
  }
});

test('every command that a document names exists', () => {
  assertNone(unknownCommands);
});

test('every error code and verdict that a document names exists', () => {
  assertNone(unknownWords);
});

test('every step in a document is valid for its task, and every output it refers to exists', () => {
  assertNone((document) => faultsOfSteps(yamlBlocks(document)));
});

test('every step in the examples is valid, too', () => {
  assert.ok(examples.length > 0);
  const faults = examples.map((file) => [
    file,
    faultsOfSteps([readFileSync(path.join(ROOT, 'examples', file), 'utf8')]),
  ]);
  assert.deepEqual(
    faults.filter(([, found]) => (found ?? []).length > 0),
    [],
  );
});

test('a link to a missing file or heading, or outside the project, is reported', () => {
  const document = written(
    '# One `code`\n\n## One\n\n## One\n\n[a](b.md) [b](#one-1) [c](#two) [d](sub/e.md#deep) ![f](g.png) [h](../x) [i](#one-code) <img src="j.svg">',
    { 'sub/e.md': '# Deeper' },
  );
  assert.deepEqual(
    brokenLinks(document).map((fault) => fault.split(':')[0]),
    ['b.md', '#two', 'sub/e.md#deep', 'g.png', '../x', 'j.svg'],
  );
});

test("a command that isn't in package.json is reported", () => {
  const document = written('`npm run there`, `npm run gone`, `npm test`, `npm ci`, `bash scripts/gone.sh`');
  assert.deepEqual(
    unknownCommands(document).map((fault) => fault.split(':')[0]),
    ['npm run gone', 'npm test', 'bash scripts/gone.sh'],
  );
});

test('an outdated error code or verdict is reported', () => {
  const document = written('`Refused`, `Denied`, `verdict="matched"`, `verdict="lost"`, the verdict `late`');
  assert.deepEqual(
    unknownWords(document).map((fault) => fault.split(':')[0]),
    ['Refused', 'lost', 'late'],
  );
});

const PUBLISH = 'task: PublishNatsEvent@1\n  name: said\n  inputs: { natsConnection: n, subject: ci.v1, payload: x';
for (const [what, yaml, fault] of [
  ['that is no YAML', '- a: [', /flow/i],
  ['with an expression that YAML takes for a tag', `- ${PUBLISH}, match: !(data.draft) }`, /tag/i],
  ['of another major', '- task: PublishNatsEvent@2', /PublishNatsEvent@2: there is no such task/],
  ['of another name', '- task: AwaitNatsEvent@1', /AwaitNatsEvent@1: there is no such task/],
  ['with an input of old', `- ${PUBLISH}, topic: a }`, /there is no input "topic"/],
  ['without a required input', '- task: WaitForNatsEvent@1\n  inputs: { natsConnection: n }', /subject: is required/],
  ['with an option that does not exist', `- ${PUBLISH}, delivery: fast }`, /delivery: "fast" is not one of/],
  ['with an input that does not apply', `- ${PUBLISH}, delivery: core, stream: CI }`, /stream is ignored/],
  [
    'with a value that the task refuses',
    `- ${PUBLISH}, timeout: 5 minutes }`,
    /timeout: "5 minutes" is not a duration/,
  ],
  ['whose output does not exist', `- ${PUBLISH} }\n- script: echo $(said.offset)`, /the step has no output "offset"/],
  ['whose name is another', `- ${PUBLISH} }\n- script: echo $(told.sequence)`, /there is no step "told"/],
  [
    'whose output is wanted in another job',
    `- ${PUBLISH} }\n- script: echo $[ dependencies.A.outputs['A.said.event.x'] ]`,
    /the step has no output "event.x"/,
  ],
] as const) {
  test(`a step ${what} is reported`, () => {
    assert.match(faultsOfSteps([yaml]).join('\n'), fault);
  });
}

test('a step may have variables in its inputs, and later steps may refer to its outputs', () => {
  const wait = `- task: WaitForNatsEvent@1
  name: wait
  inputs:
    natsConnection: n
    subject: ci.v1
    startFrom: sequence
    startSequence: $(said.sequence)
    outputs: |
      image=data.image
- script: echo $(wait.event.image) $(Build.BuildId)
- script: echo $[ stageDependencies.S.A.outputs['wait.verdict'] ]`;
  assert.deepEqual(faultsOfSteps([`- ${PUBLISH} }`, wait]), []);
});

function assertNone(faultsOf: (document: MarkdownFile) => string[]): void {
  assert.ok(documents.length > 5);
  const faults = documents.map((document) => [document.file, faultsOf(document)] as const);
  assert.deepEqual(
    faults.filter(([, found]) => found.length > 0),
    [],
  );
}

/** A document in a folder of its own, with other files beside it and a package.json that has one script. */
function written(text: string, others: Readonly<Record<string, string>> = {}): MarkdownFile {
  const root = temporaryFolder('documents-');
  const files = { 'a.md': text, 'package.json': '{ "scripts": { "there": "true" } }', ...others };
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), content);
  }
  return readMarkdown(root, 'a.md');
}
