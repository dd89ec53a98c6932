import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { EntraApplication } from '../../../../../tasks/agent/entra/application.ts';
import { refusalOf } from '../../../../../tasks/agent/entra/refusal.ts';

const APPLICATION: EntraApplication = {
  tenant: 'contoso.example',
  clientId: '8e1d4c1a-0d6e-4a8e-9f0e-2f3f6c1d7a11',
  scope: 'api://nats/.default',
  tokenUrl: new URL('https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token'),
};
const CLAIMS = {
  issuer: 'https://vstoken',
  subject: 'sc://contoso/Orders/nats',
  audience: 'api://AzureADTokenExchange',
};

function refusal(code: number, claims: Parameters<typeof refusalOf>[3] = CLAIMS) {
  const body = { error: 'invalid_client', error_description: `AADSTS${code}: No.`, error_codes: [code] };
  return refusalOf({ status: 400, retryAfterMs: undefined }, body, APPLICATION, claims);
}

describe('an error from Microsoft Entra names the page where it can be fixed', () => {
  const page = `In the Microsoft Entra admin center, open App registrations, the application ${APPLICATION.clientId}, `;
  const FEDERATED = `${page}Certificates & secrets, Federated credentials, `;
  const CASES: readonly (readonly [codes: readonly number[], remedy: string])[] = [
    [[700213, 7002137, 7002138], `${FEDERATED}and set Subject identifier to "sc://contoso/Orders/nats"`],
    [[700212], `${FEDERATED}and set Audience to "api://AzureADTokenExchange"`],
    [[700211], `${FEDERATED}and set Issuer to "https://vstoken"`],
    [
      [70021],
      `${FEDERATED}and add one with the issuer "https://vstoken", the subject identifier "sc://contoso/Orders/nats"`,
    ],
    [[501051, 50105], `${page}API permissions, add an application permission (app role) of the NATS application`],
    [[65001, 650056, 650057], `${page}API permissions, add the NATS application of entraScope ("api://nats/.default")`],
    [
      [500011, 650052],
      'Compare entraScope ("api://nats/.default") with the Application ID URI of the NATS application',
    ],
    [
      [90002, 900021, 900023],
      'In the Microsoft Entra admin center, open Overview, and copy its Tenant ID to entraTenantId',
    ],
    [[700016, 7000229], 'copy its Application (client) ID, not its object ID, to entraClientId'],
    [[7000112], `Enterprise applications, the application ${APPLICATION.clientId}, Properties`],
    [[70011, 1002012], 'Set entraScope to the Application ID URI'],
    [[50013, 700027], `${FEDERATED}check that Issuer is "https://vstoken"`],
    [[700024], 'Run the step again'],
    [[7000215, 7000216, 7000218], 'check the proxy'],
    [[53003], 'Conditional Access'],
    [[99999], 'The code is explained at https://login.microsoftonline.com/error?code=99999.'],
  ];
  for (const [codes, remedy] of CASES) {
    for (const code of codes) {
      test(`AADSTS${code}`, () => {
        const problem = refusal(code);
        assert.equal(problem.code, 'Denied');
        assert.equal(problem.problem, `said: AADSTS${code}: No`);
        assert.ok(problem.remedy.includes(remedy), problem.remedy);
        assert.match(problem.remedy, /^[A-Z].*[.\d]$/);
      });
    }
  }

  test('by the code in error_codes, if the text has none', () => {
    const body = { error: 'invalid_client', error_description: 'No.', error_codes: [700212] };
    const { remedy } = refusalOf({ status: 400, retryAfterMs: undefined }, body, APPLICATION, CLAIMS);
    assert.match(remedy, /set Audience to/);
  });

  test("and neutralises the ID token's claims", () => {
    const claims = { ...CLAIMS, subject: 'sc://a/##vso[task.complete]/b\n' };
    assert.match(refusal(700213, claims).remedy, /"sc:\/\/a\/##_vso\[task\.complete\]\/b\\\\n"/);
    assert.match(
      refusal(700213, { ...CLAIMS, subject: undefined }).remedy,
      /to what the line idToken of this log has,/,
    );
  });
});
