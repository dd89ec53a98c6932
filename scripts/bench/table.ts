import { readJson } from '../build/manifest.ts';

export interface Benchmark {
  readonly title: string;
  /** @param long whether to measure what takes minutes as well */
  run(long: boolean): Promise<readonly Row[]>;
  /** What the figures are made of, in Markdown. */
  readonly details?: () => string;
}

/** One line of a benchmark's table. */
export interface Row {
  readonly what: string;
  readonly figure: number;
  readonly unit: string;
  /** What the figure is compared with, in the same unit. */
  readonly baseline?: number;
  /** What the figure, or its ratio to the baseline if there is one, must reach or must not exceed. */
  readonly required?: { readonly atLeast: number } | { readonly atMost: number };
}

/** Libraries whose version decides what a step costs. */
const LIBRARIES = ['nats', 'ajv', 'azure-pipelines-task-lib'];

/** The versions that docs/performance.md was measured with. A test fails when the tasks have others. */
export function measuredWith(): string {
  const { dependencies } = readJson('package.json') as { dependencies: Record<string, string> };
  return `Measured with ${LIBRARIES.map((name) => `${name} ${dependencies[name] ?? ''}`).join(', ')}.`;
}

/** Prints the rows. */
export function printTable(rows: readonly Row[]): void {
  const [header, ...cells] = tableCells(rows);
  const widths = header.map((name, column) => Math.max(name.length, ...cells.map((line) => line[column]?.length ?? 0)));
  for (const line of [header, ...cells]) {
    const [first = '', ...others] = line.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
    );
    console.log([first, ...others].join('  '));
  }
}

/** The rows as a table in Markdown. */
export function markdownTable(rows: readonly Row[]): string {
  return markdownOf(tableCells(rows));
}

/** A table in Markdown whose first line is its header and whose first column is text. */
export function markdownOf([header, ...lines]: readonly [readonly string[], ...(readonly string[])[]]): string {
  const rule = header.map((_, column) => (column === 0 ? '---' : '--:'));
  return [header, rule, ...lines].map((line) => `| ${line.join(' | ')} |`).join('\n');
}

function tableCells(rows: readonly Row[]): [string[], ...string[][]] {
  const cells = rows.map((row) => {
    const ratio = row.baseline === undefined ? undefined : row.figure / row.baseline;
    return [
      row.what,
      `${shown(row.figure)} ${row.unit}`,
      row.baseline === undefined ? '' : `${shown(row.baseline)} ${row.unit}`,
      ratio === undefined ? '' : `${ratio.toFixed(2)}×`,
      requirement(row, ratio),
    ];
  });
  return [['', 'figure', 'baseline', 'ratio', 'required'], ...cells];
}

/** The middle of several measurements. */
export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** What so large a share of several measurements stays below. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
}

/** Whether a figure or ratio meets its target. */
export function isMet({ figure, baseline = 1, required }: Row): boolean {
  const measured = figure / baseline;
  if (required === undefined) return true;
  return 'atLeast' in required ? measured >= required.atLeast : measured <= required.atMost;
}

function requirement(row: Row, ratio: number | undefined): string {
  const { required, unit } = row;
  if (required === undefined) return '';
  const sign = ratio === undefined ? ` ${unit}` : '×';
  const text = 'atLeast' in required ? `≥ ${shown(required.atLeast)}${sign}` : `≤ ${shown(required.atMost)}${sign}`;
  return `${text} ${isMet(row) ? 'met' : 'MISSED'}`;
}

function shown(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : Number(value.toPrecision(3)).toString();
}
