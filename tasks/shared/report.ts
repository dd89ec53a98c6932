import { randomUUID } from 'node:crypto';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Agent } from './agent.ts';
import { reasonOf } from './errors.ts';
import { knownSecrets } from './masker.ts';

/**
 * Why a value from outside must not become a variable, as a clause; undefined where it may. The agent replaces `$(name)` inside the
 * values of variables before each later step, which could put a secret there. It hands variables on through the environment, where
 * a value ends at a NUL character: what follows it would be a variable of its own on Windows, and no later step could start elsewhere.
 */
export function outputProblem(value: string): string | undefined {
  if (value.includes('$(')) return 'holds "$(", which the agent would expand in later steps';
  return value.includes('\0') ? 'holds a NUL character, which no environment variable can' : undefined;
}

/** Sets output variables. A value that must not become one is left empty, with a warning. */
export function setOutputs(agent: Agent, outputs: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(outputs)) {
    const problem = outputProblem(value);
    if (problem !== undefined) agent.warning(`The output ${name} is left empty: its value ${problem}.`);
    agent.setOutput(name, problem === undefined ? value : '');
  }
}

/**
 * Writes a new file into the agent's temporary folder, which the agent empties after the job. Only the agent's own user may
 * read it. Where it can't be written, a warning says so, and the step goes on.
 *
 * @param kind the first part of the file's name
 * @returns the absolute path; empty where the file can't be written
 */
export function writeFile(agent: Agent, kind: string, extension: string, parts: Iterable<string | Uint8Array>): string {
  const file = path.join(agent.variable('Agent.TempDirectory') ?? tmpdir(), `${kind}-${randomUUID()}.${extension}`);
  try {
    const descriptor = openSync(file, 'wx', 0o600);
    try {
      for (const part of parts) writeFileSync(descriptor, part);
    } finally {
      closeSync(descriptor);
    }
    return file;
  } catch (error) {
    agent.warning(`The output that names ${file} is empty, since the file can't be written: ${reasonOf(error)}.`);
    return '';
  }
}

/** Writes a value as a JSON file; see {@link writeFile}. */
export function writeJsonFile(agent: Agent, kind: string, value: unknown): string {
  return writeFile(agent, kind, 'json', [`${JSON.stringify(value, undefined, 2)}\n`]);
}

/** Writes a receipt as {@link writeJsonFile} does. Secrets are masked in it, before JSON escapes them. */
export function writeReceipt(agent: Agent, kind: string, receipt: unknown): string {
  return writeJsonFile(agent, kind, knownSecrets.maskValues(receipt));
}

/**
 * One structured log line: a word for what happened, then `name=value` pairs. Text is quoted as JSON, since it may
 * come from an event; undefined values are left out.
 */
export function logLine(what: string, values: Readonly<Record<string, string | number | boolean | undefined>>): string {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined);
  return [
    what.padEnd(12),
    ...pairs.map(
      ([name, value]) =>
        `${name}=${typeof value === 'string' ? JSON.stringify(knownSecrets.mask(value)) : String(value)}`,
    ),
  ].join(' ');
}

/** UTC, ISO 8601 with milliseconds; empty for an unknown time. */
export function isoTime(ms: number | undefined): string {
  return ms === undefined ? '' : new Date(ms).toISOString();
}
