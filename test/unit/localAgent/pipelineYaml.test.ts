import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseYaml, placeOf } from '../../../localAgent/pipelineYaml.ts';
import { readPipeline } from '../../../localAgent/pipelineSyntax.ts';

/** A step with this line, which is line 4 and starts at column 9. */
function stepWith(line: string): string {
  return `steps:\n  - task: Sample@1\n    inputs:\n        ${line}\n        text: a\n`;
}

describe('the text of a pipeline file', () => {
  for (const [line, problem] of [
    ['match: !(data.draft)', `:4:16: YAML reads "!\\(data.draft\\)" as a tag, .* Write match: '!\\(data\\.draft\\)'$`],
    ["match: !(a == 'b')   # not b", `:4:16: YAML reads "!\\(a" as a tag, .* Write match: '!\\(a == ''b''\\)'$`],
    ['match: !draft && ok', `:4:16: YAML reads "!draft" as a tag, .* Write match: '!draft && ok'$`],
    ["match: !contains(tags, 'x')", `:4:16: YAML reads "!contains.* Write match: '!contains\\(tags, ''x''\\)'$`],
    ['match: &draft', `:4:16: YAML reads "&draft" as an anchor, .* Write match: '&draft'$`],
    ['outputs: by: data.by', `:4:\\d+: .* Write outputs: by=data\\.by$`],
    ['match: *', `:4:16: .* Write match: '\\*'$`],
    ['match: *draft', `:4:16: YAML reads "\\*draft" as an alias, .* Write match: '\\*draft'$`],
    ['match: [a, !(b)]', `:4:20: YAML reads "!\\(b\\)\\]" as a tag, .* put it in quotes\\.$`],
    ['more: { match: !(b) }', `:4:24: YAML reads "!\\(b\\)" as a tag, .* put it in quotes\\.$`],
    ['match: @', `:4:16: This isn't YAML: .* Write match: '@'$`],
    ['match: `true` == ok', ":4:16: This isn't YAML: .* Write match: '`true` == ok'$"],
    ["match: 'eu' == data.region", `:4:21: This isn't YAML: .* Write match: '''eu'' == data.region'$`],
    ['payload: "{ "order": "A" }"', `:4:18: .* Write payload: '\\{ "order": "A" \\}'$`],
    [`payload: '{ "msg": "it's ok" }'`, `:4:32: .* Write payload: '\\{ "msg": "it''s ok" \\}'$`],
    [`payload: "{ "order": A }"`, `:4:\\d+: This isn't YAML: [^.]*\\.$`],
    [`payload: 'it''s 'x''`, `:4:\\d+: This isn't YAML: [^.]*\\.$`],
    ["match: 'data.by == 'Grace''", `:4:29: .* Write match: 'data\\.by == ''Grace'''$`],
    ["match: 'a' && b == 'c'", `:4:20: .* Write match: '''a'' && b == ''c'''$`],
    ['payload: a: b', `:4:18: This isn't YAML: .* Write payload: 'a: b'$`],
    ['text: x', ':5:9: This isn\'t YAML: the key "text" is there twice\\.$'],
  ] as const) {
    it(`says what to write instead of: ${line}`, () => {
      assert.throws(
        () => parseYaml(stepWith(line), 'a.yml'),
        ({ message }: Error) => new RegExp(`^a\\.yml${problem}`).test(message) || assert.fail(message),
      );
    });
  }

  it('says once that lines are indented with tabs', () => {
    const problem = "This isn't YAML: this line is indented with a tab. Indent all lines with spaces.";
    for (const [text, place] of [
      ['steps:\n\t- script: a\n\t  env: {}\n\t- script: b\n', '2:1'],
      ['steps:\n  - task: A@1\n    inputs:\n  \tsubject: a\n\tpayload: !b\n', '4:3'],
      ['steps:\n  - script: |\n\techo\n\techo\n', '3:1'],
      ['steps: [\n\t{ script: a }]\n', '2:2'],
    ])
      assert.throws(() => parseYaml(text!, 'a.yml'), { message: `a.yml:${place}: ${problem}` });
    assert.deepEqual(parseYaml('a: |\n  b\n  \tc\n', 'a.yml'), { a: 'b\n\tc\n' });
  });

  it('reports all tags, one per line', () => {
    const text = 'steps:\n  - script: !a b\n  - script: !c d\n';
    assert.throws(
      () => parseYaml(text, 'a.yml'),
      ({ message }: Error) => /^a\.yml:2:13: .*\na\.yml:3:13: [^\n]*$/.test(message) || assert.fail(message),
    );
  });

  it('may tag a text as a string', () => {
    assert.deepEqual(parseYaml('a: !!str b\nc: "!d"', 'a.yml'), { a: 'b', c: '!d' });
  });

  it('keeps the place of each key, even when parameters are expanded', () => {
    const file =
      'parameters:\n  - name: a\n    default: x\nsteps:\n  - task: Sample@1\n    inputs: { text: "${{ parameters.a }}" }\n';
    const [step] = readPipeline(file, {}, 'a.yml').stages[0]!.jobs[0]!.steps;
    const { source } = step!;
    assert.deepEqual([placeOf(source), placeOf(source, 'task')], ['a.yml:5:5', 'a.yml:5:5']);
    const inputs = source.inputs as object;
    assert.deepEqual([placeOf(inputs, 'text'), placeOf(inputs, 'none')], ['a.yml:6:15', 'a.yml:6:13']);
  });
});

describe('a mistake in a pipeline file', () => {
  for (const [what, yaml, problems] of [
    [
      'a misspelt key of each kind',
      'trigers: none\nsteps: []',
      ['1:1: Not supported in the file: "trigers". Did you mean trigger?'],
    ],
    ['a misspelt steps', 'step:\n  - script: a', ['1:1: Not supported in the file: "step". Did you mean steps?']],
    [
      'inputs outside the step',
      'steps:\n- task: Sample@1\ninputs:\n  text: a\n',
      ['3:1: Not supported in the file: "inputs". A step\'s inputs are indented as far as its "task:".'],
    ],
    [
      'several mistakes',
      'jobs:\n  - job: A\n    conditon: a\n    steps: []\n  - job: B\n    steps:\n      - scrpt: a\n      - script: b\n        enabled: perhaps\n',
      [
        '3:5: Not supported in job A: "conditon". Did you mean condition?',
        '7:9: Not supported in job B: a step with the keys scrpt. Did you mean script?',
        '9:9: Not supported in a step of job B: enabled: perhaps',
      ],
    ],
    [
      'JSON without quotes',
      'steps:\n  - task: Sample@1\n    inputs:\n      text: { "a": 1 }\n',
      [
        '4:7: In text of a step of job Job, text was expected instead of {"a":"1"}. Text that begins with { needs quotes around it: \'{ "a": 1 }\'',
      ],
    ],
    [
      'text that no quotes make JSON',
      'steps:\n  - task: Sample@1\n    inputs:\n      payload: {{ "order": "A" }}\n',
      [
        '4:7: In payload of a step of job Job, text was expected instead of {"{ \\"order\\": \\"A\\" }":""}. Text that begins with { needs quotes around it.',
      ],
    ],
    [
      'inputs that are lists or mappings',
      `steps:
${[
  'outputs: { by: data.by }',
  'outputs: [by=data.by]',
  'outputs: [{ by: data.by }]',
  'subject: [ci.a.v1, ci.b.v1]',
  'headers: { Tenant: shop }',
  'match: [a]',
]
  .map((input) => `  - { task: Sample@1, inputs: { ${input} } }\n`)
  .join('')}  - task: Sample@1
    inputs:
      payload:
        order: A
`,
      [
        '2:33: In outputs of a step of job Job, text was expected instead of {"by":"data.by"}. Write "outputs: |" and below it, indented further, a line for each, such as "by=data.by".',
        '3:33: In outputs of a step of job Job, text was expected instead of ["by=data.by"]. Write "outputs: |" and below it, indented further, a line for each, such as "by=data.by".',
        '4:33: In outputs of a step of job Job, text was expected instead of [{"by":"data.by"}]. Write "outputs: |" and below it, indented further, a line for each, such as "by=data.by".',
        '5:33: In subject of a step of job Job, text was expected instead of ["ci.a.v1","ci.b.v1"]. Write "subject: |" and below it, indented further, a line for each, such as "ci.a.v1".',
        '6:33: In headers of a step of job Job, text was expected instead of {"Tenant":"shop"}. Write "headers: |" and below it, indented further, a line for each, such as "Tenant: shop".',
        '7:33: In match of a step of job Job, text was expected instead of ["a"]. Text that begins with [ needs quotes around it: \'[a]\'',
        '10:7: In payload of a step of job Job, text was expected instead of {"order":"A"}. Write "payload: |" and below it, indented further, the JSON.',
      ],
    ],
    [
      'a template',
      'steps:\n  - script: ${{ if a }}',
      [
        '2:5: Not supported in the file: a template expression: ${{ if a }}. A local run evaluates only ${{ parameters.NAME }}.',
      ],
    ],
    [
      'a template expression in an input',
      'parameters: [{ name: region, default: eu }]\nsteps:\n  - task: Sample@1\n    inputs:\n      match: data.by == ${{ variables.by }}\n',
      [
        '5:7: Not supported in the file: a template expression: ${{ variables.by }}. A local run evaluates only ${{ parameters.NAME }}. Write $(by).',
      ],
    ],
    [
      'a parameter that is misspelt',
      'parameters: [{ name: region, default: eu }]\nsteps:\n  - task: Sample@1\n    inputs:\n      match: ${{ parameters.regoin }}\n',
      [
        '5:7: Not supported in the file: a template expression: ${{ parameters.regoin }}. The file declares no parameter regoin. Did you mean region?',
      ],
    ],
  ] as const) {
    it(`is reported with its place: ${what}`, () => {
      assert.throws(() => readPipeline(yaml, {}, 'a.yml'), {
        message: problems.map((problem) => `a.yml:${problem}`).join('\n'),
      });
    });
  }
});
