import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { MOST_BODY_BYTES, readBody } from '../../../../bridge/waits/body.ts';
import { INPUT_NAMES } from '../../../../bridge/waits/criteria.ts';
import { PLAN, taskBody } from '../../../support/bridge/waitsReceiver.ts';
import { anyCharacter } from '../../../support/hostile/hostileText.ts';

const OTHER_PLAN = '00000000-9a4b-4b34-8c53-bd9c3f0d1a11';

function read(body: string | Uint8Array) {
  return readBody(Buffer.from(body as string), PLAN, INPUT_NAMES);
}

function inputsOf(body: string | Uint8Array) {
  const result = read(body);
  return 'inputs' in result ? result.inputs : assert.fail(result.problem);
}

function problemOf(body: string | Uint8Array): string {
  const result = read(body);
  return 'problem' in result ? result.problem : assert.fail('the body was accepted');
}

describe('The body of a task', () => {
  test('keeps values as they are, including their lines', () => {
    const expression = 'data.a == \'x\' &&\n  "--not a marker"\n';
    const text = `--${PLAN} subject\nci.a\nci.b\n--${PLAN} match\n${expression}\n--${PLAN} end`;
    assert.deepEqual(inputsOf(text), { subject: 'ci.a\nci.b', match: expression });
  });

  test('leaves out empty values, and variables that were not replaced', () => {
    const inputs = { subject: 'ci.a', match: '', count: ' \n', failWhen: '$(failWhen)', correlationId: '$(match)' };
    assert.deepEqual(inputsOf(taskBody(inputs)), { subject: 'ci.a', correlationId: '$(match)' });
    assert.deepEqual(inputsOf(`--${PLAN} match\n--${PLAN} end\r\n \t\n`), {});
  });

  test('may have CRLF line ends, and the plan ID in upper case', () => {
    const text = `--${PLAN.toUpperCase()} subject\r\nci.a\r\nci.b\r\n--${PLAN.toUpperCase()} end\r\n`;
    assert.deepEqual(inputsOf(text), { subject: 'ci.a\r\nci.b' });
  });

  test('returns any values unchanged', () => {
    const line = fc.oneof(
      fc.string({ unit: anyCharacter }),
      fc.constantFrom(
        `--${OTHER_PLAN} subject`,
        `--${OTHER_PLAN} end`,
        `x--${PLAN} end`,
        ` --${PLAN} subject`,
        '--',
        '',
        '$(x)',
      ),
    );
    const value = fc
      .tuple(fc.array(line, { maxLength: 5 }), fc.constantFrom('\n', '\r\n', '\u2028', '\u0085'))
      .map(([lines, joint]) => lines.join(joint).replaceAll('\0', '').replace(/\r+$/, ''))
      .filter((text) => text.isWellFormed() && !new RegExp(`(^|\n)--${PLAN}`, 'i').test(text));
    const inputs = fc.dictionary(fc.constantFrom(...INPUT_NAMES), value, { noNullPrototype: true });
    fc.assert(
      fc.property(inputs, fc.constantFrom('\n', '\r\n'), (given, lineEnd) => {
        const expected = Object.entries(given).filter(([name, text]) => text.trim() !== '' && text !== `$(${name})`);
        assert.deepEqual(inputsOf(taskBody(given, lineEnd)), Object.fromEntries(expected));
      }),
      { numRuns: 500 },
    );
  });
});

describe('A body is refused with a reason', () => {
  const end = `--${PLAN} end`;
  const cases: Readonly<Record<string, [body: string | Uint8Array, problem: RegExp]>> = {
    'that is empty': ['', /does not begin with the line "--0d6b/],
    'that begins with something else': [`x\n--${PLAN} subject\na\n${end}`, /does not begin with the line/],
    'that begins with an empty line': [`\n--${PLAN} subject\na\n${end}`, /does not begin with the line/],
    'of another plan': [taskBody({ subject: 'a' }, '\n', OTHER_PLAN), /does not begin with the line/],
    'without an end': [`--${PLAN} subject\nci.a\n`, /does not end with the line "--.* end"/],
    'with an end of another plan': [`--${PLAN} subject\nci.a\n--${OTHER_PLAN} end`, /does not end with the line/],
    'that goes on after its end': [`${end}\nx`, /goes on after the line/],
    'with two ends': [`${end}\n${end}`, /goes on after the line/],
    'with an input twice': [`--${PLAN} subject\na\n--${PLAN} subject\nb\n${end}`, /gives the input subject twice/],
    'with an input twice, the first of them empty': [
      `--${PLAN} match\n--${PLAN} match\nb\n${end}`,
      /gives the input match twice/,
    ],
    'with an unknown input': [`--${PLAN} subjects\na\n${end}`, /has a line ".* subjects", which names no input/],
    "with the name of an object's built-in property": [`--${PLAN} __proto__\na\n${end}`, /names no input/],
    'with white space after a name': [`--${PLAN} subject \na\n${end}`, /names no input/],
    'with two spaces before a name': [`--${PLAN}  subject\na\n${end}`, /names no input/],
    'with a marker without a name': [`--${PLAN}\na\n${end}`, /names no input/],
    'with a marker that has no space': [`--${PLAN}subject\na\n${end}`, /names no input/],
    'with an end that has no space': [`--${PLAN} subject\na\n--${PLAN}end`, /names no input/],
    'with a marker that has more characters': [`--${PLAN}x subject\na\n${end}`, /names no input/],
    'with a NUL': [`--${PLAN} subject\na\0b\n${end}`, /holds a NUL/],
    'that is not UTF-8': [Buffer.from([0xff, 0xfe, 0x00]), /is not UTF-8/],
    'that ends within a character': [taskBody({ subject: 'ä' }).subarray(0, 48 + 1), /is not UTF-8|does not/],
    'that is too large': [
      `--${PLAN} subject\n${'a'.repeat(2 * 1_024 * 1_024)}\n${end}`,
      /has \d+ bytes, more than 65536/,
    ],
  };
  for (const [what, [body, problem]] of Object.entries(cases)) test(what, () => assert.match(problemOf(body), problem));

  test('but not one of the largest size', () => {
    const frame = taskBody({ subject: '' }).length;
    assert.equal(
      inputsOf(taskBody({ subject: 'a'.repeat(MOST_BODY_BYTES - frame) }))['subject']!.length,
      MOST_BODY_BYTES - frame,
    );
    assert.match(problemOf(taskBody({ subject: 'a'.repeat(MOST_BODY_BYTES - frame + 1) })), /more than/);
  });

  test('or read, whatever its bytes, and always quickly', () => {
    const part = fc.oneof(
      fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
      fc
        .constantFrom(
          `--${PLAN} subject`,
          `--${PLAN} end`,
          `--${PLAN}`,
          `--${PLAN} `,
          '\n',
          '\r',
          '\r\n',
          '\0',
          ' ',
          '$(match)',
        )
        .map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        const result = read(Buffer.concat(parts));
        assert.ok('inputs' in result || result.problem.startsWith('the body '));
      }),
      { numRuns: 1_000 },
    );
    const began = performance.now();
    for (const text of ['\n', `--${PLAN}\n`, '\r\n', `\n--${PLAN.slice(0, -1)}`])
      read(text.repeat(MOST_BODY_BYTES / text.length));
    assert.ok(performance.now() - began < 1_000);
  });
});
