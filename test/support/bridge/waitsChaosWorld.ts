import { setTimeout as delay } from 'node:timers/promises';
import { headers } from 'nats';
import type { AgentlessTask, BridgeAnswer } from '../azureDevOps/agentlessTask.ts';
import { completesTask, readsPlan, setsOutputs, writesLog } from '../azureDevOps/kinds.ts';
import * as moods from '../azureDevOps/moods.ts';
import type { Mood, RecordedRequest } from '../azureDevOps/standInServer.ts';
import { ChaosFaults, type Seat } from './chaosFaults.ts';
import {
  COUNT,
  EXPECTED,
  type PlannedEvent,
  type PlannedWait,
  type WaitKind,
  type WaitsPlan,
} from './waitsChaosPlan.ts';
import { WaitsScene } from './waitsScene.ts';

const REPLICAS = 2;
const ENDS_MS = 90_000;
const PERSISTS_MS = 30_000;
export const BRIEF_MS = 4_000;

/** What each kind waits for, apart from subject and start. */
const INPUTS: Readonly<Record<WaitKind, Readonly<Record<string, string>>>> = {
  first: { match: 'data.v == `3`' },
  failWhen: { match: 'data.v >= `3`', failWhen: 'data.bad' },
  count: { match: 'data.v >= `3`', count: String(COUNT) },
  expect: { match: 'data.v >= `2`', distinctBy: 'data.name', expect: EXPECTED.join('\n') },
  strict: { match: 'data.v == `3`', onInvalid: 'fail' },
  brief: { match: 'data.v == `3`', timeout: `${BRIEF_MS / 1_000}s` },
  never: { match: 'data.v == `99`', timeout: '3s', onTimeout: 'succeed' },
  cancelled: { match: 'data.v == `99`' },
  buried: { match: 'data.v == `3`' },
};

/** A wait and its outcome. Times in milliseconds since 1970. */
export interface PlayedWait {
  readonly planned: PlannedWait;
  readonly task: AgentlessTask;
  readonly inputs: Readonly<Record<string, string>>;
  readonly runStart: number;
  key: string;
  firstAskedAt: number;
  takenAt: number;
  isCancelled: boolean;
}

/** Two replicas of the bundle, NATS and a moody Azure DevOps, with a plan's faults. */
export class WaitsChaosWorld implements AsyncDisposable {
  readonly waits: PlayedWait[] = [];
  readonly story: string[] = [];
  /** Whether a replica was paused. */
  hasFrozen = false;
  readonly #beganAt = Date.now();
  readonly #seats: Seat[] = [];
  readonly #faults: ChaosFaults;
  /** Later calls of tasks. */
  readonly #calls: Promise<void>[] = [];
  #lastSequence = 0;

  private constructor(
    readonly plan: WaitsPlan,
    readonly scene: WaitsScene,
  ) {
    const { servers, admin } = scene;
    this.#faults = new ChaosFaults({ seats: this.#seats, servers, admin, tell: (text) => this.tell(text) });
  }

  static async open(plan: WaitsPlan): Promise<WaitsChaosWorld> {
    const world = new WaitsChaosWorld(plan, await WaitsScene.open({ isCluster: plan.isCluster }));
    try {
      for (let index = 0; index < REPLICAS; index++) {
        const restart = () => world.scene.begin();
        const onFreeze = () => {
          world.hasFrozen = true;
          return () => {};
        };
        world.#seats.push({ bridge: await world.scene.start(), restart, onFreeze, isStruck: false });
      }
      world.#putIntoMoods();
      return world;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  #putIntoMoods(): void {
    const { azure } = this.scene;
    let { seed } = this.plan;
    const feel = (mood: Mood, chance: number, when: (request: RecordedRequest) => boolean) =>
      void azure.feel(mood, { chance, when, seed: ++seed });
    for (const when of [readsPlan, readsTimeline, setsOutputs, writesLog, completesTask]) {
      const writes = when !== readsPlan && when !== readsTimeline;
      feel(moods.reset({ done: writes }), 0.05, when);
      feel(moods.reset(), 0.03, when);
      feel(moods.cut(), 0.02, when);
      feel(moods.throttled({ retryAfter: 0.2 }), 0.02, when);
      feel(moods.unavailable(503), 0.04, when);
      feel(moods.broken({ done: writes }), 0.04, when);
      feel(moods.slow(800), 0.02, when);
      feel(moods.slow(2_500), 0.01, when);
      feel(moods.htmlWithSuccess(), 0.01, when);
    }
  }

  tell(text: string): void {
    this.story.push(`${((Date.now() - this.#beganAt) / 1_000).toFixed(3)} ${text}`);
  }

  /** The logs of the replicas that still run. */
  get logs(): string {
    return [...this.#faults.logs, ...this.#seats.map(({ bridge }) => bridge.text)].join('\n---\n');
  }

  /** Plays the plan, repairs everything, and lets the replicas finish their work. */
  async play(): Promise<void> {
    const later: { readonly step: number; readonly call: () => Promise<void> }[] = [];
    for (const [step, { waits, events, ms, faults }] of this.plan.steps.entries()) {
      for (const fault of faults) this.#faults.strike(fault);
      for (const planned of waits) {
        const wait = this.#waitOf(planned);
        const taken = this.#begin(this.#take(wait));
        const { repeatAfter, cancelAfter } = planned;
        if (repeatAfter !== undefined)
          later.push({ step: step + repeatAfter, call: () => taken.then(() => this.#repeat(wait)) });
        if (cancelAfter !== undefined)
          later.push({ step: step + cancelAfter, call: () => taken.then(() => this.#cancel(wait)) });
      }
      for (const event of events) await this.#publish(event);
      for (const one of later) if (one.step === step) void this.#begin(one.call());
      await delay(ms);
    }
    const steps = this.plan.steps.length;
    for (const one of later) if (one.step >= steps) void this.#begin(one.call());
    await this.#faults.over();
    this.tell('all faults are over');
    await Promise.all(this.#calls);
    this.tell('all calls are answered');
    for (const event of this.plan.last) await this.#publish(event);
    await this.#settled();
    for (const { bridge } of this.#seats) bridge.signal('SIGTERM');
    for (const { bridge } of this.#seats) {
      const status = await bridge.ended;
      if (status !== 0) throw new Error(`A replica ended with ${status}:\n${bridge.text}`);
    }
  }

  /** It's awaited at the end, where its failure counts. */
  #begin(call: Promise<void>): Promise<void> {
    call.catch(() => {});
    this.#calls.push(call);
    return call;
  }

  #waitOf(planned: PlannedWait): PlayedWait {
    const { kind, subject, correlationId, startFrom, replica } = planned;
    const runStart = Date.now();
    const bridge = this.#seats[replica]!.bridge;
    const task = this.scene.task(bridge, { runStart: new Date(runStart).toISOString() });
    const inputs = {
      ...{ subject, startFrom, timeout: '10m', ...INPUTS[kind] },
      ...(correlationId === undefined ? {} : { correlationId }),
      ...(startFrom === 'sequence' ? { startSequence: String(this.#lastSequence) } : {}),
    };
    const wait = { planned, task, inputs, runStart, key: '', firstAskedAt: 0, takenAt: 0, isCancelled: false };
    this.waits.push(wait);
    return wait;
  }

  async #take(wait: PlayedWait): Promise<void> {
    const { task, inputs, planned } = wait;
    if (planned.kind === 'buried') await this.#cancel(wait);
    wait.firstAskedAt = Date.now();
    const { json } = await this.#answered(wait, () => task.execute(inputs));
    wait.takenAt = Date.now();
    wait.key = (json as { key: string }).key;
    this.tell(`taken: ${wait.key} ${JSON.stringify(inputs)}`);
  }

  async #repeat(wait: PlayedWait): Promise<void> {
    const { scene } = this;
    wait.task.token = scene.azure.plans.token(wait.task.plan, wait.task.task);
    await this.#answered(wait, () => wait.task.execute(wait.inputs));
    this.tell(`asked for again: ${wait.key}`);
  }

  async #cancel(wait: PlayedWait): Promise<void> {
    wait.isCancelled = true;
    await this.#answered(wait, () => wait.task.cancel());
    this.tell(`cancelled: ${wait.key}`);
  }

  /** Asks one replica after the other until one succeeds. A temporary lack of anything is 503. */
  async #answered({ task, planned }: PlayedWait, call: () => Promise<BridgeAnswer>): Promise<BridgeAnswer> {
    let last: unknown = 'nothing';
    let { replica } = planned;
    for (const deadline = Date.now() + PERSISTS_MS; Date.now() < deadline; replica++) {
      task.bridge = this.#seats[replica % REPLICAS]!.bridge.publicUrl;
      try {
        const answer = await call();
        if (answer.status === 200) return answer;
        last = `${answer.status} ${answer.text}`;
        if (answer.status !== 503) throw new Error(`A call was answered with ${answer.status} ${answer.text}`);
      } catch (error) {
        // Replicas are killed and paused.
        if (String(error).includes('was answered with')) throw error;
        last = error;
      }
      await delay(100);
    }
    throw new Error(`A call was never answered: ${String(last)}`);
  }

  /** Publishes until the stream has acked, as publishers do. The event may then be stored twice. */
  async #publish({ id, subject, correlationId, isInvalid, data }: PlannedEvent): Promise<void> {
    const given = headers();
    const attributes = {
      ...{ specversion: isInvalid ? '0.3' : '1.0', id, source: '/chaos', type: 'test' },
      ...(correlationId === undefined ? {} : { correlationid: correlationId }),
    };
    for (const [name, value] of Object.entries(attributes)) given.set(`ce-${name}`, value);
    for (const deadline = Date.now() + PERSISTS_MS; ;) {
      try {
        const { connection } = this.scene.admin;
        const { seq } = await connection
          .jetstream()
          .publish(subject, JSON.stringify(data), { headers: given, timeout: 1_000 });
        this.#lastSequence = seq;
        return;
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await delay(50);
      }
    }
  }

  async #settled(): Promise<void> {
    let left: readonly string[] = [];
    for (const deadline = Date.now() + ENDS_MS; Date.now() < deadline;) {
      const records = await this.scene.records().catch(() => undefined);
      if (records !== undefined)
        left = this.waits
          .filter(({ task, key }) => task.task.state !== 'completed' || records.get(key)?.state.state !== 'ended')
          .map(({ key, planned }) => `${key} ${planned.kind} ${records.get(key)?.state.state}`);
      if (records !== undefined && left.length === 0) return;
      await delay(100);
    }
    throw new Error(`These waits never end:\n${left.join('\n')}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#faults.end();
    await Promise.allSettled(this.#calls);
    await this.scene[Symbol.asyncDispose]();
  }
}

function readsTimeline({ method, path }: RecordedRequest): boolean {
  return method === 'GET' && /\/timelines\/[^/]+\/records$/i.test(path);
}
