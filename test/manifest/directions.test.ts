import { ESLint } from 'eslint';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import ts from 'typescript';
import { ROOMS } from '../../eslint.config.mts';
import { ROOT } from '../../scripts/build/manifest.ts';

/** With the repository's own configuration. */
const eslint = new ESLint({ cwd: ROOT });

/** The rules that a file with this code breaks, by line. */
async function brokenRules(code: string, file: string): Promise<{ rule: string | null; line: number }[]> {
  const messages = (await eslint.lintText(code, { filePath: file })).flatMap((result) => result.messages);
  assert.ok(!messages.some((message) => message.fatal), messages[0]?.message);
  return messages.map(({ ruleId, line }) => ({ rule: ruleId, line }));
}

/** A file in a place of the table, which is a folder or a file itself. */
function fileIn(place: string): string {
  return place.endsWith('/') ? `${place}some.ts` : place;
}

/** How a file names what it imports: a file of the tree or a package. */
function specifierOf(target: string, file: string): string {
  if (!target.endsWith('.ts')) return target;
  const relative = path.posix.relative(path.posix.dirname(file), target);
  return relative.startsWith('.') ? relative : `./${relative}`;
}

/** Each place and package that the table names, and some that it leaves out. */
const TARGETS = [
  ...new Set([
    ...ROOMS.flatMap(([place, mayImport]) => [place, ...mayImport])
      .filter((target) => target !== '*' && !target.startsWith('!'))
      .map((target) =>
        /\/$|\.ts$/.test(target) && /^(shared|tasks|bridge|localAgent|scripts)\//.test(target)
          ? fileIn(target)
          : target,
      ),
    ...['test/support/some.ts', 'test/manifest/some.ts', 'esbuild', 'node:process'],
  ]),
];

describe('The table of directions', () => {
  for (const [place, allowed] of ROOMS) {
    test(`holds for ${place}`, async () => {
      const file = fileIn(place);
      const targets = TARGETS.filter((target) => path.posix.dirname(target) !== path.posix.dirname(file));
      const code = targets.map(
        (target, index) => `import type { X as X${index} } from '${specifierOf(target, file)}';`,
      );
      const broken = await brokenRules(code.join('\n'), file);
      const isIn = (target: string, one: string) => target === one || (one.endsWith('/') && target.startsWith(one));
      const mayImport = (target: string): boolean =>
        (allowed.some((one) => isIn(target, one)) || (allowed.includes('*') && !target.endsWith('.ts'))) &&
        !allowed.some((one) => isIn(`!${target}`, one));
      const refused = targets.filter((_, index) =>
        broken.some(({ rule, line }) => rule === 'directions/rooms' && line === index + 1),
      );
      assert.deepEqual(
        refused,
        targets.filter((target) => !mayImport(target)),
      );
      assert.ok(refused.length > 0 && refused.length < targets.length);
    });
  }
});

/** Code with the files that it may not stand in, one where it may, and the rule, if it is not that of the rooms. */
const CASES: readonly (readonly [name: string, code: string, refusedIn: string, allowedIn: string, rule?: string])[] = [
  [
    'only the agent adapter knows the task library',
    "import { getInput } from 'azure-pipelines-task-lib/task.js'; getInput('x');",
    'shared/inputs/fields.ts tasks/agent/run.ts tasks/PublishNatsEvent/index.ts',
    'tasks/agent/azureAgent.ts',
  ],
  [
    'only shared/nats knows the NATS library, types included',
    "import type { Msg } from 'nats'; export type X = Msg;",
    'shared/bus.ts shared/waiting/wait.ts tasks/WaitForNatsEvent/index.ts',
    'shared/nats/natsBus.ts shared/nats/link/dial.ts',
  ],
  [
    'a type that is imported where it stands is no way around',
    "export type X = import('nats').Msg;",
    'shared/bus.ts',
    'shared/nats/natsBus.ts',
  ],
  [
    'only contracts know the JSON Schema library',
    "import { Ajv2020 } from 'ajv/dist/2020.js'; new Ajv2020();",
    'shared/event/cloudEvent.ts tasks/PublishNatsEvent/publish.ts',
    'shared/contract/contract.ts shared/contract/files.ts',
  ],
  [
    'only what evaluates expressions knows the JMESPath library',
    "export { search } from '@jmespath-community/jmespath';",
    'shared/waiting/wait.ts shared/expression/expression.ts',
    'shared/expression/jmespath.ts shared/expression/interpreter.ts',
  ],
  [
    'nothing shared sees a task, and no task sees another',
    "import { publishEvent } from '../../tasks/PublishNatsEvent/publish.ts'; publishEvent();",
    'shared/waiting/wait.ts tasks/agent/run.ts tasks/WaitForNatsEvent/index.ts',
    'scripts/docs/section.ts test/unit/publish.test.ts',
  ],
  [
    'nothing shared sees the agent of a pipeline',
    "export * from '../../tasks/agent/agent.ts';",
    'shared/connection/settings.ts shared/nats/natsBus.ts',
    'tasks/PublishNatsEvent/inputs.ts',
  ],
  [
    'only an entry sees the real agent',
    "import { azureAgent } from '../agent/azureAgent.ts'; azureAgent();",
    'tasks/PublishNatsEvent/publish.ts tasks/agent/run.ts',
    'tasks/PublishNatsEvent/index.ts',
  ],
  [
    'only an entry sees the real bus',
    "import { openNatsBus } from '../../shared/nats/natsBus.ts'; openNatsBus();",
    'shared/waiting/wait.ts shared/connection/settings.ts tasks/WaitForNatsEvent/report.ts',
    'tasks/WaitForNatsEvent/index.ts',
  ],
  [
    'the tasks and the bridge never see each other',
    "export * from '../../bridge/settings.ts'; export * from '../../tasks/agent/agent.ts';",
    'tasks/agent/run.ts bridge/http/places.ts bridge/main.ts shared/nats/natsBus.ts',
    'scripts/docs/section.ts test/unit/publish.test.ts',
  ],
  [
    "only the bridge's entry sees the real bus",
    "import { openServiceBus } from '../../shared/nats/serviceBus.ts'; openServiceBus();",
    'bridge/commands/run.ts bridge/jetStream/api.ts bridge/hooks/receive.ts',
    'scripts/docs/section.ts',
  ],
  [
    'only the HTTP room knows the HTTP server',
    "import fastify from 'fastify'; fastify();",
    'bridge/hooks/receive.ts bridge/main.ts bridge/azureDevOps/client.ts shared/text/json.ts',
    'bridge/http/publicServer.ts',
  ],
  [
    'only one room knows the HTTP client, and one file of it the identities',
    "import { request } from 'undici'; request();",
    'bridge/azureDevOps/credentials.ts bridge/hooks/receive.ts bridge/http/publicServer.ts',
    'bridge/azureDevOps/dispatcher.ts',
  ],
  [
    'only one file knows the library of identities',
    "import { ClientSecretCredential } from '@azure/identity'; new ClientSecretCredential();",
    'bridge/azureDevOps/identity.ts bridge/main.ts',
    'bridge/azureDevOps/credentials.ts',
  ],
  [
    'no product and no script sees the tests, and the local agent no script',
    "import { Scenario } from '../../test/support/agent/scenario.ts'; new Scenario();",
    'scripts/pictures/runs.ts shared/nats/natsBus.ts tasks/agent/run.ts',
    'test/manifest/tasks.test.ts',
  ],
  [
    'the local agent sees neither tests nor scripts',
    "export { ROOT } from '../scripts/build/manifest.ts'; export { Scenario } from '../test/support/agent/scenario.ts';",
    'localAgent/pipeline.ts',
    'test/some.ts',
  ],
  [
    'a dynamic import is no way around',
    "export const later = import('../../test/support/agent/scenario.ts');",
    'localAgent/pipeline/some.ts scripts/pictures/runs.ts shared/waiting/wait.ts',
    'test/manifest/tasks.test.ts',
  ],
  [
    'nor is one whose target is computed',
    "export const later = import(['na', 'ts'].join(''));",
    'localAgent/pipeline.ts scripts/bench.ts shared/waiting/wait.ts',
    'test/manifest/tasks.test.ts',
  ],
  [
    'products import at the top, but for what takes long to load',
    "export const later = import('nats');",
    'shared/event/cloudEvent.ts shared/nats/natsBus.ts tasks/agent/run.ts',
    'scripts/bench.ts',
    'no-restricted-syntax',
  ],
  [
    'a port imports nothing but types',
    "import { TaskError } from './errors.ts'; new TaskError();",
    'tasks/agent/agent.ts shared/bus.ts shared/log.ts',
    'shared/clock.ts',
    '@typescript-eslint/no-restricted-imports',
  ],
  [
    'the environment is read where the outside world begins only',
    'export const home = process.env.HOME;',
    'shared/inputs/fields.ts tasks/PublishNatsEvent/inputs.ts bridge/commands/run.ts',
    'tasks/agent/azureAgent.ts tasks/agent/run.ts bridge/main.ts',
    'no-restricted-globals',
  ],
  [
    'the environment does not come in by an import either',
    "import { env } from 'node:process'; export const home = env.HOME;",
    'shared/inputs/fields.ts',
    'scripts/bench.ts',
  ],
  [
    'the console is used where the outside world begins only',
    "console.log('hello');",
    'shared/event/cloudEvent.ts',
    'tasks/agent/run.ts',
    'no-restricted-globals',
  ],
  [
    'the clock is read where the outside world begins only',
    'export const now = Date.now();',
    'shared/event/cloudEvent.ts shared/waiting/wait.ts',
    'tasks/agent/run.ts shared/nats/link/link.ts',
    'no-restricted-properties',
  ],
  [
    'the clock is not read by new Date() either',
    'export const now = new Date();',
    'shared/event/cloudEvent.ts',
    'tasks/agent/run.ts',
    'no-restricted-syntax',
  ],
];

for (const [name, code, refusedIn, allowedIn, rule = 'directions/rooms'] of CASES) {
  test(name, async () => {
    const isRefused = async (file: string) => (await brokenRules(code, file)).some((broken) => broken.rule === rule);
    for (const file of refusedIn.split(' ')) assert.equal(await isRefused(file), true, `${file} was not refused`);
    for (const file of allowedIn.split(' ')) assert.equal(await isRefused(file), false, `${file} was refused`);
  });
}

/** What a module imports of its own tree, type-only imports and dynamic ones included. */
function importsOf(file: string, code: string): string[] {
  const { importedFiles } = ts.preProcessFile(code, true, true);
  const relative = importedFiles.filter(({ fileName }) => fileName.startsWith('.'));
  return relative.map(({ fileName }) => path.posix.join(path.posix.dirname(file), fileName));
}

/** The sets of modules of which each leads to each other one, directly or not. */
function circlesOf(imports: ReadonlyMap<string, readonly string[]>): string[][] {
  const reached = (from: string): Set<string> => {
    const seen = new Set<string>();
    const visit = (module: string): void =>
      imports.get(module)?.forEach((next) => {
        if (!seen.has(next)) visit((seen.add(next), next));
      });
    visit(from);
    return seen;
  };
  const all = new Map([...imports.keys()].map((module) => [module, reached(module)]));
  const circles = [...all].flatMap(([module, leadsTo]) =>
    leadsTo.has(module) ? [[...leadsTo].filter((other) => all.get(other)?.has(module)).sort()] : [],
  );
  return [...new Map(circles.map((circle) => [circle.join(), circle])).values()].sort();
}

test('no modules import each other in a circle, not even types', () => {
  const files = ['shared', 'tasks', 'bridge', 'localAgent', 'scripts'].flatMap((folder) =>
    readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => path.posix.join(folder, file.split(path.sep).join('/'))),
  );
  const imports = new Map(files.map((file) => [file, importsOf(file, readFileSync(path.join(ROOT, file), 'utf8'))]));
  assert.deepEqual(circlesOf(imports), []);
});

test('a circle is found through types, exports and dynamic imports', () => {
  const code = {
    'a/one.ts': "import type { Two } from './two.ts';",
    'a/two.ts': "export * from '../b/three.ts'; import './four.ts';",
    'b/three.ts': "const later = import('../a/one.ts');",
    'a/four.ts': "import { join } from 'node:path';",
    'a/self.ts': "import type { X } from './self.ts';",
  };
  const imports = new Map(Object.entries(code).map(([file, text]) => [file, importsOf(file, text)]));
  assert.deepEqual(circlesOf(imports), [['a/one.ts', 'a/two.ts', 'b/three.ts'], ['a/self.ts']]);
});
