import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withRelativePaths } from '../../../localAgent/runReport.ts';
import { resultsOf, runPipeline } from '../../support/agent/throwawayPipeline.ts';

describe('a pipeline file', () => {
  it('runs dependent jobs one after the other, and passes outputs on', async () => {
    const pipeline = await runPipeline(`
      trigger: none
      pool: { vmImage: ubuntu-latest }
      variables:
        greeting: hello
      jobs:
        - job: Second
          dependsOn: First
          variables:
            - name: heard
              value: $[ dependencies.First.outputs['say.said'] ]
            - { name: missing, value: "$[ dependencies.First.outputs['say.nothing'] ]" }
          steps:
            - checkout: self
            - bash: echo "heard $HEARD/$(heard)/$MISSING/"
        - job: First
          steps:
            - task: Sample@1
              name: say
              inputs:
                text: $(greeting) 007
    `);
    assert.equal(pipeline.result, 'Succeeded');
    assert.deepEqual(resultsOf(pipeline), ['__default.Second Succeeded', '__default.First Succeeded']);
    assert.equal(pipeline.jobs[0]!.steps[0]!.rawStdout, 'heard hello 007/hello 007//\n');
  });

  it('warns once of each misspelt output of an earlier job or stage, in variables and conditions', async () => {
    const lines: string[] = [];
    const onLine = ({ text }: { text: string }, job: string) => {
      if (text.startsWith('##[warning]')) lines.push(`${job} ${text.slice('##[warning]'.length)}`);
    };
    const pipeline = await runPipeline(
      `
      stages:
        - stage: Make
          jobs:
            - job: A
              steps: [{ task: Sample@1, name: say, inputs: { text: a } }]
            - job: B
              dependsOn: A
              variables: { said: "$[ dependencies.A.outputs['say.sayd'] ]", ok: "$[ dependencies.A.outputs['say.said'] ]" }
              condition: eq(dependencies.A.outputs['say.sayd'], 'a')
              steps: [{ script: 'true' }]
        - stage: Use
          dependsOn: Make
          condition: ne(dependencies.Make.outputs['A.sai.said'], 'b')
          jobs:
            - job: C
              variables: { said: "$[ stageDependencies.Make.A.outputs['said'] ]" }
              steps: [{ script: 'true' }]
            - { job: D, condition: "eq(dependencies.A.outputs['say.said'], 'a')", steps: [] }
            - { job: E, condition: "eq(dependencies.B.result, 'Failed')", steps: [] }
            - { job: F, condition: "eq(dependencies.Make.result, 'Failed')", steps: [] }
            - { job: G, condition: "eq(dependencies.C.result, 'Failed')", steps: [] }
      `,
      { onLine },
    );
    assert.deepEqual(resultsOf(pipeline), [
      'Make.A Succeeded',
      'Make.B Skipped',
      'Use.C Succeeded',
      ...'DEFG'.split('').map((job) => `Use.${job} Skipped`),
    ]);
    assert.deepEqual(
      lines.sort((one, other) => one.slice(0, 1).localeCompare(other.slice(0, 1))),
      [
        "B dependencies.A.outputs['say.sayd'] is empty: in job A, the step say set no output sayd. Did you mean dependencies.A.outputs['say.said']?",
        "C stageDependencies.Make.A.outputs['said'] is empty: job A set no such output. Did you mean stageDependencies.Make.A.outputs['say.said']?",
        "D dependencies.A.outputs['say.said'] is empty: A is in stage Make. Write stageDependencies.Make.A.outputs['say.said'].",
        'E dependencies.B.result is empty: B is in stage Make. Write stageDependencies.Make.B.result.',
        'F dependencies.Make.result is empty: Make is a stage. Write stageDependencies.Make.JOB.result.',
        "G dependencies.C.result is empty: the job doesn't depend on C. Add C to its dependsOn.",
        "Use dependencies.Make.outputs['A.sai.said'] is empty: in job A, no step sai has set it. Did you mean dependencies.Make.outputs['A.say.said']?",
      ],
    );
  });

  it('warns of an output whose step is in another job, has no name, or is read in the wrong place', async () => {
    const lines: string[] = [];
    const onLine = ({ text }: { text: string }, job: string) => {
      if (text.startsWith('##[warning]')) lines.push(`${job} ${text.slice('##[warning]'.length)}`);
    };
    const say = (name: string) => `{ task: Sample@1, ${name} inputs: { text: a } }`;
    const pipeline = await runPipeline(
      `
      variables: { by: "$(dependencies.Ship.outputs['say.said'])" }
      jobs:
        - job: Ship
          steps: [${say('name: say,')}, ${say('')}]
        - job: Bill
          dependsOn: Ship
          variables:
            a: $[ dependencies.Ship.outputs['said'] ]
            b: $[ dependencies.Ship.outputs['approval.said'] ]
            c: $[ dependencies.Ship.outputs['event.by'] ]
          condition: ne(dependencies.Shp.outputs['say.said'], 'b')
          steps:
            - ${say('')}
            - script: echo "##vso[task.setvariable variable=own.event.by]b"
            - script: echo '$(approval.event.by) $(order.said) $(Sample.said) $(unset.thing) $(Build.event) $(set.event.by) $(own.event.by) $(late.event.by) $(event.by)'
            - script: echo '$(say.said) $(by)'
            - { script: ':', name: late }
      `,
      { onLine, variables: { 'set.event.by': 'a' } },
    );
    assert.equal(pipeline.result, 'Succeeded');
    assert.deepEqual(lines, [
      "Bill dependencies.Ship.outputs['said'] is empty: job Ship set no such output. Did you mean dependencies.Ship.outputs['say.said']?",
      "Bill dependencies.Ship.outputs['approval.said'] is empty: in job Ship, no step is named approval. Give the step that sets it `name: approval`.",
      "Bill dependencies.Ship.outputs['event.by'] is empty: it lacks the name of the step: dependencies.Ship.outputs['STEP.event.by'].",
      "Bill dependencies.Shp.outputs['say.said'] is empty: no job Shp came before. Did you mean Ship?",
      'Bill The text keeps $(approval.event.by) as it is: no step is named approval. Give the step that sets it `name: approval`.',
      'Bill The text keeps $(order.said) as it is: no step is named order. Give the step that sets it `name: order`.',
      'Bill The text keeps $(event.by) as it is: it lacks the name of the step. Give the step that sets it a name, and write $(NAME.event.by).',
      "Bill The text keeps $(dependencies.Ship.outputs['say.said']) as it is: an output of another job comes through a variable. Add said: $[ dependencies.Ship.outputs['say.said'] ] to the variables of the job, and write $(said).",
      "Bill The text keeps $(say.said) as it is: it's an output of a step of job Ship. Add said: $[ dependencies.Ship.outputs['say.said'] ] to the variables of job Bill, and write $(said).",
    ]);
  });

  it('warns of variables in conditions that nothing has set', async () => {
    const lines: string[] = [];
    const onLine = ({ text }: { text: string }, job: string) => {
      if (text.startsWith('##[warning]')) lines.push(`${job} ${text.slice('##[warning]'.length)}`);
    };
    const say = '{ task: Sample@1, name: say, inputs: { text: a } }';
    const pipeline = await runPipeline(
      `
      variables: { region: eu }
      jobs:
        - job: A
          steps:
            - ${say}
            - { script: ':', condition: "ne(variables['say.sayd'], 'a')" }
            - { script: ':', condition: "eq(variables.regoin, 'eu')" }
            - { script: ':', condition: "eq(variables['event.by'], 'eu')" }
            - { script: ':', condition: "eq(variables.unset, 'eu')" }
            - { script: ':', condition: "or(true, eq(variables.other, 'eu'))" }
            - { script: ': changed', condition: "eq(variables.changed, 'eu')" }
            - { script: ': regions', condition: "eq(variables.regions, 'eu')" }
            - { script: ':', condition: "eq(variables['System.PullRequest.TargetBranch'], 'main')" }
            - { script: exit 1 }
            - { script: ':', condition: "and(succeeded(), eq(variables.late, 'eu'))" }
        - { job: B, condition: "eq(variables.regoin, 'eu')", steps: [] }
        - { job: C, condition: "eq(variables.unset, variables.token)", steps: [] }
        - { job: D, condition: "ne(variables.unset, 'eu')", steps: [] }
      `,
      { onLine, secrets: { token: 'abc-secret' } },
    );
    assert.equal(pipeline.result, 'Failed');
    const of = (job: string): string[] => lines.filter((line) => line.startsWith(job)).map((line) => line.slice(2));
    assert.deepEqual(of('A'), [
      "The condition reads variables['say.sayd'], which is empty: the step say set no output sayd. Did you mean variables['say.said']?",
      'The condition reads variables.regoin, which is empty: nothing has set it. Did you mean variables.region?',
      "The condition reads variables['event.by'], which is empty: it lacks the name of the step. Give the step that sets it a name, and write variables['NAME.event.by'].",
      'The condition reads variables.unset, which is empty: nothing has set it. If it comes with the run, give --variable unset=VALUE.',
    ]);
    assert.deepEqual(of('B'), [
      'The condition reads variables.regoin, which is empty: nothing has set it. Did you mean variables.region?',
    ]);
    assert.deepEqual([of('C'), of('D')], [[], []]);
  });

  it('runs independent jobs at the same time, each on its own agent', async () => {
    // Each job waits for the other's file, so neither can end before both have started.
    const meet = (mine: string, other: string): string =>
      `touch ${mine}; for i in $(seq 500); do [ -e ${other} ] && break; sleep 0.02; done; [ -e ${other} ] && echo "$SYSTEM_JOBID $AGENT_TEMPDIRECTORY $SYSTEM_PLANID"`;
    const pipeline = await runPipeline(`
      jobs:
        - job: A
          steps: [{ script: '${meet('a', 'b')}' }]
        - job: B
          steps: [{ script: '${meet('b', 'a')}' }]
    `);
    assert.equal(pipeline.result, 'Succeeded');
    const [a, b] = pipeline.jobs.map(({ steps }) => steps[0]!.rawStdout.trim().split(' '));
    assert.notEqual(a![0], b![0]);
    assert.notEqual(a![1], b![1]);
    assert.equal(a![2], b![2]);
  });

  it('runs stages in order, with conditions and outputs across stages', async () => {
    const pipeline = await runPipeline(`
      stages:
        - stage: Build
          jobs:
            - job: Make
              steps:
                - script: 'echo "##vso[task.setvariable variable=id;isOutput=true]$(Build.BuildId)"'
                  name: out
                - script: exit 1
                  continueOnError: true
        - stage: Test
          jobs:
            - job: Fails
              variables:
                id: $[ stageDependencies.Build.Make.outputs['out.id'] ]
              steps:
                - script: exit $(id)
                - script: echo never
                - script: echo mourning
                  condition: failed()
                - { script: echo off, enabled: false, condition: always() }
        - stage: Deploy
          jobs: [{ job: Never, steps: [{ script: echo never }] }]
        - stage: Clean
          dependsOn: [Test, Deploy]
          condition: always()
          jobs: [{ job: Up, steps: [{ script: echo clean }] }]
    `);
    assert.equal(pipeline.result, 'Failed');
    assert.deepEqual(resultsOf(pipeline), [
      'Build.Make SucceededWithIssues',
      'Test.Fails Failed',
      'Clean.Up Succeeded',
    ]);
    const fails = pipeline.jobs[1]!.steps;
    assert.equal(fails[0]!.exitCode, 4711 % 256);
    assert.deepEqual(
      fails.map(({ result }) => result),
      ['Failed', 'Skipped', 'Succeeded'],
    );
  });

  it('with only steps is one job, whose secrets stay secret', async () => {
    const lines: string[] = [];
    const pipeline = await runPipeline(
      `
      steps:
        - script: echo "the token is $TOKEN"
          env: { TOKEN: $(natsToken) }
      `,
      { secrets: { natsToken: 'hunter22' }, onLine: ({ text }, job) => lines.push(`${job}: ${text}`) },
    );
    assert.equal(pipeline.jobs[0]!.steps[0]!.rawStdout, 'the token is hunter22\n');
    assert.ok(lines.includes('Job: the token is ***'));
  });

  it('tells the sources folder of a job that checks out nothing, so that its paths can be shown relative', async () => {
    const lines: string[] = [];
    await runPipeline(`steps: [{ checkout: none }, { bash: 'echo "##[error]no file $PWD/b.json"' }]`, {
      onLine: ({ text }, _, sources) => lines.push(withRelativePaths(text, sources)),
    });
    assert.ok(lines.includes('##[error]no file b.json'), lines.join('\n'));
  });

  it('passes a secret output on as a secret', async () => {
    const pipeline = await runPipeline(`
      jobs:
        - job: A
          steps: [{ name: s, script: 'echo "##vso[task.setvariable variable=key;isOutput=true;isSecret=true]hush-hush"' }]
        - job: B
          dependsOn: [A]
          variables: { key: "$[ dependencies.A.outputs['s.key'] ]" }
          steps: [{ script: 'echo "[$KEY] $(key)"' }]
    `);
    assert.equal(pipeline.jobs[1]!.steps[0]!.rawStdout, '[] hush-hush\n');
    assert.match(pipeline.jobs[1]!.steps[0]!.logText, /^\[\] \*\*\*$/m);
  });

  it('is cancelled as a whole, except for clean-up jobs; a timeout cancels its own job', async () => {
    const cancel = new AbortController();
    const pipeline = await runPipeline(
      `
      jobs:
        - { job: A, steps: [{ script: "echo ready; exec sleep 30" }] }
        - { job: B, dependsOn: A, steps: [{ script: echo never }] }
        - { job: C, dependsOn: A, condition: "or(failed(), canceled())", steps: [{ script: echo cleaned }] }
      `,
      { signal: cancel.signal, onLine: ({ text }) => text === 'ready' && cancel.abort() },
    );
    assert.deepEqual(resultsOf(pipeline), ['__default.A Canceled', '__default.B Skipped', '__default.C Succeeded']);
    assert.equal(pipeline.jobs[2]!.steps[0]!.rawStdout, 'cleaned\n');
    assert.equal(pipeline.result, 'Canceled');
    const late = await runPipeline('jobs: [{ job: A, timeoutInMinutes: 0.005, steps: [{ script: exec sleep 30 }] }]');
    assert.equal(late.result, 'Canceled');
  });
});
