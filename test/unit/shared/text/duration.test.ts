import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeMs, durationHint, parseDuration } from '../../../../shared/text/duration.ts';

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
  ['1d', DAY_MS],
  ['1d12h', 1.5 * DAY_MS],
  ['20d', 20 * DAY_MS],
] as const) {
  test(`the duration ${text} is ${ms} ms`, () => assert.equal(parseDuration(text), ms));
}

for (const text of [
  ...['', '0', '0s', '0h0m', '30', 's', 'ms', '-5s', '+5s', '1.5h', '1,5h', '5S', '5 s', ' 5s', '5s ', '1s1m', '1h1h'],
  ...['1w', 'PT5S', '00:05:00', '1e3s', '0x10s', 'Infinitys', 'NaN', '٣s', '１s', '480h1ms', '481h'],
  ...['1h1d', '1d1d', '21d', '20d1ms', '1.5d', '1D'],
  ...['9'.repeat(400) + 's', 'soon', '5s\n', '$(timeout)'],
]) {
  test(`the duration ${JSON.stringify(text.slice(0, 20))} is refused`, () => {
    assert.equal(parseDuration(text), undefined);
  });
}

test('a duration is described in the form that can be read back', () => {
  for (const [ms, text] of [
    [5_415_250, '1h30m15s250ms'],
    [20 * DAY_MS, '480h'],
    [60_500, '1m500ms'],
    [1, '1ms'],
  ] as const) {
    assert.equal(describeMs(ms), text);
    assert.equal(parseDuration(text), ms);
  }
  assert.equal(describeMs(0), '0ms');
});

for (const [text, hint] of [
  ['10', 'A unit is missing: write 10s for seconds, or 10m for minutes.'],
  ['5 minutes', 'Write 5m.'],
  ['1 Day', 'Write 1d.'],
  ['30 sec', 'Write 30s.'],
  ['250 milliseconds', 'Write 250ms.'],
  ['2H', 'Write 2h.'],
  ['1.5h', 'Write 1h30m.'],
  ['00:05:00', 'Write 5m.'],
  ['1:30:05', 'Write 1h30m5s.'],
  ['5:00', 'Write 5m for minutes and seconds, or 5h for hours and minutes.'],
  ['PT5M', 'Write 5m.'],
  ['P1DT12H', 'Write 1d12h.'],
  ['1h 30m', 'Write 1h30m.'],
  ['1 hour and 30 minutes', 'Write 1h30m.'],
  ['1H30M', 'Write 1h30m.'],
  ['1 hour, 1.5 min', 'Write 1h1m30s.'],
  ['00:00:00', undefined],
  ['900:00:00', undefined],
  ['900:00', undefined],
  ['P1M', undefined],
  ['PT', undefined],
  ['30m 1h', undefined],
  ['at 5m', undefined],
  ['1s'.repeat(1_000), undefined],
  ['21d', undefined],
  ['0', undefined],
  ['1.5', undefined],
  ['soon', undefined],
  ['10 parsecs', undefined],
  ['-1s', undefined],
] as const) {
  test(`the invalid duration ${text} gets ${hint === undefined ? 'no hint' : 'a hint'}`, () => {
    assert.equal(durationHint(text), hint);
  });
}
