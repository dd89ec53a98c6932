import { Problems } from '../../shared/inputs/problems.ts';
import { quoted } from '../../shared/text/safeText.ts';
import type { HttpRequest } from '../http/route.ts';
import { organizationKey } from '../hooks/organization.ts';
import type { AllowPlanUrl, PlanCall, ProvenPlan, ProvesCaller, WaitsFor } from './caller.ts';
import { bucketKey, type WaitKey } from './record.ts';
import { Refusal, Unavailable, orBadRequest } from './refusal.ts';
import { readTaskRequest, type TaskRequest } from './request.ts';

/** What a call that reads or writes a wait waits for. */
export const BUCKET = 'NATS (the bucket BRIDGE_WAITS)';

/** A call of a task, as its headers say. */
export interface ClaimedCall {
  readonly key: WaitKey;
  readonly call: PlanCall;
  readonly timeline: string;
}

/** A call of a task whose plan Azure DevOps knows. */
export interface ProvenCall extends ClaimedCall {
  readonly plan: ProvenPlan;
}

/** Reads the headers of a task. @throws Refusal */
export function readClaim(headers: HttpRequest['headers'], allowPlanUrl: AllowPlanUrl): ClaimedCall {
  const request = orBadRequest(() => {
    const problems = new Problems('the headers of this call');
    const read = readTaskRequest(headers, problems);
    problems.done();
    return read;
  });
  return claimOf(request, allowPlanUrl);
}

function claimOf({ ids, planUrl, timeline, token }: TaskRequest, allowPlanUrl: AllowPlanUrl): ClaimedCall {
  const allowed = allowPlanUrl(planUrl);
  if ('problem' in allowed)
    throw new Refusal(
      403,
      `X-Plan-Url: ${allowed.problem}`,
      "Ask for the organization to be added to the bridge's waits.organizations.",
    );
  const { hub, project, plan, job } = ids;
  return {
    key: { organization: organizationKey(allowed.url) ?? '', ...ids },
    call: { planUrl: allowed.url, hub, project, plan, job, token },
    timeline,
  };
}

/** Has Azure DevOps prove that the caller's token is one of its plan. @throws Refusal, Unavailable */
export async function prove(
  claim: ClaimedCall,
  caller: ProvesCaller,
  signal: AbortSignal,
  waitsFor: WaitsFor,
): Promise<ProvenCall> {
  waitsFor('Azure DevOps (the plan)');
  const asked = await caller.plan(claim.call, signal);
  if (asked.kind === 'unavailable') throw new Unavailable(`Azure DevOps did not return the plan: ${asked.reason}`);
  if (asked.kind === 'refused')
    throw new Refusal(
      403,
      `X-Job-Token: Azure DevOps does not let this token read the plan ${claim.key.plan}: ${asked.reason}`,
      'Send $(system.AccessToken) and $(system.PlanId) of the running job.',
    );
  const { project } = asked.value;
  if (project.toLowerCase() !== claim.key.project)
    throw new Refusal(
      403,
      `X-Project-Id: is ${claim.key.project}, and the plan belongs to the project ${project}`,
      'Send $(system.TeamProjectId).',
    );
  return { ...claim, plan: asked.value };
}

/** Who calls, as a sentence: what Azure DevOps says once it was asked, otherwise what the call's headers claim. */
export function callerText(call: ClaimedCall | ProvenCall): string {
  const { project, plan: planId } = call.key;
  if (!('plan' in call)) return `The caller claims to be the plan ${planId} of the project ${project}.`;
  const { pipeline, run } = call.plan;
  const of = run === undefined ? '' : `run ${run} of `;
  return `Called by ${of}the pipeline ${quoted(pipeline.name)} (${pipeline.id}) of the project ${project}.`;
}

/** What is noted about a call besides the decision. Its pipeline and run are noted only as Azure DevOps has named them. */
export function tracesOf(call: ClaimedCall | ProvenCall): Readonly<Record<string, string | number>> {
  const { organization, project, plan, job, instance } = call.key;
  const traces = { wait: bucketKey(call.key), organization, project, plan, job, instance };
  if (!('plan' in call)) return traces;
  const { pipeline, run } = call.plan;
  // A decision's `run` is one that it started.
  const caller = run === undefined ? {} : { callerRun: run };
  return { ...traces, pipeline: pipeline.name, pipelineId: pipeline.id, ...caller };
}
