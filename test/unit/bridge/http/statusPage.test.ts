import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { STYLE_DIGEST, statusPage, type Status } from '../../../../bridge/http/statusPage.ts';
import { knownSecrets } from '../../../../shared/text/masker.ts';

const HOSTILE = `<script>alert(1)</script>" onload='x' & \u202e\u0007`;

const STATUS: Status = {
  version: '1.2.3',
  now: 1_000_000_000,
  startedAt: 1_000_000_000 - 90_061_000,
  instance: '',
  organization: 'https://dev.azure.com/contoso/',
  readiness: 'ready',
  nats: 'up',
  azureDevOps: { state: 'ok', isGood: true },
  streams: [],
  hooks: [],
  deadLetters: [],
  check: undefined,
};

/** What a reader sees, a line per row. */
function seen(status: Partial<Status>): string[] {
  const page = statusPage({ ...STATUS, ...status });
  return page
    .replace(/<style>[^]*<\/style>/, '')
    .replaceAll(/<\/t[hd]>/g, ' ')
    .replaceAll(/<[^>]+>/g, '')
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
}

test('shows what the bridge does', () => {
  const lines = seen({
    instance: 'blue',
    readiness: 'degraded',
    azureDevOps: { state: 'no token', isGood: false },
    streams: [{ name: 'AZDO', state: 'ok' }],
    hooks: [
      {
        event: 'build.completed',
        received: [
          { outcome: 'stored', count: 7 },
          { outcome: 'duplicate', count: 1 },
        ],
        lastAt: STATUS.now - 65_000,
      },
    ],
    deadLetters: [{ function: 'hooks', name: 'noId', count: 3 }],
    check: {
      at: STATUS.now - 3_600_000,
      findings: [{ level: 'error', about: 'stream X', text: 'stream X: it is gone.' }],
    },
  });
  for (const line of [
    'Event Bridge for NATS blue',
    'Version 1.2.3, up for 1 d 1 h, https://dev.azure.com/contoso/',
    'The bridge degraded',
    'NATS up',
    'Azure DevOps no token',
    'Stream AZDO ok',
    'build.completed 7 stored, 1 duplicate 1 min 5 s ago',
    'hooks noId 3',
    '1 h ago',
    'error stream X: it is gone.',
  ])
    assert.ok(lines.includes(line), `${line}\nis not in\n${lines.join('\n')}`);
});

test('shows what there is not', () => {
  const headings = ['Service hooks since this process began', 'Dead letters', 'Self-check'];
  assert.deepEqual(seen({}).slice(-6), [headings[0], 'None has come.', headings[1], 'None.', headings[2], 'Not yet.']);
  const lines = seen({ hooks: undefined, deadLetters: undefined, check: { at: STATUS.now, findings: [] } });
  assert.deepEqual(lines.slice(-5), [
    headings[1],
    'Unknown: the stream cannot be asked.',
    headings[2],
    '0 s ago',
    'No problems.',
  ]);
});

test('whatever a text says, it is text', () => {
  const page = statusPage({
    ...STATUS,
    instance: HOSTILE,
    organization: HOSTILE,
    readiness: HOSTILE,
    nats: HOSTILE,
    azureDevOps: { state: HOSTILE, isGood: false },
    streams: [{ name: HOSTILE, state: HOSTILE }],
    hooks: [{ event: HOSTILE, received: [{ outcome: HOSTILE, count: 1 }], lastAt: undefined }],
    deadLetters: [{ function: HOSTILE, name: HOSTILE, count: 1 }],
    check: { at: 0, findings: [{ level: HOSTILE, about: HOSTILE, text: HOSTILE }] },
  });
  assert.doesNotMatch(page, /<script|onload='|" onload|\u202e|\u0007/);
  assert.equal(page.match(/&lt;script&gt;alert\(1\)/g)?.length, 14);
});

test('a secret is masked', () => {
  knownSecrets.add('status-page-secret', 'a test');
  assert.doesNotMatch(
    statusPage({ ...STATUS, azureDevOps: { state: 'it said status-page-secret', isGood: false } }),
    /status-page-secret/,
  );
});

test('the policy allows the one style of the page', () => {
  const [, style = ''] = /<style>([^]*?)<\/style>/.exec(statusPage(STATUS)) ?? [];
  assert.equal(STYLE_DIGEST, `sha256-${createHash('sha256').update(style).digest('base64')}`);
});
