import { safeText } from '../../shared/text/safeText.ts';

/** The severity of a state, shown by its colour. */
export type Tone = 'good' | 'bad' | 'warn' | 'dim';

export interface Column {
  readonly heading: string;
  readonly isNumber?: boolean;
  /** Its cells are a few words and don't wrap. */
  readonly isShort?: boolean;
}

/** A table; on a narrow screen, a block for each row. Cells are HTML. */
export function table(columns: readonly (string | Column)[], rows: readonly (readonly string[])[]): string {
  const all = columns.map((column) => (typeof column === 'string' ? { heading: column } : column));
  const classOf = ({ isNumber = false, isShort = false }: Column) =>
    isNumber ? ' class="number"' : isShort ? ' class="short"' : '';
  const head = all.map((column) => `<th${classOf(column)}>${column.heading}</th>`).join('');
  const lines = rows.map((cells) => {
    const body = all.map(
      (column, index) => `<td${classOf(column)} data-of="${column.heading}">${cells[index] ?? ''}</td>`,
    );
    return `<tr>${body.join('')}</tr>`;
  });
  return `<table>\n<thead><tr>${head}</tr></thead>\n<tbody>\n${lines.join('\n')}\n</tbody>\n</table>`;
}

export function mark(state: string, tone: Tone): string {
  return `<span class="${tone}">${text(state)}</span>`;
}

/** @param sentence HTML */
export function none(sentence: string): string {
  return `<p class="dim">${sentence}</p>`;
}

/** Any text as text: neutralised, masked, and without meaning in HTML. */
export function text(value: string, maxLength = 500): string {
  const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return safeText(value, maxLength).replace(/[&<>"']/g, (character) => escapes[character] ?? character);
}

/** The two largest units of a duration in milliseconds. */
export function age(ms: number): string {
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
