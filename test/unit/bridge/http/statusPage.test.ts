import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import type { RouteStatus } from '../../../../bridge/http/routesTable.ts';
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
  throttle: undefined,
  callout: undefined,
  feeds: [],
  waits: undefined,
  routes: [],
  hooks: [],
  deadLetters: [],
  check: undefined,
  unused: [],
  restartKeys: [],
  subscriptions: undefined,
};

/** The page as a reader sees it, one line per row. */
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
    feeds: [
      { feed: 'Shop/packages', state: 'is read here', isGood: true, lastReadAt: STATUS.now - 5_000 },
      { feed: 'x', state: 'there is no feed', isGood: false, lastReadAt: undefined },
    ],
    deadLetters: [
      {
        function: 'hooks',
        name: 'noId',
        reason: 'noId',
        count: 3,
        replayed: 2,
        detail: 'it has no id',
        lastAt: STATUS.now - 9_000,
      },
    ],
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
    'Azure DevOps: no token',
    'Shop/packages is read here 5 s ago',
    'x there is no feed',
    'Feed x: there is no feed',
    'Self-check 1 h ago: stream X: it is gone.',
    'noId hooks 3 (2 replayed) noId 9 s ago it has no id',
    '1 h ago',
    'error stream X: it is gone.',
  ])
    assert.ok(lines.includes(line), `${line}\nis not in\n${lines.join('\n')}`);
});

test('says what is missing or unknown', () => {
  const lines = seen({});
  for (const line of ['All is well.', 'None.', 'None has come.', 'Not yet.'])
    assert.ok(lines.includes(line), `${line}\nis not in\n${lines.join('\n')}`);
  assert.ok(!lines.includes('Routes'));
  const unknown = seen({ hooks: undefined, deadLetters: undefined, check: { at: STATUS.now, findings: [] } });
  assert.deepEqual(unknown.slice(-3), ['Self-check', '0 s ago', 'No problems.']);
  assert.ok(unknown.includes('Unknown: the stream cannot be asked.'));
  assert.ok(!unknown.some((line) => line.startsWith('Service hooks')));
});

const ROUTE: RouteStatus = {
  name: 'deploy',
  mode: 'on',
  stream: 'CI',
  subjects: ['ci.>'],
  pause: undefined,
  trouble: undefined,
  waiting: { events: 0, oldest: undefined },
  decisions: [],
  decisionsTrouble: undefined,
};

function hostileRoute(mode: RouteStatus['mode']): RouteStatus {
  const failure = { attempt: 1, reason: HOSTILE, at: 0 };
  return {
    ...{ name: HOSTILE, mode, stream: HOSTILE, subjects: [HOSTILE], pause: undefined, trouble: HOSTILE },
    waiting: { events: 1, oldest: { place: HOSTILE, at: 0, failure } },
    decisions: [{ at: 0, decision: HOSTILE, reason: HOSTILE, place: HOSTILE, run: HOSTILE }],
    decisionsTrouble: undefined,
  };
}

const decided = (decision: string, reason = '', secondsAgo = 60) => ({
  ...{ at: STATUS.now - secondsAgo * 1_000, decision, reason, place: 'CI:7' },
  run: decision === 'started' ? '12' : undefined,
});

const oldest = (secondsAgo: number, failure?: string) => ({
  events: 3,
  oldest: {
    place: 'CI:8',
    at: STATUS.now - secondsAgo * 1_000,
    failure: failure === undefined ? undefined : { attempt: 2, reason: failure, at: STATUS.now - 5_000 },
  },
});

for (const [what, route, alarm] of [
  ['fails', { waiting: oldest(30, 'status 500') }, 'Route deploy fails: status 500 attempt 2, 5 s ago'],
  ['fails', { decisions: [decided('deadLetter', 'refused: no')] }, 'Route deploy fails: refused: no 1 min ago'],
  [
    'fails, even if it has since skipped events',
    { decisions: [decided('notMatching'), decided('duplicate'), decided('deadLetter', 'attempts: 8')] },
    'Route deploy fails: attempts: 8 1 min ago',
  ],
  [
    'was sent a bad event',
    { decisions: [decided('deadLetter', 'invalid: no image'), decided('started')] },
    'Route deploy refused its last event: invalid: no image 1 min ago',
  ],
  [
    'is paused',
    { pause: { by: 'maria', reason: 'freeze', at: STATUS.now - 5_000 }, waiting: oldest(500, 'status 500') },
    'Route deploy: paused by maria: freeze 5 s ago',
  ],
  [
    'gets no events',
    { down: 'Denied <', waiting: oldest(500), decisions: [decided('deadLetter', 'invalid: no image')] },
    'Route deploy is down: Denied &lt;',
  ],
  [
    'cannot be looked at',
    { trouble: 'The consumer is gone' },
    'Route deploy can&#39;t be looked at: The consumer is gone',
  ],
  ['is behind', { waiting: oldest(61) }, 'Route deploy is behind: Its oldest event waits, and no attempt has failed.'],
  ['works', { waiting: oldest(59), decisions: [decided('started'), decided('deadLetter', 'refused: no')] }, undefined],
  ['is off', { mode: 'off', decisions: [decided('deadLetter', 'refused: no')] }, undefined],
] as const)
  test(`the first lines show a route that ${what}`, () => {
    const lines = seen({ routes: [{ ...ROUTE, ...route }] });
    assert.equal(lines[3], alarm ?? 'All is well.');
  });

test('shows the waiting events and last decisions of each route, the worst route first', () => {
  const fails: RouteStatus = { ...ROUTE, name: 'bad', waiting: oldest(65, 'status 500') };
  const decisions = [decided('started'), decided('preview', 'x', 120), decided('duplicate'), decided('started')];
  const lines = seen({ routes: [{ ...ROUTE, decisions }, fails] });
  const first = lines.findIndex((line) => line.startsWith('badci.&gt; in CI'));
  assert.deepEqual(lines.slice(first, first + 2), [
    'badci.&gt; in CI failing 3 eventsoldest 1 min 5 s CI:8 status 500 attempt 2, 5 s ago',
    'deployci.&gt; in CI ok nothing started 1 min ago CI:7, run 12preview 2 min ago CI:7, xduplicate 1 min ago CI:7',
  ]);
});

test("says why a route's last decisions are unknown, without an alarm", () => {
  const lines = seen({ routes: [{ ...ROUTE, decisionsTrouble: 'may not be read <' }] });
  assert.equal(lines[3], 'All is well.');
  assert.ok(lines.includes('deployci.&gt; in CI ok nothing Unknown: may not be read &lt;'), lines.join('\n'));
});

test('the first errors of the self-check are at the top, each once, with the number of the others', () => {
  const finding = (level: string, about: string) => ({ level, about, text: `${about}: no.` });
  const checkOf = (...findings: ReturnType<typeof finding>[]) => ({ at: STATUS.now - 40_000, findings });
  const azureDevOps = { state: 'personal access token, see the self-check', isGood: false };
  assert.deepEqual(
    seen({ azureDevOps, check: checkOf(finding('warning', 'stream A'), finding('error', 'Azure DevOps')) }).slice(3, 5),
    ['Self-check 40 s ago: Azure DevOps: no.', 'Dead letters'],
  );
  const errors = Array.from({ length: 7 }, (_, index) => finding('error', `stream ${index}`));
  assert.deepEqual(seen({ check: checkOf(...errors) }).slice(7, 9), [
    'Self-check 40 s ago: stream 4: no.',
    'Self-check 40 s ago: 2 more, see below',
  ]);
  assert.equal(seen({ check: checkOf(finding('warning', 'stream A')) })[3], 'All is well.');
});

test('says that a changed configuration or secret is not used, since when and why', () => {
  const since = STATUS.now - 65_000;
  const problems = ['bridge.yml:3:1: azureDevop: is not a key', '2', '3', '4', '5'];
  const unused = [
    { what: 'configuration', since, problems },
    { what: 'nats.tokenFile "<token>"', since, problems: ['is empty'] },
  ];
  const lines = seen({ unused });
  assert.deepEqual(lines.slice(3, 5), [
    'The changed configuration is not in use: its file has been bad for 1 min 5 s.bridge.yml:3:1: azureDevop: is not a key232 more, see the log',
    'nats.tokenFile &quot;&lt;token&gt;&quot; is empty. Its last good content has been used for 1 min 5 s.',
  ]);
  assert.doesNotMatch(
    statusPage({ ...STATUS, unused: [{ what: HOSTILE, since, problems: [HOSTILE] }] }),
    /<script|\u202e/,
  );
});

test('says that calls to Azure DevOps are paused, and for how long', () => {
  const lines = seen({ throttle: { reason: 'status 429', until: STATUS.now + 30_000 } });
  assert.equal(lines[3], 'Calls to Azure DevOps are paused, next try in 30 s: status 429');
  const over = seen({ throttle: { reason: 'status 429', until: STATUS.now + 400 } });
  assert.equal(over[3], 'Calls to Azure DevOps are paused, next try in 1 s: status 429');
});

test('escapes text from elsewhere', () => {
  const page = statusPage({
    ...STATUS,
    instance: HOSTILE,
    organization: HOSTILE,
    readiness: HOSTILE,
    nats: HOSTILE,
    azureDevOps: { state: HOSTILE, isGood: false },
    streams: [{ name: HOSTILE, state: HOSTILE }],
    hooks: [{ event: HOSTILE, received: [{ outcome: HOSTILE, count: 1 }], lastAt: undefined }],
    throttle: { reason: HOSTILE, until: 0 },
    routes: [hostileRoute('on'), { ...hostileRoute('on'), pause: { by: HOSTILE, reason: HOSTILE, at: 0 } }],
    deadLetters: [
      { function: HOSTILE, name: HOSTILE, reason: HOSTILE, count: 1, replayed: 0, detail: HOSTILE, lastAt: 0 },
    ],
    check: { at: 0, findings: [{ level: HOSTILE, about: HOSTILE, text: HOSTILE }] },
  });
  assert.doesNotMatch(page, /<script|onload='|" onload|\u202e|\u0007/);
  assert.equal(page.match(/&lt;script&gt;alert\(1\)/g)?.length, 43);
});

test('a secret is masked', () => {
  knownSecrets.add('status-page-secret', 'a test');
  assert.doesNotMatch(
    statusPage({ ...STATUS, azureDevOps: { state: 'it said status-page-secret', isGood: false } }),
    /status-page-secret/,
  );
});

test("the content security policy allows the page's style", () => {
  const [, style = ''] = /<style>([^]*?)<\/style>/.exec(statusPage(STATUS)) ?? [];
  assert.equal(STYLE_DIGEST, `sha256-${createHash('sha256').update(style).digest('base64')}`);
});

test('shows the state of the hook subscriptions, or why it is unknown', () => {
  const states = [
    { state: 'enabled', count: 12 },
    { state: 'disabledBySystem', count: 1 },
  ];
  const heading = 'Hook subscriptions at the last self-check';
  const lines = seen({ subscriptions: [{ event: 'git.push', states }] });
  assert.ok(lines.includes(heading));
  assert.ok(lines.includes('git.push 12 enabled, 1 disabledBySystem'), lines.join('\n'));
  assert.ok(seen({ subscriptions: HOSTILE }).some((line) => line.startsWith('Unknown: &lt;script&gt;')));
  assert.ok(!seen({}).includes(heading));
});

test('shows the number of waits, and which of them this replica judges', () => {
  const waits = { areKnown: true, waiting: 12, decided: 1, ended: 30, leads: ['CI', '<b>'] };
  const lines = seen({ waits });
  for (const line of [
    'Waiting 12',
    'Decided, and the task not told yet 1',
    'Ended in the last day 30',
    'Judged by this replica those on CI, &lt;b&gt;',
  ])
    assert.ok(lines.includes(line), `${line}\n${lines.join('\n')}`);
  assert.ok(seen({ waits: { ...waits, areKnown: false, leads: [] } }).includes('Waiting 12, and catching up'));
});
