import { hash } from 'node:crypto';
import { linesOf } from '../../shared/inputs/fields.ts';
import type { Counts, Progress } from '../../shared/waiting/judge.ts';
import type { Inputs } from './body.ts';

export const HUBS = ['build', 'release', 'gates', 'checks'] as const;
export type Hub = (typeof HUBS)[number];

/** What identifies a wait. Ids are GUIDs in lower case. */
export interface WaitKey {
  /** As {@link organizationKey} has it. */
  readonly organization: string;
  readonly hub: Hub;
  readonly project: string;
  readonly plan: string;
  readonly job: string;
  /** The task in the job. */
  readonly instance: string;
}

/** What Execute sent, the call that begins a wait; verified. */
export interface WaitCall {
  readonly planUrl: string;
  readonly timeline: string;
  /** The job's; erased once the wait has ended. */
  readonly token: string;
  readonly inputs: Inputs;
  /** SHA-256 of the body and X-Run-Start: the same key with another digest is another wait. */
  readonly digest: string;
  /** As the plan says. */
  readonly owner: { readonly project: string; readonly pipeline: string; readonly rule: number };
  readonly planVersion: number;
}

/** Where reading begins. */
export interface WaitStart {
  readonly stream: string;
  /** The sequence before the first one. */
  readonly after: number;
  /** Or a time: what was stored before it doesn't count. Milliseconds since the epoch. */
  readonly at?: number;
}

/** How far a wait has come: nothing up to this sequence is judged again. */
export type WaitProgress = Progress & { readonly sequence: number };

/** How a wait ended. */
export interface WaitEnding {
  readonly verdict: 'matched' | 'negative' | 'invalid' | 'timedOut' | 'cancelled' | 'error';
  readonly reason: string;
  readonly counts: Counts;
  readonly missing: readonly string[] | number;
  readonly event?: {
    readonly subject: string;
    readonly stream: string;
    readonly sequence: number;
    readonly id: string;
    readonly source: string;
    readonly signedBy?: string;
    readonly storedAt: number;
  };
  readonly outputs: Readonly<Record<string, string>>;
  /** Sentences that tell the pipeline's author what else to know. */
  readonly notes?: readonly string[];
  /** Of a `TaskError`. */
  readonly code?: string;
}

/** A wait that is open. Times in milliseconds since the epoch, here and below. */
export interface Waiting {
  readonly state: 'waiting';
  readonly call: WaitCall;
  readonly start: WaitStart;
  readonly acceptedAt: number;
  readonly deadline: number;
  readonly progress?: WaitProgress;
}

export type WaitState =
  | Waiting
  /** Azure DevOps has yet to be told. */
  | { readonly state: 'decided'; readonly call: WaitCall; readonly decidedAt: number; readonly ending: WaitEnding }
  | {
      readonly state: 'ended';
      readonly call: Omit<WaitCall, 'token'>;
      readonly endedAt: number;
      readonly ending: WaitEnding;
      /** False: Azure DevOps couldn't be told. */
      readonly sent: boolean;
    }
  /** A wait that was cancelled before it came. */
  | { readonly state: 'tombstone'; readonly at: number };

/** A wait as it is stored. */
export interface WaitRecord {
  readonly key: WaitKey;
  readonly planUrl: string;
  readonly state: WaitState;
}

/** The key of a wait in the bucket. */
export function bucketKey(key: WaitKey): string {
  return `wait.${hash('sha256', JSON.stringify(partsOf(key)))}`;
}

/** The parts of a key in order. */
export function partsOf({ organization, hub, project, plan, job, instance }: WaitKey): readonly string[] {
  return [organization, hub, project, plan, job, instance];
}

/** A wait that ends because its task was cancelled. */
export function cancelled(call: WaitCall, progress: Progress | undefined, now: number): WaitState {
  const { expect, count = '1' } = call.inputs;
  const keys = progress?.keys ?? [];
  const counts = progress?.counts ?? NO_COUNTS;
  const expected = linesOf(expect);
  const missing =
    expected.length === 0
      ? Math.max(0, Number(count) - counts.matched)
      : expected.filter((value) => !keys.includes(value));
  const reason = 'The task was cancelled before its wait was over';
  return {
    state: 'decided',
    call,
    decidedAt: now,
    ending: { verdict: 'cancelled', reason, counts, missing, outputs: {}, code: 'Cancelled' },
  };
}

export const NO_COUNTS: Counts = {
  ...{ seen: 0, foreign: 0, untrusted: 0, expired: 0, invalid: 0 },
  ...{ notMatching: 0, repeated: 0, negative: 0, matched: 0 },
};
