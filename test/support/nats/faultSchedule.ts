import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { ConsumerInfo } from 'nats';
import type { OutgoingMessage } from '../../../shared/bus.ts';
import { reasonOf } from '../../../shared/errors.ts';
import type { Verdict } from '../../../shared/waiting/verdict.ts';
import type { WaitOutcome } from '../../../shared/waiting/wait.ts';
import type { NatsServer } from './natsServer.ts';
import { openBus, type OpenBus } from './openBus.ts';
import { Admin, type TestStream } from './testStream.ts';
import { WaitStep, type WaitStepInputs } from '../agent/waitStep.ts';

/** Servers that a schedule may break. */
export interface FaultyServers {
  readonly servers: readonly NatsServer[];
  leaderOf(stream: string): Promise<NatsServer>;
}

interface PlannedEvent {
  readonly token: string;
  /** The CloudEvents `id`, sometimes repeated. The message id is always new. */
  readonly id: string;
  readonly data: { readonly kind: 'matching' | 'other' | 'negative'; readonly key: string };
}

const FAULTS = ['restart', 'kill', 'pause'] as const;
const CLUSTER_FAULTS = [...FAULTS, 'killLeader', 'lameDuck'] as const;

type Action =
  /** In the background, one after the other. */
  | { readonly act: 'publish'; readonly events: readonly PlannedEvent[] }
  | { readonly act: 'awaitPublished' }
  /** @param server its index; @param ms how long a paused one stays paused */
  | { readonly act: (typeof CLUSTER_FAULTS)[number]; readonly server: number; readonly ms: number };

/** Everything that happens in one run. It follows from its seed alone. */
export interface FaultSchedule {
  readonly seed: number;
  /** Stored before the wait begins. */
  readonly before: readonly PlannedEvent[];
  /** The wait, apart from its start. */
  readonly wait: {
    readonly tokens: readonly string[];
    readonly failWhen: boolean;
    readonly count: number;
    readonly distinct: boolean;
    readonly expect: readonly string[] | undefined;
  };
  readonly start: {
    readonly from: 'runStart' | 'now' | 'sequence' | 'time' | 'lastPerSubject' | 'all';
    /** How many of the events before the wait precede the start point, if the user sets that. */
    readonly after: number;
  };
  /** The step starts while its server is paused. */
  readonly beginsInFault: boolean;
  readonly actions: readonly Action[];
  /** If nothing has decided by then: the deadline passes while the only server is down. */
  readonly endsDown: boolean;
}

/** Seeds to run: only the one in `FAULT_SEED`, otherwise this many new ones. */
export function faultSeeds(count: number): number[] {
  const given = process.env['FAULT_SEED'];
  if (given !== undefined && given !== '') return [Number(given)];
  const first = randomInt(1_000_000);
  return Array.from({ length: count }, (_, index) => first + index);
}

/** @param size how many servers there are */
export function planSchedule(seed: number, size: number): FaultSchedule {
  const random = new Random(seed);
  let number = 0;
  const event = (kind?: PlannedEvent['data']['kind']): PlannedEvent => {
    number++;
    return {
      token: random.of(['a', 'a', 'b', 'c']),
      id: number > 1 && random.chance(0.2) ? `event-${random.upTo(number - 1)}` : `event-${number}`,
      data: {
        kind: kind ?? (random.chance(0.04) ? 'negative' : random.chance(0.45) ? 'matching' : 'other'),
        key: random.of(['x', 'y', 'z']),
      },
    };
  };
  const events = (most: number) => Array.from({ length: random.upTo(most) }, () => event());

  // In total at most 20 events that don't count, since a wait lists no more.
  const before = random.chance(0.8) ? events(4) : [];
  const distinct = random.chance(0.5);
  const expect = distinct && random.chance(0.5) ? random.of([['x', 'y'], ['x', 'y', 'z'], ['z']]) : undefined;
  const from = random.of(['runStart', 'now', 'sequence', 'time', 'lastPerSubject', 'all'] as const);
  const actions: Action[] = [];
  let killed = 0;
  for (let step = 0, steps = 2 + random.upTo(3); step < steps; step++) {
    actions.push({ act: 'publish', events: events(3) });
    if (random.chance(0.4)) actions.push({ act: 'awaitPublished' });
    const fault = random.of(size === 1 ? FAULTS : CLUSTER_FAULTS);
    // A cluster takes seconds to recover from each of these.
    if (size > 1 && fault !== 'pause' && ++killed > 2) continue;
    actions.push({ act: fault, server: random.upTo(size) - 1, ms: 50 * random.upTo(12) });
  }
  return {
    seed,
    before,
    wait: {
      tokens: random.of([['>'], ['a'], ['a', 'b']]),
      failWhen: random.chance(0.6),
      count: expect?.length ?? (distinct ? random.upTo(3) : random.upTo(8)),
      distinct,
      expect,
    },
    start: { from, after: random.upTo(before.length + 1) - 1 },
    // The start point of the other kinds isn't known then.
    beginsInFault: from !== 'now' && from !== 'lastPerSubject' && random.chance(0.3),
    // An event that passes all filters but matches nothing: once it has arrived, all others have.
    actions: [...actions, { act: 'publish', events: [{ ...event('other'), token: 'a' }] }],
    endsDown: size === 1 && random.chance(0.4),
  };
}

const ENDS_MS = 45_000;

/** Runs a schedule and checks how its wait ended. Leaves the servers up and in sync. */
export async function runSchedule(schedule: FaultSchedule, faulty: FaultyServers): Promise<void> {
  const urls = faulty.servers.map(({ url }) => url);
  await using admin = await Admin.connect(urls);
  await using publishing = await openBus(urls, {}, 120_000);
  const stream = await admin.stream(`FAULT-${schedule.seed}-${urls.length}`, { num_replicas: urls.length });
  const run = new Run(schedule, faulty, admin, stream, publishing);
  try {
    await run.toItsEnd();
  } catch (error) {
    throw new Error(
      `FAULT_SEED=${schedule.seed}: ${reasonOf(error)}\nThe log of the wait:\n${run.log}\nThe schedule: ${JSON.stringify(schedule)}`,
      { cause: error },
    );
  }
  await stream.delete();
}

class Run {
  readonly #published: PlannedEvent[] = [];
  #publishing: Promise<unknown> = Promise.resolve();
  #step: WaitStep | undefined;

  constructor(
    private readonly schedule: FaultSchedule,
    private readonly faulty: FaultyServers,
    private readonly admin: Admin,
    private readonly stream: TestStream,
    private readonly publisher: OpenBus,
  ) {}

  get log(): string {
    return this.#step?.lines.join('\n') ?? '';
  }

  async toItsEnd(): Promise<void> {
    const { before, actions, beginsInFault, start, endsDown } = this.schedule;
    const first = this.faulty.servers[this.schedule.seed % this.faulty.servers.length]!;
    const startTime = await this.#publishBefore(before);

    if (beginsInFault) await first.pause();
    // The first server is the one that may be faulty; the others follow.
    const servers = [first, ...this.faulty.servers.filter((server) => server !== first)];
    const step = new WaitStep(
      servers.map(({ url }) => url),
      this.#inputs(startTime),
    );
    this.#step = step;
    if (beginsInFault) await this.#standStill(first, 300);
    else await step.armed();
    if (start.from === 'lastPerSubject') {
      const last = this.#model().decisions.length;
      await step.until(() => decisionsIn(step.lines).length >= last, 'what there was has come');
    }

    for (const action of actions) {
      if (!step.hasEnded) await this.#perform(action);
    }
    await this.#publishing;
    await this.admin.inSync(this.stream.name, this.faulty.servers.length);

    const expected = this.#model();
    if (expected.verdict === undefined) {
      const number = expected.decisions.length;
      await step.until(() => decisionsIn(step.lines).length >= number, 'all events have come', ENDS_MS);
      if (endsDown) {
        const down = (): number => step.lines.filter((line) => line.startsWith('linkDown ')).length;
        const downs = down();
        await first.kill();
        await step.until(() => down() > downs, 'the link is down', ENDS_MS);
      }
      step.callDeadline();
    }
    await step.until(() => step.hasEnded, 'it ends', ENDS_MS);
    const outcome = await step.outcome;
    if (expected.verdict === undefined && endsDown) await first.restart();

    assert.deepEqual(await this.#stored(), this.#published.map(textOf), 'the stream holds other events');
    assert.deepEqual(decisionsIn(step.lines), expected.decisions, 'the wait reports other events');
    assert.equal(outcome.verdict, expected.verdict ?? (endsDown ? 'connectionLost' : 'timedOut'));
    assert.deepEqual(countsOf(outcome), tally(expected.decisions));
    if (expected.verdict !== undefined)
      assert.equal(outcome.deciding?.event.place?.sequence, Number(expected.decisions.at(-1)?.split(' ')[1]));
    await this.#checkConsumers(step);
  }

  /** Returns the time of the schedule's start point, in ISO 8601. */
  async #publishBefore(before: readonly PlannedEvent[]): Promise<string> {
    const { after } = this.schedule.start;
    this.#publish(before.slice(0, after));
    await this.#publishing;
    await nextMillisecond();
    const startTime = new Date().toISOString();
    await nextMillisecond();
    this.#publish(before.slice(after));
    await this.#publishing;
    return startTime;
  }

  #inputs(startTime: string): WaitStepInputs {
    const { wait, start } = this.schedule;
    return {
      inputs: {
        subject: wait.tokens.map((token) => `${this.stream.name}.${token}`).join('\n'),
        stream: this.stream.name,
        startFrom: start.from,
        match: "data.kind == 'matching'",
        timeout: '2m',
        ...(start.from === 'sequence' ? { startSequence: String(start.after) } : {}),
        ...(start.from === 'time' ? { startTime } : {}),
        ...(wait.failWhen ? { failWhen: "data.kind == 'negative'" } : {}),
        ...(wait.distinct ? { distinctBy: 'data.key' } : {}),
        ...(wait.expect ? { expect: wait.expect.join('\n') } : { count: String(wait.count) }),
      },
      variables: { 'System.PipelineStartTime': startTime },
    };
  }

  async #perform(action: Action): Promise<void> {
    if (action.act === 'publish') this.#publish(action.events);
    else if (action.act === 'awaitPublished') await this.#publishing;
    else await this.#break(action.act, this.faulty.servers[action.server]!, action.ms);
  }

  async #break(fault: (typeof CLUSTER_FAULTS)[number], server: NatsServer, ms: number): Promise<void> {
    if (fault === 'pause') return this.#standStill(server, ms);
    // Data that the others don't have yet would be lost with a second server.
    await this.admin.inSync(this.stream.name, this.faulty.servers.length);
    switch (fault) {
      case 'restart':
        return server.restart();
      case 'kill':
        await server.kill();
        return server.restart();
      case 'killLeader': {
        const leader = await this.faulty.leaderOf(this.stream.name);
        await leader.kill();
        await this.#publishing;
        return leader.restart();
      }
      case 'lameDuck':
        await server.lameDuck();
        await this.#publishing;
        await server.kill();
        return server.restart();
    }
  }

  async #standStill(server: NatsServer, ms: number): Promise<void> {
    await server.pause();
    await delay(ms);
    server.resume();
  }

  /** Events are published in the order of the calls. */
  #publish(events: readonly PlannedEvent[]): void {
    this.#publishing = this.#publishing.then(async () => {
      const messages = events.map((event, index) => messageOf(event, this.stream.name, this.#published.length + index));
      this.#published.push(...events);
      const { bus, step } = this.publisher;
      const { error } = await bus.publishToStream([messages], this.stream.name, () => {}, step.clock.signal);
      if (error !== undefined) throw error as Error;
    });
    // Awaited later.
    this.#publishing.catch(() => {});
  }

  /** Everything in the stream, in order. */
  async #stored(): Promise<string[]> {
    await this.admin.inSync(this.stream.name, this.faulty.servers.length);
    const { state } = await this.admin.manager.streams.info(this.stream.name);
    const stored: string[] = [];
    for (let seq = 1; seq <= state.last_seq; seq++) {
      const message = await this.admin.manager.streams.getMessage(this.stream.name, { seq });
      const token = message.subject.slice(message.subject.lastIndexOf('.') + 1);
      stored.push(`${token} ${message.header.get('ce-id')} ${message.string()}`);
    }
    return stored;
  }

  /**
   * The verdict and the decisions that follow from the events published so far, by the rules of the interface.
   * Without a verdict, the deadline ends the wait.
   */
  #model(): { verdict: Verdict | undefined; decisions: string[] } {
    const { before, wait, start } = this.schedule;
    const isWanted = ({ token }: PlannedEvent): boolean => wait.tokens.includes('>') || wait.tokens.includes(token);
    const isRead = (event: PlannedEvent, index: number): boolean => {
      if (!isWanted(event) || index >= before.length) return isWanted(event);
      if (start.from === 'all') return true;
      if (start.from === 'now') return false;
      if (start.from !== 'lastPerSubject') return index >= start.after;
      return !before.slice(index + 1).some(({ token }) => token === event.token);
    };
    const decisions: string[] = [];
    const keys = new Set<string>();
    for (const [index, event] of this.#published.entries()) {
      if (!isRead(event, index)) continue;
      const { kind, key } = event.data;
      const identity = wait.distinct ? key : event.id;
      const isExpected = wait.expect?.includes(key) ?? true;
      let decision = 'notMatching';
      if (wait.failWhen && kind === 'negative') decision = 'negative';
      else if (kind === 'matching' && isExpected) decision = keys.has(identity) ? 'repeated' : 'matched';
      decisions.push(`${decision} ${index + 1}`);
      if (decision === 'negative') return { verdict: 'negative', decisions };
      if (decision === 'matched' && keys.add(identity).size === wait.count) return { verdict: 'matched', decisions };
    }
    return { verdict: undefined, decisions };
  }

  /** Asserts that no consumer is left, except those that couldn't be removed in time: the server removes those. */
  async #checkConsumers({ lines }: WaitStep): Promise<void> {
    const left = await this.#consumers();
    const wasDisturbed = lines.some((line) => /^Reading the stream again|was not removed/.test(line));
    if (!wasDisturbed && !this.schedule.beginsInFault) assert.deepEqual(left, []);
    for (const { config } of left) assert.ok(config.inactive_threshold! <= 60e9, JSON.stringify(config));
  }

  /** A cluster that has just lost its leader doesn't answer at once. */
  async #consumers(): Promise<ConsumerInfo[]> {
    for (const deadline = Date.now() + ENDS_MS; ;) {
      try {
        return await this.stream.consumers();
      } catch (error) {
        if (Date.now() > deadline) throw error;
      }
    }
  }
}

/** Numbers that follow from a seed (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  chance(probability: number): boolean {
    return this.#next() < probability;
  }

  /** Starts at 1. */
  upTo(most: number): number {
    return 1 + Math.floor(this.#next() * most);
  }

  of<Value>(values: readonly Value[]): Value {
    return values[this.upTo(values.length) - 1]!;
  }

  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
}

function messageOf(event: PlannedEvent, stream: string, index: number): OutgoingMessage {
  return {
    subject: `${stream}.${event.token}`,
    headers: [
      ['ce-specversion', '1.0'],
      ['ce-id', event.id],
      ['ce-source', '/faults'],
      ['ce-type', 'fault'],
      ['Nats-Msg-Id', `${stream}-${index}`],
    ],
    payload: Buffer.from(JSON.stringify(event.data)),
  };
}

function textOf({ token, id, data }: PlannedEvent): string {
  return `${token} ${id} ${JSON.stringify(data)}`;
}

/** The events that a wait logged, each as its decision and sequence. */
function decisionsIn(lines: readonly string[]): string[] {
  return lines.flatMap((line) => {
    const [, decision, sequence] = /^(matched|negative|notMatching|repeated) .*? sequence=(\d+)/.exec(line) ?? [];
    return decision === undefined ? [] : [`${decision} ${sequence}`];
  });
}

function tally(decisions: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = { seen: decisions.length };
  for (const text of decisions) {
    const [decision = ''] = text.split(' ');
    counts[decision] = (counts[decision] ?? 0) + 1;
  }
  return counts;
}

function countsOf({ counts }: WaitOutcome): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([name, count]) => name === 'seen' || count > 0));
}

async function nextMillisecond(): Promise<void> {
  for (const now = Date.now(); Date.now() <= now + 1;) await delay(1);
}
