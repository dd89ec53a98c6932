import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it } from 'node:test';
import { misspeltJobOutput, misspeltOutputs } from '../../../localAgent/misspeltOutputs.ts';
import { readPipeline } from '../../../localAgent/pipelineSyntax.ts';
import { whyNoStepSetsIt } from '../../../localAgent/unsetOutputs.ts';

const OUTPUTS = ['wait.event.image', 'wait.event.region', 'wait.verdict', 'other.a'];
const isSet = (name: string) => [...OUTPUTS, 'wait.ofthejob'].includes(name.toLowerCase());

describe('a reference to an output', () => {
  it('that the step did not set gets one warning, with the nearest output or all of them', () => {
    assert.deepEqual(
      misspeltOutputs(
        ['$(wait.event.imag) $(wait.event.imag)', '[$(Wait.nothing)] $(wiat.event.image)'],
        OUTPUTS,
        isSet,
      ),
      [
        'The text keeps $(wait.event.imag) as it is: the step wait set no output event.imag. Did you mean $(wait.event.image)?',
        'The text keeps $(Wait.nothing) as it is: the step Wait set no output nothing. It set event.image, event.region, verdict.',
        'The text keeps $(wiat.event.image) as it is: no step wiat has set it. Did you mean $(wait.event.image)?',
      ],
    );
  });

  it('that lacks "event." gets it', () => {
    assert.deepEqual(misspeltOutputs(['$(wait.Image)'], OUTPUTS, isSet), [
      'The text keeps $(wait.Image) as it is: the step wait set no output Image. Did you mean $(wait.event.image)?',
    ]);
  });

  it('in other brackets gets the right ones, if the step has set outputs', () => {
    const texts = [
      'echo ${wait.event.image} ${wait.event.image} ${HOME} ${late.event.image}',
      '$[ Wait.verdict ] $[a.b]',
    ];
    assert.deepEqual(misspeltOutputs(texts, OUTPUTS, isSet), [
      'The text keeps ${wait.event.image} as it is. Write $(wait.event.image).',
      'The text keeps $[ Wait.verdict ] as it is. Write $(Wait.verdict).',
    ]);
  });

  it('is not reported if it is set, if its step set nothing, or if it is no reference', () => {
    const texts = ['$(wait.Verdict) $(wait.ofTheJob) $(late.event.image) $(seq 5) $(wait) $(date +%s.%N) $(ls wait.x)'];
    assert.deepEqual(misspeltOutputs(texts, OUTPUTS, isSet), []);
    assert.deepEqual(misspeltOutputs(['$(wait.other) $(elsewhere.event.image)'], [], isSet), []);
  });

  it('gets a list of at most twenty outputs, with their names neutralised', () => {
    const [warning = ''] = misspeltOutputs(
      ['$(s.none)'],
      Array.from({ length: 30 }, (_, index) => `s.\u001b[1moutput${index}`),
      isSet,
    );
    assert.match(warning, /output19, …\.$/);
    assert.ok(!warning.includes('\u001b'));
  });
});

describe('a reference to a value of the event', () => {
  it('that the step has no line for gets that line', () => {
    const whyUnset = (inputs: string, output: string): string | undefined => {
      const yaml = `steps: [{ task: WaitForNatsEvent@0, name: w, inputs: { subject: ci.a${inputs} } }]`;
      const { stages } = readPipeline(yaml);
      const [stage] = stages;
      const extension = path.join(import.meta.dirname, '../../../tasks');
      const reading = { stages, stage: stage!, job: stage!.jobs[0]!, extension };
      return whyNoStepSetsIt(`w.${output}`, reading, (name) => `$(${name})`);
    };
    const advice = 'the step w has no line for it in its outputs. Add one, such as by=data.by.';
    for (const inputs of ['', ', outputs: image=data.image', ', Outputs: "a=data.a\\nb=data.b"'])
      assert.equal(whyUnset(inputs, 'event.by'), advice);
    for (const [inputs, output] of [
      [', outputs: "By = data.by"', 'event.by'],
      [', outputs: image=data.image', 'event.imag'],
      [', outputs: $(all)', 'event.by'],
      ['', 'verdict'],
      ['', 'verdit'],
    ] as const)
      assert.equal(whyUnset(inputs, output), undefined);
  });
});

describe("a reference to another job's output", () => {
  const outputs = (outputPrefix: string) => [{ outputPrefix, outputs: new Map(OUTPUTS.map((name) => [name, ''])) }];
  const written = (name: string) => `dependencies.A.outputs['${name}']`;

  it('that nothing has set gets the one that is meant', () => {
    for (const [prefix, variable, warning] of [
      ['', 'wait.event.imag', 'in job A, the step wait set no output event.imag. Did you mean wait.event.image?'],
      ['', 'wait.nothing', 'in job A, the step wait set no output nothing. It set event.image, event.region, verdict.'],
      ['', 'wiat.verdict', 'in job A, no step wiat has set it. Did you mean wait.verdict?'],
      ['', 'verdict', 'job A set no such output. Did you mean wait.verdict?'],
      ['', 'event.image', 'it lacks the name of the step. Did you mean wait.event.image?'],
      ['A.', 'A.wait.verdit', 'in job A, the step wait set no output verdit. Did you mean A.wait.verdict?'],
      ['A.', 'wait.verdict', 'job A set no such output. Did you mean A.wait.verdict?'],
      ['eu.', 'ue.wait.verdict', 'job A set no such output. Did you mean eu.wait.verdict?'],
    ] as const)
      assert.equal(
        misspeltJobOutput({ job: 'A', variable, written, outputs: outputs(prefix) }),
        `${written(variable)} is empty: ${warning.replace(/(?<=mean ).*(?=\?)/, written)}`,
      );
  });

  it('is left alone when the job or the step set nothing', () => {
    assert.equal(misspeltJobOutput({ job: 'A', variable: 'wait.event.imag', written, outputs: [] }), undefined);
    for (const variable of ['late.event.image', 'late'])
      assert.equal(misspeltJobOutput({ job: 'A', variable, written, outputs: outputs('') }), undefined);
  });
});
