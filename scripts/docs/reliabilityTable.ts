import type { FamilyCases } from './familyCases.ts';
import { markdownOf } from '../bench/table.ts';

/** A family of cases in the table: the long form only, all its tests together. */
export interface Family {
  readonly family: string;
  readonly cases: number;
  readonly failures: number;
  readonly seeds: readonly string[];
}

/** What a long run ran on. */
export interface LongRun {
  readonly date: string;
  readonly commit: string;
  readonly minutes: number;
  /** The versions of nats-server and of Node. */
  readonly servers: readonly string[];
  readonly node: string;
}

/** Adds up the lines that the tests have noted, in order of appearance. */
export function familiesOf(lines: string): Family[] {
  const families = new Map<string, Family>();
  for (const line of lines.split('\n').filter((text) => text !== '')) {
    const { family, cases, failures, seed, form } = JSON.parse(line) as FamilyCases;
    if (form !== 'long') continue;
    const { cases: casesBefore = 0, failures: failuresBefore = 0, seeds = [] } = families.get(family) ?? {};
    families.set(family, {
      family,
      cases: casesBefore + cases,
      failures: failuresBefore + failures,
      seeds: [...new Set([...seeds, String(seed)])],
    });
  }
  return [...families.values()];
}

/** Whether a run may be recorded: something was tried and nothing failed. */
export function isRecordable(families: readonly Family[]): boolean {
  return families.length > 0 && families.every(({ cases, failures }) => cases > 0 && failures === 0);
}

/** The table of a long run in Markdown, with what it ran on. */
export function reliabilityTable(families: readonly Family[], run: LongRun): string {
  const count = (number: number): string => number.toLocaleString('en');
  const rows = families.map(({ family, cases, failures, seeds }) => [
    family,
    count(cases),
    count(failures),
    seeds.join(', '),
  ]);
  const { date, commit, minutes, servers, node } = run;
  return [
    `Long run of ${date}, commit ${commit}, ${minutes} minutes: nats-server ${servers.join(', ')}; Node ${node}.`,
    markdownOf([['family', 'cases tried', 'failures', 'seed'], ...rows]),
  ].join('\n\n');
}
