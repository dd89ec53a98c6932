import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readWaitRequest } from '../../bridge/waits/criteria.ts';
import { AGENTLESS_TASK, readTask, TASK_NAMES, type TaskName } from '../../scripts/build/manifest.ts';
import { isShown, parseRule, shownInputs } from '../../scripts/docs/visibleRule.ts';
import { TaskError } from '../../shared/errors.ts';
import { readPublish } from '../../tasks/PublishNatsEvent/inputs.ts';
import { readWait } from '../../tasks/WaitForNatsEvent/inputs.ts';
import { connectedAgent } from '../support/agent/fakeAgent.ts';

type Values = Readonly<Record<string, string>>;
interface Form {
  /** Every input that is shown or hidden by another, in the order of the form. */
  readonly changing: readonly string[];
  /** Which of them are shown, for each choice. */
  readonly shown: readonly (readonly [values: Values, shown: readonly string[]])[];
}

const ENVELOPE = ['eventType', 'eventSource', 'owner', 'contentType'];

/** The inputs that apply, written out by what the tasks do. All others are always shown. */
const FORMS: Readonly<Record<TaskName | typeof AGENTLESS_TASK, Form>> = {
  PublishNatsEvent: {
    changing: ['payload', 'payloadFile', 'stream', 'replySchemaFile', ...ENVELOPE],
    shown: [
      [{}, ['payload', 'stream', ...ENVELOPE]],
      [{ payloadFrom: 'inline' }, ['payload', 'stream', ...ENVELOPE]],
      [{ payloadFrom: 'file' }, ['payloadFile', 'stream', ...ENVELOPE]],
      [{ payloadFrom: 'lines' }, ['payloadFile', 'stream', ...ENVELOPE]],
      [{ delivery: 'jetStream' }, ['payload', 'stream', ...ENVELOPE]],
      [{ delivery: 'core' }, ['payload', ...ENVELOPE]],
      [{ delivery: 'request' }, ['payload', 'replySchemaFile', ...ENVELOPE]],
      [{ envelope: 'binary' }, ['payload', 'stream', ...ENVELOPE]],
      [{ envelope: 'structured' }, ['payload', 'stream', ...ENVELOPE]],
      [{ envelope: 'none' }, ['payload', 'stream']],
      [{ payloadFrom: 'file', delivery: 'core', envelope: 'none' }, ['payloadFile']],
    ],
  },
  WaitForNatsEvent: {
    changing: ['expect', 'startFrom', 'startSequence', 'startTime', 'stream'],
    shown: [
      [{}, ['startFrom', 'stream']],
      [{ delivery: 'jetStream' }, ['startFrom', 'stream']],
      [{ delivery: 'core' }, []],
      [{ startFrom: 'runStart' }, ['startFrom', 'stream']],
      [{ startFrom: 'now' }, ['startFrom', 'stream']],
      [{ startFrom: 'sequence' }, ['startFrom', 'startSequence', 'stream']],
      [{ startFrom: 'time' }, ['startFrom', 'startTime', 'stream']],
      [{ startFrom: 'lastPerSubject' }, ['startFrom', 'stream']],
      [{ startFrom: 'all' }, ['startFrom', 'stream']],
      [{ delivery: 'core', startFrom: 'sequence' }, []],
      [{ delivery: 'core', startFrom: 'time' }, []],
      [{ distinctBy: 'data.region' }, ['expect', 'startFrom', 'stream']],
    ],
  },
  WaitForNatsEventAgentless: {
    changing: ['expect', 'startSequence', 'startTime'],
    shown: [
      [{}, []],
      [{ startFrom: 'runStart' }, []],
      [{ startFrom: 'now' }, []],
      [{ startFrom: 'sequence' }, ['startSequence']],
      [{ startFrom: 'time' }, ['startTime']],
      [{ startFrom: 'all' }, []],
      [{ distinctBy: 'data.region' }, ['expect']],
    ],
  },
};

/** A value for each input that is not always shown, of which the task must say something when it does not apply. */
const SAMPLES: Values = {
  payload: '{}',
  payloadFile: import.meta.filename,
  stream: 'CI',
  replySchemaFile: import.meta.filename,
  eventType: 'built',
  eventSource: '/shop',
  owner: 'pipeline',
  contentType: 'text/plain',
  expect: 'eu',
  startFrom: 'all',
  startSequence: '1',
  startTime: '2026-05-31T08:00:00Z',
};

for (const name of [...TASK_NAMES, AGENTLESS_TASK] as const) {
  const { inputs } = readTask(name);
  const { changing, shown } = FORMS[name];
  const names = inputs.map((input) => input.name);

  test(`${name}: every option that shows or hides an input is covered`, () => {
    for (const { input } of inputs.flatMap(({ visibleRule: rule }) => (rule ? parseRule(rule).conditions : []))) {
      for (const option of Object.keys(inputs.find((each) => each.name === input)?.options ?? {}))
        assert.ok(
          shown.some(([values]) => values[input] === option),
          `${input}: ${option}`,
        );
    }
  });

  for (const [values, expected] of shown) {
    const choice = JSON.stringify(values);
    const visible = shownInputs(inputs, values);

    test(`${name}: the form shows exactly what applies with ${choice}`, () => {
      assert.deepEqual(
        visible,
        names.filter((input) => !changing.includes(input) || expected.includes(input)),
      );
    });

    test(`${name}: an input is hidden together with the one it depends on, with ${choice}`, () => {
      for (const { name: input, visibleRule } of inputs) {
        if (visibleRule === undefined || !visible.includes(input)) continue;
        for (const { input: bringer } of parseRule(visibleRule).conditions)
          assert.ok(visible.includes(bringer), `${input} is shown without ${bringer}`);
      }
    });

    // What the task refuses as a whole says nothing about a single input.
    if (complaints(name, withNeeded(values)) !== '') continue;
    test(`${name}: the form hides the inputs that the task ignores or refuses with ${choice}`, () => {
      const told = changing.filter((input) => {
        const said = complaints(name, { [input]: SAMPLES[input] ?? '', ...withNeeded(values) });
        return said.includes(`${input} is ignored: `) || said.includes(`${input}: `);
      });
      assert.deepEqual(
        told,
        changing.filter((input) => !visible.includes(input)),
      );
    });
  }
}

test('a rule may join conditions with && or ||, and contains nothing else', () => {
  const inputs = ['rule', 'a', 'b'].map((name) => ({ name, type: 'string', label: name, helpMarkDown: name }));
  const holds = (visibleRule: string, a: string, b = '') => isShown({ ...inputs[0]!, visibleRule }, inputs, { a, b });
  for (const [rule, yes, no] of [
    ['a = x', 'x', 'y'],
    ['a != x', 'y', 'x'],
    ['a != ""', 'x', ''],
  ] as const) {
    assert.ok(holds(rule, yes), `${rule}: ${yes}`);
    assert.ok(!holds(rule, no), `${rule}: ${no}`);
  }
  assert.deepEqual([holds('a = x && b = x', 'x', 'x'), holds('a = x && b = x', 'x', 'y')], [true, false]);
  assert.deepEqual([holds('a = x || b = x', 'x', 'y'), holds('a = x || b = x', 'y', 'y')], [true, false]);
  for (const rule of ['a = x && b = x || a = y', '(a = x)', 'a x', 'a = x_y', 'a ~ x', 'a < 1', ''])
    assert.throws(() => parseRule(rule), rule);
});

/** With what the task asks for besides, given these choices. */
function withNeeded(values: Values): Values {
  const payload = (values['payloadFrom'] ?? 'inline') === 'inline' ? 'payload' : 'payloadFile';
  const start = { sequence: 'startSequence', time: 'startTime' }[values['startFrom'] ?? ''];
  const needed = [payload, ...(start === undefined ? [] : [start])];
  return { ...Object.fromEntries(needed.map((input) => [input, SAMPLES[input] ?? ''])), ...values };
}

/** What a task says of its inputs: its warnings, and its refusal. */
function complaints(name: TaskName | typeof AGENTLESS_TASK, inputs: Values): string {
  if (name === AGENTLESS_TASK) return complaintsOfBridge(inputs);
  const variables = { 'System.PipelineStartTime': '2026-05-31 08:00:00+00:00' };
  const agent = connectedAgent({ subject: 'ci.shop.built.v1', ...inputs }, { variables });
  try {
    if (name === 'PublishNatsEvent') readPublish(agent);
    else readWait(agent);
    return agent.warnings.join('\n');
  } catch (error) {
    assert.ok(error instanceof TaskError);
    return [...agent.warnings, error.problem].join('\n');
  }
}

/** What a bridge says of the inputs of the task that has no agent. */
function complaintsOfBridge(inputs: Values): string {
  const options = { contracts: [], maxWaitMs: 86_400_000, runStart: 0, ownStreams: [] };
  try {
    return readWaitRequest({ subject: 'ci.shop.built.v1', ...inputs }, options).warnings.join('\n');
  } catch (error) {
    assert.ok(error instanceof TaskError);
    return error.problem;
  }
}
