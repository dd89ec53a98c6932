import type { Audit } from '../audit/audit.ts';
import type { Functions, Parts } from '../functions.ts';
import type { JetStream } from '../jetStream/api.ts';
import { streamNeeds } from '../jetStream/needs.ts';
import { BRIDGE_WAITS, namesOf } from '../names.ts';
import type { WaitsSettings } from '../settings.ts';
import { acceptRoute, type WaitCounts } from './accept.ts';
import { Answering } from './answering.ts';
import { cancelRoute } from './cancel.ts';
import type { AllowPlanUrl, ProvesCaller } from './caller.ts';
import { idTokenVerifier } from './idToken.ts';
import { ProjectNames } from './projectNames.ts';
import { WaitStore } from './waitStore.ts';
import { whoamiRoute } from './whoami.ts';

/** What waits need of the other parts of the function. */
export interface WaitParts {
  readonly allowPlanUrl: AllowPlanUrl;
  readonly caller: ProvesCaller;
  readonly counts: WaitCounts;
}

/**
 * Takes waits of agentless tasks until it is stopped.
 *
 * @param version the bridge's own
 */
export function startWaits(
  waits: WaitsSettings,
  parts: Parts,
  { allowPlanUrl, caller, counts }: WaitParts,
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
  const options = {
    ...{ settings: waits, allowPlanUrl, caller, counts, jetStream, answering, now },
    contracts: Object.keys(contracts),
    // Events of service hooks are events like any others.
    ownStreams: streamNeeds(settings)
      .map(({ config }) => config.name)
      .filter((name) => name !== settings.hooks?.stream),
    store: new WaitStore(nats.keyValue(names.of(BRIDGE_WAITS)), waits.sealingKeys),
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
    stop: () => Promise.resolve(),
  };
}
