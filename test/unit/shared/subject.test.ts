import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  covers,
  hasVersionToken,
  overlap,
  subjectMatches,
  subjectProblem,
  withoutCovered,
} from '../../../shared/subject.ts';

for (const [subject, problem] of [
  ['', /^is empty$/],
  ['ci built', /white space or a control character/],
  ['ci.built\r\nPUB x 0', /white space or a control character/],
  ['ci.\u0000built', /white space or a control character/],
  ['ci.\u0085built', /white space or a control character/],
  ['ci.\u2028built', /white space or a control character/],
  ['ci.\ud800', /not valid Unicode/],
  ['ci..built', /empty part/],
  ['.ci', /empty part/],
  ['ci.', /empty part/],
  ['ci.$(missing)', /pipeline variable that is not set/],
  ['$JS.API.STREAM.DELETE.CI', /begins with "\$"/],
  ['$SYS.REQ.SERVER.PING', /begins with "\$"/],
  ['_INBOX.abc', /begins with "_INBOX"/],
  ['_INBOX', /begins with "_INBOX"/],
  ['_INBOX_other.abc', /begins with "_INBOX"/],
  ['ü'.repeat(513), /longer than 1024 bytes/],
] as const) {
  const shown = JSON.stringify(subject.slice(0, 30)).replace(/[\p{Cc}\p{Zl}]/gu, escaped);
  test(`neither a sender nor a waiter may use the subject ${shown}`, () => {
    assert.match(subjectProblem(subject, 'subject') ?? '', problem);
    assert.match(subjectProblem(subject, 'pattern') ?? '', problem);
  });
}

test('unusual but harmless characters in subjects are accepted', () => {
  for (const subject of ['ci', 'ci.v1.built', 'ci.Zoë.gebaut', 'ci.a$b', 'ci.a*b.c>', 'ü'.repeat(512), 'my_INBOX.a']) {
    assert.equal(subjectProblem(subject, 'subject'), undefined, subject);
    assert.equal(subjectProblem(subject, 'pattern'), undefined, subject);
  }
});

test('wildcards are only for waiting, and ">" only at the end', () => {
  for (const pattern of ['*', '>', 'ci.*', 'ci.>', '*.built.>', 'ci.*.*']) {
    assert.match(subjectProblem(pattern, 'subject') ?? '', /contains a wildcard/, pattern);
    assert.equal(subjectProblem(pattern, 'pattern'), undefined, pattern);
  }
  assert.match(subjectProblem('ci.>.built', 'pattern') ?? '', /has ">" before its last part/);
  assert.match(subjectProblem('>.>', 'pattern') ?? '', /has ">" before its last part/);
});

for (const [outer, inner, covered, overlapping] of [
  ['ci.built', 'ci.built', true, true],
  ['ci.built', 'ci.Built', false, false],
  ['ci.built', 'ci', false, false],
  ['ci', 'ci.built', false, false],
  ['ci.*', 'ci.built', true, true],
  ['ci.*', 'ci', false, false],
  ['ci.*', 'ci.a.b', false, false],
  ['ci.*', 'ci.*', true, true],
  ['ci.*', 'ci.>', false, true],
  ['*', '>', false, true],
  ['>', '*', true, true],
  ['>', '>', true, true],
  ['ci.>', 'ci', false, false],
  ['ci.>', 'ci.a', true, true],
  ['ci.>', 'ci.a.b.c', true, true],
  ['ci.>', 'ci.*', true, true],
  ['ci.>', 'ci.>', true, true],
  ['ci.>', '*.a', false, true],
  ['ci.*.v1', 'ci.built.*', false, true],
  ['ci.*.v1', 'ci.built.v2', false, false],
  ['ci.a.>', 'ci.>', false, true],
  ['ci.built', 'ci.*', false, true],
  ['ci.a*', 'ci.ab', false, false],
] as const) {
  test(`the pattern ${outer} ${covered ? 'covers' : 'does not cover'} ${inner}, and they ${overlapping ? 'overlap' : 'are apart'}`, () => {
    assert.equal(covers(outer, inner), covered);
    assert.equal(overlap(outer, inner), overlapping);
    assert.equal(overlap(inner, outer), overlapping);
    if (!/[*>]/.test(inner)) assert.equal(subjectMatches(outer, inner), covered);
  });
}

test('subjects covered by another one are dropped, and the others keep their order', () => {
  assert.deepEqual(withoutCovered(['b.x', 'a.>', 'a.*', 'a.b.c', 'b.x', 'c.*']), ['b.x', 'a.>', 'c.*']);
  assert.deepEqual(withoutCovered(['a.*.c', 'a.b.*']), ['a.*.c', 'a.b.*']);
  assert.deepEqual(withoutCovered([]), []);
});

test('a version part is v and a number from 1', () => {
  for (const subject of ['ci.v1', 'v2.ci', 'ci.v10.built']) assert.equal(hasVersionToken(subject), true, subject);
  for (const subject of ['ci', 'ci.v0', 'ci.v01', 'ci.V1', 'ci.v1a', 'ci.v', 'civ1'])
    assert.equal(hasVersionToken(subject), false, subject);
});

/** Characters that JSON leaves as they are, though nobody sees them. */
function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
