import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Decisions } from '../../../../bridge/audit/decisions.ts';
import { TaskError } from '../../../../shared/errors.ts';
import { parseUserSeed } from '../../../../shared/nkey.ts';
import { headersOf, MemoryLog, MemoryPublisher, textOf } from '../../../support/bridge/memoryNats.ts';
import { createNKey } from '../../../support/nats/natsAccounts.ts';

function open(seed?: string) {
  const publisher = new MemoryPublisher();
  const log = new MemoryLog();
  const key = seed === undefined ? undefined : parseUserSeed(seed);
  const decisions = new Decisions({
    publisher,
    subjectPrefix: 'bridge.decisions',
    stream: 'BRIDGE_AUDIT',
    version: '1.2.3',
    replica: 'host-1',
    signingKey: () => key,
    now: () => Date.UTC(2026, 10, 28, 12),
    log,
  });
  return { publisher, log, decisions };
}

const DECISION = {
  function: 'runs',
  name: 'deploy web',
  decision: 'started',
  reason: 'all of it fits',
  event: { id: 'e-1', source: 'https://x/', subject: 'ci.a', place: { stream: 'CI', sequence: 7 } },
  followed: { runId: 42, url: 'https://x/42' },
  receivedAt: Date.UTC(2026, 10, 28, 11, 59),
} as const;

describe('A decision', () => {
  test('is a CloudEvent that says what, why, by whom and when', async () => {
    const { publisher, decisions } = open();
    await decisions.note(DECISION);
    const [stored] = publisher.stored;
    assert.equal(stored!.subject, 'bridge.decisions.runs.deploy-web');
    const headers = headersOf(stored!);
    assert.equal(headers['ce-type'], 'bridge.decision.v1');
    assert.equal(headers['ce-id'], headers['Nats-Msg-Id']);
    assert.equal(headers['Nats-Expected-Stream'], 'BRIDGE_AUDIT');
    assert.equal(headers['Event-Signature'], undefined);
    assert.deepEqual(JSON.parse(textOf(stored!)), {
      ...DECISION,
      bridge: { version: '1.2.3', replica: 'host-1' },
      receivedAt: '2026-11-28T11:59:00.000Z',
      decidedAt: '2026-11-28T12:00:00.000Z',
    });
  });

  test('is signed, and foreign text in it is only text', async () => {
    const { publisher, decisions } = open(createNKey().seed);
    await decisions.note({ ...DECISION, reason: '##vso[task.complete]\u202e' });
    const [stored] = publisher.stored;
    assert.match(headersOf(stored!)['Event-Signature'] ?? '', /^\S+\.\.\S+$/);
    const { reason } = JSON.parse(textOf(stored!)) as { reason: string };
    assert.equal(reason, '##_vso[task.complete]\\u{202e}');
  });

  test('that cannot be stored is logged; an order that cannot be stored fails', async () => {
    const { publisher, log, decisions } = open();
    publisher.failure = () => new TaskError('Timeout', 'It did not answer');
    await decisions.note(DECISION);
    assert.match(
      log.lines.join(),
      /warning The decision "started" of runs deploy web is not in the audit stream: Timeout/,
    );
    await assert.rejects(decisions.order(DECISION), { code: 'Timeout' });
  });
});
