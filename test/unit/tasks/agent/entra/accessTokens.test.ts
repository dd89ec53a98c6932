import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { temporaryFolder } from '../../../../../localAgent/vsix.ts';
import type { TokenSource } from '../../../../../shared/connection/settings.ts';
import { TaskError } from '../../../../../shared/errors.ts';
import type { FakeAgent } from '../../../../support/agent/fakeAgent.ts';
import { oidcAgent, readSettings, type OidcJob } from '../../../../support/agent/oidcJob.ts';
import {
  idToken,
  JOB_TOKEN,
  TokenEndpoint,
  TunnelProxy,
  type TokenAnswer,
} from '../../../../support/agent/tokenEndpoint.ts';
import { createAuthority } from '../../../../support/nats/certificates.ts';

const TENANT = '11111111-2222-3333-4444-555555555555';
const CLIENT = '8e1d4c1a-0d6e-4a8e-9f0e-2f3f6c1d7a11';
const HOST = 'login.contoso.example';

/** Of a step that goes on. */
const { signal } = new AbortController();

/** Azure DevOps and Microsoft Entra: what each answers is up to the test. */
class Issuers implements AsyncDisposable {
  /** The access tokens so far, the newest last. */
  readonly issued: string[] = [];
  /** What Entra answers to the request of this number, from 1; undefined: a token. */
  answer: TokenEndpoint['answer'] = () => undefined;
  lifetimeS = 3_600;

  private constructor(
    readonly azure: TokenEndpoint,
    readonly entra: TokenEndpoint,
  ) {
    entra.answer = async (number) => {
      const answer = await this.answer(number);
      return answer === undefined ? this.#token() : answer;
    };
  }

  static async start(certificate?: TokenEndpoint['certificate']): Promise<Issuers> {
    return new Issuers(await TokenEndpoint.start(), await TokenEndpoint.start(certificate));
  }

  #token(): TokenAnswer {
    const token = idToken(this.lifetimeS * 1_000, { iss: 'https://entra', azp: CLIENT, roles: ['a', 'b'] });
    this.issued.push(token);
    return { body: JSON.stringify({ token_type: 'Bearer', expires_in: this.lifetimeS, access_token: token }) };
  }

  agent(job: Pick<OidcJob, 'variables'> = {}, authority = `http://127.0.0.1:${this.entra.port}`): FakeAgent {
    const fields = { entraTenantId: TENANT, entraClientId: CLIENT, entraScope: 'api://nats/.default' };
    const data = { oidc: 'true', ...fields, entraAuthority: authority };
    return oidcAgent({ requestUri: this.azure.uri(), connection: { data }, ...job });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.azure[Symbol.asyncDispose]();
    await this.entra[Symbol.asyncDispose]();
  }
}

function readTokens(agent: FakeAgent): TokenSource {
  const { authentication } = readSettings(agent);
  assert.equal(authentication.kind, 'entra');
  return authentication.accessToken;
}

async function tokenOf(agent: FakeAgent): Promise<string> {
  const tokens = readTokens(agent);
  return tokens.current(signal).finally(() => tokens.close());
}

/** What the step says instead of an access token. */
async function complaint(agent: FakeAgent): Promise<TaskError> {
  const error: unknown = await tokenOf(agent).then(
    () => assert.fail('There was an access token.'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof TaskError, String(error));
  return error;
}

function assertNoSecrets(agent: FakeAgent, text: string, ...secrets: readonly string[]): void {
  const shown = [text, ...agent.infos, ...agent.debugs, ...agent.warnings].join('\n');
  for (const secret of [JOB_TOKEN, ...secrets])
    for (const part of secret.split('.')) assert.ok(!shown.includes(part), `"${part}" is shown: ${shown}`);
}

test('an ID token is exchanged for an access token, which is masked with its parts', async () => {
  await using issuers = await Issuers.start();
  const agent = issuers.agent();
  const token = await tokenOf(agent);
  assert.deepEqual(issuers.issued, [token]);
  const [request] = issuers.entra.requests;
  assert.equal(request!.method, 'POST');
  assert.equal(request!.url, `/${TENANT}/oauth2/v2.0/token`);
  assert.equal(request!.headers['content-type'], 'application/x-www-form-urlencoded');
  assert.equal(request!.headers.authorization, undefined, 'the token of the job was sent to Microsoft Entra');
  assert.deepEqual(Object.fromEntries(new URLSearchParams(request!.body)), {
    grant_type: 'client_credentials',
    client_id: CLIENT,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: issuers.azure.issued[0],
    scope: 'api://nats/.default',
  });
  for (const secret of [token, ...token.split('.')]) assert.ok(agent.masked.has(secret), secret);
  assertNoSecrets(agent, '', token, issuers.azure.issued[0]!);
});

test('the log says what each token is for', async () => {
  await using issuers = await Issuers.start();
  const agent = issuers.agent();
  await tokenOf(agent);
  assert.match(agent.infos[0]!, /^idToken +issuer=.* subject="sc:\/\/contoso\/Orders\/nats"/);
  assert.match(
    agent.infos[1]!,
    new RegExp(
      `^accessToken +issuer="https://entra" audience=".*" application="${CLIENT}" roles="a b" lifetimeS=3600$`,
    ),
  );
  assert.equal(agent.infos.length, 2);
});

test('an opaque access token works, too', async () => {
  await using issuers = await Issuers.start();
  issuers.answer = () => ({ body: '{"access_token":"opaque-token-0123456789","expires_in":60}' });
  const agent = issuers.agent();
  assert.equal(await tokenOf(agent), 'opaque-token-0123456789');
  assert.match(agent.infos[1]!, /^accessToken +lifetimeS=60$/);
});

test('an access token is reused, and renewed with a new ID token before it expires', async () => {
  await using issuers = await Issuers.start();
  issuers.lifetimeS = 3;
  const tokens = readTokens(issuers.agent());
  const first = await tokens.current(signal);
  assert.equal(await tokens.current(signal), first);
  assert.equal(issuers.entra.requests.length, 1);
  await issuers.entra.asked(2);
  const renewed = await tokens.newerThan(first, signal);
  assert.equal(renewed, issuers.issued[1]);
  assert.equal(await tokens.current(signal), renewed);
  const [one, other] = issuers.entra.requests.map(({ body }) => new URLSearchParams(body).get('client_assertion'));
  assert.deepEqual([one, other], issuers.azure.issued);
  tokens.close();
});

test('an access token that NATS refuses is replaced, unless it has only just been issued', async () => {
  await using issuers = await Issuers.start();
  const tokens = readTokens(issuers.agent());
  const first = await tokens.current(signal);
  assert.equal(await tokens.newerThan(first, signal), undefined);
  await delay(1_050); // its age is what counts
  assert.equal(await tokens.newerThan(first, signal), issuers.issued[1]);
  tokens.close();
});

test("without an ID token, the error blames Azure DevOps, and Entra isn't asked", async () => {
  await using issuers = await Issuers.start();
  issuers.azure.answer = () => ({ status: 403 });
  const error = await complaint(issuers.agent());
  assert.match(error.message, /^Denied: Azure DevOps gave this step no ID token: /);
  assert.equal(issuers.entra.requests.length, 0);
});

describe('a step recovers from a fault of Microsoft Entra', { concurrency: 4 }, () => {
  const FAULTS: readonly (readonly [what: string, answer: TokenAnswer | null, fault: RegExp])[] = [
    ['an outage', { status: 503, body: '<html>' }, /answered with HTTP status 503$/],
    ['too many requests', { status: 429, headers: { 'retry-after': '0' } }, /answered with HTTP status 429$/],
    ['a time-out of its own', { status: 408 }, /HTTP status 408$/],
    [
      'a fault in words',
      { status: 400, body: '{"error":"temporarily_unavailable"}' },
      /said: temporarily_unavailable$/,
    ],
    ['a connection that breaks', null, /cannot be reached \(ECONNRESET\)$/],
    ['a page in its place', { body: '<html>Sign in</html>' }, /answered with something other than JSON$/],
    ['an answer without end', { body: 'x'.repeat(300_000) }, /longer than 262144 bytes\)$/],
  ];
  for (const [what, answer, fault] of FAULTS) {
    test(what, async () => {
      await using issuers = await Issuers.start();
      issuers.answer = (number) => (number === 1 ? answer : undefined);
      const agent = issuers.agent();
      assert.equal(await tokenOf(agent), issuers.issued[0]);
      assert.equal(issuers.azure.requests.length, 1, 'more than one ID token was asked for');
      const [said] = agent.debugs.filter((line) => line.startsWith('Asking for the access token again: '));
      assert.match(said ?? '', fault);
    });
  }

  test('silence', async () => {
    await using issuers = await Issuers.start();
    issuers.answer = (number) => (number === 1 ? new Promise(() => {}) : undefined);
    const agent = issuers.agent();
    assert.equal(await tokenOf(agent), issuers.issued[0]);
    assert.match(agent.debugs.join('\n'), /127\.0\.0\.1:\d+ did not answer within 8 s/);
  });

  for (const [form, pause] of [
    ['seconds', () => '2'],
    ['a date', () => new Date(Date.now() + 2_000).toUTCString()],
  ] as const) {
    test(`after the pause it asks for in ${form}`, async () => {
      await using issuers = await Issuers.start();
      let beganAt = 0;
      issuers.answer = (number) => {
        if (number > 1) return undefined;
        beganAt = Date.now();
        return { status: 429, headers: { date: new Date().toUTCString(), 'retry-after': pause() } };
      };
      await tokenOf(issuers.agent());
      const waited = Date.now() - beganAt;
      assert.ok(waited >= 1_990 && waited < 20_000, `${waited} ms`);
    });
  }
});

test('too long a pause ends the step, and later requests respect it, too', async () => {
  await using issuers = await Issuers.start();
  issuers.answer = () => ({ status: 429, headers: { 'retry-after': '120' } });
  const tokens = readTokens(issuers.agent());
  for (let time = 1; time <= 2; time++) {
    await assert.rejects(tokens.current(signal), {
      code: 'Unreachable',
      message: /answered with HTTP status 429\. It asked for a pause of 120 s\. Run the step again then\.$/,
    });
  }
  assert.equal(issuers.entra.requests.length, 1);
  tokens.close();
});

test('a caller that runs out of time learns what it was waiting for', async () => {
  await using issuers = await Issuers.start();
  let release = () => {};
  issuers.answer = (number) =>
    number === 1 ? new Promise((resolve) => (release = () => resolve({ status: 503 }))) : { status: 503 };
  const controller = new AbortController();
  const tokens = readTokens(issuers.agent());
  assert.equal(tokens.awaited(), undefined);
  const asking = tokens.current(controller.signal);
  await issuers.entra.asked(1);
  assert.match(tokens.awaited()?.message ?? '', /^Unreachable: The access token .* did not come in time\. /);
  release();
  await issuers.entra.asked(2);
  assert.match(tokens.awaited()?.message ?? '', /^Unreachable: Microsoft Entra .* HTTP status 503\. /);
  const over = new TaskError('Timeout', 'The deadline of this step has passed');
  controller.abort(over);
  await assert.rejects(asking, over);
  assert.equal(tokens.awaited(), undefined);
});

describe(
  'a response without an access token gives an error with cause and fix, and no secret',
  { concurrency: 4 },
  () => {
    const leaked = idToken(60_000);
    const because = (description: string) =>
      JSON.stringify({ error: 'invalid_client', error_description: description });
    const CASES: readonly (readonly [what: string, answer: TokenAnswer, code: string, message: RegExp])[] = [
      [
        'a subject that is not known',
        { status: 401, body: because(`AADSTS700213: No\n##vso[task.complete]${leaked}.\r\nTrace ID: 1.`) },
        'Denied',
        /said: AADSTS700213: No ##_vso\[task\.complete\]\*\*\*\. Trace ID: 1\. In the .*"sc:\/\/contoso\/Orders\/nats"/,
      ],
      [
        'an error without words',
        { status: 400, body: '{"error":"invalid_scope"}' },
        'Denied',
        /said: invalid_scope\. In/,
      ],
      ['another place', { status: 404 }, 'Unsupported', /HTTP status 404\. Check entraAuthority and entraTenantId/],
      ['a redirect', { status: 302, headers: { location: 'https://elsewhere/' } }, 'Unsupported', /not followed/],
      [
        'no token',
        { body: JSON.stringify({ token: leaked, expires_in: 60 }) },
        'Unsupported',
        /holds no access_token\./,
      ],
      ['a token that is no text', { body: '{"access_token":{},"expires_in":60}' }, 'Unsupported', /no access_token/],
      ['a token with a space', { body: '{"access_token":"a b","expires_in":60}' }, 'Unsupported', /no access_token/],
      ['no end', { body: JSON.stringify({ access_token: leaked }) }, 'Unsupported', /holds no expires_in above 0\./],
      [
        'the end',
        { body: JSON.stringify({ access_token: leaked, expires_in: 0 }) },
        'Unsupported',
        /expires_in above 0/,
      ],
      ['both', { body: JSON.stringify({ error: 'x', access_token: leaked }) }, 'Denied', /said: x\. /],
    ];
    for (const [what, answer, code, message] of CASES) {
      test(what, async () => {
        await using issuers = await Issuers.start();
        issuers.answer = () => answer;
        const agent = issuers.agent();
        const error = await complaint(agent);
        assert.equal(error.code, code);
        assert.match(error.message, message);
        assert.match(
          error.problem,
          /^Microsoft Entra gave this step no access token: (the answer of )?127\.0\.0\.1:\d+ /,
        );
        assert.equal(issuers.entra.requests.length, 1);
        assertNoSecrets(agent, error.message, leaked, issuers.azure.issued[0]!);
      });
    }
  },
);

describe('the way to Microsoft Entra', { concurrency: 2 }, async () => {
  const authority = await createAuthority();
  const certificate = await authority.server({ names: [HOST, '127.0.0.1'] });
  const caFile = path.join(temporaryFolder('entra-'), 'ca.pem');
  writeFileSync(caFile, authority.cert);

  test("leads through the agent's proxy, and past its bypass list", async () => {
    await using issuers = await Issuers.start(certificate);
    await using proxy = await TunnelProxy.start(issuers.entra.port);
    const bypassed = JSON.stringify(['^http://127\\.0\\.0\\.1']);
    const variables = { 'Agent.ProxyUrl': proxy.url, 'Agent.ProxyBypassList': bypassed, 'Agent.CAInfo': caFile };
    assert.equal(await tokenOf(issuers.agent({ variables }, `https://${HOST}`)), issuers.issued[0]);
    assert.deepEqual(proxy.targets, [`${HOST}:443`]);
    assert.equal(issuers.entra.requests[0]!.headers.host, HOST);
  });

  test("isn't taken if the certificate isn't trusted: no token is sent", async () => {
    await using issuers = await Issuers.start(certificate);
    const error = await complaint(issuers.agent({}, `https://127.0.0.1:${issuers.entra.port}`));
    assert.equal(error.code, 'TlsFailure');
    assert.match(error.message, /the certificate of 127\.0\.0\.1:\d+ is not trusted .*Agent\.CAInfo/);
    assert.equal(issuers.entra.requests.length, 0);
  });

  test("isn't taken if the certificate is for another name", async () => {
    await using issuers = await Issuers.start(await authority.server({ names: ['elsewhere.example'] }));
    const agent = issuers.agent({ variables: { 'Agent.CAInfo': caFile } }, `https://127.0.0.1:${issuers.entra.port}`);
    assert.match((await complaint(agent)).message, /ERR_TLS_CERT_ALTNAME_INVALID/);
    assert.equal(issuers.entra.requests.length, 0);
  });
});
