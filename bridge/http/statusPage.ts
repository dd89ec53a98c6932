import { createHash } from 'node:crypto';
import { safeText } from '../../shared/text/safeText.ts';

/** What the status page shows. Texts may come from anywhere. */
export interface Status {
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly startedAt: number;
  readonly instance: string;
  readonly organization: string;
  readonly readiness: string;
  readonly nats: string;
  readonly azureDevOps: { readonly state: string; readonly isGood: boolean };
  readonly streams: readonly { readonly name: string; readonly state: string }[];
  /** Since this process began; undefined where hooks are off. */
  readonly hooks:
    | readonly {
        readonly event: string;
        readonly received: readonly { readonly outcome: string; readonly count: number }[];
        /** Milliseconds since the epoch. */
        readonly lastAt: number | undefined;
      }[]
    | undefined;
  /** What the stream of dead letters holds; undefined where it can't be asked. */
  readonly deadLetters:
    readonly { readonly function: string; readonly name: string; readonly count: number }[] | undefined;
  readonly check:
    | {
        readonly at: number;
        readonly findings: readonly { readonly level: string; readonly about: string; readonly text: string }[];
      }
    | undefined;
}

const STYLE = `
:root { color-scheme: light dark; --line: #8884; --good: #107c10; --bad: #b3261e; --dim: #767676; }
@media (prefers-color-scheme: dark) { :root { --good: #6ccb5f; --bad: #ff8a80; --dim: #a0a0a0; } }
body { font: 15px/1.45 system-ui, "Segoe UI", "Liberation Sans", sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 2rem 0 .4rem; }
p { margin: .3rem 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 600; }
th:first-child, td:first-child { width: 30%; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.good { color: var(--good); }
.bad { color: var(--bad); }
.dim { color: var(--dim); }
ul { margin: .3rem 0; padding-left: 1.2rem; }
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
<p class="dim">Version ${text(version)}, up for ${age(now - startedAt)}, ${text(organization)}</p>
<h2>State</h2>
${table(
  ['What', 'State'],
  [
    ['The bridge', mark(readiness, readiness === 'ready')],
    ['NATS', mark(nats, nats === 'up')],
    ['Azure DevOps', mark(azureDevOps.state, azureDevOps.isGood)],
    ...status.streams.map(({ name, state }) => [`Stream ${text(name)}`, mark(state, state === 'ok')]),
  ],
)}
${hooksOf(status)}
<h2>Dead letters</h2>
${deadLettersOf(status.deadLetters)}
<h2>Self-check</h2>
${checkOf(status)}
</body>
</html>
`;
}

function hooksOf({ hooks, now }: Status): string {
  if (hooks === undefined) return '';
  const rows = hooks.map(({ event, received, lastAt }) => [
    text(event),
    received.map(({ outcome, count }) => `${count} ${text(outcome)}`).join(', '),
    lastAt === undefined ? 'never' : `${age(now - lastAt)} ago`,
  ]);
  const heading = '<h2>Service hooks since this process began</h2>';
  return `${heading}\n${rows.length === 0 ? none('None has come.') : table(['Event', 'Received', 'Last'], rows)}`;
}

function deadLettersOf(letters: Status['deadLetters']): string {
  if (letters === undefined) return none('Unknown: the stream cannot be asked.');
  if (letters.length === 0) return none('None.');
  const rows = letters.map(({ function: of, name, count }) => [text(of), text(name), String(count)]);
  return table(['Function', 'Route or reason', 'Letters'], rows, 2);
}

function checkOf({ check, now }: Status): string {
  if (check === undefined) return none('Not yet.');
  const when = `<p class="dim">${age(now - check.at)} ago</p>`;
  if (check.findings.length === 0) return `${when}\n<p class="good">No problems.</p>`;
  const items = check.findings.map(
    ({ level, text: what }) =>
      `<li><span class="${level === 'error' ? 'bad' : 'dim'}">${text(level)}</span> ${text(what)}</li>`,
  );
  return `${when}\n<ul>\n${items.join('\n')}\n</ul>`;
}

/** @param numbers the column of numbers */
function table(headings: readonly string[], rows: readonly (readonly string[])[], numbers?: number): string {
  const cell = (tag: string) => (content: string, index: number) =>
    `<${tag}${index === numbers ? ' class="number"' : ''}>${content}</${tag}>`;
  const row = (tag: string, cells: readonly string[]) => `<tr>${cells.map(cell(tag)).join('')}</tr>`;
  return `<table>\n${[row('th', headings), ...rows.map((cells) => row('td', cells))].join('\n')}\n</table>`;
}

function mark(state: string, isGood: boolean): string {
  return `<span class="${isGood ? 'good' : 'bad'}">${text(state)}</span>`;
}

function none(sentence: string): string {
  return `<p class="dim">${sentence}</p>`;
}

/** Any text as text: neutralised, masked, and without meaning in HTML. */
function text(value: string): string {
  const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return safeText(value, 500).replace(/[&<>"']/g, (character) => escapes[character] ?? character);
}

/** The two largest units of a duration. */
function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  const units = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ] as const;
  const first = Math.min(units.findIndex(([count]) => count > 0) >>> 0, units.length - 1);
  return units
    .slice(first, first + 2)
    .filter(([count], index) => index === 0 || count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ');
}
