import assert from 'node:assert/strict';
import type { StoredMsg } from 'nats';
import type { WaitEnding } from '../../../bridge/waits/record.ts';
import { COUNT, EXPECTED, planWaits } from './waitsChaosPlan.ts';
import { BRIEF_MS, WaitsChaosWorld, type PlayedWait } from './waitsChaosWorld.ts';

/** The result of one schedule. */
export interface WaitsChaosCount {
  readonly waits: number;
  readonly verdicts: Readonly<Record<string, number>>;
  /** Documented repeats: a process told Azure DevOps what another one had told it during a pause. */
  readonly late: readonly string[];
}

/** Plays a seed and checks the outcome. Throws with everything needed to find out why. */
export async function runWaitsChaos(seed: number, size: number): Promise<WaitsChaosCount> {
  const plan = planWaits(seed, size);
  await using world = await WaitsChaosWorld.open(plan);
  try {
    await world.play();
    return await check(world);
  } catch (error) {
    const story = [...world.story, world.logs].join('\n');
    throw new Error(`CHAOS_SEED=${seed}: ${String(error)}\n${story}`, { cause: error });
  }
}

/** What the stream implies for a wait. */
interface Implied {
  readonly verdict: string;
  readonly sequence: number;
  readonly counts: Readonly<Record<string, number>>;
}

interface StoredEvent {
  readonly sequence: number;
  readonly storedAt: number;
  readonly subject: string;
  readonly correlationId: string;
  readonly id: string;
  readonly isInvalid: boolean;
  readonly data: { readonly v: number; readonly bad: boolean; readonly name: string };
}

async function check(world: WaitsChaosWorld): Promise<WaitsChaosCount> {
  const { scene } = world;
  const { azure } = scene;
  const stored = await storedEvents(world);
  const records = await scene.records();
  const decisions = await scene.decisions();
  const verdicts: Record<string, number> = {};
  const wrong: string[] = [];
  for (const wait of world.waits) {
    const { task, key, planned, inputs } = wait;
    const state = records.get(key)?.state;
    const note = (problem: string) =>
      wrong.push(`${key} ${planned.kind} ${JSON.stringify(inputs)} of run start ${wait.runStart}: ${problem}`);
    if (state?.state !== 'ended') {
      note(`its record is ${state?.state}`);
      continue;
    }
    const { ending } = state;
    verdicts[ending.verdict] = (verdicts[ending.verdict] ?? 0) + 1;
    if (!state.sent) note('nobody was told');
    if ('token' in state.call) note('its token is still there');
    const problem = problemOf(wait, ending, stored);
    if (problem !== undefined) note(problem);
    // Azure DevOps was told what is stored, once.
    const told = task.plan.events.filter(({ name }) => name === 'TaskCompleted');
    const isGood = ending.verdict === 'matched' || (ending.verdict === 'timedOut' && inputs['onTimeout'] === 'succeed');
    if (told.map(({ result }) => result).join() !== (isGood ? 'succeeded' : 'failed'))
      note(`TaskCompleted came with ${told.map(({ result }) => result).join() || 'nothing'}`);
    const { sequence = '' } = ending.outputs;
    if ((task.outputs['sequence'] ?? '') !== sequence) note(`its output sequence is ${task.outputs['sequence']}`);
    if (!task.logText.startsWith(`Verdict: ${ending.outputs['verdict'] ?? ending.verdict}`))
      note(`its log is ${task.logText}`);
    const noted = new Set(
      decisions
        .filter(
          ({ name, decision, followed }) =>
            name.startsWith('rule-') && !ANSWERS.has(decision) && followed?.['key'] === key,
        )
        .map(({ decision }) => decision),
    );
    if ([...noted].join() !== ending.verdict) note(`the audit says ${[...noted].join() || 'nothing'}`);
  }
  if (records.size !== world.waits.length) wrong.push(`${records.size} records instead of ${world.waits.length}`);
  for (const stream of ['CI', 'KV_BRIDGE_WAITS'])
    for (const { name, num_waiting: pulls, config } of await scene.admin.manager.consumers.list(stream).next())
      // A killed process can't remove its consumers: the server does once they're inactive.
      if (pulls > 0 || (config.inactive_threshold ?? Infinity) > 60e9)
        wrong.push(`the consumer ${name} of ${stream} stays`);
  const late = azure.plans.brokenRules.filter((rule) => rule.startsWith('Outputs came after TaskCompleted'));
  for (const rule of azure.plans.brokenRules) if (!late.includes(rule)) wrong.push(rule);
  if (late.length > 0 && !world.hasFrozen) wrong.push(...late);
  assert.deepEqual(wrong.slice(0, 40), [], `${wrong.length} things are wrong`);
  return { waits: world.waits.length, verdicts, late };
}

/** What is recorded about calls, not about endings. */
const ANSWERS = new Set(['accepted', 'repeated', 'tombstone', 'over', 'refused']);

function problemOf(wait: PlayedWait, ending: WaitEnding, stored: readonly StoredEvent[]): string | undefined {
  const { planned, firstAskedAt, takenAt, isCancelled } = wait;
  const { verdict, event, counts } = ending;
  if (planned.kind === 'buried' || planned.kind === 'cancelled' || (verdict === 'cancelled' && isCancelled))
    return verdict === 'cancelled' ? undefined : `is ${verdict}`;
  if (planned.kind === 'never') return verdict === 'timedOut' ? undefined : `is ${verdict}`;
  const implied = impliedBy(wait, stored);
  if (planned.kind === 'brief') {
    const first = implied && stored.find(({ sequence }) => sequence === implied.sequence);
    if (verdict === 'timedOut')
      return first !== undefined && first.storedAt <= firstAskedAt + BRIEF_MS
        ? `is timedOut, and ${first.sequence} came in time`
        : undefined;
    if (first !== undefined && first.storedAt > takenAt + BRIEF_MS) return `took ${first.sequence}, which came late`;
  }
  const found = { verdict, sequence: event?.sequence, counts: onlyMore(counts) };
  try {
    assert.deepEqual(found, implied);
    return undefined;
  } catch {
    return `is ${JSON.stringify(found)} instead of ${JSON.stringify(implied)}`;
  }
}

/** An independent, simple judge of what the kinds wait for. */
function impliedBy({ planned, inputs, runStart }: PlayedWait, stored: readonly StoredEvent[]): Implied | undefined {
  const { kind, correlationId, startFrom } = planned;
  const subjects = new Set(planned.subject === 'ci.*' ? ['ci.a', 'ci.b'] : planned.subject.split('\n'));
  const counts: Record<string, number> = { seen: 0 };
  const keys = new Set<string>();
  for (const { sequence, storedAt, subject, isInvalid, data, id, ...event } of stored) {
    if (!subjects.has(subject)) continue;
    if (startFrom === 'sequence' && sequence <= Number(inputs['startSequence'])) continue;
    if (startFrom === 'runStart' && storedAt < runStart) continue;
    const count = (decision: string) => (counts[decision] = (counts[decision] ?? 0) + 1);
    const is = (verdict: string): Implied => ({ verdict, sequence, counts });
    count('seen');
    if (correlationId !== undefined && event.correlationId !== correlationId) count('foreign');
    else if (isInvalid) {
      count('invalid');
      if (kind === 'strict') return is('invalid');
    } else if (kind === 'failWhen' && data.bad) {
      count('negative');
      return is('negative');
    } else if (!matches(kind, data)) count('notMatching');
    else {
      const key = kind === 'expect' ? data.name : id;
      if (keys.has(key)) count('repeated');
      else {
        keys.add(key);
        count('matched');
        if (keys.size === (kind === 'count' ? COUNT : kind === 'expect' ? EXPECTED.length : 1)) return is('matched');
      }
    }
  }
  return undefined;
}

function matches(kind: PlayedWait['planned']['kind'], { v, name }: StoredEvent['data']): boolean {
  switch (kind) {
    case 'failWhen':
    case 'count':
      return v >= 3;
    case 'expect':
      return v >= 2 && EXPECTED.some((one) => one === name);
    default:
      return v === 3;
  }
}

function onlyMore(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([name, number]) => name === 'seen' || number > 0));
}

/** From the stream, not from what was published: a publisher without an ack publishes again. */
async function storedEvents({ scene }: WaitsChaosWorld): Promise<StoredEvent[]> {
  return (await scene.admin.stored('CI')).map(eventOf);
}

function eventOf({ seq, subject, header, data, timestamp }: StoredMsg): StoredEvent {
  return {
    ...{ sequence: seq, storedAt: Date.parse(timestamp), subject, id: header.get('ce-id') },
    correlationId: header.get('ce-correlationid'),
    isInvalid: header.get('ce-specversion') !== '1.0',
    data: JSON.parse(Buffer.from(data).toString()) as StoredEvent['data'],
  };
}
