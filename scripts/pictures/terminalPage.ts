import type { StepRun } from '../../localAgent/index.ts';
import type { PicturedBridge } from './bridge.ts';
import { escapeHtml, page } from './page.ts';

const STYLE = `
.terminal { flex: 1; padding: 20px 24px; background: #1c2128; color: #d5dbe1; line-height: 34px;
  font-size: 18px; letter-spacing: 1.163px; } /* 12 pixels, or 6 bytes, a character: equal ones are equal bytes, which compress. */
.line { display: flex; }
.line > :first-child { flex: none; color: #7d8894; white-space: pre; }
.line > :last-child { white-space: pre-wrap; overflow-wrap: anywhere; }
.line > .tree { color: #d5dbe1; }
.gap { height: 34px; }
.section, .prompt { color: #5fce84; }
.warning { color: #f0b429; }
.error { color: #ff8178; }`;

/** The log of a step: the time of each line, and the agent's own kinds of lines in colours. What names the task is left out. */
export function logPage(title: string, { log }: StepRun): string {
  const lines = log.flatMap(({ at, text }) => {
    if (/^(={5,}|(Task|Description|Version|Author|Help) +:)/.test(text)) return [];
    const [, kind = '', rest = text] = /^##\[(section|warning|error|debug)\](.*)$/s.exec(text) ?? [];
    const shown = kind === 'section' ? rest : text;
    const time = new Date(at).toISOString().slice(11, 19);
    return lineOf('', `${time}  `, kind, shown);
  });
  return terminalPage(title, lines);
}

/** What the command `why` says of ids, below the commands; a branch goes on where it is wrapped. */
export function whyPage(title: string, { whys }: PicturedBridge): string {
  const lines = whys.flatMap(({ id, text }, index) => [
    ...(index > 0 ? ['<div class="gap"></div>'] : []),
    lineOf('', '$ ', 'prompt', `nats-event-bridge why ${id}`),
    ...text.split('\n').map((line) => {
      const [, branch = '', what = line] = /^([ │├└─]*)(.*)$/s.exec(line) ?? [];
      return lineOf('tree', branch, '', what);
    }),
  ]);
  return terminalPage(title, lines);
}

function lineOf(firstKind: string, first: string, kind: string, text: string): string {
  return `<div class="line"><span class="${firstKind}">${first}</span><span class="${kind}">${escapeHtml(text)}</span></div>`;
}

function terminalPage(title: string, lines: readonly string[]): string {
  return page(title, STYLE, `<div class="terminal mono">\n${lines.join('\n')}\n</div>`);
}
