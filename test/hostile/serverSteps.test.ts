import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { measuringPeak, peakOf } from '../../scripts/bench/peakMemory.ts';
import type { ErrorCode } from '../../shared/errors.ts';
import { isLong } from '../support/form.ts';
import { family } from '../support/hostile/hostile.ts';
import { LocalAgent, unpackVsix, type StepRun } from '../../localAgent/index.ts';
import { publish, wait } from '../support/agent/scenario.ts';
import { endless, infoLine, ScriptedServer, SUBJECT, type Script } from '../support/nats/scriptedServer.ts';

const { tried } = family('Servers that misbehave: processes');

const EXTENSION = unpackVsix();
const COMMAND = '##vso[task.setvariable variable=PWNED;isOutput=true]yes';
const TIMEOUT_MS = 2_000;
/** Time for a process to start, and to end after its deadline, on a busy machine. */
const GRACE_MS = 6_000;
const MAX_MEGABYTES = 400;

const TASKS: Readonly<Record<string, (agent: LocalAgent, env: Readonly<Record<string, string>>) => Promise<StepRun>>> =
  {
    publish: (agent, env) => publish(agent, { subject: SUBJECT, payload: '{}', timeout: `${TIMEOUT_MS}ms` }, { env }),
    wait: (agent, env) => wait(agent, { subject: SUBJECT, startFrom: 'all', timeout: `${TIMEOUT_MS}ms` }, { env }),
  };

/** `undefined` among the codes: the step may also succeed. */
type ProcessCase = readonly [name: string, script: Script, codes: readonly (ErrorCode | undefined)[]];

/** Declares the cases as tests. In the short form, each runs with only one of the tasks. */
function declare(cases: readonly ProcessCase[]): void {
  for (const [index, [name, script, codes]] of cases.entries()) {
    for (const task of Object.keys(TASKS).filter((_, turn) => isLong || turn === index % 2)) {
      it(`${task} from a server with ${name}`, async () => {
        await using server = await ScriptedServer.start(script);
        const agent = new LocalAgent({
          extension: EXTENSION,
          debug: true,
          connections: { nats: { url: server.url, scheme: 'None' } },
        });
        const memory = measuringPeak();
        const begun = Date.now();
        const step = await TASKS[task]!(agent, memory.env);
        const tookMs = Date.now() - begun;
        tried();
        const about = `${step.result} after ${tookMs} ms with ${peakOf(memory).toFixed()} MB: ${step.errors.join('; ').slice(0, 500)}`;
        const code = step.errors
          .map((error) => error.slice(0, error.indexOf(': ')))
          .find((start) => /^\w+$/.test(start));
        assert.ok((codes as readonly (string | undefined)[]).includes(code), about);
        assert.equal(step.result, code === undefined ? 'Succeeded' : 'Failed', about);
        assert.ok(tookMs < TIMEOUT_MS + GRACE_MS, about);
        assert.ok(peakOf(memory) < MAX_MEGABYTES, about);
        assertUntouched(step);
      });
    }
  }
}

/** Asserts that the agent ran only the task's own commands, and that the process ended by itself. */
function assertUntouched(step: StepRun): void {
  assert.equal(step.exitCode, 0);
  assert.equal(step.rawStderr, '');
  for (const { area, event, properties, outcome } of step.commands) {
    assert.equal(outcome, 'executed', event);
    assert.match(`${area}.${event}`, /^task\.(setvariable|logissue|debug|complete)$/);
    assert.notEqual(properties.get('variable'), 'PWNED');
  }
  assert.equal(step.commands.filter(({ event }) => event === 'complete').length, 1);
}

const atGreeting = (piece: string): Script => ({ greeting: '', onLink: (link) => endless(link, piece) });
/** Sends `first` instead of any reply once the client is connected, then `piece` endlessly. */
const afterSignIn = (first: string, piece?: string): Script => ({
  answer({ verb, args }, link) {
    if (!/^H?PUB$/.test(verb) && args[0] !== SUBJECT) return undefined;
    if (link.socket.listenerCount('drain') === 0) {
      link.send(first);
      if (piece !== undefined) endless(link, piece);
    }
    return '';
  },
});
const BLOCK = 'y'.repeat(65_536);
const LOST: readonly ErrorCode[] = ['ConnectionLost', 'Timeout', 'Unreachable'];

describe('Servers that send endlessly cost little memory, and no time beyond the deadline:', { concurrency: 4 }, () => {
  declare([
    ['an endless INFO', atGreeting(BLOCK), ['Unreachable']],
    ['an endless INFO that starts well', { ...atGreeting(BLOCK), greeting: 'INFO {"x":"' }, ['Unreachable']],
    ['endless lines', atGreeting(`${COMMAND}\r\n`.repeat(1_000)), ['Unreachable']],
    ['endless INFOs', atGreeting(infoLine().repeat(300)), [...LOST, undefined]],
    ['an endless message', afterSignIn('MSG x 1 2147483647\r\n', BLOCK), LOST],
    ['an endless message of a valid size', afterSignIn('MSG x 1 67108864\r\n', BLOCK), LOST],
    ['an endless subject', afterSignIn('MSG ', BLOCK), LOST],
    ['an endless -ERR', afterSignIn('-ERR ', BLOCK), LOST],
    ['an endless INFO in the middle', afterSignIn('INFO {"x":"', BLOCK), LOST],
    ['endless PINGs', afterSignIn('', 'PING\r\n'.repeat(10_000)), LOST],
    [
      'endless PINGs, which does not read the PONGs',
      {
        ...afterSignIn('', 'PING\r\n'.repeat(10_000)),
        onLink: ({ socket }) => socket.once('drain', () => socket.pause()),
      },
      LOST,
    ],
    ['endless unrequested messages', afterSignIn('', `MSG x 99 2\r\nhi\r\n`.repeat(3_000)), LOST],
    ['endless refusals', afterSignIn('', `-ERR '${COMMAND}'\r\n`.repeat(1_000)), LOST],
  ]);
});

it('A server that drips does not keep a step from the next server', async () => {
  await using dripping = await ScriptedServer.start({
    greeting: '',
    onLink({ socket }) {
      const timer = setInterval(() => socket.write('I'), 50);
      socket.on('close', () => clearInterval(timer));
    },
  });
  await using good = await ScriptedServer.start();
  const agent = new LocalAgent({
    extension: EXTENSION,
    connections: { nats: { url: dripping.url, scheme: 'None', data: { servers: good.url } } },
  });
  const step = await publish(agent, { subject: SUBJECT, payload: '{}', timeout: '8s' });
  tried();
  assert.equal(step.result, 'Succeeded', step.logText);
});
