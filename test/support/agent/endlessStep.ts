/**
 * A step whose body never ends. A test starts it: endlessStep.ts <timeoutMs> <obeys|ignores|throws>
 * Prints when the body began and was told to end, in milliseconds since the process started, and how the step ended.
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

// A deadline that counted from here instead of the process's start would be late by this much.
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500 - performance.now());
void runTask(
  new PrintingAgent(),
  () => ({ timeoutMs: Number(timeoutMs) }),
  (_, { signal }) => {
    note('began');
    // Something that a library left open must not keep the process alive.
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
