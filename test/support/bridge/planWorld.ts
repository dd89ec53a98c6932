import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { AzureDevOps as Client } from '../../../bridge/azureDevOps/client.ts';
import { Metrics } from '../../../bridge/metrics.ts';
import { TIMING } from '../../../bridge/timing.ts';
import type { PlanCall } from '../../../bridge/waits/caller.ts';
import { PlanClient } from '../../../bridge/waits/planClient.ts';
import { allowedPlanUrl } from '../../../bridge/waits/planUrl.ts';
import { AgentlessTask } from '../azureDevOps/agentlessTask.ts';
import { AzureDevOps } from '../azureDevOps/azureDevOps.ts';
import type { PlanOptions } from '../azureDevOps/plans.ts';

/** A task of a stand-in's plan, and the client of that plan. @param callMs how long one call may take */
export async function planWorld(t: TestContext, options: PlanOptions = {}, callMs: number = TIMING.azureDevOps) {
  const azure = await AzureDevOps.start();
  t.after(() => azure.stop());
  const agentless = new AgentlessTask(azure, { bridge: 'http://127.0.0.1:9', bearer: 'none', ...options });
  const { plan, task, token } = agentless;
  const azureDevOps = new Client({
    settings: {
      ...{ organization: 'http://127.0.0.1:9/none/', organizationName: 'none', proxy: '', ca: undefined },
      identity: { kind: 'pat', pat: { label: 'pat', value: 'none' } },
    },
    ...{ timing: { ...TIMING, azureDevOps: callMs }, metrics: new Metrics(), version: '1.2.3', now: Date.now },
  });
  t.after(() => azureDevOps.close());
  const access = { azureDevOps, allowPlanUrl: (text: string) => allowedPlanUrl(text, [azure.url]) };
  const call: PlanCall = {
    ...{ planUrl: azure.url, hub: plan.hub.toLowerCase() as PlanCall['hub'], project: plan.project.id },
    ...{ plan: plan.id, job: task.job, token },
  };
  const place = { timeline: plan.timeline, instance: task.instance, planVersion: plan.version };
  const client = PlanClient.open(access, call);
  assert.ok(client instanceof PlanClient);
  return { azure, agentless, plan, task, access, call, place, client };
}
