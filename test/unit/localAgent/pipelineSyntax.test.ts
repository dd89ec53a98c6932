import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { resultsOf, runPipeline } from '../../support/agent/throwawayPipeline.ts';

describe('a pipeline file', () => {
  it('runs a matrix job per key, and a deployment, with the outputs of both', async () => {
    const pipeline = await runPipeline(`
      variables: { tag: v1 }
      jobs:
        - job: Build
          strategy:
            matrix:
              eu: { region: west }
              us: { region: east }
          steps: [{ task: Sample@1, name: say, inputs: { text: $(tag) $(region) $(System.PhaseName) $(System.JobName) } }]
        - deployment: Deploy
          dependsOn: Build
          environment: production
          variables: { us: "$[ dependencies.Build.outputs['us.say.said'] ]" }
          strategy:
            runOnce:
              deploy:
                steps:
                  - script: ls
                  - { task: Sample@1, name: say, inputs: { text: "[$(us)]" } }
        - job: After
          dependsOn: Deploy
          variables: { said: "$[ dependencies.Deploy.outputs['Deploy.say.said'] ]" }
          steps: [{ script: echo "$SAID" }]
    `);
    assert.deepEqual(resultsOf(pipeline), [
      '__default.Build eu Succeeded',
      '__default.Build us Succeeded',
      '__default.Deploy Succeeded',
      '__default.After Succeeded',
    ]);
    // A deployment has no sources unless it checks them out itself.
    assert.equal(pipeline.jobs[2]!.steps[0]!.rawStdout, '');
    assert.equal(pipeline.jobs[3]!.steps[0]!.rawStdout, '[v1 east Build us]\n');
  });

  it('has conditions on variables, outputs and results', async () => {
    const pipeline = await runPipeline(
      `
      stages:
        - stage: Ask
          jobs:
            - job: A
              steps:
                - { task: Sample@1, name: say, inputs: { text: Yes } }
                - { script: echo said, condition: "and(succeeded(), eq(variables['say.said'], 'yes'))" }
                - { script: echo never, condition: "ne(variables.branch, 'MAIN')" }
            - { job: B, dependsOn: A, condition: "eq(dependencies.A.outputs['say.said'], 'no')", steps: [{ script: 'true' }] }
            - { job: C, dependsOn: [A, B], steps: [{ script: 'true' }] }
            - { job: D, dependsOn: B, condition: "in(dependencies.B.result, 'Skipped')", steps: [{ script: exit 1 }] }
            - { job: E, dependsOn: D, condition: "and(failed('D'), not(succeeded()))", steps: [{ script: 'true' }] }
        - stage: Act
          condition: and(failed(), eq(dependencies.Ask.outputs['A.say.said'], 'Yes'))
          jobs:
            - { job: F, condition: "eq(stageDependencies.Ask.A.outputs['say.said'], 'Yes')", steps: [{ script: 'true' }] }
            - { job: G, dependsOn: F, condition: "or(failed(), canceled())", steps: [{ script: 'true' }] }
      `,
      { variables: { Branch: 'main' } },
    );
    assert.deepEqual(
      resultsOf(pipeline).map((text) => text.replace(/^\w+\./, '')),
      ['A Succeeded', 'B Skipped', 'C Skipped', 'D Failed', 'E Succeeded', 'F Succeeded', 'G Skipped'],
    );
    assert.deepEqual(
      pipeline.jobs[0]!.steps.map(({ result }) => result),
      ['Succeeded', 'Succeeded', 'Skipped'],
    );
  });

  it("has conditions on the file's and the run's variables", async () => {
    const pipeline = await runPipeline(`
      variables: { environment: test }
      stages:
        - stage: A
          condition: and(succeeded(), eq(variables.environment, 'test'), eq(variables['Build.Reason'], 'Manual'))
          jobs:
            - { job: B, condition: "eq(variables['Build.SourceBranch'], 'refs/heads/main')", steps: [{ script: 'true' }] }
            - { job: C, condition: "ne(variables['Build.SourceBranchName'], 'main')", steps: [{ script: 'true' }] }
    `);
    assert.deepEqual(resultsOf(pipeline), ['A.B Succeeded', 'A.C Skipped']);
  });

  it('is refused if it lacks the step to inspect', async () => {
    const inspect = { step: 'publish', port: 0 };
    await assert.rejects(runPipeline('steps: [{ script: a, name: publish }]', { inspect }), /No step of a task/);
  });

  it('judges all earlier jobs, not only those that a job depends on directly', async () => {
    const pipeline = await runPipeline(`
      jobs:
        - { job: A, steps: [{ script: exit 1 }] }
        - { job: B, dependsOn: A, condition: always(), steps: [{ script: 'true' }] }
        - { job: C, dependsOn: B, steps: [{ script: 'true' }] }
        - { job: D, dependsOn: B, condition: failed(), steps: [{ script: 'true' }] }
    `);
    assert.deepEqual(
      pipeline.jobs.map(({ result }) => result),
      ['Failed', 'Succeeded', 'Skipped', 'Succeeded'],
    );
  });

  it('has parameters, whose values are checked, and expanded only once', async () => {
    const yaml = `
      parameters:
        - { name: after, type: number }
        - { name: dry, type: boolean, default: false }
        - { name: region, default: eu, values: [eu, us] }
        - { name: note, default: '' }
      steps:
        - script: echo "\${{ parameters.after }} \${{parameters.dry}} \${{ parameters.region }} $NOTE"
          env: { NOTE: "\${{ parameters.note }}" }
    `;
    const pipeline = await runPipeline(yaml, { parameters: { after: '7', note: '${{ parameters.after }}' } });
    assert.equal(pipeline.jobs[0]!.steps[0]!.rawStdout, '7 False eu ${{ parameters.after }}\n');
    await assert.rejects(runPipeline(yaml), /A value for the 'after' parameter must be provided/);
    await assert.rejects(runPipeline(yaml, { parameters: { after: 'x' } }), /'after' is not a valid number/);
    await assert.rejects(
      runPipeline(yaml, { parameters: { after: '1', region: 'mars' } }),
      /'region' .* not an allowed value/,
    );
    await assert.rejects(runPipeline(yaml, { parameters: { after: '1', other: '' } }), /Unexpected parameter 'other'/);
  });

  it('checks out other repositories, alone or next to its own', async () => {
    const contracts = temporaryFolder('contracts-');
    writeFileSync(path.join(contracts, 'order.json'), '{}');
    const yaml = `
      resources:
        repositories:
          - { repository: shared, type: git, name: platform/contracts, ref: refs/tags/v1 }
      jobs:
        - { job: None, steps: [{ checkout: none }, { script: ls }] }
        - { job: One, steps: [{ checkout: shared, fetchDepth: 1 }, { script: ls }] }
        - { job: Both, steps: [{ checkout: self }, { checkout: shared }, { script: 'ls contracts; ls | wc -l' }] }
    `;
    const pipeline = await runPipeline(yaml, { repositories: { shared: contracts } });
    assert.deepEqual(
      pipeline.jobs.map(({ steps }) => steps[0]!.rawStdout),
      ['', 'order.json\n', 'order.json\n2\n'],
    );
    await assert.rejects(runPipeline(yaml), /checkout: shared, but no folder is given/);
  });

  it('lists what only Azure Pipelines can run before it starts, and skips that if asked to', async () => {
    const yaml = `
      steps:
        - { task: AzureKeyVault@2, displayName: Fetch secrets, inputs: { KeyVaultName: shop } }
        - { script: echo ran }
        - { publish: out, artifact: x }
        - download: none
    `;
    const lines: string[] = [];
    const onLine = ({ text }: { text: string }): unknown => lines.push(text);
    await assert.rejects(
      runPipeline(yaml, { onLine }),
      /job Job: AzureKeyVault@2 "Fetch secrets"\n {2}job Job: publish$/,
    );
    assert.deepEqual(lines, []);
    const skipped: string[] = [];
    const pipeline = await runPipeline(yaml, { skipOtherTasks: true, onSkip: ({ task }) => skipped.push(task) });
    assert.deepEqual(skipped, ['AzureKeyVault@2', 'publish']);
    assert.deepEqual(
      pipeline.jobs[0]!.steps.map(({ rawStdout }) => rawStdout),
      ['ran\n'],
    );
  });

  for (const [what, yaml, problem] of [
    ['a template expression', 'steps: [{ script: "echo ${{ parameters.x }}" }]', /template expression/],
    ['a template', 'steps: [{ template: a.yml }]', /job Job: a step with the keys template/],
    ['jobs in parallel', 'jobs: [{ job: A, strategy: { parallel: 2 }, steps: [] }]', /job A: "parallel"/],
    ['a rolling deployment', 'jobs: [{ deployment: A, strategy: { rolling: {} } }]', /job A: "rolling"/],
    ['a hook', 'jobs: [{ deployment: A, strategy: { runOnce: { on: {} } } }]', /job A: "on"/],
    ['an unknown function', 'steps: [{ script: a, condition: "xor(true, true)" }]', /condition: xor\(true, true\)/],
    [
      "an object's built-in property as a function",
      'steps: [{ script: a, condition: constructor() }]',
      /condition: constructor/,
    ],
    ...(
      [
        ["eq(order.verdict, 'a.b')", "eq(variables['order.verdict'], 'a.b')"],
        ['eq(variables["order.verdict"], "matched")', "eq(variables['order.verdict'], 'matched')"],
      ] as const
    ).map(
      ([written, meant]) =>
        [
          `the condition ${written} of a step`,
          `steps:\n- script: a\n  condition: ${written}`,
          ({ message }: Error) =>
            message ===
              `azure-pipelines.yml:3:3: The condition of a step of job Job has a mistake: ${written}. Write condition: ${meant}` ||
            assert.fail(message),
        ] as const,
    ),
    [
      'an output of a step in the condition of a job',
      `jobs: [{ job: A, condition: "eq(order.verdict, 'a')" }]`,
      /Not supported in job A: condition: eq\(order\.verdict, 'a'\)$/,
    ],
    ...(
      [
        ["dependencies.P.output['s.v']", "Write $[ dependencies.P.outputs['s.v'] ]"],
        ['dependencies.P.outputs["s.v"]', "Write $[ dependencies.P.outputs['s.v'] ]"],
        ["stageDependencies.P.outputs['s.v']", "Write $[ dependencies.P.outputs['s.v'] ]"],
        ["stageDependencies.Q.outputs['s.v']", "Q is in stage A. Write $[ stageDependencies.A.Q.outputs['s.v'] ]."],
        ["stageDependencies.R.outputs['s.v']", "Write $[ stageDependencies.STAGE.R.outputs['s.v'] ]"],
      ] as const
    ).map(
      ([written, remedy]) =>
        [
          `the variable $[ ${written} ]`,
          `stages:
  - { stage: A, jobs: [{ job: Q }] }
  - stage: B
    jobs:
      - job: P
      - job: S
        dependsOn: P
        variables:
          a: $[ ${written} ]`,
          ({ message }: Error) =>
            message.endsWith(`yml:9:11: The variables of job S have a mistake: $[ ${written} ]. ${remedy}`) ||
            assert.fail(message),
        ] as const,
    ),
    [
      'a template expression that names an output',
      'steps: [{ script: a, name: order }, { script: "${{ order.event.by }}" }]',
      /\}\}\. An output is known only when the run reaches it: write \$\(order\.event\.by\)\.$/,
    ],
    ['half a condition', 'steps: [{ script: a, condition: "and(succeeded(), eq(1" }]', /condition: and/],
    ['a text after a condition', 'steps: [{ script: a, condition: "succeeded() x" }]', /condition: succeeded/],
    [
      'a job in the condition of a step',
      'steps: [{ script: a, condition: "eq(dependencies.A.result, 1)" }]',
      /condition/,
    ],
    ['a checkout of an unknown repository', 'steps: [{ checkout: other }]', /declares no such repository/],
    ['a template of variables', 'variables: [{ template: a.yml }]\nsteps: []', /"template"/],
    ['an unsupported expression', 'jobs: [{ job: A, variables: { a: "$[ counter(1) ]" }, steps: [] }]', /counter/],
    [
      'an output of a job it does not depend on',
      `jobs: [{ job: A, steps: [] }, { job: B, variables: { a: "$[ dependencies.A.outputs['s.v'] ]" }, steps: [] }]`,
      /job B doesn't depend on a job A\. Add A to the job's dependsOn\.$/,
    ],
    [
      'an output of a job it does not depend on, in a list of variables',
      `jobs: [{ job: B, variables: [{ name: a, value: "$[ dependencies.A.outputs['s.v'] ]" }] }]`,
      /yml:1:41: .*job B doesn't depend on a job A\./,
    ],
    [
      'an output of a misspelt job',
      `jobs: [{ job: Ship, steps: [] }, { job: B, dependsOn: Ship, variables: { a: "$[ dependencies.Shp.outputs['s.v'] ]" }, steps: [] }]`,
      /job B doesn't depend on a job Shp\. Did you mean Ship\?$/,
    ],
    ...(
      [
        [
          'a job of another stage',
          "dependencies.P.outputs['s.v']",
          '',
          "P is in stage A. Write $[ stageDependencies.A.P.outputs['s.v'] ].",
        ],
        [
          'a stage',
          "dependencies.A.outputs['P.s.v']",
          '',
          "A is a stage. Write $[ stageDependencies.A.P.outputs['s.v'] ].",
        ],
        [
          'a job of a stage it does not depend on',
          "dependencies.P.outputs['s.v']",
          'dependsOn: [], ',
          "P is in stage A. Write $[ stageDependencies.A.P.outputs['s.v'] ]. Add A to the dependsOn of stage B.",
        ],
        [
          'a job of a later stage',
          "dependencies.R.outputs['s.v']",
          '',
          "R is in stage C. It comes after stage B, so this can't read its outputs.",
        ],
      ] as const
    ).map(
      ([what, reference, dependsOn, remedy]) =>
        [
          `an output of ${what} as if it were in the same one`,
          `stages:
  - { stage: A, jobs: [{ job: P, steps: [] }] }
  - { stage: B, ${dependsOn}jobs: [{ job: Q, variables: { a: "$[ ${reference} ]" }, steps: [] }] }
  - { stage: C, jobs: [{ job: R, steps: [] }] }`,
          ({ message }: Error) => message.endsWith(`has no value: ${remedy}`) || assert.fail(message),
        ] as const,
    ),
    [
      'an output among the variables of the file',
      `variables: { a: "$[ dependencies.A.outputs['s.v'] ]" }\njobs: [{ job: A, steps: [] }]`,
      /put it into the variables of the job that uses it\.$/,
    ],
    [
      'an unknown dependency',
      'jobs: [{ job: A, dependsOn: Nobody, steps: [] }]',
      /yml:1:18: job A depends on "Nobody", which doesn't exist\.$/,
    ],
    [
      'a misspelt dependency, told before what reads its outputs',
      `jobs: [{ job: Await, steps: [] }, { job: B, dependsOn: Awat, variables: { a: "$[ dependencies.Await.outputs['s.v'] ]" } }]`,
      /yml:1:45: job B depends on "Awat", which doesn't exist\. Did you mean Await\?$/,
    ],
    [
      'a misspelt dependency of a stage',
      'stages: [{ stage: Make, jobs: [] }, { stage: B, dependsOn: Mke, jobs: [] }]',
      /yml:1:49: stage B depends on "Mke", which doesn't exist\. Did you mean Make\?$/,
    ],
    [
      'a dependency on a job of another stage',
      'stages: [{ stage: S, jobs: [{ job: A, steps: [] }] }, { stage: T, jobs: [{ job: B, dependsOn: A }] }]',
      /yml:1:84: job B depends on "A", which doesn't exist in stage T\.$/,
    ],
    [
      'a circle',
      `jobs:\n- { job: A, dependsOn: B }\n- { job: B, dependsOn: C }\n- { job: C, dependsOn: [D, B] }\n- { job: D }`,
      /yml:3:13: The jobs B → C → B wait for each other\. Take one out of a dependsOn\.$/,
    ],
    [
      'a stage that depends on itself',
      'stages: [{ stage: A, dependsOn: A, jobs: [] }]',
      /yml:1:22: stage A depends on itself\. Take one out of a dependsOn\.$/,
    ],
    [
      'two jobs with the same name',
      'jobs: [{ job: A }, { job: A }]',
      /yml:1:20: Two jobs are named A\. Give this one another name\.$/,
    ],
    [
      'two steps with the same name',
      'steps: [{ script: a, name: x }, { script: b, name: x }]',
      /yml:1:46: In job Job two steps are named x\. Give this one another name\.$/,
    ],
    [
      'a step whose name has a hyphen',
      'steps: [{ script: a, name: announce-it }]',
      /yml:1:22: job Job: A step can't have the name "announce-it"\. Use letters, .* underscores\. Write announce_it\.$/,
    ],
    ['a list as a parameter', 'parameters: [{ name: a, type: object, default: b }]\nsteps: []', /type: object/],
    ['an unknown key of a step', 'steps: [{ script: a, failOnStderr: true }]', /"failOnStderr"/],
    [
      'an input that needs quotes to be text',
      'steps: [{ task: Sample@1, inputs: { text: { "a": 1 } } }]',
      /In text of a step of job Job, text was expected instead of \{"a":"1"\}\. Text that begins with \{ needs quotes around it: '\{ "a": 1 \}'/,
    ],
    ['an alias', 'steps: [&a { script: a }, *a]', /"&a" as an anchor/],
  ] as const) {
    it(`is refused with ${what}`, async () => {
      await assert.rejects(runPipeline(yaml), problem);
    });
  }
});
