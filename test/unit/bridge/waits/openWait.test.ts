import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Script } from 'node:vm';
import { OpenWait } from '../../../../bridge/waits/openWait.ts';
import type { KnownWait } from '../../../../bridge/waits/openWaits.ts';
import { messageOf } from '../../../support/event.ts';
import { STORED_KEY } from '../../../support/bridge/waitsReceiver.ts';

const STORED = Date.UTC(2026, 4, 31, 8, 0, 1);

function open(inputs: Readonly<Record<string, string>>, others: Partial<KnownWait> = {}): OpenWait {
  const known: KnownWait = {
    ...{ state: 'waiting', place: STORED_KEY, revision: 1, rule: 0 },
    common: { project: 'shop', inputs: { subject: 'ci.done.v1', ...inputs }, subjects: ['ci.done.v1'] },
    ...{ correlationId: undefined, start: { stream: 'CI', after: 0 }, progress: undefined },
    ...{ acceptedAt: STORED - 1_000, deadline: STORED + 1_000, ...others },
  };
  return new OpenWait(known, { contracts: {}, now: () => Date.now(), warn: () => {} });
}

const at = (sequence: number, data: unknown, storedAt = STORED) =>
  messageOf(JSON.stringify(data), {}, { place: { stream: 'CI', sequence }, storedAt });

describe('A wait of the bridge', () => {
  test("continues another leader's progress, and judges nothing twice", () => {
    const one = open({ match: 'data.ok', count: '2' });
    assert.equal(one.take(at(3, { ok: true })).kind, 'counted');
    const { progress } = one;
    assert.deepEqual([progress.sequence, progress.counts.matched], [3, 1]);
    const other = open({ match: 'data.ok', count: '2' }, { progress });
    assert.equal(other.take(at(3, { ok: true })).kind, 'passed');
    const step = other.take(at(4, { ok: true }));
    assert.ok(step.kind === 'ended');
    assert.deepEqual([step.ending.verdict, step.ending.counts.matched, step.ending.event?.sequence], ['matched', 2, 4]);
  });

  test("takes events up to its deadline by the stream's time, and none after it", () => {
    const step = open({}).take(at(1, {}, STORED + 1_000));
    assert.ok(step.kind === 'ended' && step.ending.verdict === 'matched');
    const late = open({}).take(at(1, {}, STORED + 1_001));
    assert.ok(late.kind === 'ended' && late.ending.verdict === 'timedOut');
    assert.equal(open({}, { start: { stream: 'CI', after: 0, at: STORED + 1 } }).take(at(1, {})).kind, 'passed');
  });

  test('says at its deadline where it looked, and its correlation id if all events had others', () => {
    const nothing = open({}, { start: { stream: 'CI', after: 0, at: STORED } }).timeOut();
    assert.match(
      nothing.reason,
      /No event came at all\. The stream "CI" was read since 2026-05-31T08:00:01\.000Z \(startFrom\)/,
    );
    const reads = (startFrom: string, after: number) =>
      open(
        { startFrom, ...(startFrom === 'sequence' ? { startSequence: String(after) } : {}) },
        { start: { stream: 'CI', after } },
      ).timeOut();
    assert.match(reads('sequence', 7).reason, /was read after sequence 7 \(startFrom: sequence\)/);
    assert.match(reads('all', 0).reason, /was read from its first event on \(startFrom: all\)/);
    assert.match(reads('now', 7).reason, /was read since 2026-05-31T08:00:00\.000Z \(startFrom: now\)/);

    const foreign = open({}, { correlationId: 'build-7' });
    foreign.unseen = () => 2;
    const { reason } = foreign.timeOut();
    assert.match(
      reason,
      /Seen 2: 2 with another correlation id\. This wait is for the correlation id "build-7": compare it/,
    );
    assert.doesNotMatch(reason, /counted/);
  });

  test('says at its deadline which field no event had, unless another leader saw other events', () => {
    const wait = open({ match: "data.regoin == 'eu'" });
    wait.take(at(1, { region: 'eu', image: 'web' }));
    const { progress } = wait;
    assert.match(
      wait.timeOut().reason,
      /No event had data\.regoin \(did you mean data\.region\?\)\. In the last one, data has region, image\. Compare/,
    );
    const other = open({ match: "data.regoin == 'eu'" }, { progress });
    other.take(at(2, { region: 'eu' }));
    assert.doesNotMatch(other.timeOut().reason, /No event had/);
  });

  test("does not claim that all events counted if another leader saw some that didn't", () => {
    const counts = { ...open({}).counts, seen: 1, notMatching: 1 };
    const { reason } = open({}, { progress: { sequence: 3, counts, keys: [] } }).timeOut();
    assert.match(reason, /Seen 1: 1 not matching\. Compare what the sender published/);
  });

  test('ends as an error after three events that take too long, and counts as slow after the first', () => {
    const wait = open({
      match: 'length(data[?length($.data[?@ == `1` || length($.data[?@ == `2`]) > `9`]) > `9`]) > `9`',
    });
    const slow = Array.from({ length: 400 }, (_, index) => index + 10);
    assert.equal(wait.take(at(1, slow)).kind, 'passed');
    assert.ok(wait.isSlow);
    assert.equal(wait.take(at(2, slow)).kind, 'passed');
    const step = wait.take(at(3, slow));
    assert.ok(step.kind === 'ended');
    assert.equal(step.ending.verdict, 'error');
    assert.match(step.ending.reason, /take too long to judge: 3 were interrupted/);
  });

  test('makes no interruptible call if there is nothing to compute', (t) => {
    const { mock } = t.mock.method(Script.prototype, 'runInThisContext');
    assert.equal(open({ correlationId: 'r-1' }, { correlationId: 'r-1' }).take(at(1, {})).kind, 'passed');
    assert.equal(open({}).take(at(1, {})).kind, 'ended');
    assert.equal(mock.callCount(), 0);
    assert.equal(open({ outputs: 'tag=data.tag' }).take(at(1, { tag: 'v1' })).kind, 'ended');
    assert.equal(mock.callCount(), 1);
  });

  test('ends as an error if an output is unsafe', () => {
    const step = open({ outputs: 'tag=data.tag' }).take(at(1, { tag: '$(secret)' }));
    assert.ok(step.kind === 'ended');
    assert.deepEqual([step.ending.verdict, step.ending.code], ['error', 'ContractViolation']);
    assert.ok(!JSON.stringify(step.ending).includes('$(secret)'));
    const good = open({ outputs: 'tag=data.tag' }).take(at(1, { tag: 'v1' }));
    assert.equal(good.kind === 'ended' && good.ending.outputs['event.tag'], 'v1');
  });

  test('names the outputs that are empty, with the field that was probably meant', () => {
    const names = Array.from({ length: 10 }, (_, index) => `n${index}=data.n${index}`);
    const outputs = ['tag=data.tag', 'image=data.imag', 'owner=data.owner', ...names].join('\n');
    const step = open({ outputs }).take(at(1, { tag: 'v1', image: 'web' }));
    assert.ok(step.kind === 'ended');
    assert.equal(step.ending.verdict, 'matched');
    const { notes = [] } = step.ending;
    assert.deepEqual(notes.slice(0, 2), [
      'outputs: event.image is empty: the event has no data.imag. Did you mean data.image?',
      'outputs: event.owner is empty, since the event has nothing there.',
    ]);
    assert.equal(notes.length, 10);
    const nothing = open({ outputs: 'image=data.image' }).take(at(1, { image: 'web' }));
    assert.ok(nothing.kind === 'ended' && nothing.ending.notes === undefined);
  });

  test('notes the field that failWhen probably means, even if the event matched', () => {
    const step = open({ failWhen: "data.staus == 'rejected'" }).take(at(1, { status: 'rejected' }));
    assert.ok(step.kind === 'ended');
    assert.equal(step.ending.verdict, 'matched');
    assert.deepEqual(step.ending.notes, ['failWhen: the event has no data.staus. Did you mean data.status?']);
  });

  test('ends as an error if its contract was removed', () => {
    const step = open({ contract: 'gone.v1' }).take(at(1, {}));
    assert.ok(step.kind === 'ended');
    assert.equal(step.ending.verdict, 'error');
    assert.match(step.ending.reason, /the bridge knows no contract "gone\.v1"/);
  });

  test('counts the events it was not shown as foreign', () => {
    const wait = open({ correlationId: 'c' }, { correlationId: 'c' });
    wait.unseen = () => 5;
    assert.deepEqual([wait.timeOut().counts.foreign, wait.counts.seen], [5, 5]);
  });
});
