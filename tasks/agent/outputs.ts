import { randomUUID } from 'node:crypto';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Agent } from './agent.ts';
import { reasonOf } from '../../shared/errors.ts';
import { MAX_OUTPUT_BYTES, MAX_OUTPUTS_BYTES, outputProblem, outputsSize } from '../../shared/waiting/outputs.ts';
import { knownSecrets } from '../../shared/text/masker.ts';

/** Characters that are written to a file at once. */
const CHUNK = 64 * 1_024;

/**
 * Sets the output variables of a step: all of them in one call. A value that must not become one, is too long or doesn't fit beside those
 * before it is left empty, with a warning that points to the receipt.
 */
export function setOutputs(agent: Agent, outputs: Readonly<Record<string, string>>): void {
  let room = MAX_OUTPUTS_BYTES - outputsSize(Object.fromEntries(Object.keys(outputs).map((name) => [name, ''])));
  for (const [name, value] of Object.entries(outputs)) {
    const bytes = Buffer.byteLength(value);
    const problem = outputProblem(value) ?? lengthProblem(bytes, room);
    if (problem !== undefined) agent.warning(`The output ${name} is left empty: its value ${problem}.`);
    else room -= bytes;
    agent.setOutput(name, problem === undefined ? value : '');
  }
}

function lengthProblem(bytes: number, room: number): string | undefined {
  const where = 'Read it from the file in the output receiptFile';
  if (bytes > MAX_OUTPUT_BYTES) return `has ${bytes} bytes, and an output takes at most ${MAX_OUTPUT_BYTES}. ${where}`;
  if (bytes > room)
    return `has ${bytes} bytes, and all outputs of a step take at most ${MAX_OUTPUTS_BYTES} together. ${where}`;
  return undefined;
}

/**
 * Writes a new file into the agent's temporary folder, which the agent empties after the job. Only the agent's own user may
 * read it. If it can't be written, a warning says so, and the step goes on.
 *
 * @param kind the first part of the file's name
 * @returns the absolute path; empty when the file can't be written
 */
export function writeFile(agent: Agent, kind: string, extension: string, parts: Iterable<string | Uint8Array>): string {
  const file = path.join(agent.variable('Agent.TempDirectory') ?? tmpdir(), `${kind}-${randomUUID()}.${extension}`);
  try {
    const descriptor = openSync(file, 'wx', 0o600);
    try {
      let pending = '';
      for (const part of parts) {
        if (typeof part === 'string') pending += part;
        if (typeof part === 'string' && pending.length < CHUNK) continue;
        writeFileSync(descriptor, typeof part === 'string' ? pending : part);
        pending = '';
      }
      writeFileSync(descriptor, pending);
    } finally {
      closeSync(descriptor);
    }
    return file;
  } catch (error) {
    agent.warning(`The output that names ${file} is empty, since the file can't be written: ${reasonOf(error)}.`);
    return '';
  }
}

/**
 * A value as indented JSON whose strings have secrets masked before JSON escapes them. In pieces, each one string:
 * the data of many events can be too long for one.
 */
export function* maskedJson(value: unknown, lineEnd = '\n'): Generator<string> {
  if (typeof value !== 'object' || value === null) {
    yield JSON.stringify(typeof value === 'string' ? knownSecrets.mask(value) : value);
    return;
  }
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  let before = `${open}${lineEnd}  `;
  for (const [name, member] of Object.entries(value)) {
    if (member === undefined) continue;
    yield Array.isArray(value) ? before : `${before}${JSON.stringify(name)}: `;
    yield* maskedJson(member, `${lineEnd}  `);
    before = `,${lineEnd}  `;
  }
  yield before.startsWith(',') ? `${lineEnd}${close}` : `${open}${close}`;
}
