import type { Hub } from './record.ts';

/** The plan of a job, and the token that proves to Azure DevOps whose it is. */
export interface PlanCall {
  /** Of an organization that is on the list. */
  readonly planUrl: string;
  readonly hub: Hub;
  /** GUIDs in lower case. */
  readonly project: string;
  readonly plan: string;
  readonly job: string;
  readonly token: string;
}

/** A plan as Azure DevOps knows it. */
export interface ProvenPlan {
  /** The project's ID, in lower case. */
  readonly project: string;
  readonly pipeline: { readonly id: number; readonly name: string };
  readonly version: number;
  /** The id of its run, or of the release; undefined where Azure DevOps doesn't name it. */
  readonly run?: number;
}

/** Azure DevOps' answer to a job's token. Reasons are clauses without the last full stop, made safe. */
export type Asked<Value> =
  | { readonly kind: 'ok'; readonly value: Value }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'unavailable'; readonly reason: string };

/** Asks Azure DevOps with a job's token, which can read only its own plan. */
export interface ProvesCaller {
  plan(call: PlanCall, signal: AbortSignal): Promise<Asked<ProvenPlan>>;
  /** The job's ID token, as Azure DevOps issues it. */
  idToken(call: PlanCall, signal: AbortSignal): Promise<Asked<string>>;
}

/** Whether a URL is one of an organization on the list: the URL to use, or why not: a clause that continues it. */
export type AllowPlanUrl = (text: string) => { readonly url: string } | { readonly problem: string };

/** Says whose answer a call waits for now, and for what: `NATS (the stream)`. */
export type WaitsFor = (whom: string) => void;
