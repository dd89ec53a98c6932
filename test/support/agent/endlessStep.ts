/**
 * A step of this process whose body never ends by itself; a test starts it. Usage: endlessStep.ts <timeoutMs> <obeys|ignores|throws>
 * Prints when the body began and when it was told to end, in milliseconds since the process began, and the end of the step.
 */
import { runTask } from '../../../tasks/agent/run.ts';
import { FakeAgent } from './fakeAgent.ts';

const [timeoutMs = '', behaviour = ''] = process.argv.slice(2);
const note = (what: string): void => void process.stdout.write(`${what} ${performance.now()}\n`);

class PrintingAgent extends FakeAgent {
  override complete(...end: Parameters<FakeAgent['complete']>): void {
    note(`${end[0]} ${end[1].split(':')[0] ?? ''}`);
  }
}

// A deadline that counts from here, and not from the start of the process, would be late by as much.
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500 - performance.now());
void runTask(
  new PrintingAgent(),
  () => ({ timeoutMs: Number(timeoutMs) }),
  (_, { signal }) => {
    note('began');
    // Something a library left open must not keep the process.
    setInterval(() => {}, 1_000);
    if (behaviour === 'throws') setTimeout(() => void Promise.reject(new Error('nobody awaits this')), 1);
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        note('aborted');
        if (behaviour === 'obeys') reject(signal.reason as Error);
      });
    });
  },
);
