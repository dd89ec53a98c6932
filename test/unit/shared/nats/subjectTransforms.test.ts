import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StreamConfig } from '../../../../shared/nats/jetStreamApi.ts';
import { mayBeStoredAs, storedElsewhere } from '../../../../shared/nats/subjectTransforms.ts';

const config = (others: Partial<StreamConfig>): StreamConfig => ({ retention: 'limits', ...others });
const transform = (src: string, dest: string) => config({ subject_transform: { src, dest } });

test("a stream that stores a wait's subjects under others is named, and only that stream", () => {
  const rules = [{ src: 'old.>', dest: 'new.>' }];
  for (const [what, stream, subject, isMoved] of [
    ['no rule', config({}), 'old.a', false],
    ['a rule for this subject', transform('old.>', 'new.>'), 'old.a', true],
    ['a rule for all subjects', transform('', 'new.>'), 'old.a', true],
    ['a rule for another subject', transform('other.>', 'new.>'), 'old.a', false],
    ['a rule that stays inside', transform('old.*', 'old.{{wildcard(1)}}.v1'), 'old.*.v1', false],
    ['a wildcard', transform('*.*.*', 'new.{{wildcard(2)}}.{{ wildcard(1) }}'), 'new.a.b', false],
    ['a wildcard as it was written before', transform('*.*', 'b.$1'), 'b.x', false],
    ['a wildcard inside a part', transform('*.*', 'b.part-{{partition(3,1)}}'), 'b.part-2', false],
    ['a part that is split', transform('>', 'new.{{split(1,-)}}'), 'new.a.b.c', false],
    ['a rule of what it mirrors', config({ mirror: { name: 'A', subject_transforms: rules } }), 'old.a', true],
    ['a rule of what it sources', config({ sources: [{ name: 'A' }, { subject_transforms: rules }] }), 'old.a', true],
    [
      'a rule that only selects',
      config({ sources: [{ subject_transforms: [{ src: 'old.>', dest: '' }] }] }),
      'old.a',
      false,
    ],
    [
      'what is no rule',
      config({ subject_transform: 7, mirror: 'A', sources: [null, { subject_transforms: {} }] }),
      'a',
      false,
    ],
  ] as const)
    assert.equal(storedElsewhere('CI', stream, [subject]) !== undefined, isMoved, what);
  assert.equal(
    storedElsewhere('CI', transform('old.>', 'new.>'), ['new.a', 'old.a']),
    'The stream "CI" stores events on "old.>" as "new.>" (subject transform), where a wait on "old.a" does not see them',
  );
});

test('a stream that stores other subjects under this one is recognised', () => {
  assert.ok(mayBeStoredAs(transform('old.*', 'new.{{wildcard(1)}}'), 'new.a'));
  assert.ok(!mayBeStoredAs(transform('old.*', 'new.{{wildcard(1)}}'), 'old.a'));
});
