import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readWait } from '../../tasks/WaitForNatsEvent/inputs.ts';
import { FakeAgent } from '../support/fakeAgent.ts';

function agentWith(
  inputs: Readonly<Record<string, string>>,
  variables: Readonly<Record<string, string>> = {},
): FakeAgent {
  return new FakeAgent({
    inputs: { natsConnection: 'nats', subject: 'ci.done.v1', startFrom: 'now', ...inputs },
    variables,
    connections: { nats: { url: 'nats://localhost', scheme: 'None' } },
  });
}

function warningsOf(timeout: string | undefined, jobTimeout: string | undefined): readonly string[] {
  const agent = agentWith(
    timeout === undefined ? {} : { timeout },
    jobTimeout === undefined ? {} : { 'System.JobTimeout': jobTimeout },
  );
  readWait(agent);
  return agent.warnings;
}

test("a deadline that the job's own time limit comes before is a warning", () => {
  assert.match(warningsOf('2h', '60').join(), /^timeout: 2h is not reached, .* 60 minutes .*timeoutInMinutes/);
  assert.match(warningsOf('60m', '60').join(), /^timeout: 60m is not reached/, 'the job began before the step');
  assert.match(warningsOf(undefined, '15').join(), /^timeout: 30m is not reached/);
});

test('no such warning where the deadline comes first, or the job has no limit or a limit nobody knows', () => {
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

test('an unset variable in an expression or among the expected values is a warning', () => {
  const agent = agentWith({
    match: "data.image == '$(image)'",
    distinctBy: 'data.region',
    expect: 'eu\n$(region)',
    outputs: "known=data.image == '$(known.image)'",
  });
  readWait(agent);
  assert.deepEqual(
    agent.warnings,
    [
      ['match', '$(image)'],
      ['expect', '$(region)'],
      ['outputs: known', '$(known.image)'],
    ].map(([name, macro]) => `${name} holds ${macro}, most likely a pipeline variable that is not set.`),
  );
});
