import { safeText } from '../../shared/text/safeText.ts';
import type { Step } from '../hooks/subscriptions/plan.ts';
import type { World } from '../world.ts';

/** What people tell subscriptions apart by. */
export interface SubscriptionFacts {
  readonly event: string;
  /** Its name where it's known, otherwise its id. */
  readonly project: string;
  readonly inputs: Readonly<Record<string, string>>;
  /** Its id; empty where there is none. */
  readonly subscription: string;
}

export function factsOf({ wanted, old }: Step): SubscriptionFacts {
  const { projectId = '', ...others } = old?.publisherInputs ?? {};
  const given = Object.entries(others).filter(([, value]) => value !== '');
  return {
    event: wanted?.event.eventType ?? old?.eventType ?? '',
    project: wanted?.project.name ?? projectId,
    inputs: wanted?.inputs ?? Object.fromEntries(given),
    subscription: old?.id ?? '',
  };
}

/** Filters as a cell of a table: `pipelineId=42, runStateId=Completed`. */
export function inputsText(inputs: SubscriptionFacts['inputs']): string {
  return Object.entries(inputs)
    .map(([name, text]) => `${name}=${text}`)
    .join(', ');
}

/** Columns by their headings. */
export type Columns<Row> = readonly (readonly [heading: string, cell: (row: Row) => string])[];

/** The columns that all tables of subscriptions have. */
export const FACT_COLUMNS: Columns<SubscriptionFacts> = [
  ['EVENT', ({ event }) => event],
  ['PROJECT', ({ project }) => project],
  ['INPUTS', ({ inputs }) => inputsText(inputs)],
  ['SUBSCRIPTION', ({ subscription }) => subscription],
];

/** Prints rows as a table. */
export function printTable<Row>(rows: readonly Row[], columns: Columns<Row>, world: World): void {
  if (rows.length === 0) return;
  for (const cells of [columns.map(([heading]) => heading), ...rows.map((row) => columns.map(([, cell]) => cell(row)))])
    world.out(`${cells.map((cell) => safeText(cell, 300) || '-').join('\t')}\n`);
}

/** Prints data as JSON. */
export function printJson(data: unknown, world: World): void {
  const safe = (_: string, value: unknown) => (typeof value === 'string' ? safeText(value) : value);
  world.out(`${JSON.stringify(data, safe, 2)}\n`);
}

/** The number of each: `2 create, 1 update`; empty if there are none. */
export function tally(words: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].map(([word, count]) => `${count} ${word}`).join(', ');
}
