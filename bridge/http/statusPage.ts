import { createHash } from 'node:crypto';
import type { LetterCount } from '../audit/letterCounts.ts';
import { AZURE_DEVOPS } from '../azureDevOps/check.ts';
import type { CalloutStatus, FeedStatus, WaitsStatus } from '../functions.ts';
import { age, mark, none, table, text } from './html.ts';
import { routeAlarms, routesTable, type RouteStatus } from './routesTable.ts';

/** The name of the configuration among changed files. */
export const CONFIGURATION = 'configuration';

/** A changed file that is bad, so that the last good one is used. */
export interface Unused {
  /** The label of a secret or policy, or {@link CONFIGURATION}. */
  readonly what: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
  /** Of the configuration, one line each; otherwise, a clause that continues the label. */
  readonly problems: readonly string[];
}

/** What the status page shows. Texts may come from anywhere. */
export interface Status {
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly startedAt: number;
  readonly instance: string;
  readonly organization: string;
  readonly readiness: string;
  /** `up`, or why not. */
  readonly nats: string;
  readonly azureDevOps: { readonly state: string; readonly isGood: boolean };
  readonly streams: readonly { readonly name: string; readonly state: string }[];
  /** What keeps all routes from calling Azure DevOps for now; undefined where nothing does, or where runs are off. */
  readonly throttle:
    { readonly reason: string; /** Milliseconds since the epoch. */ readonly until: number } | undefined;
  readonly routes: readonly RouteStatus[];
  /** Since this process began; undefined where hooks are off. */
  readonly hooks:
    | readonly {
        readonly event: string;
        readonly received: readonly { readonly outcome: string; readonly count: number }[];
        /** Milliseconds since the epoch. */
        readonly lastAt: number | undefined;
      }[]
    | undefined;
  /** Change feeds of Azure Artifacts. */
  readonly feeds: readonly FeedStatus[];
  /** Undefined where none are taken. */
  readonly waits: WaitsStatus | undefined;
  /** Undefined where it is off. */
  readonly callout:
    (CalloutStatus & { readonly signIns: readonly { readonly outcome: string; readonly count: number }[] }) | undefined;
  readonly unused: readonly Unused[];
  /** Keys of the configuration whose values only a restart takes. */
  readonly restartKeys: readonly string[];
  /** At the last self-check; a text: why they can't be seen. Undefined where nothing is known of them. */
  readonly subscriptions:
    | readonly {
        readonly event: string;
        readonly states: readonly { readonly state: string; readonly count: number }[];
      }[]
    | string
    | undefined;
  /** What the stream of dead letters holds; undefined where it can't be asked. */
  readonly deadLetters: readonly LetterCount[] | undefined;
  readonly check:
    | {
        readonly at: number;
        readonly findings: readonly { readonly level: string; readonly about: string; readonly text: string }[];
      }
    | undefined;
}

/** Errors of the self-check at the top of the page; all of its findings are at its end. */
const MOST_ERRORS = 5;
/** Problems of a changed configuration; all of them are in the log. */
const MOST_PROBLEMS = 3;

const STYLE = `
:root { color-scheme: light dark; --line: #8884; --good: #0e6b0e; --bad: #b3261e; --warn: #8a5300; --dim: #6b6b6b; --box: #b3261e14; }
@media (prefers-color-scheme: dark) { :root { --good: #6ccb5f; --bad: #ff8a80; --warn: #f2b95c; --dim: #a0a0a0; --box: #ff8a8020; } }
body { font: 15px/1.45 system-ui, "Segoe UI", "Liberation Sans", sans-serif; margin: 1.5rem auto; max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 1.8rem 0 .4rem; }
p { margin: .3rem 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 600; font-size: .9em; color: var(--dim); white-space: nowrap; }
.short { white-space: nowrap; }
th:first-child, td:first-child { width: 24%; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
.warn { color: var(--warn); font-weight: 600; }
.dim { color: var(--dim); }
ul { margin: .2rem 0; padding-left: 1.1rem; }
.alarms { background: var(--box); border-left: .3rem solid var(--bad); padding: .5rem .8rem; margin: 1rem 0 0; list-style: none; }
@media (max-width: 40rem) {
  thead { display: none; }
  tr { display: block; border-bottom: 1px solid var(--line); padding: .4rem 0; }
  td, td:first-child, td.number, td.short { display: block; width: auto; border: 0; padding: .1rem 0; text-align: left; white-space: normal; }
  td:empty { display: none; }
  td:not(:first-child)::before { content: attr(data-of) ": "; color: var(--dim); }
}
`;

/** What the page's Content-Security-Policy allows as style. */
export const STYLE_DIGEST = `sha256-${createHash('sha256').update(STYLE).digest('base64')}`;

/** The status page: no script, no secret, no payload. */
export function statusPage(status: Status): string {
  const { version, now, startedAt, instance, organization, readiness, nats, azureDevOps } = status;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Event Bridge for NATS: ${text(readiness)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>Event Bridge for NATS${instance === '' ? '' : ` <span class="dim">${text(instance)}</span>`}</h1>
<p class="dim">Version ${text(version)}, up for ${[age(now - startedAt), text(organization)].filter(Boolean).join(', ')}</p>
${alarmsOf(status)}
${routesOf(status)}
<h2>Dead letters</h2>
${deadLettersOf(status)}
${subscriptionsOf(status)}
${hooksOf(status)}
${feedsOf(status)}
${waitsOf(status)}
${calloutOf(status)}
<h2>State</h2>
${table(
  ['What', 'State'],
  [
    ['The bridge', mark(readiness, readiness === 'ready' ? 'good' : 'bad')],
    ['NATS', mark(nats, nats === 'up' ? 'good' : 'bad')],
    ['Azure DevOps', mark(azureDevOps.state, azureDevOps.isGood ? 'good' : 'bad')],
    ...status.streams.map(({ name, state }) => [`Stream ${text(name)}`, mark(state, state === 'ok' ? 'good' : 'bad')]),
  ],
)}
<h2>Self-check</h2>
${checkOf(status)}
</body>
</html>
`;
}

/** What needs somebody to look, first of all. */
function alarmsOf(status: Status): string {
  const { routes, feeds, callout, throttle, readiness, nats, azureDevOps, check, unused, restartKeys, now } = status;
  const errors = check?.findings.filter(({ level }) => level === 'error') ?? [];
  // What it found may have been fixed since.
  const checked = `${mark('Self-check', 'bad')} <span class="dim">${age(now - (check?.at ?? now))} ago</span>`;
  const isExplained = errors.some(({ about }) => about === AZURE_DEVOPS);
  const lines = [
    ...unused.map((one) => unusedOf(one, now)),
    ...(restartKeys.length === 0
      ? []
      : [`${mark('Restart needed', 'warn')}: the bridge still has the earlier ${text(restartKeys.join(', '))}`]),
    ...(nats === 'up' ? [] : [`NATS is ${mark(nats, 'bad')}`]),
    ...(azureDevOps.isGood || isExplained ? [] : [`Azure DevOps: ${mark(azureDevOps.state, 'bad')}`]),
    ...(throttle === undefined
      ? []
      : [
          `Calls to Azure DevOps are paused, next try in ${age(Math.max(1_000, throttle.until - now))}: ${text(throttle.reason)}`,
        ]),
    ...errors.slice(0, MOST_ERRORS).map((one) => `${checked}: ${text(one.text)}`),
    ...(errors.length > MOST_ERRORS ? [`${checked}: ${errors.length - MOST_ERRORS} more, see below`] : []),
    ...routeAlarms(routes, now),
    ...feeds.filter(({ isGood }) => !isGood).map(({ feed, state }) => `Feed ${text(feed)}: ${mark(state, 'bad')}`),
    ...(callout?.issuers ?? []).flatMap(({ issuer, trouble }) =>
      trouble === undefined ? [] : [`Keys of ${text(issuer)}: ${mark(trouble, 'bad')}`],
    ),
  ];
  if (lines.length > 0) return `<ul class="alarms">\n${lines.map((line) => `<li>${line}</li>`).join('\n')}\n</ul>`;
  return readiness === 'ready' ? '<p class="good">All is well.</p>' : '';
}

/** Says that something older than its file is in use. */
function unusedOf({ what, since, problems }: Unused, now: number): string {
  const time = age(now - since);
  const listed = problems.slice(0, MOST_PROBLEMS).map((problem) => text(problem));
  const rest = problems.length > MOST_PROBLEMS ? `<br>${problems.length - MOST_PROBLEMS} more, see the log` : '';
  if (what !== CONFIGURATION)
    return `${mark(what, 'bad')} ${listed.join(', ')}. Its last good content has been used for ${time}.`;
  const state = mark('The changed configuration is not in use', 'bad');
  return `${state}: its file has been bad for ${time}.<br>${listed.join('<br>')}${rest}`;
}

function routesOf({ routes, now }: Status): string {
  if (routes.length === 0) return '';
  return `<h2>Routes</h2>\n${routesTable(routes, now)}`;
}

function subscriptionsOf({ subscriptions }: Status): string {
  if (subscriptions === undefined) return '';
  const heading = '<h2>Hook subscriptions at the last self-check</h2>';
  if (typeof subscriptions === 'string') return `${heading}\n${none(`Unknown: ${text(subscriptions)}.`)}`;
  const rows = subscriptions.map(({ event, states }) => [
    text(event),
    states.map(({ state, count }) => mark(`${count} ${state}`, state === 'enabled' ? 'good' : 'bad')).join(', '),
  ]);
  return `${heading}\n${rows.length === 0 ? none('None.') : table(['Event', 'Subscriptions'], rows)}`;
}

function hooksOf({ hooks, now }: Status): string {
  if (hooks === undefined) return '';
  const rows = hooks.map(({ event, received, lastAt }) => [
    text(event),
    received.map(({ outcome, count }) => `${count} ${text(outcome)}`).join(', '),
    lastAt === undefined ? 'never' : `${age(now - lastAt)} ago`,
  ]);
  const heading = '<h2>Service hooks since this process began</h2>';
  return `${heading}\n${rows.length === 0 ? none('None has come.') : table(['Event', 'Received', 'Last heard'], rows)}`;
}

function feedsOf({ feeds, now }: Status): string {
  if (feeds.length === 0) return '';
  const rows = feeds.map(({ feed, state, isGood, lastReadAt }) => [
    text(feed),
    mark(state, isGood ? 'good' : 'bad'),
    lastReadAt === undefined ? '' : `${age(now - lastReadAt)} ago`,
  ]);
  return `<h2>Change feeds of packages</h2>\n${table(['Feed', 'State', 'Read to its end here'], rows)}`;
}

function waitsOf({ waits }: Status): string {
  if (waits === undefined) return '';
  const { areKnown, waiting, decided, ended, leads } = waits;
  const rows = [
    ['Waiting', areKnown ? String(waiting) : mark(`${waiting}, and catching up`, 'warn')],
    ['Decided, and the task not told yet', String(decided)],
    ['Ended in the last day', String(ended)],
    [
      'Judged by this replica',
      leads.length === 0 ? 'no stream' : `those on ${leads.map((stream) => text(stream)).join(', ')}`,
    ],
  ];
  return `<h2>Waits</h2>\n${table(['Waits', 'Now'], rows)}`;
}

function calloutOf({ callout, now }: Status): string {
  if (callout === undefined) return '';
  const counts = callout.signIns.map(({ outcome, count }) => `${count} ${text(outcome)}`).join(', ');
  const rows = callout.issuers.map(({ issuer, count, fetchedAt, trouble }) => [
    text(issuer),
    String(count),
    fetchedAt === undefined ? 'never' : `${age(now - fetchedAt)} ago`,
    trouble === undefined ? mark('ok', 'good') : mark(trouble, 'bad'),
  ]);
  const columns = ['Issuer', { heading: 'Keys', isNumber: true }, 'Fetched', 'State'];
  return `<h2>Sign-ins to NATS since this process began</h2>\n<p>${counts || 'None.'}</p>\n${table(columns, rows)}`;
}

function deadLettersOf({ deadLetters, now }: Status): string {
  if (deadLetters === undefined) return none('Unknown: the stream cannot be asked.');
  if (deadLetters.length === 0) return none('None.');
  const rows = deadLetters.map(({ function: of, name, reason, count, replayed, detail, lastAt }) => [
    text(name),
    text(of),
    `${count}${replayed === 0 ? '' : ` <span class="dim">(${replayed} replayed)</span>`}`,
    text(reason),
    [lastAt === undefined ? '' : `${age(now - lastAt)} ago`, `<span class="dim">${text(detail, 200)}</span>`].join(' '),
  ]);
  const columns = [
    'Route or reason',
    { heading: 'Function', isShort: true },
    { heading: 'Letters', isNumber: true },
    { heading: 'Reason', isShort: true },
    'Newest',
  ];
  return table(columns, rows);
}

function checkOf({ check, now }: Status): string {
  if (check === undefined) return none('Not yet.');
  const when = `<p class="dim">${age(now - check.at)} ago</p>`;
  if (check.findings.length === 0) return `${when}\n<p class="good">No problems.</p>`;
  const items = check.findings.map(
    ({ level, text: what }) => `<li>${mark(level, level === 'error' ? 'bad' : 'dim')} ${text(what)}</li>`,
  );
  return `${when}\n<ul>\n${items.join('\n')}\n</ul>`;
}
