import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NOT_ASKED } from '../../../bridge/azureDevOps/client.ts';
import { azureDevOpsOf } from '../../../bridge/status.ts';
import type { AzureDevOpsSettings, IdentitySettings } from '../../../bridge/settings.ts';

const PAT: IdentitySettings = { kind: 'pat', pat: { label: 'a secret', value: 'x' } };
const MANAGED: IdentitySettings = { kind: 'managedIdentity', clientId: undefined };
const UNTIL = Date.UTC(2026, 10, 29, 4, 3, 59);

function found(...abouts: string[]) {
  return { at: 0, findings: abouts.map((about) => ({ level: 'error', about, text: `${about}: it is gone.` })) };
}

test('the status of Azure DevOps says how long the token is valid, and whether it was accepted', () => {
  const stateOf = (
    identity: IdentitySettings,
    check: ReturnType<typeof found> | undefined,
    tokenValidUntil?: number,
    azureDevOps = 'ok',
  ) => {
    const settings = { azureDevOps: { identity } as AzureDevOpsSettings, callout: undefined };
    const { state, isGood } = azureDevOpsOf({ azureDevOps }, settings, { check, tokenValidUntil });
    return `${isGood ? 'good' : 'bad'}: ${state}`;
  };
  assert.equal(stateOf(MANAGED, undefined, undefined, NOT_ASKED), 'good: no token yet, not tried yet');
  assert.equal(
    stateOf(MANAGED, found('stream AZDO'), UNTIL),
    'good: token valid until 2026-11-29 04:03 UTC, accepted at the last self-check',
  );
  assert.equal(
    stateOf(MANAGED, found('Azure DevOps'), UNTIL),
    'bad: token valid until 2026-11-29 04:03 UTC, see the self-check',
  );
  assert.equal(stateOf(PAT, found()), 'good: personal access token, accepted at the last self-check');
  assert.equal(stateOf(PAT, found(), undefined, 'status 401'), 'bad: status 401');
});
