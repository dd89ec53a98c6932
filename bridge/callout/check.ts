import { PublicDocuments } from '../azureDevOps/publicDocuments.ts';
import { error, warning, type Finding } from '../finding.ts';
import type { BridgeSettings, CalloutSettings } from '../settings.ts';
import { KeySets } from './keySets.ts';

/** Whether the callout can work, apart from NATS: whether its policy lets anyone in, and issuers' keys can be fetched. */
export async function checkCallout(
  { policy, connection, isSealed }: CalloutSettings,
  { timing }: Pick<BridgeSettings, 'timing'>,
  now: () => number,
): Promise<Finding[]> {
  const { issuers } = policy.current;
  const findings: Finding[] = [];
  if (!isSealed)
    findings.push(
      warning(
        'callout.xkeySeedFile',
        "it isn't set, so requests carry clients' tokens unencrypted",
        'Create a key: nats-event-bridge callout keys.',
      ),
    );
  for (const { issuer, rules } of issuers.values())
    if (rules.length === 0)
      findings.push(
        warning('callout.policyFile', `${issuer} has no rules, so nobody gets in with its tokens`, 'Add one.'),
      );
  const documents = new PublicDocuments(connection, timing.keysAnswer);
  try {
    const keys = new KeySets({ documents, timing, now, onChange: () => {} });
    await keys.refresh(issuers.keys());
    for (const issuer of issuers.keys()) {
      const { trouble } = keys.state(issuer);
      if (trouble !== undefined)
        findings.push(
          error(
            `issuer ${issuer}`,
            `its keys can't be fetched: ${trouble}`,
            'Check its URL in the policy, callout.proxy and callout.caFile.',
          ),
        );
    }
  } finally {
    await documents.close();
  }
  return findings;
}
