import assert from 'node:assert/strict';
import type { StoredMsg } from 'nats';
import { planChaos, type Kind } from './chaosPlan.ts';
import { ChaosWorld, FATES, ROUTES, type Fate, type Route } from './chaosWorld.ts';

/** The result of one schedule. */
export interface ChaosCount {
  readonly events: number;
  readonly runs: number;
  /** Duplicate runs with the documented cause: a process was paused between recording a request and sending it. */
  readonly late: readonly string[];
}

/** Plays a seed and checks the outcome. Throws with everything needed to find out why. */
export async function runChaos(seed: number, size: number): Promise<ChaosCount> {
  const plan = planChaos(seed, size);
  await using world = await ChaosWorld.open(plan);
  try {
    await world.play();
    return await checkChaos(world);
  } catch (error) {
    const story = world.story.join('\n');
    throw new Error(`CHAOS_SEED=${seed}: ${String(error)}\n${story}`, { cause: error });
  }
}

interface Decision {
  readonly name: string;
  readonly decision: string;
  readonly reason?: string;
  readonly event?: { readonly id: string; readonly place?: { readonly sequence: number } };
  readonly followed?: { readonly run?: number };
}

/** What the stream holds of one event for one route. */
interface Expected {
  readonly route: Route;
  readonly id: string;
  readonly fate: Fate;
  readonly sequences: number[];
}

async function checkChaos(world: ChaosWorld): Promise<ChaosCount> {
  const { azure } = world;
  const stored = await world.admin.stored('ci');
  const all = expectedOf(stored);
  const decisions = (await world.admin.stored('BRIDGE_AUDIT')).map(
    ({ data }) => JSON.parse(Buffer.from(data).toString()) as Decision,
  );
  const letters = (await world.admin.stored('BRIDGE_DEAD')).map(({ header }) => ({
    route: header.get('Bridge-Route'),
    reason: header.get('Bridge-Reason'),
    detail: header.get('Bridge-Detail'),
    key: `${header.get('Bridge-Route')} ${header.get('ce-id') || `ci:${header.get('Bridge-Sequence')}`}`,
  }));
  const intents = await intentsOf(world);
  const wrong: string[] = [];
  const late: string[] = [];
  for (const [key, { route, id, fate, sequences }] of all) {
    const ofEvent = azure.runs.filter(({ parameters: given }) => given['natsEventId'] === id);
    const runs = ofEvent.filter(({ parameters: given }) => given['route'] === route);
    const note = (problem: string) => {
      const others = ofEvent.map((run) => `${run.parameters['route']} ${run.id}`).join();
      wrong.push(`${key} (${sequences.join()}), ${fate ?? 'nothing'}: ${problem}; all of the event: ${others}`);
    };
    const wanted = fate === 'run' ? 1 : 0;
    const isLate = wanted === 1 && runs.length === 2 && runs.some((run) => world.cameLate(run));
    const story = runs.map(
      ({ id: run, identity, receivedAt, queuedAt }) =>
        `${run} for ${identity.name}, asked at ${world.timeOf(receivedAt)} and queued at ${world.timeOf(queuedAt)}`,
    );
    if (isLate) late.push(`${key}: ${story.join('; ')}`);
    else if (runs.length !== wanted) note(`the runs ${story.join('; ') || 'none'}`);

    const mine = letters.filter((letter) => letter.key === key);
    const reasons = mine.map(({ reason }) => reason).join();
    const details = mine.map(({ detail }) => detail).join('; ');
    if (reasons !== (fate === undefined || fate === 'run' ? '' : fate))
      note(`the dead letters ${reasons || 'none'}: ${details}`);

    const made = decisions.filter(({ name, event }) => name === route && event?.id === id);
    const allowed = fate === undefined ? [] : fate === 'run' ? ['started', 'duplicate'] : ['deadLetter', 'duplicate'];
    for (const { decision } of made) if (!allowed.includes(decision)) note(`the decision ${decision}`);
    for (const sequence of fate === undefined ? [] : sequences)
      if (!made.some(({ event }) => event?.place?.sequence === sequence)) note(`no decision on ${sequence}`);
    const followed = new Set(made.flatMap((decision) => decision.followed?.run ?? []));
    const isTwofold = isLate && followed.size === 2;
    if (fate === 'run' && followed.size !== 1 && !isTwofold)
      note(`decisions of the runs ${[...followed].join() || 'none'}`);
  }
  const known = new Set([...all.values()].map(({ id }) => id));
  for (const { id, parameters } of azure.runs)
    if (!known.has(parameters['natsEventId'] ?? '')) wrong.push(`the run ${id} is of no event`);
  for (const { parameters } of azure.runs)
    if (parameters['image'] !== 'web:1') wrong.push(`image ${parameters['image']}`);
  for (const [key, intent] of intents) if (intent.done === undefined) wrong.push(`the intent ${key} has no outcome`);
  const withIntent = [...all.values()].filter(({ fate }) => fate === 'run' || fate === 'refused').length;
  if (intents.size !== withIntent) wrong.push(`${intents.size} intents instead of ${withIntent}`);
  assert.deepEqual(wrong.slice(0, 40), [], `${wrong.length} things are wrong`);
  return { events: stored.length, runs: azure.runs.length, late };
}

/** From the stream, not from what was published: a publisher without an ack publishes again. */
function expectedOf(stored: readonly StoredMsg[]): Map<string, Expected> {
  const all = new Map<string, Expected>();
  for (const { header, seq } of stored) {
    const kind = header.get('Chaos-Kind') as Kind;
    const id = header.get('ce-id') || `ci:${seq}`;
    for (const route of ROUTES) {
      const key = `${route} ${id}`;
      const before = all.get(key);
      if (before === undefined) all.set(key, { route, id, fate: FATES[route][kind], sequences: [seq] });
      else before.sequences.push(seq);
    }
  }
  return all;
}

async function intentsOf({ admin }: ChaosWorld): Promise<Map<string, { done?: unknown }>> {
  const bucket = await admin.connection.jetstream().views.kv('BRIDGE_INTENTS');
  const keys: string[] = [];
  for await (const key of await bucket.keys()) if (ROUTES.some((route) => key.startsWith(`${route}.`))) keys.push(key);
  const entries = await Promise.all(keys.map(async (key) => [key, (await bucket.get(key))?.string() ?? '{}'] as const));
  return new Map(entries.map(([key, text]) => [key, JSON.parse(text) as { done?: unknown }]));
}
