import { Random } from '../azureDevOps/random.ts';
import { faultOf, type Fault } from './chaosPlan.ts';

/** The kind of a wait, which decides how it's judged. */
export const KINDS = [
  'first',
  'failWhen',
  'count',
  'expect',
  'strict',
  'brief',
  'never',
  'cancelled',
  'buried',
] as const;
export type WaitKind = (typeof KINDS)[number];

export interface PlannedWait {
  readonly kind: WaitKind;
  /** Lines of patterns. */
  readonly subject: string;
  readonly correlationId: string | undefined;
  readonly startFrom: 'all' | 'runStart' | 'sequence';
  /** The replica that it's sent to first. */
  readonly replica: number;
  /** How many steps later it is requested again; undefined: never. */
  readonly repeatAfter: number | undefined;
  /** How many steps later it is cancelled; undefined: never. */
  readonly cancelAfter: number | undefined;
}

export interface PlannedEvent {
  readonly id: string;
  readonly subject: string;
  readonly correlationId: string | undefined;
  readonly isInvalid: boolean;
  readonly data: { readonly v: number; readonly bad: boolean; readonly name: string };
}

export interface WaitsStep {
  readonly waits: readonly PlannedWait[];
  readonly events: readonly PlannedEvent[];
  /** Pause after them. */
  readonly ms: number;
  readonly faults: readonly Fault[];
}

/** A schedule, which follows from its seed alone; the timing inside the processes doesn't. */
export interface WaitsPlan {
  readonly seed: number;
  readonly isCluster: boolean;
  readonly steps: readonly WaitsStep[];
  /** Final events that end every wait except those meant to time out or be cancelled. */
  readonly last: readonly PlannedEvent[];
}

export const SUBJECTS = ['ci.a', 'ci.b'] as const;
export const COUNT = 3;
export const EXPECTED = ['a', 'b', 'c'] as const;
const PATTERNS = ['ci.a', 'ci.b', 'ci.*', 'ci.a\nci.b'];
const CORRELATIONS = [undefined, undefined, 'c-1', 'c-2', 'c-3'];
const STREAMS = ['CI', 'KV_BRIDGE_WAITS', 'BRIDGE_AUDIT'];
const NAMES = ['a', 'b', 'c', 'd', 'e'];
const STEPS = 8;

/** @param size how many waits there are; events are four times as many */
export function planWaits(seed: number, size: number): WaitsPlan {
  const random = new Random(seed);
  const pick = <One>(list: readonly One[]): One => list[random.below(list.length)]!;
  // Every third seed, so that three consecutive seeds include a cluster.
  const isCluster = seed % 3 === 0;
  const before: PlannedEvent[] = [];
  const event = (): PlannedEvent => {
    const isAgain = before.length > 0 && random.below(10) === 0;
    const next: PlannedEvent = isAgain
      ? pick(before)
      : {
          ...{ id: `e-${before.length}`, subject: pick(SUBJECTS), correlationId: pick(CORRELATIONS) },
          isInvalid: random.below(12) === 0,
          data: { v: 1 + random.below(6), bad: random.below(12) === 0, name: pick(NAMES) },
        };
    before.push(next);
    return next;
  };
  const wait = (): PlannedWait => {
    const kind = pick(KINDS);
    const isCancelled = kind === 'cancelled' || (kind !== 'never' && kind !== 'brief' && random.below(10) === 0);
    return {
      ...{ kind, subject: pick(PATTERNS), correlationId: pick(CORRELATIONS), replica: random.below(2) },
      startFrom: pick(['all', 'runStart', 'sequence']),
      repeatAfter: random.below(3) === 0 ? random.below(4) : undefined,
      cancelAfter: isCancelled ? random.below(3) : undefined,
    };
  };
  const steps = Array.from({ length: STEPS }, () => ({
    waits: Array.from({ length: Math.ceil(size / STEPS) }, wait),
    events: Array.from({ length: Math.ceil((4 * size) / STEPS) }, event),
    ms: random.below(1_000),
    faults: Array.from({ length: random.below(3) }, () => faultOf(random, isCluster, STREAMS)),
  }));
  return { seed, isCluster, steps, last: lastEvents() };
}

/** For each subject and correlation id: one event that matches each kind of wait. */
function lastEvents(): PlannedEvent[] {
  return SUBJECTS.flatMap((subject) =>
    [...new Set(CORRELATIONS)].flatMap((correlationId) =>
      EXPECTED.map((name) => ({
        ...{ id: `last-${subject}-${correlationId ?? ''}-${name}`, subject, correlationId, isInvalid: false },
        data: { v: 3, bad: false, name },
      })),
    ),
  );
}
