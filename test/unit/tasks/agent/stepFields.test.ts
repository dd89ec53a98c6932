import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { knownSecrets } from '../../../../shared/text/masker.ts';
import { safeText } from '../../../../shared/text/safeText.ts';
import { StepFields } from '../../../../tasks/agent/stepFields.ts';
import { complaint } from '../../../support/complaint.ts';
import { FakeAgent, type FakeAgentOptions } from '../../../support/agent/fakeAgent.ts';
import { createNKey } from '../../../support/nats/natsAccounts.ts';
import { temporaryFolder } from '../../../../localAgent/vsix.ts';

function fieldsOf(inputs: Readonly<Record<string, string>>, options: FakeAgentOptions = {}) {
  const agent = new FakeAgent({ inputs, ...options });
  return { agent, fields: new StepFields(agent) };
}

test('inputs come from the agent, and warnings about them go to its log', () => {
  const { agent, fields } = fieldsOf({ subject: ' ci.built ', stream: 'CI' });
  assert.equal(fields.subject('subject'), 'ci.built');
  fields.unused('stream', 'delivery is core');
  assert.deepEqual(agent.warnings, ['stream is ignored: delivery is core.']);
  fields.required('natsConnection');
  fields.required('payload');
  assert.match(complaint(fields.problems)!.message, /2 problems with the inputs of this step/);
});

test('a file is looked up in the default working directory, and a missing one is named', () => {
  const folder = temporaryFolder('fields-');
  mkdirSync(path.join(folder, 'schemas'));
  writeFileSync(path.join(folder, 'schemas', 'a.json'), '{}');
  const { fields } = fieldsOf(
    { schemaFile: 'schemas/a.json', missing: 'schemas/b.json' },
    { variables: { 'System.DefaultWorkingDirectory': folder } },
  );
  assert.equal(fields.file('schemaFile'), path.join(folder, 'schemas', 'a.json'));
  assert.equal(fields.file('absent'), undefined);
  assert.equal(complaint(fields.problems), undefined);
  fields.file('missing');
  assert.equal(
    complaint(fields.problems)?.problem,
    `missing: there is no file ${JSON.stringify(path.join(folder, 'schemas', 'b.json'))}`,
  );
});

test('a missing file is answered with the near one', () => {
  const folder = temporaryFolder('fields-');
  mkdirSync(path.join(folder, 'schemas', 'orders.json'), { recursive: true });
  for (const name of ['Order.json', 'v1.json']) writeFileSync(path.join(folder, 'schemas', name), '{}');
  for (const [given, remedy] of [
    ['schemas/order.json', 'Did you mean "Order.json"?'],
    ['schemas/odrer.json', 'Did you mean "Order.json"?'],
    ['schemas/order', 'Did you mean "Order.json"?'],
    ['schemas/order.yaml', 'Did you mean "Order.json"?'],
    ['schema/v1.json', 'There is no folder "schema": did you mean "schemas"?'],
    ['schemas/v2.json', ''],
    ['schemas/deployed.json', ''],
    ['other/of/order.json', ''],
  ] as const) {
    const { fields } = fieldsOf({ file: given }, { variables: { 'System.DefaultWorkingDirectory': folder } });
    fields.file('file');
    assert.equal(complaint(fields.problems)!.remedy, remedy, given);
  }
});

test('a missing file in an empty folder asks for a checkout', () => {
  const folder = temporaryFolder('fields-');
  for (const [given, remedy] of [
    ['schemas/order.json', /^The job's working directory is empty: add the step checkout: self, or create the file/],
    [path.join(folder, 'order.json'), /^The job's working directory is empty/],
    [path.join(temporaryFolder('other-'), 'order.json'), /^$/],
  ] as const) {
    const { fields } = fieldsOf({ file: given }, { variables: { 'System.DefaultWorkingDirectory': folder } });
    fields.file('file');
    assert.match(complaint(fields.problems)!.remedy, remedy, given);
  }
});

test('the sources folder means "no file", as the classic editors send it for an empty path', () => {
  const folder = temporaryFolder('fields-');
  for (const name of ['System.DefaultWorkingDirectory', 'Build.SourcesDirectory']) {
    for (const sent of [folder, `${folder}/`, `${folder}/./`, `${folder}/schemas/..`]) {
      const { agent, fields } = fieldsOf({ schemaFile: sent }, { variables: { [name]: folder } });
      assert.equal(fields.file('schemaFile'), undefined);
      fields.unusedFile('schemaFile', 'delivery is core');
      assert.equal(complaint(fields.problems), undefined);
      assert.deepEqual(agent.warnings, []);
    }
  }
});

test('any other folder in place of a file is a problem: a contract must not go unchecked', () => {
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
      complaint(fields.problems)?.message,
      `InvalidInput: schemaFile: ${JSON.stringify(place)} is a folder. Give the path of a file, or leave the input empty.`,
    );
    fields.unusedFile('schemaFile', 'delivery is core');
    assert.deepEqual(agent.warnings, ['schemaFile is ignored: delivery is core.']);
  }
});

test("a secret in place of its variable's name is masked and never shown", () => {
  const { seed } = createNKey();
  const jwt = 'eyJ0eXAiOiJKV1QifQ.eyJleHAiOjF9.c2lnbmF0dXJl';
  for (const secret of ['S3cret!pass-phrase', 'line one of it\nline two of it', '$(NATS_TOKEN)', '1abc', seed, jwt]) {
    const { agent, fields } = fieldsOf({ credentialsVariable: secret });
    assert.equal(fields.secretVariableName('credentialsVariable'), undefined);
    for (const line of secret.split('\n')) {
      assert.ok(agent.masked.has(line));
      assert.ok(!complaint(fields.problems)!.message.includes(line));
    }
    assert.match(
      complaint(fields.problems)!.message,
      /credentialsVariable: holds \d+ characters that are not the name/,
    );
  }
  const unset = fieldsOf({ credentialsVariable: '$(NATS_TOKEN)' }).fields;
  unset.secretVariableName('credentialsVariable');
  assert.match(complaint(unset.problems)!.remedy, /^Write it without \$\( and \): such a variable is not set/);
  const { fields } = fieldsOf({ credentialsVariable: 'nats.creds_1-prod' });
  assert.equal(fields.secretVariableName('credentialsVariable'), 'nats.creds_1-prod');
  assert.equal(complaint(fields.problems), undefined);
});

test("a secret in a path isn't shown in its resolved form, either", () => {
  const secret = 'Mike6//./November7/../Oscar8';
  knownSecrets.add(secret, 'a secret of this test');
  const { fields } = fieldsOf({ schemaFile: `${secret}.json` });
  fields.file('schemaFile');
  const shown = safeText(complaint(fields.problems)!.message);
  assert.match(shown, /^InvalidInput: schemaFile: there is no file ".*\*\*\*/);
  for (const word of ['Mike6', 'Oscar8']) assert.ok(!shown.includes(word), shown);
});

test("a path that can't be opened at all is a problem with its input", () => {
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
      complaint(fields.problems)!.message,
      new RegExp(`schemaFile: ".*" isn't the path of a readable file \\(${code}\\)`),
    );
  }
});

test("an unset variable in a file's path is reported, and no file is looked up", () => {
  const { fields } = fieldsOf({ schemaFile: '$(publish.output)' });
  fields.file('schemaFile');
  assert.match(
    complaint(fields.problems)!.message,
    /: schemaFile: "\$\(publish\.output\)" contains "\$\(", most likely a pipeline/,
  );
});
