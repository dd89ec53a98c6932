import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventLog } from '../../../bridge/log.ts';
import { knownSecrets } from '../../../shared/text/masker.ts';

function logged(write: (log: EventLog) => void): string[] {
  const lines: string[] = [];
  write(
    new EventLog(
      (line) => lines.push(line),
      () => Date.parse('2026-01-02T03:04:05.678Z'),
    ),
  );
  return lines;
}

test('each line is a JSON object with time, level and event', () => {
  const lines = logged((log) => {
    log.info('stored', { stream: 'AZDO', sequence: 7, duplicate: false, run: undefined });
    log.texts('nats').warning('The link broke.');
    log.error('failed');
    log.debug('looked');
  });
  assert.deepEqual(lines, [
    '{"time":"2026-01-02T03:04:05.678Z","level":"info","event":"stored","stream":"AZDO","sequence":7,"duplicate":false}\n',
    '{"time":"2026-01-02T03:04:05.678Z","level":"warning","event":"nats","text":"The link broke."}\n',
    '{"time":"2026-01-02T03:04:05.678Z","level":"error","event":"failed"}\n',
    '{"time":"2026-01-02T03:04:05.678Z","level":"debug","event":"looked"}\n',
  ]);
});

test('any text becomes one line without secrets', () => {
  knownSecrets.add('log-test-secret', 'a test');
  const [line = '', ...more] = logged((log) =>
    log.info('said', { text: 'a\nb\u2028c\u202e##vso[task.complete] log-test-secret "' }),
  );
  assert.deepEqual(more, []);
  assert.equal((JSON.parse(line) as { text: string }).text, 'a\\nb\\u{2028}c\\u{202e}##_vso[task.complete] *** "');
});
