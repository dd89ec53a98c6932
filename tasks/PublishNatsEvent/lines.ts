import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import { describeProblems, type Contract } from '../shared/contract.ts';
import { reasonOf, TaskError } from '../shared/errors.ts';
import { parseJson, utf8Text } from '../shared/event.ts';
import { cdEventAttributes } from './cdEvent.ts';
import type { PublishRequest } from './inputs.ts';
import { LARGEST_PAYLOAD } from './payload.ts';

const CHUNK_BYTES = 256 * 1_024;
/** Bad lines that are described; all are counted. */
const MOST_DESCRIBED = 5;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** A file of one JSON event a line, of which every line was found good. */
export interface SurveyedLines {
  readonly file: string;
  readonly count: number;
  readonly bytes: number;
  /** Of the whole file, in hexadecimal. */
  readonly sha256: string;
  /** The longest line, by which the size of all is checked before the first is sent. */
  readonly longest: { readonly number: number; readonly line: Uint8Array };
}

/**
 * Reads the file once, as a stream, and checks every line: JSON, the contract, and for CDEvents their context.
 * Fails with all that is wrong, before anything is sent.
 */
export async function surveyLines(
  request: PublishRequest,
  file: string,
  contract: Contract | undefined,
): Promise<SurveyedLines> {
  const hash = createHash('sha256');
  const before = versionOf(file);
  let count = 0;
  let bytes = 0;
  let bad = 0;
  let longest: SurveyedLines['longest'] = { number: 0, line: new Uint8Array() };
  const described: string[] = [];
  for await (const lines of readLines(file, (chunk) => {
    hash.update(chunk);
    bytes += chunk.length;
  })) {
    const problems = problemsOf(request, lines, contract);
    for (const [index, line] of lines.entries()) {
      count++;
      if (line.length > longest.line.length) longest = { number: count, line: Uint8Array.from(line) };
      const problem = problems[index];
      if (problem === undefined) continue;
      bad++;
      if (described.length < MOST_DESCRIBED) described.push(`line ${String(count)}: ${problem}`);
    }
  }
  if (count === 0)
    throw new TaskError('InvalidInput', `payloadFile: ${file} has no lines.`, 'Write one JSON event a line.');
  if (bad > 0) {
    const more = bad > described.length ? ` And ${String(bad - described.length)} more lines.` : '';
    throw new TaskError(
      contract === undefined ? 'InvalidInput' : 'ContractViolation',
      `payloadFile: ${String(bad)} of ${String(count)} lines of ${file} cannot be sent. ${described.join('. ')}.${more}`,
      'Nothing was sent. Correct the lines.',
    );
  }
  if (versionOf(file) !== before) throw changed(file);
  return { file, count, bytes, sha256: hash.digest('hex'), longest };
}

/** Reads the surveyed file again; fails when it is not the same any more. */
export async function* readSurveyedLines({ file, sha256 }: SurveyedLines): AsyncGenerator<readonly Uint8Array[]> {
  const hash = createHash('sha256');
  yield* readLines(file, (chunk) => hash.update(chunk));
  if (hash.digest('hex') !== sha256) throw changed(file);
}

function changed(file: string): TaskError {
  return new TaskError(
    'Incomplete',
    `payloadFile: ${file} was changed while it was being sent.`,
    'Publish a file that no other step writes to.',
  );
}

function versionOf(file: string): string {
  const { size, mtimeMs } = statSync(file);
  return `${String(size)} ${String(mtimeMs)}`;
}

/** The lines of a file as bytes, without their line ends (LF or CRLF), as many at a time as a chunk holds. */
async function* readLines(file: string, onChunk: (chunk: Buffer) => void): AsyncGenerator<readonly Uint8Array[]> {
  let parts: Buffer[] = [];
  let partBytes = 0;
  const take = (end: Buffer): Buffer => {
    const line = parts.length === 0 ? end : Buffer.concat([...parts, end]);
    parts = [];
    partBytes = 0;
    return line.at(-1) === CARRIAGE_RETURN ? line.subarray(0, -1) : line;
  };
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>) {
      onChunk(chunk);
      const lines: Buffer[] = [];
      let start = 0;
      for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, start)) {
        lines.push(take(chunk.subarray(start, end)));
        start = end + 1;
      }
      if (start < chunk.length) parts.push(chunk.subarray(start));
      partBytes += chunk.length - start;
      if (partBytes > LARGEST_PAYLOAD)
        throw new TaskError(
          'TooLarge',
          `payloadFile: ${file} has a line of more than ${String(LARGEST_PAYLOAD)} bytes, more than any NATS server takes.`,
        );
      if (lines.length > 0) yield lines;
    }
  } catch (error) {
    if (error instanceof TaskError) throw error;
    throw new TaskError('InvalidInput', `payloadFile: ${file} cannot be read (${reasonOf(error)}).`, '', {
      cause: error,
    });
  }
  if (partBytes > 0) yield [take(Buffer.alloc(0))];
}

/** What is wrong with each line; undefined for the good ones. */
function problemsOf(
  request: PublishRequest,
  lines: readonly Uint8Array[],
  contract: Contract | undefined,
): (string | undefined)[] {
  const values = lines.map((line) => {
    const text = utf8Text(line);
    return text === undefined ? undefined : parseJson(text);
  });
  const problems = values.map((json) => (json === undefined ? 'it is not JSON' : cdEventProblem(request, json.value)));
  if (contract === undefined) return problems;
  const results = contract.checkAll(values.map((json) => json?.value));
  return problems.map((problem, index) => {
    const result = results[index];
    if (problem !== undefined || result === undefined || result.outcome === 'valid') return problem;
    return result.outcome === 'violated'
      ? describeProblems(result.problems)
      : `its check was interrupted after ${String(result.afterMs)} ms`;
  });
}

function cdEventProblem(request: PublishRequest, value: unknown): string | undefined {
  try {
    cdEventAttributes(request, value);
    return undefined;
  } catch (error) {
    if (error instanceof TaskError) return error.problem;
    throw error;
  }
}
