import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { prepare } from '../../tasks/PublishNatsEvent/publish.ts';
import { readPublish } from '../../tasks/PublishNatsEvent/inputs.ts';
import { TaskError } from '../../shared/errors.ts';
import { encodeHeaders } from '../../shared/nats/publishing/messageFrames.ts';
import { readWait } from '../../tasks/WaitForNatsEvent/inputs.ts';
import { FakeAgent } from '../support/agent/fakeAgent.ts';
import { FILES, GARBLED, givenToPublish, givenToWait, type Given } from '../support/hostile/garbage.ts';
import { forAll } from '../support/hostile/harmless.ts';
import { cases, family, parameters, SEED } from '../support/hostile/hostile.ts';
import { withoutNul } from '../support/hostile/hostileText.ts';
import { readTask, TASK_NAMES } from '../../scripts/build/manifest.ts';
import { publish, Scenario, wait } from '../support/agent/scenario.ts';

const inputs = family('Inputs');
const RUNS = cases({ short: 200, long: 20_000 });
/** The errors that are possible before a step connects. */
const EARLY = new Set([
  'InvalidInput',
  'InvalidSchema',
  'ContractViolation',
  'Denied',
  'Unsupported',
  'TlsFailure',
  'TooLarge',
]);
/** The longest time to read inputs, in milliseconds of CPU time, since the machine may be busy. */
const LIMIT_MS = 2_000;

function cpuMsSince(began: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(began);
  return (user + system) / 1_000;
}

function agentOf({ inputs, connection, variables }: Given): FakeAgent {
  return new FakeAgent({
    inputs: { ...inputs, natsConnection: 'nats' },
    connections: { nats: connection },
    variables,
  });
}

it('every input of each task gets garbage', () => {
  for (const task of TASK_NAMES)
    assert.deepEqual(
      [...GARBLED[task]].sort(),
      readTask(task)
        .inputs.map(({ name }) => name)
        .sort(),
    );
});

/** Asserts that the error names every wrong input, and only inputs. */
function assertTold(error: unknown, { inputs, wrong }: Given): void {
  assert.ok(error instanceof TaskError, error instanceof Error ? error.stack : String(error));
  assert.ok(EARLY.has(error.code), error.message);
  const count = Number(/^(\d+) problems/.exec(error.problem)?.[1] ?? '1');
  const problems = count === 1 ? [error.problem] : numbered([error.remedy, ...error.details].join(' '), count);
  const names = new Set(['natsConnection', ...Object.keys(inputs), 'payload', 'startFrom', 'expect']);
  const told = new Set(problems.map((problem) => /^[A-Za-z.]+/.exec(problem)?.[0] ?? ''));
  for (const name of told) assert.ok(names.has(name), `${name}: ${error.message}`);
  for (const name of wrong) assert.ok(told.has(name), `${name} is not told: ${error.message}`);
}

/** The texts from `(1) `, `(2) ` and so on to the end. */
function numbered(text: string, count: number): string[] {
  let from = 0;
  return Array.from({ length: count }, (_, index) => {
    const mark = `(${index + 1}) `;
    const at = text.indexOf(mark, from);
    assert.ok(at >= 0, `${mark} is not in ${text}`);
    from = at + mark.length;
    return text.slice(from);
  });
}

/** The given values in a form that an environment and a step's inputs can have. */
function forProcess({ inputs, connection, ...others }: Given, url: string): Given {
  const plain = (texts: Readonly<Record<string, string>>) =>
    Object.fromEntries(
      Object.entries(texts).map(([name, text]) => [name, withoutNul(text).replaceAll('$(', '$(Not.').slice(0, 30_001)]),
    );
  return {
    ...others,
    inputs: plain(inputs),
    connection: {
      ...connection,
      scheme: withoutNul(connection.scheme),
      url: connection.url.startsWith('nats://127.') ? url : withoutNul(connection.url),
      parameters: plain(connection.parameters ?? {}),
      data: plain(connection.data ?? {}),
    },
    variables: plain(others.variables),
  };
}

describe('With any inputs', () => {
  const scene = Scenario.shared();

  for (const [task, run, givenTo, count] of [
    ['publishing', publish, givenToPublish, cases({ short: 5, long: 150 })],
    ['waiting', wait, givenToWait, cases({ short: 4, long: 100 })],
  ] as const) {
    it(`a running ${task} step does its work, or reports problems at once and stores nothing`, async () => {
      // Half of the steps have few wrong inputs, so that they get further.
      const few = fc.integer({ min: 0, max: 3 }).map((number) => number === 0);
      const all = [few, fc.constant(true)].map((wrong) =>
        fc.sample(givenTo('SUBJECT', wrong), { seed: SEED, numRuns: count / 2 }),
      );
      await forAll(all.flat(), async (sample) => {
        inputs.tried();
        const stream = await scene.stream();
        const given = forProcess(sample, scene.server.url);
        const subject = given.inputs['subject'] === 'SUBJECT' ? stream.subject('v1') : given.inputs['subject'];
        const agent = scene.agent({ connection: given.connection, sources: FILES, variables: given.variables });
        const timeout = given.inputs['timeout']?.trim() || '2s';
        const step = await run(agent, { ...given.inputs, subject: subject ?? '', timeout });
        assert.equal(step.rawStderr, '');
        const code = /^(\w+): /.exec(step.errors[0] ?? '')?.[1] ?? '';
        if (given.wrong.length > 0) assert.ok(EARLY.has(code), step.logText);
        else assert.notEqual(code, 'Internal', step.logText);
        const stored = await stream.lastSequence();
        if (step.result !== 'Succeeded' || task === 'waiting') assert.equal(stored, 0, step.logText);
        else if (given.inputs['delivery'] !== 'core') assert.equal(stored, Number(step.outputs.get('count')));
        assert.ok(step.durationMs < 20_000);
      });
    });
  }
});

describe('From any inputs', () => {
  it('a publishing step reads its request, or reports every problem', async () => {
    await fc.assert(
      fc.asyncProperty(givenToPublish('ci.built.v1'), async (given) => {
        inputs.tried();
        const began = process.cpuUsage();
        try {
          const { request, signingKey } = readPublish(agentOf(given));
          assert.deepEqual(given.wrong, []);
          const clock = {
            signal: new AbortController().signal,
            startedAt: Date.now(),
            deadline: Date.now() + 60_000,
            now: Date.now,
          };
          const prepared = await prepare(request, undefined, signingKey, clock);
          for await (const messages of prepared.messages()) for (const { headers } of messages) encodeHeaders(headers);
        } catch (error) {
          assertTold(error, given);
        }
        assert.ok(cpuMsSince(began) < LIMIT_MS);
      }),
      parameters(RUNS),
    );
  });

  it('a waiting step reads its request, or reports every problem', () => {
    fc.assert(
      fc.property(givenToWait('ci.built.v1'), (given) => {
        inputs.tried();
        const began = process.cpuUsage();
        try {
          readWait(agentOf(given));
          assert.deepEqual(given.wrong, []);
        } catch (error) {
          assertTold(error, given);
        }
        assert.ok(cpuMsSince(began) < LIMIT_MS);
      }),
      parameters(RUNS),
    );
  });
});
