import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { knownSecrets } from '../../../../shared/text/masker.ts';
import { isoTime } from '../../../../shared/text/duration.ts';
import { outputProblem } from '../../../../shared/waiting/outputs.ts';
import { maskedJson, setOutputs, writeFile } from '../../../../tasks/agent/outputs.ts';
import { writeReceipt } from '../../../../tasks/agent/receipt.ts';
import { logLine } from '../../../../shared/text/logLine.ts';
import { settingsFor } from '../../../support/nats/openBus.ts';
import { FakeAgent } from '../../../support/agent/fakeAgent.ts';
import { temporaryFolder } from '../../../../localAgent/vsix.ts';

test("a value that the agent would expand in later steps, or can't pass on, is never set as an output", () => {
  const agent = new FakeAgent();
  setOutputs(agent, {
    subject: 'ci.built',
    correlationId: 'a$(System.AccessToken)b',
    stream: 'x\0PATH=y',
    count: '$1 (2)',
  });
  assert.deepEqual(
    [...agent.outputs],
    [
      ['subject', 'ci.built'],
      ['correlationId', ''],
      ['stream', ''],
      ['count', '$1 (2)'],
    ],
  );
  assert.deepEqual(agent.warnings, [
    'The output correlationId is left empty: its value holds "$(", which the agent would expand in later steps.',
    'The output stream is left empty: its value holds a NUL character, which no environment variable can.',
  ]);
  for (const harmless of ['', '$ (a)', '$[a] ${a}']) assert.equal(outputProblem(harmless), undefined);
});

test('a value too long for an environment variable is left empty, as is one that exceeds the total', () => {
  const agent = new FakeAgent();
  const most = 'ä'.repeat(8_192);
  setOutputs(agent, { verdict: 'matched', a: `${most}x`, b: most, c: most, d: most, e: most, count: '1' });
  assert.deepEqual(
    [...agent.outputs].filter(([, value]) => value === '').map(([name]) => name),
    ['a', 'e'],
  );
  assert.equal(agent.outputs.get('d'), most);
  assert.equal(agent.outputs.get('count'), '1');
  assert.deepEqual(agent.warnings, [
    'The output a is left empty: its value has 16385 bytes, and an output takes at most 16384. Read it from the file in the output receiptFile.',
    'The output e is left empty: its value has 16384 bytes, and all outputs of a step take at most 65536 together. Read it from the file in the output receiptFile.',
  ]);
});

test("each receipt is a file of its own in the agent's temporary folder", () => {
  const folder = temporaryFolder('report-');
  const agent = new FakeAgent({ variables: { 'Agent.TempDirectory': folder } });
  const files = [1, 2].map((value) =>
    writeFile(agent, 'nats-publish-receipt', 'json', maskedJson({ value, none: null })),
  );
  assert.notEqual(files[0], files[1]);
  for (const [index, file] of files.entries()) {
    assert.equal(path.dirname(file), folder);
    assert.match(path.basename(file), /^nats-publish-receipt-[0-9a-f-]{36}\.json$/);
    assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), { value: index + 1, none: null });
    if (process.platform !== 'win32') assert.equal(statSync(file).mode & 0o777, 0o600);
  }
});

test('a receipt shows no secret, however JSON escapes it', () => {
  const agent = new FakeAgent({ variables: { 'Agent.TempDirectory': temporaryFolder('report-') } });
  const secret = 'a "quoted"\tkey';
  knownSecrets.add(secret, 'a secret of this test');
  const value = { match: `data.key == '${secret}'`, many: [secret] };
  const read = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  const step = { connection: settingsFor([]), request: { run: { owner: {}, source: 'urn:x', step: {} } } };
  const parts = { where: {}, what: value, when: {}, result: {} };
  assert.deepEqual(read(writeReceipt(agent, 'WaitForNatsEvent', step, parts))['what'], {
    match: "data.key == '***'",
    many: ['***'],
  });
});

test('a receipt is plain JSON, written in pieces below the maximum string length', () => {
  const text = '\u0001'.repeat(10_000);
  const value = {
    none: {},
    empty: [],
    many: Array.from({ length: 20 }, () => ({ id: text, list: [1, null, [true]] })),
  };
  const pieces = [...maskedJson(value)];
  assert.equal(pieces.join(''), JSON.stringify(value, undefined, 2));
  assert.ok(Math.max(...pieces.map(({ length }) => length)) < 6 * text.length + 100);
});

test('a log line quotes text, so no value can pass for another field', () => {
  assert.equal(
    logLine('published', { subject: 'ci "a"\n stream=x', sequence: 7, duplicate: false, schema: undefined }),
    'published    subject="ci \\"a\\"\\n stream=x" sequence=7 duplicate=false',
  );
  assert.equal(logLine('contractViolation', {}), 'contractViolation');
});

test('times are UTC with milliseconds; unknown ones are empty', () => {
  assert.equal(isoTime(Date.UTC(2026, 4, 31, 8, 9, 10, 11)), '2026-05-31T08:09:10.011Z');
  assert.equal(isoTime(0), '1970-01-01T00:00:00.000Z');
  assert.equal(isoTime(undefined), '');
});
