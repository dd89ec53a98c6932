import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import { describeProblems, type Contract } from '../../shared/contract/contract.ts';
import { TaskError } from '../../shared/errors.ts';
import { utf8Text } from '../../shared/event/cloudEvent.ts';
import { mayHoldLargeIntegers, parseJson } from '../../shared/text/json.ts';
import { knownSecrets } from '../../shared/text/masker.ts';
import type { Pace } from '../../shared/clock.ts';
import { openRegularFile } from '../../shared/regularFile.ts';
import { cdEventAttributes, isCdEventType } from '../../shared/event/cdEvent.ts';
import { checked } from './checked.ts';
import type { PublishRequest } from './inputs.ts';
import { checkEncodingOfLines, LARGEST_PAYLOAD, unreadable } from './payload.ts';

const CHUNK_BYTES = 64 * 1_024;
/** How many bad lines are described; all are counted. */
const MOST_DESCRIBED = 5;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** A file with one JSON event per line, whose lines are all valid. */
export interface SurveyedLines {
  readonly file: string;
  readonly count: number;
  readonly bytes: number;
  /** Of the whole file, in hexadecimal. */
  readonly sha256: string;
  /** The line with the largest event: its size is checked before any event is sent. */
  readonly largest: { readonly number: number; readonly line: Uint8Array };
  readonly last: Uint8Array;
  /** The name of a secret whose value the file holds. */
  readonly secret: string | undefined;
  /** Size and time of change. */
  readonly version: string;
}

/**
 * Reads the file once, as a stream, and checks every line: JSON, the contract, and for CDEvents their context.
 * Fails with all that is wrong, before anything is sent.
 */
export async function surveyLines(
  request: PublishRequest,
  file: string,
  contract: Contract | undefined,
  weigh: (line: Uint8Array, number: number) => number,
  pace: Pace,
): Promise<SurveyedLines> {
  const hash = createHash('sha256');
  const version = versionOf(file);
  let count = 0;
  let bytes = 0;
  let bad = 0;
  let last = new Uint8Array();
  let largest = { number: 0, line: last, weight: 0 };
  const described: string[] = [];
  const secretIn = knownSecrets.secretInChunks();
  let secret: string | undefined;
  const onChunk = (chunk: Buffer) => {
    if (bytes === 0) checkEncodingOfLines(file, chunk);
    hash.update(chunk);
    secret = secretIn(chunk);
    bytes += chunk.length;
  };
  for await (const lines of readLines(file, onChunk)) {
    const problems = await problemsOf(request, lines, contract, pace).catch((error: unknown) => {
      throw notInTime(error, file, count);
    });
    for (const [index, line] of lines.entries()) {
      count++;
      const problem = problems[index];
      if (problem === undefined) {
        const weight = bad === 0 ? weigh(line, count) : 0;
        if (weight > largest.weight) largest = { number: count, line: Uint8Array.from(line), weight };
      } else if (++bad <= MOST_DESCRIBED) {
        described.push(`line ${count}: ${problem}`);
      }
    }
    last = Uint8Array.from(lines.at(-1) ?? last);
  }
  if (count === 0)
    throw new TaskError('InvalidInput', `payloadFile: ${file} has no lines`, 'Write one JSON event per line.');
  if (bad > 0) {
    const more = bad > described.length ? `. And ${bad - described.length} more lines` : '';
    throw new TaskError(
      contract === undefined && !isCdEventType(request.eventType) ? 'InvalidInput' : 'ContractViolation',
      `payloadFile: ${bad} of ${count} lines of ${file} cannot be sent. ${described.join('. ')}${more}`,
      'Nothing was sent. Correct the lines.',
    );
  }
  if (versionOf(file) !== version) throw changed(file);
  return { file, count, bytes, sha256: hash.digest('hex'), largest, last, secret, version };
}

/** Reads the surveyed file again; fails as soon as it differs, so that no unchecked line is sent. */
export async function* readSurveyedLines(lines: SurveyedLines): AsyncGenerator<readonly Uint8Array[]> {
  const { file, version, sha256 } = lines;
  const hash = createHash('sha256');
  yield* readLines(file, (chunk) => {
    if (versionOf(file) !== version) throw changed(file);
    hash.update(chunk);
  });
  if (hash.digest('hex') !== sha256) throw changed(file);
}

function changed(file: string): TaskError {
  return new TaskError(
    'Incomplete',
    `payloadFile: ${file} was changed while this step read it`,
    'Publish a file that no other step writes to.',
  );
}

function versionOf(file: string): string {
  const { size, mtimeMs } = statSync(file);
  return `${size} ${mtimeMs}`;
}

/** The lines of a file as bytes, without their line ends (LF or CRLF), as many at a time as a chunk holds. */
async function* readLines(file: string, onChunk: (chunk: Buffer) => void): AsyncGenerator<readonly Uint8Array[]> {
  let parts: Buffer[] = [];
  let partBytes = 0;
  let number = 0;
  const take = (end: Buffer): Buffer => {
    const line = parts.length === 0 ? end : Buffer.concat([...parts, end]);
    parts = [];
    partBytes = 0;
    return line.at(-1) === CARRIAGE_RETURN ? line.subarray(0, -1) : line;
  };
  try {
    const fd = openRegularFile(file);
    for await (const chunk of createReadStream('', { fd, highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>) {
      onChunk(chunk);
      const lines: Buffer[] = [];
      let start = 0;
      for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, start)) {
        lines.push(take(chunk.subarray(start, end)));
        start = end + 1;
      }
      if (start < chunk.length) parts.push(chunk.subarray(start));
      partBytes += chunk.length - start;
      number += lines.length;
      if (partBytes > LARGEST_PAYLOAD)
        throw new TaskError(
          'TooLarge',
          `payloadFile: line ${number + 1} of ${file} has more than ${LARGEST_PAYLOAD} bytes, more than any NATS server takes`,
          'Nothing was sent. Store large content elsewhere, such as a pipeline artifact, and publish a reference to it.',
        );
      if (lines.length > 0) yield lines;
    }
  } catch (error) {
    if (error instanceof TaskError) throw error;
    throw unreadable(file, error);
  }
  if (partBytes > 0) yield [take(Buffer.alloc(0))];
}

/** What is wrong with each line; undefined for the good ones. Throws when there is no time left to find out. */
async function problemsOf(
  request: PublishRequest,
  lines: readonly Uint8Array[],
  contract: Contract | undefined,
  pace: Pace,
): Promise<(string | undefined)[]> {
  await pace.timeLeft();
  const texts = lines.map(utf8Text);
  const values = texts.map((text) => (text === undefined ? undefined : parseJson(text)));
  const problems = values.map((json, index) =>
    json === undefined ? notJson(texts[index]) : cdEventProblem(request, json.value),
  );
  if (contract === undefined) return problems;
  const good = problems.flatMap((problem, index) => (problem === undefined ? [index] : []));
  const isAlone = texts.map((text) => mayHoldLargeIntegers(text ?? ''));
  const together = good.filter((index) => isAlone[index] === false).map((index) => values[index]?.value);
  const areValid = contract.areAllValid(together, await pace.timeLeft());
  // One by one: some may take the longest a check may take, and a chunk has thousands.
  for (const index of good) {
    if (areValid && isAlone[index] === false) continue;
    const problem = await checked(contract, values[index]?.value, texts[index], pace);
    if (problem !== undefined) problems[index] = describeProblems(problem);
  }
  return problems;
}

function notInTime(error: unknown, file: string, checked: number): unknown {
  if (!(error instanceof TaskError) || error.code !== 'Timeout') return error;
  return new TaskError(
    'Timeout',
    `payloadFile: the deadline of this step passed while it checked ${file}, after ${checked} lines`,
    'Nothing was sent. Raise timeout, or look for a regular expression with nested repetition in the schema.',
    { cause: error },
  );
}

function notJson(text: string | undefined): string {
  if (text === undefined) return 'it is not UTF-8';
  return text.trim() === '' ? 'it is blank' : 'it is not JSON';
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
