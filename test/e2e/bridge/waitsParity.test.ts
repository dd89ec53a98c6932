import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { LocalAgent, pipelineTime, unpackVsix, type StepRun } from '../../../localAgent/index.ts';
import { countsOf, sourcesWith, wait } from '../../support/agent/scenario.ts';
import type { AgentlessTask } from '../../support/azureDevOps/agentlessTask.ts';
import type { BridgeProcess } from '../../support/bridge/bridgeProcess.ts';
import { CASES, CONTRACT, REFUSED, type ParityCase } from '../../support/bridge/parityCases.ts';
import { WaitsScene } from '../../support/bridge/waitsScene.ts';
import { casesOf } from '../../support/form.ts';

type Inputs = Readonly<Record<string, string>>;

/** How a wait ended, with or without an agent. */
interface Ending {
  readonly result: string;
  readonly counts: Readonly<Record<string, number>>;
  readonly outputs: Readonly<Record<string, string>>;
}

/** Outputs that depend on the reader, or that only one kind of task has. */
const OF_EACH_KIND = ['receivedAt', 'latencyMs', 'eventFile', 'receiptFile'];
/** In the short form, only every third case runs. */
const SHORT_TAKES = 3;
const EXTENSION = unpackVsix();
const SOURCES = sourcesWith({ 'n.v1.schema.json': CONTRACT });

describe('A wait on an agent and an agentless one', () => {
  let scene: WaitsScene;
  let bridge: BridgeProcess;
  before(async () => {
    scene = await WaitsScene.open({
      files: { 'n.v1.schema.json': JSON.stringify(CONTRACT) },
      more: 'contracts: { n.v1: n.v1.schema.json }',
    });
    bridge = await scene.start();
  });
  after(() => scene[Symbol.asyncDispose]());

  const agent = (runStart: Date) =>
    new LocalAgent({
      extension: EXTENSION,
      sources: SOURCES,
      variables: { 'System.PipelineStartTime': pipelineTime(runStart) },
      connections: { nats: { url: scene.server.url, scheme: 'None' } },
    });

  /** The agent's task takes a file instead of a contract's name. */
  const agentInputs = ({ contract, ...inputs }: Inputs): Record<string, string> => ({
    ...Object.fromEntries(Object.entries(inputs).filter(([, value]) => value !== '')),
    ...(contract === undefined ? {} : { schemaFile: `${contract}.schema.json` }),
  });

  /** Publishes the events of a case; resolves with its inputs and the start of its run. */
  const staged = async ({ inputs, events, before: first = 0 }: ParityCase, number: number) => {
    const own = `ci.p${number}`;
    const sequences: number[] = [];
    const publish = async (some: ParityCase['events']) => {
      for (const [data, options = {}] of some) {
        const subject = options.subject === undefined ? own : `${own}.${options.subject}`;
        sequences.push(await scene.publish(data, { ...options, subject }));
      }
    };
    const pauseMs = first === 0 ? 0 : 5;
    await publish(events.slice(0, first));
    await delay(pauseMs);
    const runStart = new Date();
    await delay(pauseMs);
    await publish(events.slice(first));
    const place = (text: string) =>
      text.replaceAll('<s>', own).replaceAll('<t>', runStart.toISOString()).replaceAll('<1>', String(sequences[0]));
    const all = Object.entries({ subject: '<s>', startFrom: 'all', timeout: '60s', ...inputs });
    return { inputs: Object.fromEntries(all.map(([name, value]) => [name, place(value)])), runStart };
  };

  const onAgent = async (inputs: Inputs, runStart: Date): Promise<Ending> =>
    endingOfStep(await wait(agent(runStart), agentInputs(inputs)));

  const onBridge = async (task: AgentlessTask, key: string): Promise<Ending> => {
    const result = await scene.ended(task);
    let counts: Ending['counts'] | undefined;
    await scene.until('the record is closed', async () => {
      const state = (await scene.record(key))?.state;
      if (state?.state === 'ended') counts = onlyMore(state.ending.counts);
      return counts !== undefined;
    });
    return { result: result === 'succeeded' ? 'Succeeded' : 'Failed', counts: counts!, outputs: common(task.outputs) };
  };

  describe('come to the same verdict, counts and outputs:', { concurrency: 4 }, () => {
    for (const [number, one] of casesOf([...CASES.entries()], ([index]) => index % SHORT_TAKES === 0))
      test(one.what, async () => {
        const { inputs, runStart } = await staged(one, number);
        const { task, key } = await scene.wait(bridge, inputs, { runStart: pipelineTime(runStart) });
        const [step, agentless] = await Promise.all([onAgent(inputs, runStart), onBridge(task, key)]);
        assert.equal(step.outputs['verdict'], one.verdict);
        assert.deepEqual(agentless, step, task.logText);
      });
  });

  describe('refuse inputs with the same words:', { concurrency: 4 }, () => {
    for (const { what, inputs, problem } of REFUSED)
      test(what, async () => {
        const given = { subject: 'ci.refused', ...inputs };
        const step = await wait(agent(new Date()), agentInputs(given));
        const { status, json } = await scene.task(bridge).execute(given);
        assert.deepEqual([step.result, status], ['Failed', 400]);
        assert.match(step.errors.join('\n'), problem);
        assert.match(json.error.message, problem);
      });
  });

  test('end the same even if the counting bridge is killed in between', async () => {
    const [counted, expected] = [
      { subject: 'ci.failover.count', match: 'data.ok', count: '3' },
      { subject: 'ci.failover.expect', distinctBy: 'data.name', expect: 'a\nb\nc', failWhen: 'data.bad' },
    ];
    const common = { startFrom: 'all', timeout: '60s' };
    const heir = await scene.start();
    const waits = await Promise.all([counted, expected].map((inputs) => scene.wait(heir, { ...inputs, ...common })));
    const publish = async (subject: string, ...events: readonly unknown[]) => {
      for (const event of events) await scene.publish(event, { subject });
    };
    await publish(counted.subject, { ok: true }, {}, { ok: true });
    await publish(expected.subject, { name: 'c' }, { name: 'x' }, { name: 'c' });
    await scene.until('progress is stored', async () => {
      const records = await scene.records();
      const matched = waits.map(({ key }) => {
        const state = records.get(key)?.state;
        return state?.state === 'waiting' ? state.progress?.counts.matched : undefined;
      });
      return matched.join() === '2,1';
    });
    // The first one leads.
    await bridge[Symbol.asyncDispose]();
    await publish(counted.subject, {}, { ok: true }, { ok: true });
    await publish(expected.subject, { name: 'a' }, { name: 'b' });
    for (const [index, inputs] of [counted, expected].entries()) {
      const { task, key } = waits[index]!;
      assert.deepEqual(
        await onBridge(task, key),
        await onAgent({ ...inputs, ...common }, new Date()),
        `${inputs.subject} after the failover`,
      );
    }
  });
});

function endingOfStep(step: StepRun): Ending {
  return { result: step.result, counts: countsOf(step), outputs: common(Object.fromEntries(step.outputs)) };
}

function common(outputs: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(outputs).filter(([name]) => !OF_EACH_KIND.includes(name)));
}

function onlyMore(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, number]) => number > 0));
}
