import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { temporaryFolder } from '../../../localAgent/vsix.ts';
import { AzureDevOps } from '../../support/azureDevOps/azureDevOps.ts';
import { AZURE_DEVOPS_RESOURCE, Entra, type EntraApp } from '../../support/azureDevOps/entra.ts';
import { ManagedIdentity } from '../../support/azureDevOps/managedIdentity.ts';
import { ROOT } from '../../../scripts/build/manifest.ts';

const WITHIN_MS = 60_000;

/** What a program does that signs in with the library; it prints the token as JSON, or the error's message. */
const PROGRAM = `
import * as identity from '@azure/identity';
const { kind, options } = JSON.parse(process.argv[1]);
const make = {
  secret: ({ tenantId, clientId, secret, ...rest }) => new identity.ClientSecretCredential(tenantId, clientId, secret, rest),
  workload: (all) => new identity.WorkloadIdentityCredential(all),
  managed: (all) => new identity.ManagedIdentityCredential(all),
};
try {
  const { token, expiresOnTimestamp } = await make[kind](options).getToken('${AZURE_DEVOPS_RESOURCE}/.default');
  console.log(JSON.stringify({ token, expiresOnTimestamp }));
} catch (error) {
  console.log(JSON.stringify({ problem: error.message }));
}`;

interface Outcome {
  readonly token?: string;
  readonly expiresOnTimestamp?: number;
  readonly problem?: string;
}

/** A process of its own, since Node reads NODE_EXTRA_CA_CERTS only at its start; nothing of this process's environment matters. */
async function signInAs(kind: string, options: object, environment: Readonly<Record<string, string>>) {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', PROGRAM, JSON.stringify({ kind, options })], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: WITHIN_MS,
  });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  assert.equal(stderr, '');
  return JSON.parse(stdout) as Outcome;
}

async function worksAs(app: EntraApp, { token, expiresOnTimestamp, problem }: Outcome, entra: Entra) {
  assert.equal(problem, undefined);
  await using azure = await AzureDevOps.start({ entra });
  const response = await fetch(`${azure.url}_apis/connectionData`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(response.status, 200);
  assert.equal(JSON.parse(await response.text()).authenticatedUser.id, app.objectId);
  assert.ok(Math.abs(expiresOnTimestamp! - entra.expiryOf(token!)) < 10_000);
}

describe("Microsoft's identity library gets a token from the stand-in", { concurrency: 2 }, () => {
  test('with a client secret; a wrong one gets AADSTS7000215', async () => {
    await using entra = await Entra.start();
    const app = entra.register();
    const { authorityHost, tenantId, caFile } = entra;
    const options = { ...{ authorityHost, tenantId, clientId: app.clientId }, disableInstanceDiscovery: true };
    const environment = { NODE_EXTRA_CA_CERTS: caFile };
    await worksAs(app, await signInAs('secret', { ...options, secret: app.secret }, environment), entra);
    const { problem } = await signInAs('secret', { ...options, secret: 'wrong' }, environment);
    assert.match(problem!, /AADSTS7000215: Invalid client secret provided\./);
  });

  test("with a workload's token file", async () => {
    await using entra = await Entra.start();
    const app = entra.register();
    const tokenFilePath = path.join(temporaryFolder('workload-'), 'token');
    writeFileSync(tokenFilePath, await entra.serviceAccountToken(app));
    const { authorityHost, tenantId, caFile } = entra;
    const options = { authorityHost, tenantId, clientId: app.clientId, tokenFilePath, disableInstanceDiscovery: true };
    await worksAs(app, await signInAs('workload', options, { NODE_EXTRA_CA_CERTS: caFile }), entra);
  });

  for (const form of ['imds', 'appService'] as const) {
    test(`with the machine's managed identity, and with one assigned to it: ${form}`, async () => {
      await using entra = await Entra.start();
      await using machine = await ManagedIdentity.start(entra);
      const assigned = entra.register();
      const environment = machine.environment(form);
      await worksAs(machine.system, await signInAs('managed', {}, environment), entra);
      const { clientId } = assigned;
      await worksAs(assigned, await signInAs('managed', { clientId }, environment), entra);
    });
  }

  test('but not without the certificate authority', async () => {
    await using entra = await Entra.start();
    const app = entra.register();
    const { authorityHost, tenantId } = entra;
    const options = { ...{ authorityHost, tenantId, clientId: app.clientId, secret: app.secret } };
    const { problem } = await signInAs('secret', { ...options, disableInstanceDiscovery: true }, {});
    assert.ok(problem !== undefined && entra.requests.length === 0);
  });
});
