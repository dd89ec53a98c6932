import { Ajv2020 } from 'ajv/dist/2020.js';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import {
  AGENTLESS_TASK,
  readTask,
  ROOT,
  TASK_NAMES,
  type TaskInput,
  type TaskName,
} from '../../scripts/build/manifest.ts';
import { parseRule } from '../../scripts/docs/visibleRule.ts';

/** The public interface: each input's default (`!` = required) and, where it has options, their values. */
const INTERFACE: Record<
  TaskName | typeof AGENTLESS_TASK,
  { inputs: Record<string, [fallback?: string, ...options: string[]]>; outputs: string[] }
> = {
  PublishNatsEvent: {
    inputs: {
      natsConnection: ['!'],
      subject: ['!'],
      payloadFrom: ['inline', 'inline', 'file', 'lines'],
      payload: [],
      payloadFile: [],
      schemaFile: [],
      subjectVersion: ['warn', 'require', 'warn', 'off'],
      envelope: ['binary', 'binary', 'structured', 'none'],
      eventType: [],
      eventSource: [],
      owner: ['full', 'full', 'pipeline', 'none'],
      contentType: [],
      headers: [],
      correlationId: [],
      messageId: [],
      delivery: ['jetStream', 'jetStream', 'core', 'request'],
      replySchemaFile: [],
      stream: [],
      timeout: ['30s'],
      signingKeyVariable: [],
      credentialsVariable: [],
    },
    outputs: [
      ...['messageId', 'subject', 'correlationId', 'traceparent', 'stream', 'sequence', 'duplicate', 'count'],
      ...['duplicateCount', 'failedCount', 'schemaDigest', 'replyFile', 'receiptFile'],
    ],
  },
  WaitForNatsEvent: {
    inputs: {
      natsConnection: ['!'],
      subject: ['!'],
      delivery: ['jetStream', 'jetStream', 'core'],
      stream: [],
      startFrom: ['runStart', 'runStart', 'now', 'sequence', 'time', 'lastPerSubject', 'all'],
      startSequence: [],
      startTime: [],
      schemaFile: [],
      onInvalid: ['skip', 'skip', 'fail'],
      match: [],
      correlationId: [],
      failWhen: [],
      count: ['1'],
      distinctBy: [],
      expect: [],
      maxEventAge: [],
      timeout: ['30m'],
      idleTimeout: [],
      onTimeout: ['fail', 'fail', 'warn', 'succeed'],
      outputs: [],
      trustedKeys: [],
      credentialsVariable: [],
    },
    outputs: [
      ...['verdict', 'subject', 'messageId', 'stream', 'sequence', 'correlationId', 'traceparent', 'publishedAt'],
      ...['receivedAt', 'latencyMs', 'count', 'missing', 'eventFile', 'receiptFile'],
    ],
  },
  WaitForNatsEventAgentless: {
    inputs: {
      bridgeConnection: ['!'],
      subject: ['!'],
      match: [],
      failWhen: [],
      correlationId: [],
      count: ['1'],
      distinctBy: [],
      expect: [],
      contract: [],
      onInvalid: ['skip', 'skip', 'fail'],
      trustedKeys: [],
      startFrom: ['runStart', 'runStart', 'now', 'sequence', 'time', 'all'],
      startSequence: [],
      startTime: [],
      stream: [],
      timeout: ['30m'],
      onTimeout: ['fail', 'fail', 'succeed'],
      maxEventAge: [],
      outputs: [],
    },
    outputs: [
      ...['verdict', 'subject', 'messageId', 'stream', 'sequence', 'correlationId', 'traceparent', 'publishedAt'],
      ...['receivedAt', 'latencyMs', 'count', 'missing'],
    ],
  },
};

/** What the service and tfx ask of a task.json, as far as these tasks use it: nothing else may be in it. */
const NAME = { type: 'string', pattern: '^[A-Za-z][A-Za-z0-9]*$' };
const TEXT = { type: 'string', minLength: 1 };
const CONNECTIONS = ['connectedService:NatsServer', 'connectedService:NatsBridge'];
const CALL = { EndpointId: { const: '$(bridgeConnection)' }, Method: { const: 'POST' }, Headers: TEXT };
/** What a task of agents has of its own, and the one that the server runs. */
const OF_AGENTS = {
  runsOn: { const: ['Agent', 'DeploymentGroup'] },
  minimumAgentVersion: { const: '3.232.1' },
  restrictions: closed({
    commands: { const: { mode: 'restricted' } },
    settableVariables: closed({ allowed: listOf(TEXT) }),
  }),
  execution: { const: { Node20_1: { target: 'index.js' }, Node24: { target: 'index.js' } } },
};
const OF_SERVER = {
  runsOn: { const: ['Server', 'ServerGate'] },
  execution: closed({
    HttpRequest: closed({
      Execute: closed({
        ...{ ...CALL, EndpointUrl: { const: '$(endpoint.url)/v1/waits' }, Body: TEXT },
        WaitForCompletion: { const: 'true' },
      }),
      Cancel: closed({ ...CALL, EndpointUrl: { const: '$(endpoint.url)/v1/waits/cancel' }, Body: { const: '' } }),
      // Longer than the longest wait that a bridge can be configured to take.
      Events: { const: { TaskCompleted: { Timeout: '2.00:00:00' } } },
    }),
  }),
};
const COMMON = {
  $schema: TEXT,
  id: { type: 'string', pattern: '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' },
  name: NAME,
  friendlyName: { ...TEXT, maxLength: 40 },
  description: TEXT,
  author: TEXT,
  category: { const: 'Utility' },
  visibility: { const: ['Build', 'Release'] },
  demands: { const: [] },
  version: { const: { Major: 0, Minor: 0, Patch: 0 } },
  instanceNameFormat: TEXT,
  groups: listOf(closed({ name: NAME, displayName: TEXT, isExpanded: { type: 'boolean' } })),
  inputs: listOf(
    closed(
      {
        name: NAME,
        type: { enum: [...CONNECTIONS, 'filePath', 'multiLine', 'pickList', 'string'] },
        label: TEXT,
        helpMarkDown: TEXT,
        required: { const: true },
        defaultValue: TEXT,
        groupName: NAME,
        visibleRule: TEXT,
        options: { type: 'object', additionalProperties: TEXT },
        properties: closed({ resizable: { type: 'boolean' }, rows: { type: 'string', pattern: '^[0-9]+$' } }),
      },
      ['name', 'type', 'label', 'helpMarkDown'],
    ),
  ),
  outputVariables: listOf(closed({ name: NAME, description: TEXT })),
};

for (const name of [...TASK_NAMES, AGENTLESS_TASK] as const) {
  const task = readTask(name);
  const byName = new Map(task.inputs.map((input) => [input.name, input]));

  test(`${name}: task.json has everything the service requires, and nothing it doesn't know`, () => {
    const ajv = new Ajv2020({ allErrors: true });
    const schema = closed({ ...COMMON, ...(name === AGENTLESS_TASK ? OF_SERVER : OF_AGENTS) });
    assert.ok(ajv.validate(schema, task), ajv.errorsText());
    assert.equal(task.name, name);
  });

  test(`${name}: inputs, defaults and options are those of the public interface`, () => {
    const actual = Object.fromEntries(
      task.inputs.map(({ name, required, defaultValue, options }) => [
        name,
        [...(required ? ['!'] : defaultValue === undefined ? [] : [defaultValue]), ...Object.keys(options ?? {})],
      ]),
    );
    assert.deepEqual(actual, INTERFACE[name].inputs);
    assert.equal(byName.size, task.inputs.length, 'two inputs have one name');
  });

  test(`${name}: outputs are those of the public interface, and the task may set no others`, () => {
    const outputs = task.outputVariables.map((output) => output.name);
    assert.deepEqual(outputs, INTERFACE[name].outputs);
    if (name === AGENTLESS_TASK) return;
    const patterns = name === 'WaitForNatsEvent' ? ['event.*'] : [];
    assert.deepEqual(task.restrictions?.settableVariables.allowed, [...outputs, ...patterns]);
  });

  test(`${name}: every input is in an existing group, and groups are contiguous and in order`, () => {
    const groupsInOrder = task.inputs
      .map((input) => input.groupName)
      .filter((group, index, groups) => index === 0 || group !== groups[index - 1]);
    assert.deepEqual(groupsInOrder, [undefined, ...task.groups.map((group) => group.name)]);
  });

  test(`${name}: the groups are the same in all tasks`, () => {
    assert.deepEqual(
      task.groups.map((group) => group.displayName),
      ['Event', 'Contract', 'Delivery', 'Advanced'],
    );
  });

  test(`${name}: every visibleRule parses, and refers to real inputs and options`, () => {
    for (const { name: hidden, visibleRule } of task.inputs) {
      if (visibleRule !== undefined)
        assert.deepEqual(faultsOfRule(visibleRule, byName), [], `${hidden}: ${visibleRule}`);
    }
  });

  test(`${name}: each input's help says its default, gives an example and explains each option`, () => {
    for (const { name: input, required, defaultValue, options, helpMarkDown: help } of task.inputs) {
      assert.match(help, /\bExample: `.+`\.$/, input);
      if (required) assert.match(help, / Required\. /, input);
      else if (defaultValue === undefined) assert.match(help, / (Default: |No default\. )/, input);
      else assert.ok(help.includes(` Default: \`${defaultValue}\`.`), input);
      for (const option of Object.keys(options ?? {})) assert.ok(help.includes(`\`${option}\``), `${input}: ${option}`);
      assert.doesNotMatch(help, /[\n|]/, `${input}: the help is also a table cell`);
    }
  });

  test(`${name}: the help of an input that isn't always shown says when it applies, naming the other inputs`, () => {
    for (const { name: input, visibleRule, helpMarkDown: help } of task.inputs) {
      const applies = / Applies when ([^.;]+)[.;]/.exec(help)?.[1];
      assert.equal(applies !== undefined, visibleRule !== undefined, input);
      for (const condition of visibleRule === undefined ? [] : parseRule(visibleRule).conditions)
        assert.ok(applies?.includes(`\`${condition.input}\``), `${input}: ${condition.input}`);
    }
  });

  test(`${name}: no word in code style is so long that a phone cuts off the listing's tables`, () => {
    for (const { name: input, helpMarkDown: help } of task.inputs) {
      const words = [...help.matchAll(/`([^`]+)`/g)].flatMap(([, code = '']) => code.split(/[ -]/));
      assert.deepEqual(
        words.filter((word) => word.length > 24),
        [],
        input,
      );
    }
  });

  test(`${name}: durations say their units and limits`, () => {
    for (const input of ['timeout', 'idleTimeout', 'maxEventAge']) {
      const help = byName.get(input)?.helpMarkDown;
      const most = name === AGENTLESS_TASK && input === 'timeout' ? 'what the bridge allows, 24 hours' : '20 days.';
      const units = '(`ms`, `s`, `m`, `h`, `d`), above 0 and at most ';
      if (help !== undefined) assert.ok(help.includes(units + most), input);
    }
  });

  test(`${name}: the icon is a PNG of 32 by 32 pixels`, () => {
    assert.deepEqual(pngSize(`tasks/${name}/icon.png`), [32, 32]);
  });
}

test("a visibleRule that mixes && and ||, names an unknown input or option, or can't be parsed is reported", () => {
  const inputs = new Map(readTask('PublishNatsEvent').inputs.map((input) => [input.name, input]));
  for (const rule of [
    'payloadFrom = file && delivery = core || envelope = none',
    'nowhere = file',
    'payloadFrom = files',
    'subject = a_b',
    '(payloadFrom = file)',
    'payloadFrom file',
  ]) {
    assert.notDeepEqual(faultsOfRule(rule, inputs), [], rule);
  }
});

function closed(properties: Record<string, unknown>, required = Object.keys(properties)) {
  return { type: 'object', properties, required, additionalProperties: false };
}

function listOf(items: unknown) {
  return { type: 'array', items, minItems: 1 };
}

/** What is wrong with a `visibleRule`: it cannot be parsed, or names no input or no option. */
function faultsOfRule(rule: string, inputs: ReadonlyMap<string, TaskInput>): string[] {
  try {
    return parseRule(rule).conditions.flatMap(({ input: name, value }) => {
      const input = inputs.get(name);
      if (!input) return [`"${name}" is no input`];
      return input.options && !(value in input.options) ? [`"${value}" is no option of ${name}`] : [];
    });
  } catch (error) {
    return [(error as Error).message];
  }
}

/** Width and height as the PNG's header says them. */
function pngSize(file: string): [number, number] {
  const bytes = readFileSync(path.join(ROOT, file));
  assert.equal(bytes.subarray(1, 4).toString('latin1'), 'PNG');
  return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
}
