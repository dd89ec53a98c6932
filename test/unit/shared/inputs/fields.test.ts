import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { TaskError } from '../../../../shared/errors.ts';
import { Fields, linesOf, parseDuration } from '../../../../shared/inputs/fields.ts';
import { FakeAgent, type FakeAgentOptions } from '../../../support/agent/fakeAgent.ts';
import { createNKey } from '../../../support/nats/natsAccounts.ts';
import { temporaryFolder } from '../../../../localAgent/vsix.ts';

function fieldsOf(inputs: Readonly<Record<string, string>>, options: FakeAgentOptions = {}) {
  const agent = new FakeAgent({ inputs, ...options });
  return { agent, fields: new Fields(agent) };
}

/** What the step says about its inputs; undefined when nothing is wrong with them. */
function complaint(fields: Fields): TaskError | undefined {
  try {
    fields.done();
    return undefined;
  } catch (error) {
    assert.ok(error instanceof TaskError);
    return error;
  }
}

const DAY_MS = 24 * 3_600_000;

for (const [text, ms] of [
  ['500ms', 500],
  ['1ms', 1],
  ['90s', 90_000],
  ['30m', 30 * 60_000],
  ['2h', 2 * 3_600_000],
  ['1h30m', 90 * 60_000],
  ['1h30m15s250ms', 5_415_250],
  ['1m500ms', 60_500],
  ['0h5s', 5_000],
  ['007s', 7_000],
  ['480h', 20 * DAY_MS],
] as const) {
  test(`the duration ${text} is ${String(ms)} ms`, () => assert.equal(parseDuration(text), ms));
}

for (const text of [
  ...['', '0', '0s', '0h0m', '30', 's', 'ms', '-5s', '+5s', '1.5h', '1,5h', '5S', '5 s', ' 5s', '5s ', '1s1m', '1h1h'],
  ...['1d', '1w', 'PT5S', '00:05:00', '1e3s', '0x10s', 'Infinitys', 'NaN', '٣s', '１s', '480h1ms', '481h'],
  ...['9'.repeat(400) + 's', 'soon', '5s\n', '$(timeout)'],
]) {
  test(`the duration ${JSON.stringify(text.slice(0, 20))} is refused`, () => {
    assert.equal(parseDuration(text), undefined);
  });
}

test('a duration that cannot be read is a problem, an absent one has its default', () => {
  const { fields } = fieldsOf({ timeout: '5 minutes' });
  assert.equal(fields.duration('idleTimeout'), undefined);
  assert.equal(fields.duration('maxEventAge', '30s'), 30_000);
  assert.equal(complaint(fields), undefined);
  fields.duration('timeout', '30s');
  assert.equal(
    complaint(fields)?.message,
    'InvalidInput: timeout: "5 minutes" is not a duration above 0 and up to 20 days, such as 500ms, 90s, 30m or 1h30m.',
  );
});

test('a multi-line input counts lines of any end, without empty ones', () => {
  assert.deepEqual(linesOf(' a \r\n\r\nb\rc\n\n \n'), ['a', 'b', 'c']);
  assert.deepEqual(linesOf(undefined), []);
});

test('an option is taken as it is written, and any other is refused with the list', () => {
  const { fields } = fieldsOf({ delivery: 'core', envelope: 'Binary' });
  assert.equal(fields.oneOf('delivery', ['jetStream', 'core']), 'core');
  assert.equal(fields.oneOf('onTimeout', ['fail', 'warn']), 'fail');
  assert.equal(complaint(fields), undefined);
  fields.oneOf('envelope', ['binary', 'structured', 'none']);
  assert.match(complaint(fields)!.message, /envelope: "Binary" is not one of binary, structured, none\./);
});

test('a whole number has digits only and lies in its range', () => {
  for (const text of ['0', '10001', '-1', '+1', '1.0', '1e3', '0x1', '１', '1 000', 'many', '9'.repeat(400)]) {
    const { fields } = fieldsOf({ count: text });
    fields.integer('count', 1, 1, 10_000);
    assert.match(complaint(fields)?.message ?? '', /count: .* is not a whole number from 1 to 10000/, text);
  }
  const { fields } = fieldsOf({ count: '0010' });
  assert.equal(fields.integer('count', 1, 1, 10_000), 10);
  assert.equal(fields.integer('other', 7, 1, 10_000), 7);
  assert.equal(fields.integer('other', undefined, 1, 10_000), undefined);
  assert.equal(complaint(fields), undefined);
});

test('all problems of a step are told together, in the order they were found', () => {
  const { fields } = fieldsOf({ subject: 'a b', delivery: 'mail' });
  fields.required('natsConnection');
  fields.subject('subject');
  fields.oneOf('delivery', ['jetStream', 'core']);
  const error = complaint(fields)!;
  assert.equal(error.code, 'InvalidInput');
  assert.match(
    error.message,
    /^InvalidInput: 3 problems with the inputs of this step\. \(1\) natsConnection: is required\. \(2\) subject: "a b" contains white space .*\. \(3\) delivery: "mail" is not one of jetStream, core\.$/,
  );
});

test('problems of one kind keep its code, problems of several kinds are InvalidInput', () => {
  const { fields } = fieldsOf({});
  fields.problem('subject: outside', '', 'Denied');
  assert.equal(complaint(fields)?.message, 'Denied: subject: outside.');
  fields.problem('subject: outside too', '', 'Denied');
  assert.equal(complaint(fields)?.code, 'Denied');
  fields.problem('timeout: bad');
  assert.equal(complaint(fields)?.code, 'InvalidInput');
});

test('subjects to wait on are one a line, and every bad one is named', () => {
  const { fields } = fieldsOf({ subject: 'ci.>\n\nci..x\n$JS.API.>' });
  assert.deepEqual(fields.subjectPatterns('subject'), ['ci.>', 'ci..x', '$JS.API.>']);
  assert.match(complaint(fields)!.message, /\(1\) subject: "ci\.\.x" has an empty part.*\(2\) subject: "\$JS/);
});

test('a file is looked for under the default working directory, and a missing one is named', () => {
  const folder = temporaryFolder('fields-');
  mkdirSync(path.join(folder, 'schemas'));
  writeFileSync(path.join(folder, 'schemas', 'a.json'), '{}');
  const { fields } = fieldsOf(
    { schemaFile: 'schemas/a.json', missing: 'schemas/b.json' },
    { variables: { 'System.DefaultWorkingDirectory': folder } },
  );
  assert.equal(fields.file('schemaFile'), path.join(folder, 'schemas', 'a.json'));
  assert.equal(fields.file('absent'), undefined);
  assert.equal(complaint(fields), undefined);
  fields.file('missing');
  assert.equal(
    complaint(fields)?.problem,
    `missing: there is no file ${JSON.stringify(path.join(folder, 'schemas', 'b.json'))}`,
  );
});

test('the sources folder, which the classic editors send for an empty path, means that no file was given', () => {
  const folder = temporaryFolder('fields-');
  for (const name of ['System.DefaultWorkingDirectory', 'Build.SourcesDirectory', 'Build.Repository.LocalPath']) {
    for (const sent of [folder, `${folder}/`, `${folder}/./`, `${folder}/schemas/..`]) {
      const { agent, fields } = fieldsOf({ schemaFile: sent }, { variables: { [name]: folder } });
      assert.equal(fields.file('schemaFile'), undefined);
      fields.unusedFile('schemaFile', 'delivery is core');
      assert.equal(complaint(fields), undefined);
      assert.deepEqual(agent.warnings, []);
    }
  }
});

test('any other folder in the place of a file is a problem: a contract must not go unchecked', () => {
  const folder = temporaryFolder('fields-');
  mkdirSync(path.join(folder, 'schemas'));
  for (const [sent, place] of [
    ['schemas', path.join(folder, 'schemas')],
    [`${folder}/schemas/`, path.join(folder, 'schemas')],
    ['..', path.dirname(folder)],
  ] as const) {
    const { agent, fields } = fieldsOf(
      { schemaFile: sent },
      { variables: { 'System.DefaultWorkingDirectory': folder } },
    );
    fields.file('schemaFile');
    assert.equal(
      complaint(fields)?.message,
      `InvalidInput: schemaFile: ${JSON.stringify(place)} is a folder. Give the path of a file, or leave the input empty.`,
    );
    fields.unusedFile('schemaFile', 'delivery is core');
    assert.deepEqual(agent.warnings, ['schemaFile is ignored: delivery is core.']);
  }
});

test('a secret put where its name belongs is masked and never shown', () => {
  const { seed } = createNKey();
  const jwt = 'eyJ0eXAiOiJKV1QifQ.eyJleHAiOjF9.c2lnbmF0dXJl';
  for (const secret of ['S3cret!pass-phrase', 'line one of it\nline two of it', '$(NATS_TOKEN)', '1abc', seed, jwt]) {
    const { agent, fields } = fieldsOf({ credentialsVariable: secret });
    assert.equal(fields.secretVariableName('credentialsVariable'), undefined);
    for (const line of secret.split('\n')) {
      assert.ok(agent.masked.has(line));
      assert.ok(!complaint(fields)!.message.includes(line));
    }
    assert.match(complaint(fields)!.message, /credentialsVariable: holds \d+ characters that are not the name/);
  }
  const { fields } = fieldsOf({ credentialsVariable: 'nats.creds_1-prod' });
  assert.equal(fields.secretVariableName('credentialsVariable'), 'nats.creds_1-prod');
  assert.equal(complaint(fields), undefined);
});

test('an input that does not apply is a warning, unless it has its default', () => {
  const { agent, fields } = fieldsOf({ stream: 'CI', count: '1' });
  fields.unused('stream', 'delivery is core');
  fields.unused('count', 'expect replaces it', '1');
  fields.unused('absent', 'delivery is core');
  assert.deepEqual(agent.warnings, ['stream is ignored: delivery is core.']);
  assert.equal(complaint(fields), undefined);
});

test('a path that cannot even be looked at is a problem of its input', () => {
  const folder = temporaryFolder('fields-');
  symlinkSync('circle', path.join(folder, 'circle'));
  for (const [name, code] of [
    ['x'.repeat(300), 'ENAMETOOLONG'],
    ['d/'.repeat(3_000), 'ENAMETOOLONG'],
    ['circle', 'ELOOP'],
    ['a\0b', 'ERR_INVALID_ARG_VALUE'],
  ] as const) {
    const { fields } = fieldsOf({ schemaFile: name }, { variables: { 'System.DefaultWorkingDirectory': folder } });
    fields.file('schemaFile');
    assert.match(
      complaint(fields)!.message,
      new RegExp(`schemaFile: ".*" is no path to a file that can be read \\(${code}\\)`),
    );
  }
});

test('the log has a line for each of several problems, since the message is cut where it is long', () => {
  const { fields } = fieldsOf({});
  for (let number = 1; number <= 100; number++) fields.problem(`headers: ${'x'.repeat(80)} ${number}`);
  const { details, message } = complaint(fields)!;
  assert.match(message, /100 problems with the inputs of this step/);
  assert.equal(details.length, 100);
  assert.match(details[99]!, /^headers: x+ 100\.$/);
});

test('a variable that is not set is named as the cause, and nothing is looked for under its name', () => {
  const unset = '$(publish.output)';
  const { fields } = fieldsOf({
    timeout: unset,
    startSequence: unset,
    stream: unset,
    correlationId: unset,
    schemaFile: unset,
  });
  assert.equal(fields.expanded('correlationId'), undefined);
  assert.equal(fields.integer('startSequence', 0, 0, 9), 0);
  assert.equal(fields.streamName('stream'), undefined);
  assert.equal(fields.duration('timeout', '30s'), 30_000);
  fields.file('schemaFile');
  assert.deepEqual(
    complaint(fields)!.details,
    ['correlationId', 'startSequence', 'stream', 'timeout', 'schemaFile'].map(
      (name) => `${name}: "${unset}" contains "$(", most likely a pipeline variable that is not set.`,
    ),
  );
});
