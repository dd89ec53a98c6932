import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../../../support/agent/endlessStep.ts', import.meta.url));
const TIMEOUT_MS = 2_500;
/** How much later than it should a busy machine may do something. */
const LATE_MS = 900;

interface EndlessStep {
  readonly exitCode: number | null;
  /** What it printed, and how long after the start of its process. */
  readonly moments: ReadonlyMap<string, number>;
}

/** @param signal sent when the body has begun */
async function endlessStep(behaviour: string, signal?: NodeJS.Signals): Promise<EndlessStep> {
  // One that is cancelled must not have come to its deadline by then.
  const timeoutMs = signal === undefined ? TIMEOUT_MS : 8 * TIMEOUT_MS;
  const child = spawn(process.execPath, ['--import', 'tsx', PROGRAM, String(timeoutMs), behaviour], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 20_000,
    killSignal: 'SIGKILL',
  });
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => {
    printed += chunk.toString();
    if (signal !== undefined && chunk.toString().startsWith('began')) child.kill(signal);
  });
  const [exitCode] = (await once(child, 'close')) as [number | null];
  const moments = printed
    .trim()
    .split('\n')
    .map((line) => /^(.*) (\S+)$/.exec(line)!.slice(1) as [string, string]);
  return { exitCode, moments: new Map(moments.map(([what, at]) => [what, Number(at)])) };
}

function assertWithin(at: number | undefined, from: number): void {
  assert.ok(at !== undefined && at >= from - 50 && at <= from + LATE_MS, `${String(at)} is not soon after ${from}`);
}

describe('The time of a step', { concurrency: 2 }, () => {
  it('is over at its deadline, which counts from the start of the process', async () => {
    const { exitCode, moments } = await endlessStep('obeys');
    const deadline = Math.max(TIMEOUT_MS, moments.get('began')!);
    assertWithin(moments.get('aborted'), deadline);
    assertWithin(moments.get('Failed Timeout'), deadline);
    assert.equal(exitCode, 0);
  });

  it('is over five seconds after the deadline, whatever the step is still doing', async () => {
    const { exitCode, moments } = await endlessStep('ignores');
    assertWithin(moments.get('Failed Timeout'), moments.get('aborted')! + 5_000);
    assert.equal(exitCode, 0);
  });

  it('is over soon after the agent cancels it, whatever the step is still doing', async () => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const { exitCode, moments } = await endlessStep('ignores', signal);
      assertWithin(moments.get('Canceled Cancelled'), moments.get('aborted')! + 1_500);
      assert.equal(exitCode, 0);
    }
  });

  it('is over with an error that nobody awaited', async () => {
    const { exitCode, moments } = await endlessStep('throws');
    assertWithin(moments.get('Failed Internal'), moments.get('began')!);
    assert.equal(exitCode, 0);
  });
});
