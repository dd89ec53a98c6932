import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OpenWait } from '../../../../bridge/waits/openWait.ts';
import { assessTogether } from '../../../../bridge/waits/together.ts';
import { messageOf } from '../../../support/event.ts';
import { STORED_KEY } from '../../../support/bridge/waitsReceiver.ts';

const STORED = Date.UTC(2026, 4, 31, 8, 0, 1);
const QUADRATIC = 'data.list[?length($.data.list[?@ > `1`]) == `0`]';
const MESSAGE = messageOf(
  JSON.stringify({ n: 7, list: Array.from({ length: 6_000 }, () => 2) }),
  {},
  { place: { stream: 'CI', sequence: 5 }, storedAt: STORED },
);

function open(match: string, deadline = STORED + 1_000): OpenWait {
  const common = { project: 'shop', inputs: { subject: 'ci.done.v1', match }, subjects: ['ci.done.v1'] };
  return new OpenWait(
    {
      ...{ state: 'waiting', place: STORED_KEY, revision: 1, rule: 0, common, correlationId: undefined },
      ...{ start: { stream: 'CI', after: 0 }, progress: undefined, acceptedAt: STORED - 1_000, deadline },
    },
    { contracts: {}, now: () => Date.now(), warn: () => {} },
  );
}

test('several waits assessed together get the same verdicts as each alone', () => {
  const waits = [open('data.n == `7`'), open('data.n == `8`'), open('data.n == `7`', STORED - 1), open('(')];
  const { assessed, isInterrupted } = assessTogether(waits, MESSAGE, () => 0);
  assert.equal(isInterrupted, false);
  const steps = waits.map((wait, index) => wait.take(MESSAGE, assessed[index]));
  const verdicts = steps.map((step) => (step.kind === 'ended' ? step.ending.verdict : step.kind));
  // An input that can no longer be read ends only its own wait.
  assert.deepEqual(verdicts, ['matched', 'passed', 'timedOut', 'error']);
});

test('a wait that takes too long is identified, and those before it keep their results', () => {
  const waits = [open('length(data.list) > `0`'), open(QUADRATIC), open('data.n == `7`')];
  // The clock stands still, so the turn doesn't end first.
  const { assessed, isInterrupted } = assessTogether(waits, MESSAGE, () => 0);
  assert.deepEqual([assessed.map((one) => one?.decision), isInterrupted], [['matched'], true]);
});

test('a turn ends with the first wait that exceeds its time', () => {
  let now = 0;
  const waits = Array.from({ length: 100 }, () => open('data.n == `7`'));
  const { assessed } = assessTogether(waits, MESSAGE, () => (now += 0.5));
  assert.ok(assessed.length > 0 && assessed.length < 20, String(assessed.length));
});
