import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fields, linesOf } from '../../../../shared/inputs/fields.ts';
import { Problems } from '../../../../shared/inputs/problems.ts';
import { complaint } from '../../../support/complaint.ts';

/** Inputs as they may come in the body of a request. */
function fieldsOf(inputs: Readonly<Record<string, string>>) {
  const warnings: string[] = [];
  const source = { text: (name: string) => inputs[name], warning: (text: string) => void warnings.push(text) };
  return { warnings, fields: new Fields(source, new Problems('the inputs')) };
}

test('an invalid duration is a problem; a missing one has its default', () => {
  const { fields } = fieldsOf({ timeout: '5 minutes' });
  assert.equal(fields.duration('idleTimeout'), undefined);
  assert.equal(fields.duration('maxEventAge', '30s'), 30_000);
  assert.equal(complaint(fields.problems), undefined);
  fields.duration('timeout', '30s');
  assert.equal(
    complaint(fields.problems)?.message,
    'InvalidInput: timeout: "5 minutes" is not a duration above 0 and up to 20 days, such as 500ms, 90s, 30m, 1h30m or 1d. Write 5m.',
  );
});

test("a multi-line input may have any line endings, and empty lines don't count", () => {
  assert.deepEqual(linesOf(' a \r\n\r\nb\rc\n\n \n'), ['a', 'b', 'c']);
  assert.deepEqual(linesOf(undefined), []);
});

test("an option has to be spelled exactly; otherwise it's refused with the list of options", () => {
  const { fields } = fieldsOf({ delivery: 'core', envelope: 'Binary' });
  assert.equal(fields.oneOf('delivery', ['jetStream', 'core']), 'core');
  assert.equal(fields.oneOf('onTimeout', ['fail', 'warn']), 'fail');
  assert.equal(complaint(fields.problems), undefined);
  fields.oneOf('envelope', ['binary', 'structured', 'none']);
  assert.match(
    complaint(fields.problems)!.message,
    /envelope: "Binary" is not one of binary, structured, none\. Write binary\./,
  );
});

test('a whole number has digits only and lies in its range', () => {
  for (const text of ['0', '10001', '-1', '+1', '1.0', '1e3', '0x1', '１', '1 000', 'many', '9'.repeat(400)]) {
    const { fields } = fieldsOf({ count: text });
    fields.integer('count', 1, 1, 10_000);
    assert.match(complaint(fields.problems)?.message ?? '', /count: .* is not a whole number from 1 to 10000/, text);
  }
  const { fields } = fieldsOf({ count: '0010' });
  assert.equal(fields.integer('count', 1, 1, 10_000), 10);
  assert.equal(fields.integer('other', 7, 1, 10_000), 7);
  assert.equal(fields.integer('other', undefined, 1, 10_000), undefined);
  assert.equal(complaint(fields.problems), undefined);
});

test('all problems of a step are reported together, in the order they were found', () => {
  const { fields } = fieldsOf({ subject: 'a b', delivery: 'mail' });
  fields.required('natsConnection');
  fields.subject('subject');
  fields.oneOf('delivery', ['jetStream', 'core']);
  const error = complaint(fields.problems)!;
  assert.equal(error.code, 'InvalidInput');
  assert.match(
    error.message,
    /^InvalidInput: 3 problems with the inputs\. \(1\) natsConnection: is required\. \(2\) subject: "a b" contains white space .*\. \(3\) delivery: "mail" is not one of jetStream, core\.$/,
  );
});

test('subjects to wait on are one per line, and every bad one is named', () => {
  const { fields } = fieldsOf({ subject: 'ci.>\n\nci..x\n$JS.API.>' });
  assert.deepEqual(fields.subjectPatterns('subject'), ['ci.>', 'ci..x', '$JS.API.>']);
  assert.match(complaint(fields.problems)!.message, /\(1\) subject: "ci\.\.x" has an empty part.*\(2\) subject: "\$JS/);
});

test("an input that doesn't apply is a warning, unless it has its default", () => {
  const { warnings, fields } = fieldsOf({ stream: 'CI', count: '1' });
  fields.unused('stream', 'delivery is core');
  fields.unused('count', 'expect replaces it', '1');
  fields.unused('absent', 'delivery is core');
  assert.deepEqual(warnings, ['stream is ignored: delivery is core.']);
  assert.equal(complaint(fields.problems), undefined);
});

test("a variable that isn't set is named as the cause", () => {
  const unset = '$(publish.output)';
  const { fields } = fieldsOf({
    timeout: unset,
    startSequence: unset,
    stream: unset,
    correlationId: unset,
  });
  assert.equal(fields.expanded('correlationId'), undefined);
  assert.equal(fields.integer('startSequence', 0, 0, 9), 0);
  assert.equal(fields.streamName('stream'), undefined);
  assert.equal(fields.duration('timeout', '30s'), 30_000);
  assert.equal(
    complaint(fields.problems)!.remedy,
    ['correlationId', 'startSequence', 'stream', 'timeout']
      .map(
        (name, index) =>
          `(${index + 1}) ${name}: "${unset}" contains "$(", most likely a pipeline variable that is not set.`,
      )
      .join(' '),
  );
});

test('unset variables in a longer text are named, and other dollar signs are left alone', () => {
  const { fields } = fieldsOf({});
  for (const text of ['$HOME', '${name}', '$(date +%s)', '$(ls | wc)', '$()', '$[x]', '$ (a)'])
    assert.ok(fields.isExpanded('payload', text), text);
  assert.equal(complaint(fields.problems), undefined);
  assert.ok(!fields.isExpanded('payload', 'a $(Build.BuildId) $(one_2) $(one_2)', 'Set them.'));
  assert.equal(
    complaint(fields.problems)?.message,
    'InvalidInput: payload: contains "$(Build.BuildId), $(one_2)", most likely a pipeline variable that is not set. Set them.',
  );
});

test('several subjects on one line are reported, with the right form', () => {
  const told = (subject: string, kind: 'subject' | 'subjectPatterns') => {
    const { fields, warnings } = fieldsOf({ subject });
    fields[kind]('subject');
    return [...warnings, complaint(fields.problems)?.message].filter(Boolean).join();
  };
  for (const subject of ['a, b', 'a; b', 'a,\tb,'])
    assert.equal(
      told(subject, 'subject'),
      `InvalidInput: subject: ${JSON.stringify(subject)} holds several subjects. Use a step for each.`,
    );
  assert.equal(
    told('a.>, b.*', 'subjectPatterns'),
    'InvalidInput: subject: "a.>, b.*" holds several subjects in one line. Write each on a line of its own: "a.>" and "b.*".',
  );
  assert.equal(
    told('a,b', 'subjectPatterns'),
    'subject: "a,b" is one subject with commas in it. Several go on lines of their own: "a" and "b".',
  );
  for (const subject of ['a b', 'a, $JS.API']) assert.match(told(subject, 'subjectPatterns'), /contains white space/);
  assert.equal(told('a\nb', 'subjectPatterns'), '');
});
