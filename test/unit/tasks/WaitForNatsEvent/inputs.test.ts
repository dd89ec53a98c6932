import assert from 'node:assert/strict';
import { test } from 'node:test';
import { knownSecrets } from '../../../../shared/text/masker.ts';
import { readWait } from '../../../../tasks/WaitForNatsEvent/inputs.ts';
import { viewOf } from '../../../support/event.ts';
import { connectedAgent, type FakeAgent } from '../../../support/agent/fakeAgent.ts';

function agentWith(
  inputs: Readonly<Record<string, string>>,
  variables: Readonly<Record<string, string>> = {},
): FakeAgent {
  return connectedAgent({ subject: 'ci.done.v1', startFrom: 'now', ...inputs }, { variables });
}

function warningsOf(timeout: string | undefined, jobTimeout: string | undefined): readonly string[] {
  const agent = agentWith(
    timeout === undefined ? {} : { timeout },
    jobTimeout === undefined ? {} : { 'System.JobTimeout': jobTimeout },
  );
  readWait(agent);
  return agent.warnings;
}

test("a secret condition is never shown in parts, since those wouldn't be masked", () => {
  const secret = "data.first == 'Kilo4' && data.second == 'Lima5'";
  const { match } = readWait(agentWith({ match: secret })).request;
  const view = viewOf('{}');
  assert.match(match?.nearMiss(view) ?? '', /Kilo4/);
  assert.deepEqual(match?.dataFields, [['first'], ['second']]);
  knownSecrets.add(secret, 'a secret of this test');
  const hidden = readWait(agentWith({ match: secret })).request.match;
  assert.equal(hidden?.nearMiss(view), undefined);
  assert.deepEqual(hidden?.dataFields, []);
});

test("a timeout that ends after the job's own time limit is a warning", () => {
  assert.match(warningsOf('2h', '60').join(), /^timeout: 2h is never reached, .* 60 minutes.*timeoutInMinutes/);
  assert.match(
    warningsOf('60m', '60').join(),
    /^timeout: 60m is never reached/,
    'the job began before the step, so its time ends first',
  );
  assert.match(warningsOf(undefined, '15').join(), /^timeout: 30m is never reached/);
});

test("no such warning if the timeout ends first, or the job's limit is absent or unknown", () => {
  for (const [timeout, jobTimeout] of [
    ['59m', '60'],
    ['2h', '0'],
    ['2h', undefined],
    ['2h', 'long'],
  ] as const)
    assert.deepEqual(warningsOf(timeout, jobTimeout), []);
});

test('a correlation id that is an unset variable fails the step, since no event could ever match', () => {
  assert.throws(() => readWait(agentWith({ correlationId: '$(publsh.correlationId)' })), {
    message:
      /^InvalidInput: correlationId: "\$\(publsh\.correlationId\)" contains "\$\(", most likely a pipeline variable/,
  });
});

for (const [input, value] of [
  ['match', "data.image == '$(image)'"],
  ['failWhen', "data.image == '$(image)'"],
  ['distinctBy', "join('', [data.image, '$(image)'])"],
  ['expect', 'eu\n$(image)'],
  ['outputs', "known=data.image == '$(image)'"],
  ['trustedKeys', '$(image)'],
  ['schemaFile', '$(image)/a.json'],
] as const) {
  test(`an unset variable in ${input} fails the step, since no event could ever match`, () => {
    assert.throws(
      () => readWait(agentWith({ ...(input === 'expect' && { distinctBy: 'data.a' }), [input]: value })),
      (error: Error) => {
        assert.match(
          error.message,
          new RegExp(`^InvalidInput: ${input}:.* contains "\\$\\(.*a pipeline variable that is not set\\.`),
        );
        return true;
      },
    );
  });
}

test("the form that the error suggests lets an expression compare with a variable's literal text", () => {
  assert.throws(() => readWait(agentWith({ match: "data == '$(image)'" })), /JSON literal: `"\\u0024\(name\)"`\.$/);
  const { match } = readWait(agentWith({ match: 'data == `"\\u0024(image)"`' })).request;
  assert.equal(match?.evaluate(viewOf('"$(image)"')), true);
});

test('several values of expect on one line are a warning with the right form, and so is a subject with commas', () => {
  const agent = agentWith({ distinctBy: 'data.region', expect: 'eu,us', subject: 'ci.a,ci.b' });
  assert.deepEqual(readWait(agent).request.expect, ['eu,us']);
  assert.deepEqual(agent.warnings, [
    'subject: "ci.a,ci.b" is one subject with commas in it. Several go on lines of their own: "ci.a" and "ci.b".',
    'expect: "eu,us" is one value with commas in it. Several go on lines of their own: "eu" and "us".',
  ]);
  const spaced = agentWith({ distinctBy: 'data.region', expect: 'eu, us, ap' });
  assert.deepEqual(readWait(spaced).request.expect, ['eu, us, ap']);
  assert.deepEqual(spaced.warnings, [
    'expect: "eu, us, ap" is one value with commas in it. Several go on lines of their own: "eu" and "us" and "ap".',
  ]);
});

test('an invalid output name is reported with the nearest valid one', () => {
  for (const [line, nearest] of [
    ['image-tag=data.tag', 'image_tag=data.tag'],
    ['1st = data.a', '_1st=data.a'],
    ['größe=data.a', 'gr__e=data.a'],
    ['who is it=data.x', 'who_is_it=data.x'],
  ])
    assert.throws(() => readWait(agentWith({ outputs: line ?? '' })), {
      message: `InvalidInput: outputs: ${JSON.stringify(line?.split(/ ?=/)[0])} is not a valid name: it needs letters, digits and underscores, and cannot begin with a digit. Write ${nearest}.`,
    });
  for (const line of ['no-equals', '=x', 'a=', "match: data.a == 'x'", "data.a == 'x'", "data.a != 'x'", 'data.a.b'])
    assert.throws(() => readWait(agentWith({ outputs: line })), /is not of the form name=JMESPath/);
  for (const [line, written] of [
    ['order=data.orderId, by=data.approvedBy', '"order=data.orderId" and "by=data.approvedBy"'],
    ["a='x'; b = data.b", '"a=\'x\'" and "b = data.b"'],
    ["a=data.x b=data.y == 'c d=e'  c=data.z", '"a=data.x" and "b=data.y == \'c d=e\'" and "c=data.z"'],
    ['a=b, c=d, e=f, g=h, i=j, k=l', '"a=b" and "c=d" and "e=f" and "g=h" and "i=j" and so on'],
  ])
    assert.throws(() => readWait(agentWith({ outputs: line ?? '' })), {
      message: `InvalidInput: outputs: ${JSON.stringify(line)} holds several outputs in one line. Write one name=expression per line: ${written}.`,
    });
  assert.throws(
    () => readWait(agentWith({ outputs: "bad=data.a && data.status = 'failed'" })),
    /outputs: bad: .* position \d+: a comparison is written ==, not =/,
  );
  assert.throws(
    () => readWait(agentWith({ outputs: 'data.image.tag' })),
    /name=JMESPath\. Write tag=data\.image\.tag\.$/,
  );
  for (const line of [
    "a=contains(data.text, ', b=c')",
    'a=[data.a, data.b == `1`]',
    'a=let $a = data.a, $b = data.b in $b',
  ])
    assert.equal(readWait(agentWith({ outputs: line })).request.outputs.length, 1, line);
  assert.throws(
    () => readWait(agentWith({ outputs: 'by: data.by' })),
    /outputs: "by: data\.by" is not of the form name=JMESPath\. Write by=data\.by\.$/,
  );
});

test('a long line of outputs takes no long time, whatever is in it', () => {
  const spaces = ' '.repeat(60_000);
  const began = performance.now();
  for (const line of [`a${spaces}b`, `a=x${spaces}y`, `a=x${spaces}y b=z`, `a=x${' b=data.x'.repeat(7_000)}`])
    assert.throws(() => readWait(agentWith({ outputs: line })), /InvalidInput: outputs: /);
  assert.ok(performance.now() - began < 3_000, `${performance.now() - began} ms`);
});

test('startTime is a time in ISO 8601 with its offset', () => {
  const startOf = (startTime: string) => {
    const { start } = readWait(agentWith({ startFrom: 'time', startTime })).request;
    return start.from === 'time' ? new Date(start.at).toISOString() : undefined;
  };
  for (const text of [
    '2026-03-01T08:00:00Z',
    '2026-03-01T08:00Z',
    '2026-03-01t08:00:00.000z',
    '2026-03-01T09:30:00+01:30',
    '2026-03-01T09:30+0130',
    '2026-03-01T06:00:00.000-02',
    '2026-03-01 08:00:00+00:00',
  ])
    assert.equal(startOf(text), '2026-03-01T08:00:00.000Z', text);
  for (const text of ['2026-03-01', '2026-03-01T08:00:00', '2026-03-01T08Z', '2026-02-30T08:00Z', '1772352000'])
    assert.throws(() => startOf(text), /startTime: ".*" is not a time in ISO 8601 with its offset from UTC/, text);
  assert.throws(() => startOf('2026-03-01T08:00'), /Z\. Write 2026-03-01T08:00Z if it's in UTC\.$/);
  assert.throws(() => startOf('2026-03-01'), /Z\. Write 2026-03-01T00:00:00Z if it's in UTC\.$/);
  assert.throws(() => startOf('1772352000'), /Z\. Write 2026-03-01T08:00:00\.000Z\.$/);
  assert.throws(() => startOf('2026-02-30'), /such as 2026-05-31T08:00:00Z\.?$/);
});

test('a position that is nearly right, or that others call so, is answered with what to write', () => {
  for (const [startFrom, hint] of [
    ['runstart', 'Write runStart.'],
    ['last-per-subject', 'Write lastPerSubject.'],
    ['Earliest', 'Write all.'],
    ['latest', 'Write now.'],
    ['42', 'Write startFrom: sequence and startSequence: 42.'],
    ['2026-03-01T08:00:00Z', 'Write startFrom: time and startTime: 2026-03-01T08:00:00Z.'],
    ['constructor', ''],
  ] as const)
    assert.throws(() => readWait(agentWith({ startFrom }, { 'System.PipelineStartTime': '2026-03-01T08:00:00Z' })), {
      message: [
        `InvalidInput: startFrom: "${startFrom}" is not one of runStart, now, sequence, time, lastPerSubject, all.`,
        ...[hint].filter(Boolean),
      ].join(' '),
    });
});
