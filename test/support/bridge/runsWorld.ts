import type { KeyValue, KeyValueEntry } from '../../../shared/bus.ts';
import { TaskError } from '../../../shared/errors.ts';
import { Intents } from '../../../bridge/runs/intents.ts';
import { KeyedLock } from '../../../bridge/runs/keyedLock.ts';
import { Protocol, type FindOutcome, type StartOutcome, type Work } from '../../../bridge/runs/protocol.ts';
import { TIMING } from '../../../bridge/timing.ts';
import { Random } from '../azureDevOps/random.ts';

/** How likely things go wrong, in per cent, and for how long. */
export interface Weather {
  readonly crash: number;
  readonly natsFailure: number;
  /** Run requests that Azure DevOps throttles, answers with 5xx, or carries out but the response is lost. */
  readonly postponed: number;
  readonly failed: number;
  readonly lost: number;
  readonly listFailed: number;
}

export const FAIR: Weather = { crash: 0, natsFailure: 0, postponed: 0, failed: 0, lost: 0, listFailed: 0 };

const START = Date.UTC(2026, 4, 31);
const HOUR_MS = 3_600_000;
const MOST_STEPS = 200_000;

interface FakeRun {
  readonly id: number;
  readonly eventId: string;
  readonly pipeline: string;
  /** When it appears in the list. */
  readonly listedAt: number;
}

export interface FakeMessage {
  readonly work: Work;
  readonly pipeline: string;
  state: 'waiting' | 'held' | 'acked';
  /** When it's next delivered to a replica. */
  dueAt: number;
  deliveries: number;
}

/** A bridge with several replicas, NATS and Azure DevOps in simulated time, where everything follows from a seed. */
export class RunsWorld {
  now = START;
  readonly random: Random;
  readonly runs: FakeRun[] = [];
  readonly buried: { key: string; reason: string }[] = [];
  readonly messages: FakeMessage[] = [];
  readonly warnings: string[] = [];
  /** What happened, to find out why a seed fails. */
  readonly story: string[] = [];
  readonly values = new Map<string, { value: Uint8Array; revision: number }>();
  crashes = 0;
  #revision = 0;
  #replicas: FakeReplica[] = [];
  #names = 0;
  readonly #queue: { at: number; order: number; wake: () => void }[] = [];

  constructor(
    seed: number,
    readonly weather: Weather,
    readonly isFindable = true,
  ) {
    this.random = new Random(seed);
  }

  chance(percent: number): boolean {
    return this.random.below(100) < percent;
  }

  tell(text: string): void {
    this.story.push(`${((this.now - START) / 1_000).toFixed(3)} ${text}`);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((wake) => this.#queue.push({ at: this.now + ms, order: this.random.below(1_000_000), wake }));
  }

  add(work: Work, pipeline = 'deploy'): void {
    const dueAt = this.now + this.random.below(2_000);
    this.messages.push({ work, pipeline, state: 'waiting', dueAt, deliveries: 0 });
  }

  /** Runs until all events are acked. Throws if that takes more than a day. */
  async play(replicas: number): Promise<void> {
    for (let count = 0; count < replicas; count++) this.#startReplica();
    for (let step = 0; this.messages.some(({ state }) => state !== 'acked'); step++) {
      if (step > MOST_STEPS || this.now > START + 24 * HOUR_MS) throw new Error('The events never come to an end.');
      this.#deliver();
      await new Promise((resolve) => setImmediate(resolve));
      const due = this.messages.filter(({ state }) => state !== 'acked').map(({ dueAt }) => dueAt);
      this.#queue.sort((one, next) => one.at - next.at || one.order - next.order);
      const next = Math.min(this.#queue[0]?.at ?? Infinity, ...due);
      this.now = Math.max(this.now, next);
      const first = this.#queue[0];
      if (first !== undefined && first.at <= this.now) {
        this.#queue.shift();
        first.wake();
        if (this.chance(this.weather.crash)) this.#crash();
      }
    }
  }

  #startReplica(): void {
    this.#replicas.push(new FakeReplica(this, `replica-${++this.#names}`));
  }

  #crash(): void {
    // Most steps are a wait; one in ten is enough.
    if (this.random.below(10) > 0) return;
    const [dead] = this.#replicas.splice(this.random.below(this.#replicas.length), 1);
    if (dead === undefined) return;
    this.tell(`${dead.name} dies`);
    this.crashes++;
    dead.isAlive = false;
    void this.sleep(this.random.below(20_000)).then(() => this.#startReplica());
  }

  /** Like a durable consumer. */
  #deliver(): void {
    for (const message of this.messages) {
      if (message.state === 'acked' || message.dueAt > this.now) continue;
      const replica = this.#replicas[this.random.below(this.#replicas.length)];
      message.dueAt = this.now + TIMING.ackWait;
      if (replica === undefined) continue;
      message.state = 'held';
      message.deliveries++;
      void replica.take(message);
    }
  }

  bucketOf(replica: FakeReplica): KeyValue {
    const call = async <Value>(effect: () => Value): Promise<Value> => {
      await replica.sleep(this.random.below(20));
      const fails = this.chance(this.weather.natsFailure);
      if (fails && this.chance(50)) throw new TaskError('Timeout', 'NATS lost the request');
      const value = effect();
      await replica.sleep(this.random.below(20));
      if (fails) throw new TaskError('Timeout', 'NATS lost the answer');
      return value;
    };
    const put = (key: string, value: Uint8Array): number => {
      this.values.set(key, { value, revision: ++this.#revision });
      return this.#revision;
    };
    return {
      get: (key): Promise<KeyValueEntry | undefined> =>
        call(() => {
          const entry = this.values.get(key);
          return entry && { key, ...entry };
        }),
      create: (key, value) => call(() => (this.values.has(key) ? undefined : put(key, value))),
      update: (key, value, revision) =>
        call(() => (this.values.get(key)?.revision === revision ? put(key, value) : undefined)),
      delete: (key) => call(() => void this.values.delete(key)),
    };
  }

  /** `POST …/runs`: a sent request is carried out, whatever happens to its sender. */
  async start(replica: FakeReplica, { intent, key }: Work, pipeline: string): Promise<StartOutcome> {
    const { postponed, failed, lost } = this.weather;
    const luck = this.random.below(100);
    this.tell(`${replica.name} asks for ${key}`);
    if (luck < postponed) {
      await replica.sleep(this.random.below(2_000));
      return { kind: 'postponed', message: '429' };
    }
    const isCarriedOut = luck >= postponed + failed;
    const arrival = this.sleep(this.random.below(luck < postponed + failed + lost ? 19_000 : 500)).then(() => {
      if (!isCarriedOut) return undefined;
      const id = this.runs.length + 1;
      this.runs.push({ id, eventId: intent.eventId, pipeline, listedAt: this.now + this.random.below(1_500) });
      this.tell(`run ${id} begins for ${key}`);
      return { id, url: `https://dev.azure.com/run/${id}` };
    });
    const run = await replica.live(arrival);
    await replica.sleep(this.random.below(this.chance(30) ? 20_000 : 500));
    if (run === undefined) return { kind: 'open', message: '503', isFree: this.chance(20) };
    if (luck < postponed + failed + lost) return { kind: 'open', message: 'reset', isFree: false };
    return { kind: 'started', run };
  }

  async find(replica: FakeReplica, eventId: string, pipeline: string): Promise<FindOutcome> {
    await replica.sleep(this.random.below(300));
    const isOf = (run: FakeRun) => run.eventId === eventId && run.pipeline === pipeline && run.listedAt <= this.now;
    const runs = this.runs.filter(isOf).map(({ id }) => ({ id, url: `https://dev.azure.com/run/${id}` }));
    await replica.sleep(this.random.below(300));
    if (this.chance(this.weather.listFailed)) return { kind: this.chance(50) ? 'open' : 'postponed', message: '503' };
    return { kind: 'list', runs };
  }
}

/** One process of the bridge. Once it's dead, its pending calls never return. */
export class FakeReplica {
  isAlive = true;
  readonly #lock = new KeyedLock();

  constructor(
    private readonly world: RunsWorld,
    readonly name: string,
  ) {}

  sleep(ms: number): Promise<void> {
    return this.live(this.world.sleep(ms));
  }

  async live<Value>(promise: Promise<Value>): Promise<Value> {
    const value = await promise;
    return this.isAlive ? value : new Promise<Value>(() => {});
  }

  async take(message: FakeMessage): Promise<void> {
    const { world } = this;
    const keepAlive = async () => {
      while (this.isAlive && message.state === 'held' && isHeld) {
        message.dueAt = world.now + TIMING.ackWait;
        await world.sleep(TIMING.working);
      }
    };
    let isHeld = true;
    void keepAlive();
    const protocol = new Protocol(
      {
        intents: new Intents(world.bucketOf(this)),
        start: (work) => world.start(this, work, message.pipeline),
        find: ({ intent }) => world.find(this, intent.eventId, message.pipeline),
        turn: () => this.sleep(world.random.below(1_000)),
        open: () => this.sleep(world.random.below(1_000)),
        bury: async ({ reason }) => {
          await this.sleep(world.random.below(20));
          world.buried.push({ key: message.work.key, reason });
        },
        sleep: (ms) => this.sleep(ms),
        now: () => world.now,
        warn: (text) => void world.warnings.push(text),
      },
      { replica: this.name, maxDeliver: 8, isFindable: () => world.isFindable, timing: TIMING },
    );
    const result = await this.#lock.run(message.work.key, () => protocol.run(message.work));
    isHeld = false;
    world.tell(`${this.name}: ${message.work.key} ${result.kind}`);
    if (result.kind === 'elsewhere') {
      message.state = 'waiting';
      message.dueAt = world.now + result.forMs;
      return;
    }
    await this.sleep(world.random.below(20));
    message.state = 'acked';
  }
}
