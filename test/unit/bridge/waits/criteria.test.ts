import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { liesWithin, readWaitRequest, type ReadingOptions } from '../../../../bridge/waits/criteria.ts';

const OPTIONS: ReadingOptions = {
  ...{ contracts: ['image-ready.v1'], maxWaitMs: 24 * 3_600_000, runStart: 1_000, ownStreams: ['BRIDGE_AUDIT'] },
};

function read(inputs: Readonly<Record<string, string>> = {}, options: Partial<ReadingOptions> = {}) {
  return readWaitRequest({ subject: 'ci.done.v1', ...inputs }, { ...OPTIONS, ...options });
}

describe('The inputs of an agentless wait', () => {
  test("have the defaults of the agent's task", () => {
    const { criteria, ...others } = read();
    assert.deepEqual(criteria, {
      ...{ subjects: ['ci.done.v1'], delivery: 'jetStream', onInvalid: 'skip', match: undefined, failWhen: undefined },
      ...{ correlationId: undefined, count: 1, distinctBy: undefined, expect: undefined, trustedKeys: undefined },
      ...{ maxEventAgeMs: undefined, timeoutMs: 1_800_000, idleTimeoutMs: undefined, outputs: [] },
    });
    const startFrom = { from: 'time', at: 1_000 };
    assert.deepEqual(others, { stream: undefined, startFrom, contract: undefined, onTimeout: 'fail', warnings: [] });
  });

  test("are read by the readers of the agent's task", () => {
    const { criteria, contract, stream, onTimeout, warnings } = read({
      ...{ subject: 'ci.a.v1\nci.*.v1', match: "data.ok == 'yes'", failWhen: 'data.failed', correlationId: 'r-1' },
      ...{
        distinctBy: 'data.region',
        expect: 'eu\nus\neu',
        contract: 'image-ready.v1',
        onInvalid: 'fail',
        stream: 'CI',
      },
      ...{ timeout: '24h', onTimeout: 'succeed', maxEventAge: '1h', outputs: 'image=data.image' },
    });
    assert.deepEqual(criteria.subjects, ['ci.*.v1']);
    assert.deepEqual([criteria.count, criteria.expect, criteria.maxEventAgeMs], [2, ['eu', 'us'], 3_600_000]);
    assert.deepEqual(
      [contract, stream, onTimeout, criteria.timeoutMs],
      ['image-ready.v1', 'CI', 'succeed', 86_400_000],
    );
    assert.deepEqual(
      criteria.outputs.map(({ name, expression }) => [name, expression.text]),
      [['image', 'data.image']],
    );
    assert.deepEqual(warnings, []);
  });

  test('set where the wait starts', () => {
    assert.deepEqual(read({ startFrom: 'now' }).startFrom, { from: 'now' });
    assert.deepEqual(read({ startFrom: 'all' }).startFrom, { from: 'all' });
    assert.deepEqual(read({ startFrom: 'sequence', startSequence: '7' }).startFrom, { from: 'sequence', after: 7 });
    const at = Date.parse('2026-05-31T08:00:00Z');
    assert.deepEqual(read({ startFrom: 'time', startTime: '2026-05-31 08:00Z' }).startFrom, { from: 'time', at });
  });

  test('do not wait longer than the bridge allows, even by default', () => {
    assert.equal(read({}, { maxWaitMs: 60_000 }).criteria.timeoutMs, 60_000);
    assert.throws(
      () => read({ timeout: '24h1ms' }),
      /timeout: "24h1ms" is longer than the bridge's limit of 24h\. Shorten it/,
    );
  });

  test('can have warnings without problems', () => {
    assert.match(read({ match: 'data.list[?a == "b-c"]' }).warnings[0]!, /match: "b-c" is read as the name of a field/);
  });

  const problems: Readonly<
    Record<string, [inputs: Readonly<Record<string, string>>, problem: RegExp, options?: Partial<ReadingOptions>]>
  > = {
    'no subject': [{ subject: '' }, /subject: is required/],
    'a variable that is not set': [{ match: "data.x == '$(nobody)'" }, /match: contains "\$\(nobody\)", most likely/],
    'an unknown field of the event': [
      { match: 'dat.ok' },
      /match: events have no field "dat", so it is always null: write data/,
    ],
    'a subject of white space': [{ subject: ' \n\t' }, /subject: is required/],
    'a bad subject': [{ subject: 'ci..v1' }, /subject: "ci\.\.v1" has an empty part/],
    "NATS' own subjects": [{ subject: '$KV.BRIDGE_WAITS.>' }, /begins with "\$"/],
    'a bucket as the stream': [
      { subject: '>', stream: 'KV_BRIDGE_WAITS' },
      /stream: "KV_BRIDGE_WAITS" is not a stream of events/,
    ],
    'a stream of the bridge': [
      { subject: '>', stream: 'BRIDGE_AUDIT' },
      /stream: "BRIDGE_AUDIT" is not a stream of events/,
    ],
    'an expression': [{ match: 'data.x = 1' }, /match: "data\.x = 1" is not a JMESPath expression/],
    'a timeout without a unit': [
      { timeout: '10' },
      /timeout: "10" is not a duration above 0 and up to 24h, such as .* write 10s for seconds, or 10m for minutes\./,
    ],
    'an unknown contract': [
      { contract: 'other.v1' },
      /contract: the bridge knows no contract "other\.v1"\. It knows image-ready\.v1\./,
    ],
    'no contracts': [{ contract: 'x' }, /It knows none: ask for this one/, { contracts: [] }],
    'too many events': [{ count: '1001' }, /count: "1001" is not a whole number from 1 to 1000/],
    'too many values': [
      { distinctBy: 'data.x', expect: Array.from({ length: 1_001 }, (_, index) => `v${index}`).join('\n') },
      /expect: lists 1001 values, and an agentless wait takes 1000 at most/,
    ],
    'a start that only the agent has': [
      { startFrom: 'lastPerSubject' },
      /startFrom: "lastPerSubject" is not one of runStart, now, sequence, time, all/,
    ],
    'a verdict that only the agent has': [{ onTimeout: 'warn' }, /onTimeout: "warn" is not one of fail, succeed/],
    'an unknown start of the run': [
      {},
      /startFrom: runStart needs the header X-Run-Start.*Set startFrom to now, or to time/,
      { runStart: undefined },
    ],
    'a start by time without a time': [{ startFrom: 'time' }, /startTime: is required/],
    'a stray sequence': [{ startSequence: '3' }, /startSequence: goes with startFrom: sequence only/],
    'an unset variable': [{ correlationId: '$(run)' }, /correlationId: "\$\(run\)" contains "\$\("/],
    'a key': [{ trustedKeys: 'UABC' }, /trustedKeys: /],
  };
  for (const [what, [inputs, problem, options]] of Object.entries(problems))
    test(`are refused with ${what}`, () => assert.throws(() => read(inputs, options), problem));

  test('report all problems at once', () => {
    assert.throws(
      () => read({ match: '(', timeout: 'x', count: '0' }),
      /3 problems with the inputs of this task\. \(1\) timeout: .*\(2\) match: .*\(3\) count: /,
    );
  });
});

test("a rule covers a wait if all of the wait's subjects lie within the rule's", () => {
  assert.ok(liesWithin(['ci.shop.a', 'cd.x'], ['ci.shop.>', 'cd.*']));
  assert.ok(!liesWithin(['ci.shop.a', 'ci.other.a'], ['ci.shop.>']));
  assert.ok(!liesWithin(['ci.>'], ['ci.shop.>']));
});
