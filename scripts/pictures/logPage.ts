import type { StepRun } from '../../localAgent/index.ts';
import { escapeHtml, page } from './page.ts';

const STYLE = `
.log { flex: 1; padding: 16px 24px; background: #1c2128; color: #d5dbe1; line-height: 26px;
  font-size: 14px; letter-spacing: -0.428px; } /* 8 pixels, or 4 bytes, a character: equal ones are equal bytes, which compress. */
.line { display: flex; gap: 18px; }
.line time { flex: none; color: #7d8894; }
.line span { white-space: pre-wrap; overflow-wrap: anywhere; }
.section { color: #5fce84; }
.warning { color: #f0b429; }
.error { color: #ff8178; }
.debug { color: #b79cf2; }`;

/** The log of a step as its viewer shows it: the time of each line, and the agent's own kinds of lines in colours. */
export function logPage(title: string, { log }: StepRun): string {
  const lines = log.map(({ at, text }) => {
    const [, kind = '', rest = text] = /^##\[(section|warning|error|debug)\](.*)$/s.exec(text) ?? [];
    const shown = kind === 'section' ? rest : text;
    const time = new Date(at).toISOString().slice(11, 23);
    return `<div class="line"><time>${time}</time><span class="${kind}">${escapeHtml(shown)}</span></div>`;
  });
  const note = 'The log of a real run, as the agent printed it';
  return page(title, note, STYLE, `<div class="log mono">\n${lines.join('\n')}\n</div>`);
}
