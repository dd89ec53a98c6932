import type { Audit } from '../audit/audit.ts';
import type { AzureDevOps } from '../azureDevOps/client.ts';
import type { Functions, Parts } from '../functions.ts';
import type { JetStream } from '../jetStream/api.ts';
import { streamNeeds } from '../jetStream/needs.ts';
import { BRIDGE_WAITS, namesOf } from '../names.ts';
import type { WaitsSettings } from '../settings.ts';
import { acceptRoute } from './accept.ts';
import { Answering } from './answering.ts';
import { cancelRoute } from './cancel.ts';
import type { AllowPlanUrl, ProvesCaller } from './caller.ts';
import { idTokenVerifier } from './idToken.ts';
import { startJudging } from './judging.ts';
import type { Tells } from './outbox.ts';
import { planCaller } from './planClient.ts';
import { allowedPlanUrl } from './planUrl.ts';
import { ProjectNames } from './projectNames.ts';
import { tell } from './tell.ts';
import { WaitStore } from './waitStore.ts';
import { whoamiRoute } from './whoami.ts';

/** How waits reach their callers' plans. */
export interface Plans {
  readonly allowPlanUrl: AllowPlanUrl;
  readonly caller: ProvesCaller;
  readonly tells: Tells;
}

/** The plans of Azure DevOps. */
export function plansOf({ organizations }: WaitsSettings, azureDevOps: AzureDevOps): Plans {
  const allowPlanUrl: AllowPlanUrl = (text) => allowedPlanUrl(text, organizations);
  const access = { azureDevOps, allowPlanUrl };
  return { allowPlanUrl, caller: planCaller(access), tells: (decided, signal) => tell(decided, access, signal) };
}

/**
 * Takes agentless tasks' waits, judges them and reports how they ended, until it is stopped.
 *
 * @param version the bridge's own
 */
export function startWaits(
  waits: WaitsSettings,
  parts: Parts,
  { allowPlanUrl, caller, tells }: Plans,
  audit: Audit,
  jetStream: JetStream,
  version: string,
): Functions {
  const { settings, contracts, nats, azureDevOps, metrics, log } = parts;
  const now = () => parts.now();
  const names = namesOf(settings.instance);
  const answering = new Answering({
    decisions: audit.decisions,
    log: log.texts('waits'),
    count: (outcome) => metrics.waitCalls.inc({ outcome }),
    unreadable: () => metrics.waitsUnreadable.inc(),
    now,
  });
  const projects = new ProjectNames({ azureDevOps, organization: settings.azureDevOps.organization, now });
  const bucket = nats.keyValue(names.of(BRIDGE_WAITS));
  const store = new WaitStore(bucket, waits.sealingKeys);
  const judging = startJudging(parts, { bucket, store, tells, jetStream, audit });
  const options = {
    ...{ settings: waits, allowPlanUrl, caller, store, counts: judging.waits, jetStream, answering, now },
    contracts: Object.keys(contracts),
    // Service hook events are events like any others.
    ownStreams: streamNeeds(settings)
      .map(({ config }) => config.name)
      .filter((name) => name !== settings.hooks?.stream),
    verifyIdToken: idTokenVerifier({
      issuers: waits.issuers,
      document: (url, signal) => azureDevOps.document(url, signal),
      now,
    }),
    projectName: (organization: string, project: string, signal: AbortSignal) =>
      projects.nameOf(organization, project, signal),
  };
  return {
    routes: [acceptRoute(options), cancelRoute(options), whoamiRoute(waits, version, answering)],
    waits: () => judging.status(),
    stop: () => judging.stop(),
  };
}
