import { ESLint } from 'eslint';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import ts from 'typescript-eslint';
import { ROOT } from '../../scripts/build/manifest.ts';

/** The repository's own configuration, without the rules that need a file on disk to know its types. */
const eslint = new ESLint({
  cwd: ROOT,
  overrideConfig: [ts.configs.disableTypeChecked],
});

/** Code that breaks a direction when it stands in the one file, and keeps it in the other. */
const DIRECTIONS: { name: string; rule: string; code: string; refusedIn: string[]; allowedIn: string[] }[] = [
  {
    name: 'only the agent adapter knows the task library',
    rule: 'directions/task-lib',
    code: "import { getInput } from 'azure-pipelines-task-lib/task.js'; getInput('x');",
    refusedIn: ['shared/inputs/fields.ts', 'tasks/PublishNatsEvent/index.ts'],
    allowedIn: ['tasks/agent/azureAgent.ts'],
  },
  {
    name: 'only the NATS adapter knows the NATS library, types included',
    rule: 'directions/nats',
    code: "import type { Msg } from 'nats'; export type X = Msg;",
    refusedIn: ['shared/bus.ts', 'shared/waiting/wait.ts'],
    allowedIn: ['shared/nats/natsBus.ts'],
  },
  {
    name: 'only contracts know the JSON Schema library',
    rule: 'directions/ajv',
    code: "import { Ajv2020 } from 'ajv/dist/2020.js'; new Ajv2020();",
    refusedIn: ['shared/event/cloudEvent.ts', 'tasks/PublishNatsEvent/publish.ts'],
    allowedIn: ['shared/contract/contract.ts', 'shared/contract/files.ts'],
  },
  {
    name: 'only one file knows the JMESPath library',
    rule: 'directions/jmespath',
    code: "import { search } from '@jmespath-community/jmespath'; search({}, 'a');",
    refusedIn: ['shared/waiting/wait.ts', 'shared/expression/expression.ts'],
    allowedIn: ['shared/expression/jmespath.ts'],
  },
  {
    name: 'nothing shared imports a task, and no task the other',
    rule: 'directions/tasks',
    code: "import { publishEvent } from '../PublishNatsEvent/publish.ts'; publishEvent();",
    refusedIn: ['tasks/agent/run.ts', 'shared/waiting/wait.ts'],
    allowedIn: ['test/unit/publish.test.ts'],
  },
  {
    name: 'only an entry sees the real agent',
    rule: 'directions/agent-adapter',
    code: "import { azureAgent } from '../shared/azureAgent.ts'; azureAgent();",
    refusedIn: ['tasks/PublishNatsEvent/publish.ts', 'tasks/agent/run.ts'],
    allowedIn: ['tasks/PublishNatsEvent/index.ts'],
  },
  {
    name: 'only an entry sees the real bus',
    rule: 'directions/nats-adapter',
    code: "import { openNatsBus } from '../shared/nats/natsBus.ts'; openNatsBus();",
    refusedIn: ['shared/waiting/wait.ts', 'shared/connection/settings.ts'],
    allowedIn: ['tasks/WaitForNatsEvent/index.ts'],
  },
  {
    name: 'a port imports nothing but types',
    rule: 'directions/ports',
    code: "import { TaskError } from './errors.ts'; new TaskError();",
    refusedIn: ['tasks/agent/agent.ts', 'shared/bus.ts'],
    allowedIn: ['shared/inputs/fields.ts'],
  },
  {
    name: 'the environment is read by the adapters and the run only',
    rule: 'no-restricted-globals',
    code: 'export const home = process.env.HOME;',
    refusedIn: ['shared/inputs/fields.ts', 'tasks/PublishNatsEvent/inputs.ts'],
    allowedIn: ['tasks/agent/azureAgent.ts', 'tasks/agent/run.ts'],
  },
  {
    name: 'the environment does not come in by an import either',
    rule: 'directions/process',
    code: "import { env } from 'node:process'; export const home = env.HOME;",
    refusedIn: ['shared/inputs/fields.ts'],
    allowedIn: ['scripts/demo.ts'],
  },
  {
    name: 'the console is used by the adapters and the run only',
    rule: 'no-restricted-globals',
    code: "console.log('hello');",
    refusedIn: ['shared/event/cloudEvent.ts'],
    allowedIn: ['tasks/agent/run.ts'],
  },
  {
    name: 'the clock is read by the adapters and the run only',
    rule: 'no-restricted-properties',
    code: 'export const now = Date.now();',
    refusedIn: ['shared/event/cloudEvent.ts', 'shared/waiting/wait.ts'],
    allowedIn: ['tasks/agent/run.ts', 'shared/nats/link/link.ts'],
  },
  {
    name: 'the clock is not read by new Date() either',
    rule: 'no-restricted-syntax',
    code: 'export const now = new Date();',
    refusedIn: ['shared/event/cloudEvent.ts'],
    allowedIn: ['tasks/agent/run.ts'],
  },
  {
    name: 'no direction is evaded by a dynamic import',
    rule: 'no-restricted-syntax',
    code: "export const later = import('nats');",
    refusedIn: ['shared/event/cloudEvent.ts', 'tasks/agent/run.ts'],
    allowedIn: ['scripts/demo.ts'],
  },
];

for (const { name, rule, code, refusedIn, allowedIn } of DIRECTIONS) {
  test(name, async () => {
    for (const file of refusedIn) assert.ok((await brokenRules(code, file)).includes(rule), `${file} was not refused`);
    for (const file of allowedIn) assert.ok(!(await brokenRules(code, file)).includes(rule), `${file} was refused`);
  });
}

async function brokenRules(code: string, file: string): Promise<(string | null)[]> {
  const [result] = await eslint.lintText(code, { filePath: file });
  const messages = result?.messages ?? [];
  assert.ok(!messages.some((message) => message.fatal), messages[0]?.message);
  return messages.map((message) => message.ruleId);
}
