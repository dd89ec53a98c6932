import type { Asked, PlanCall, ProvenPlan } from './caller.ts';

/** What an ID token doesn't prove: a clause; undefined where it proves the plan. @throws Unavailable */
export type VerifiesIdToken = (
  asked: Asked<string>,
  call: PlanCall,
  plan: ProvenPlan,
  signal: AbortSignal,
) => Promise<string | undefined>;
