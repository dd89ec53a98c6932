import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { PipelineFileOptions } from '../../../localAgent/index.ts';
import { type End, LostSenders } from '../../../localAgent/lostSenders.ts';
import { readPipeline } from '../../../localAgent/pipelineSyntax.ts';
import { usesOf } from '../../../localAgent/pipelineUses.ts';
import { pipelineWarnings } from '../../../localAgent/pipelineWarnings.ts';
import { throwawayExtension } from '../../support/agent/throwawayExtension.ts';
import { runPipeline } from '../../support/agent/throwawayPipeline.ts';

/** The problems of a pipeline, without the name of its file. */
async function problemsOf(yaml: string, options: Partial<PipelineFileOptions> = {}): Promise<string> {
  let problems = '';
  await assert.rejects(runPipeline(yaml, options), ({ message }: Error) => {
    problems = message.replaceAll('azure-pipelines.yml:', '');
    return true;
  });
  return problems;
}

describe('a step with a mistake', () => {
  it('gets a list of its unknown inputs, each with the nearest one', async () => {
    const yaml = 'steps:\n- { task: Sample@1, inputs: { txt: a, Text: b } }\n- { task: Sample@1, inputs: { zz: a } }';
    assert.equal(
      await problemsOf(yaml),
      '2:31: job Job: The task Sample has no input "txt". Did you mean text?\n' +
        '3:31: job Job: The task Sample has no input "zz". Its inputs are text, connection.',
    );
  });

  it('gets the inputs that have the same words as an unknown one', async () => {
    const inputs = ['natsConnection', 'schemaFile', 'replySchemaFile', 'timeout'].map((name) => ({
      name,
      type: 'string',
    }));
    const extension = throwawayExtension('', { inputs });
    const given = ['schema', 'timeoutInMinutes', 'natsServiceConnection', 'connection', 'match'];
    const yaml = `steps:\n${given.map((name) => `- { task: Sample@1, inputs: { ${name}: a } }\n`).join('')}`;
    assert.deepEqual(
      (await problemsOf(yaml, { extension })).split('\n').map((line) => line.replace(/^.* has no input /, '')),
      [
        '"schema". Did you mean schemaFile or replySchemaFile?',
        '"timeoutInMinutes". Did you mean timeout?',
        '"natsServiceConnection". Did you mean natsConnection?',
        '"connection". Did you mean natsConnection?',
        '"match". Its inputs are natsConnection, schemaFile, replySchemaFile, timeout.',
      ],
    );
  });

  it('gets the name of the nearest task, even if other tasks are skipped', async () => {
    for (const [task, problem] of [
      ['Sampel@1', '"Sampel@1" does not exist'],
      ['Sample@7', '"Sample@7" does not exist'],
      ['sample@1', '"sample@1" does not exist'],
      ['Sample', '"Sample" has no version'],
    ] as const) {
      await assert.rejects(runPipeline(`steps: [{ task: ${task} }]`, { skipOtherTasks: true }), {
        message: `azure-pipelines.yml:1:11: job Job: The task ${problem}. Did you mean Sample@1?`,
      });
    }
    assert.match(await problemsOf('steps: [{ task: Other@1 }]'), /^Only Azure Pipelines itself/);
  });

  it('gets a problem shared by all jobs of a matrix only once', async () => {
    const matrix = '{ a: { x: 1 }, b: { x: 2 } }';
    assert.equal(
      await problemsOf(`jobs: [{ job: A, strategy: { matrix: ${matrix} }, steps: [{ task: Sampl@1 }] }]`),
      '1:80: job A: The task "Sampl@1" does not exist. Did you mean Sample@1?',
    );
  });

  it('gets advice on where its inputs belong if they are not indented', async () => {
    const yaml =
      'steps:\n  - task: Sample@1\n    inputs:\n    text: a\n    conection: b\n    conditon: c\n    whatever: d\n';
    assert.equal(
      await problemsOf(yaml),
      '4:5: job Job: "text" and "conection" stand beside "task:", where a step takes no inputs. Write inputs below "inputs:", indented further than it is.\n' +
        '6:5: job Job: A step has no key "conditon". Did you mean condition?\n' +
        '7:5: job Job: A step has no key "whatever".',
    );
    assert.match(
      await problemsOf('steps:\n  - task: AzureKeyVault@2\n    KeyVaultName: a\n'),
      /^3:5: job Job: "KeyVaultName" stands beside "task:"/,
    );
  });

  it('gets a list of its missing required inputs before any other step begins', async () => {
    const inputs = ['connection', 'subject', 'delivery', 'note'].map((name) => ({
      name,
      type: 'string',
      required: name !== 'note',
      ...(name === 'delivery' && { defaultValue: 'core' }),
    }));
    const extension = throwawayExtension('', { inputs });
    const yaml = `steps:
      - script: exit 1
      - task: Sample@1
      - { task: Sample@1, inputs: { subject: ' ', Connection: $(later) } }
      - { task: Sample@1, inputs: { conection: a, subject: b } }
      - { task: Sample@1, inputs: { connection: a, subject: b } }`;
    assert.equal(
      await problemsOf(yaml, { extension }),
      '3:9: job Job: Sample@1 requires the inputs "connection" and "subject". Write them below "inputs:".\n' +
        '4:11: job Job: Sample@1 requires the input "subject". Write it below "inputs:".\n' +
        '5:37: job Job: The task Sample has no input "conection". Did you mean connection?',
    );
  });

  it('gets the name of the nearest connection, or how to give one, once for all steps', async () => {
    const step = '  - task: Sample@1\n    inputs:\n      connection: nats-ci\n';
    const yaml = `steps:\n${step}${step}`;
    const problem =
      'azure-pipelines.yml:4:7: job Job: The step references service connection nats-ci which could not be found.';
    await assert.rejects(runPipeline(yaml, { connections: { 'nats-cy': { url: 'nats://h', scheme: 'None' } } }), {
      message: `${problem} Did you mean nats-cy?`,
    });
    await assert.rejects(runPipeline(yaml), {
      message: `${problem} Give --connection nats-ci=nats://HOST:4222, or let --nats start a server for it.`,
    });
  });

  it('may name only one connection in an input', async () => {
    assert.equal(
      await problemsOf('steps: [{ task: Sample@1, inputs: { connection: "nats-orders, nats-ci" } }]'),
      '1:37: job Job: connection takes one service connection, and "nats-orders, nats-ci" names 2. Write one of them.',
    );
  });

  it('must name its connection before the run', async () => {
    const step = (connection: string): string => `- { task: Sample@1, inputs: { connection: ${connection} } }\n`;
    const yaml = `jobs:
- { job: A, steps: [{ script: 'true', name: s }] }
- job: B
  dependsOn: A
  variables: { fixed: nats-ci, later: "$[ dependencies.A.outputs['s.v'] ]" }
  steps:
${['$(fixed)', '$(later)', 'nats-$(env)', '$(queued)'].map((name) => `  ${step(name)}`).join('')}`;
    const problem = (macro: string, variable: string): string =>
      `job B: Azure Pipelines looks up service connections before the run, when ${macro} has no value. Write the connection's name, or set ${variable} among the file's variables. If it is set when the run is queued, give --variable ${variable}=NAME.`;
    const connections = { 'nats-ci': { url: 'nats://h', scheme: 'None' } };
    assert.equal(
      await problemsOf(yaml, { connections, variables: { queued: 'nats-ci' } }),
      `8:33: ${problem('$(later)', 'later')}\n9:33: ${problem('$(env)', 'env')}`,
    );
  });
});

describe('a wait for an event that no step publishes in time', () => {
  const ROOT = path.join(import.meta.dirname, '../../..');
  /** The tasks have no version before they're packed. */
  const warnings = (yaml: string): string[] => {
    const pipeline = readPipeline(yaml.replaceAll('Event@1', 'Event@0'), {}, 'a.yml');
    const uses = usesOf(pipeline.stages, path.join(ROOT, 'tasks'));
    return pipelineWarnings(pipeline, uses).map(({ job, text }) => `${job} ${text}`);
  };
  const wait = (more = '', subject = 'ci.a.v1', step = ''): string =>
    `{ task: WaitForNatsEvent@1, ${step} inputs: { natsConnection: n, subject: ${subject}, ${more} } }`;
  const publish = (subject = 'ci.a.v1'): string =>
    `{ task: PublishNatsEvent@1, inputs: { natsConnection: n, subject: ${subject}, payload: '1' } }`;
  const job = (name: string, dependsOn: string, ...steps: string[]): string =>
    `- { job: ${name}, dependsOn: [${dependsOn}], steps: [${steps.join(', ')}] }\n`;

  it('is named with the step that publishes, and what to change', () => {
    assert.deepEqual(warnings(`steps:\n- ${wait('timeout: 2m')}\n- ${publish()}\n`), [
      'Job a.yml:2:5: This wait for "ci.a.v1" takes its whole timeout of 2m unless the event comes from elsewhere: in this file, only job Job publishes it (a.yml:3:5), after the wait. Let a job that runs beside the wait publish it. If an event from before this run will do, set startFrom.',
    ]);
    for (const yaml of [
      `jobs:\n${job('A', '', wait())}${job('B', 'A')}${job('C', 'B', publish())}`,
      `stages:\n- { stage: S, jobs: [{ job: A, steps: [${wait()}] }] }\n- { stage: T, jobs: [{ job: A, steps: [${publish()}] }] }`,
      `jobs: [{ job: A, strategy: { matrix: { a: { x: 1 }, b: { x: 2 } } }, steps: [${wait()}, ${publish()}] }]`,
    ])
      assert.match(
        warnings(yaml).join('\n'),
        /^A a\.yml:\d+:\d+: This wait .* its whole timeout of 30m .*startFrom\.$/,
      );
  });

  /** What is said while the steps of these jobs end so, a wait beginning with `begin`. */
  const saidOf = (
    yaml: string,
    ends: readonly (readonly [job: string, index: number, end: End | 'begin'])[],
  ): string[] => {
    const { stages } = readPipeline(yaml.replaceAll('Event@1', 'Event@0'), {}, 'a.yml');
    const said: string[] = [];
    const warn = (job: string, text: string): unknown => said.push(`${job} ${text}`);
    const senders = new LostSenders(stages, usesOf(stages, path.join(ROOT, 'tasks')), warn);
    for (const [name, index, end] of ends) {
      const found = stages.flatMap(({ jobs }) => jobs).find((one) => one.name === name)!;
      if (end === 'begin') senders.begin(found, found.steps[index]!);
      else senders.end(found, found.steps[index]!, end);
    }
    return said;
  };
  const beside = (...others: string[]): string =>
    `variables: { x: a }\njobs:\n${job('A', '', publish('ci.$(x).v1'), ...others)}${job('B', '', wait())}`;

  it('is named once none of the steps that publish it has worked', () => {
    const problem =
      'B a.yml:4:38: This wait for "ci.a.v1" takes its whole timeout of 30m unless the event comes from elsewhere: nothing in this file publishes it any more: the step of job A';
    for (const [ends, end] of [
      [
        [
          ['A', 0, 'failed'],
          ['B', 0, 'begin'],
        ],
        'failed (a.yml:3:38)',
      ],
      [
        [
          ['B', 0, 'begin'],
          ['A', 0, 'skipped'],
          ['A', 0, 'skipped'],
        ],
        'was skipped (a.yml:3:38)',
      ],
    ] as const)
      assert.deepEqual(saidOf(beside(), ends), [`${problem} ${end}. Ctrl+C ends the run.`]);
    const named = publish().replace('Event@1,', 'Event@1, displayName: Announce,');
    assert.match(
      saidOf(beside(named, '{ script: a }'), [
        ['B', 0, 'begin'],
        ['A', 0, 'failed'],
        ['A', 1, 'skipped'],
        ['A', 2, 'done'],
      ]).join('\n'),
      /: the step of job A failed \(.*\) and the step "Announce" of job A was skipped \(a\.yml:3:\d+\)\. Ctrl/,
    );
  });

  it("isn't given up while a step may still send the event, or may have sent it", () => {
    for (const [yaml, ends] of [
      [
        beside(),
        [
          ['A', 0, 'done'],
          ['B', 0, 'begin'],
        ],
      ],
      [beside(), [['A', 0, 'failed']]],
      [
        beside(),
        [
          ['B', 0, 'begin'],
          ['B', 0, 'done'],
          ['A', 0, 'failed'],
        ],
      ],
      [
        beside(publish()),
        [
          ['B', 0, 'begin'],
          ['A', 0, 'failed'],
        ],
      ],
      [
        beside(publish('ci.$(y).v1')),
        [
          ['B', 0, 'begin'],
          ['A', 0, 'failed'],
        ],
      ],
      [
        beside('{ script: a }'),
        [
          ['B', 0, 'begin'],
          ['A', 0, 'failed'],
        ],
      ],
      [
        beside('{ script: nats pub ci.a.v1 }'),
        [
          ['B', 0, 'begin'],
          ['A', 0, 'failed'],
          ['A', 1, 'failed'],
        ],
      ],
      [
        `jobs:\n${job('A', '', publish('ci.b.v1'))}${job('B', '', wait())}`,
        [
          ['B', 0, 'begin'],
          ['A', 0, 'failed'],
        ],
      ],
    ] as const)
      assert.deepEqual(saidOf(yaml, ends), [], yaml);
  });

  it("isn't suspected where the event may come in time, or none is needed", () => {
    const matrix = 'strategy: { matrix: { a: { x: 1 }, b: { x: 2 } } }';
    const some = `condition: "eq(variables['x'], 1)",`;
    for (const yaml of [
      `steps: [${publish()}, ${wait()}, ${publish()}]`,
      `jobs:\n${job('A', '', wait(), publish())}${job('B', '', publish())}`,
      `jobs:\n${job('A', '', wait())}${job('B', '', publish('ci.$(x).v1'))}${job('C', 'A', publish())}`,
      `steps: [{ script: nats pub ci.a.v1 }, ${wait()}, ${publish()}]`,
      `steps: [${wait()}, ${publish('ci.b.v1')}]`,
      ...['startFrom: all', 'onTimeout: succeed'].map((more) => `steps: [${wait(more)}, ${publish()}]`),
      ...['ci.*.v1', 'ci.$(x).v1'].map((subject) => `steps: [${wait('', subject)}, ${publish(subject)}]`),
      `jobs: [{ job: A, ${matrix}, steps: [${wait('', 'ci.a.v1', some)}, ${publish()}] }]`,
    ])
      assert.deepEqual(warnings(yaml), [], yaml);
    const files = readdirSync(path.join(ROOT, 'examples')).filter((file) => /(?<!bridge)\.yml$/.test(file));
    const examples = files.map((name) => readFileSync(path.join(ROOT, 'examples', name), 'utf8'));
    // Some parameters have no default.
    for (const yaml of examples.filter((text) => !/^parameters:/m.test(text))) assert.deepEqual(warnings(yaml), []);
  });
});
