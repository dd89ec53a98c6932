import { randomInt } from 'node:crypto';
import { Random } from '../azureDevOps/random.ts';

/** The kind of an event, which decides what each route does with it. */
export const KINDS = ['big', 'small', 'other', 'invalid', 'garbage', 'unsafe', 'refused', 'foreign', 'plain'] as const;
export type Kind = (typeof KINDS)[number];

export interface PlannedEvent {
  readonly kind: Kind;
  /** The CloudEvents `id`; a resent event has that of an earlier one, and the same bytes. */
  readonly id: string;
  readonly subject: string;
}

export type Fault =
  /** A replica, by index, is killed, and another one takes its place after a while. */
  | { readonly fault: 'kill'; readonly replica: number; readonly ms: number }
  /** A replica is paused. */
  | { readonly fault: 'freeze'; readonly replica: number; readonly ms: number }
  /** A server, by index, is stopped, killed or paused for a while. */
  | { readonly fault: 'natsRestart' | 'natsKill' | 'natsFreeze'; readonly server: number; readonly ms: number }
  /** A stream of a cluster gets another leader. */
  | { readonly fault: 'elect'; readonly stream: string };

export interface Step {
  readonly events: readonly PlannedEvent[];
  /** Pause after them. */
  readonly ms: number;
  readonly faults: readonly Fault[];
}

/** A schedule, which follows from its seed alone; the timing inside the processes doesn't. */
export interface ChaosPlan {
  readonly seed: number;
  readonly isCluster: boolean;
  /** Tokens of Entra that expire; otherwise personal access tokens. */
  readonly tokensExpire: boolean;
  readonly steps: readonly Step[];
}

/** Longer than another replica waits before taking over, and than the server waits for a ping. */
const FREEZES_MS = [300, 2_000, 4_000];
const STREAMS = ['ci', 'BRIDGE_AUDIT', 'BRIDGE_DEAD', 'KV_BRIDGE_INTENTS'];
/** Of a hundred events. */
const SHARES: Readonly<Record<Kind, number>> = {
  ...{ big: 22, small: 22, other: 20, invalid: 4, garbage: 4, unsafe: 7, refused: 5, foreign: 8, plain: 8 },
};

/** Seeds to run: only the one in `CHAOS_SEED`, otherwise this many new ones. */
export function chaosSeeds(count: number): number[] {
  const given = process.env['CHAOS_SEED'];
  if (given !== undefined && given !== '') return [Number(given)];
  const first = randomInt(1_000_000);
  return Array.from({ length: count }, (_, index) => first + index);
}

/** @param size how many events there are */
export function planChaos(seed: number, size: number): ChaosPlan {
  const random = new Random(seed);
  // Every third seed, so that three consecutive seeds include a cluster.
  const isCluster = seed % 3 === 0;
  const before: PlannedEvent[] = [];
  const event = (): PlannedEvent => {
    const earlier = before[random.below(before.length)];
    const next =
      earlier !== undefined && random.below(10) === 0
        ? earlier
        : { kind: kindOf(random), id: `e-${before.length}`, subject: `ci.${['a', 'b'][random.below(2)]}` };
    before.push(next);
    return next;
  };
  const STEPS = 8;
  const steps = Array.from({ length: STEPS }, () => ({
    events: Array.from({ length: Math.ceil(size / STEPS) }, event),
    ms: random.below(1_200),
    faults: Array.from({ length: random.below(3) }, () => faultOf(random, isCluster, STREAMS)),
  }));
  return { seed, isCluster, tokensExpire: seed % 3 === 1, steps };
}

function kindOf(random: Random): Kind {
  let left = random.below(100);
  return KINDS.find((kind) => (left -= SHARES[kind]) < 0) ?? 'other';
}

/** @param streams those of a cluster that may get another leader */
export function faultOf(random: Random, isCluster: boolean, streams: readonly string[]): Fault {
  const replica = random.below(2);
  const server = random.below(isCluster ? 3 : 1);
  const luck = random.below(isCluster ? 12 : 9);
  if (luck < 3) return { fault: 'kill', replica, ms: random.below(2_000) };
  if (luck < 6) return { fault: 'freeze', replica, ms: FREEZES_MS[random.below(FREEZES_MS.length)] ?? 0 };
  if (luck < 9) {
    const fault = (['natsRestart', 'natsKill', 'natsFreeze'] as const)[luck - 6] ?? 'natsRestart';
    return { fault, server, ms: random.below(1_500) };
  }
  return { fault: 'elect', stream: streams[random.below(streams.length)] ?? '' };
}
