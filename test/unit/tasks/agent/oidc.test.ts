import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { setImmediate, setTimeout as delay } from 'node:timers/promises';
import type { TokenSource } from '../../../../shared/connection/settings.ts';
import { TaskError } from '../../../../shared/errors.ts';
import { createAuthority } from '../../../support/nats/certificates.ts';
import type { FakeAgent } from '../../../support/agent/fakeAgent.ts';
import { CONNECTION_ID, oidcAgent, readSettings } from '../../../support/agent/oidcJob.ts';
import { temporaryFolder } from '../../../../localAgent/vsix.ts';
import {
  idToken,
  JOB_TOKEN,
  TokenEndpoint,
  TunnelProxy,
  type TokenAnswer,
} from '../../../support/agent/tokenEndpoint.ts';

const HOST = 'azure.contoso.example';
const PROXY_PASSWORD = 'proxy-password-4711';

/** Of a step that goes on. */
const { signal } = new AbortController();

function readIdToken(agent: FakeAgent): TokenSource {
  const { authentication } = readSettings(agent);
  assert.equal(authentication.kind, 'oidc');
  return authentication.idToken;
}

/** What the step says instead of an ID token. */
async function complaint(agent: FakeAgent): Promise<TaskError> {
  const error: unknown = await tokenOf(agent).then(
    () => assert.fail('There was an ID token.'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof TaskError, String(error));
  return error;
}

async function tokenOf(agent: FakeAgent): Promise<string> {
  const token = readIdToken(agent);
  return token.current(signal).finally(() => token.close());
}

function assertNoSecrets(agent: FakeAgent, text: string, ...secrets: readonly string[]): void {
  const shown = [text, ...agent.infos, ...agent.debugs, ...agent.warnings].join('\n');
  for (const secret of [JOB_TOKEN, PROXY_PASSWORD, ...secrets])
    for (const part of secret.split('.')) assert.ok(!shown.includes(part), `"${part}" is shown: ${shown}`);
}

test("the ID token is requested with the job's token, for the service connection, and masked with its parts", async () => {
  await using endpoint = await TokenEndpoint.start();
  const agent = oidcAgent({ requestUri: endpoint.uri() });
  const token = await tokenOf(agent);
  assert.deepEqual(endpoint.issued, [token]);
  const [request] = endpoint.requests;
  const url = new URL(request!.url, endpoint.uri());
  assert.equal(request!.method, 'POST');
  assert.equal(url.pathname, new URL(endpoint.uri()).pathname);
  assert.deepEqual([...url.searchParams].sort(), [
    ['api-version', '7.1'],
    ['serviceConnectionId', CONNECTION_ID],
  ]);
  assert.equal(request!.headers.authorization, `Bearer ${JOB_TOKEN}`);
  assert.equal(request!.headers['content-type'], 'application/json');
  assert.equal(request!.body, '{}');
  for (const secret of [JOB_TOKEN, token, ...token.split('.')]) assert.ok(agent.masked.has(secret));
  assertNoSecrets(agent, '', token);
});

test("the log shows the ID token's subject, since a NATS server doesn't say whom it refuses", async () => {
  await using endpoint = await TokenEndpoint.start();
  const agent = oidcAgent({ requestUri: endpoint.uri() });
  await tokenOf(agent);
  assert.match(
    agent.infos.join('\n'),
    /^idToken +issuer="https:\/\/vstoken\.dev\.azure\.com\/0.*" subject="sc:\/\/contoso\/Orders\/nats" audience="api:\/\/AzureADTokenExchange" lifetimeS=(299|30[01])$/,
  );
});

test("the job's token may come from the variable System.AccessToken", async () => {
  await using endpoint = await TokenEndpoint.start();
  const agent = oidcAgent({
    jobToken: '',
    requestUri: endpoint.uri(),
    secrets: { 'System.AccessToken': 'from-the-variable' },
  });
  await tokenOf(agent);
  assert.equal(endpoint.requests[0]!.headers.authorization, 'Bearer from-the-variable');
});

test('an ID token is replaced after 80 % of its lifetime, before a new one is needed', async () => {
  await using endpoint = await TokenEndpoint.start();
  endpoint.lifetimeMs = 3_000;
  const token = readIdToken(oidcAgent({ requestUri: endpoint.uri() }));
  const beganAt = Date.now();
  const first = await token.current(signal);
  assert.equal(await token.current(signal), first);
  assert.equal(endpoint.requests.length, 1);

  await endpoint.asked(2);
  const age = Date.now() - beganAt;
  // The Date of an answer has whole seconds, so that a lifetime may seem a second longer.
  assert.ok(age > 2_200 && age < 3_700, `renewed after ${age} ms`);
  const [renewed, again] = [await token.newerThan(first, signal), await token.current(signal)];
  assert.equal(renewed, endpoint.issued[1]);
  assert.equal(again, renewed);
  token.close();
});

test('a failed renewal does no harm while the ID token is valid', async () => {
  await using endpoint = await TokenEndpoint.start();
  endpoint.lifetimeMs = 4_000;
  endpoint.answer = (number) => (number === 1 ? undefined : { status: 401 });
  const agent = oidcAgent({ requestUri: endpoint.uri() });
  const token = readIdToken(agent);
  const first = await token.current(signal);
  await endpoint.asked(2);
  assert.equal(await token.current(signal), first);
  token.close();
});

test('a refused ID token is replaced by a newer one, unless it has only just been issued', async () => {
  await using endpoint = await TokenEndpoint.start();
  const token = readIdToken(oidcAgent({ requestUri: endpoint.uri() }));
  const first = await token.current(signal);
  assert.equal(await token.newerThan(first, signal), undefined);
  await delay(1_050); // its age is what counts
  const second = await token.newerThan(first, signal);
  assert.equal(second, endpoint.issued[1]);
  assert.equal(await token.newerThan(first, signal), second);
  assert.equal(endpoint.requests.length, 2);
  token.close();
});

test('an agent whose clock is wrong uses the ID token as long as the issuer says', async () => {
  await using endpoint = await TokenEndpoint.start();
  const hourAgo = Date.now() - 3_600_000;
  const text = idToken(300_000, { exp: hourAgo / 1_000 + 300 });
  endpoint.answer = () => ({
    headers: { date: new Date(hourAgo).toUTCString() },
    body: JSON.stringify({ oidcToken: text }),
  });
  const token = readIdToken(oidcAgent({ requestUri: endpoint.uri() }));
  assert.equal(await token.current(signal), text);
  assert.equal(await token.current(signal), text);
  assert.equal(endpoint.requests.length, 1);
  token.close();
});

test('a step recovers from faults of Azure DevOps and of the network', async () => {
  await using endpoint = await TokenEndpoint.start();
  endpoint.answer = (number) => [{ status: 503 }, null][number - 1];
  const agent = oidcAgent({ requestUri: endpoint.uri() });
  assert.equal(await tokenOf(agent), endpoint.issued[0]);
  assert.equal(endpoint.requests.length, 3);
});

test('the end of the step ends the request at once', async () => {
  await using endpoint = await TokenEndpoint.start();
  endpoint.answer = () => new Promise(() => {});
  const controller = new AbortController();
  const token = readIdToken(oidcAgent({ requestUri: endpoint.uri() }));
  const asking = token.current(controller.signal);
  const cancelled = new TaskError('Cancelled', 'The agent cancelled this step');
  await endpoint.asked(1);
  controller.abort(cancelled);
  await assert.rejects(asking, cancelled);
});

describe('a response without an ID token gives an error with cause and fix, and no secret', { concurrency: 4 }, () => {
  const leaked = idToken(60_000);
  const cases: readonly (readonly [string, TokenAnswer, string, RegExp, number])[] = [
    [
      'the job token is refused',
      {
        status: 401,
        body: JSON.stringify({ message: `TF400813: no\n##vso[task.complete]${leaked} for ${JOB_TOKEN}` }),
      },
      'Denied',
      /HTTP status 401 \(TF400813: no\\n##_vso\[task\.complete\]\*\*\* for \*\*\*\)\. Check that the pipeline may use/,
      1,
    ],
    ['the connection is forbidden', { status: 403, body: '<html>no</html>' }, 'Denied', /HTTP status 403\. Check/, 1],
    ['a sign-in page', { status: 302, headers: { location: 'https://elsewhere/' } }, 'Denied', /HTTP status 302/, 1],
    ['another address', { status: 404 }, 'Unsupported', /HTTP status 404\. Check that System\.OidcRequestUri/, 1],
    ['a lasting fault', { status: 500, body: JSON.stringify({ oidcToken: leaked }) }, 'Unreachable', /status 500/, 3],
    ['too many requests', { status: 429 }, 'Unreachable', /HTTP status 429\. Run the step again/, 3],
    ['no JSON', { body: `<html>${leaked}</html>` }, 'Unreachable', /is not JSON\. Something between this agent/, 3],
    ['no token', { body: JSON.stringify({ token: leaked }) }, 'Denied', /holds no oidcToken\. Check/, 1],
    ['a token that is no text', { body: '{"oidcToken":{"value":"x"}}' }, 'Denied', /holds no oidcToken/, 1],
    [
      'a token that is no JWT',
      { body: JSON.stringify({ oidcToken: 'opaque-secret-0123456789' }) },
      'Denied',
      /no JWT that tells when it expires/,
      1,
    ],
    [
      'an expired token',
      { body: JSON.stringify({ oidcToken: idToken(-60_000) }) },
      'Unreachable',
      /has already expired/,
      3,
    ],
    ['an answer without end', { body: 'x'.repeat(300_000) }, 'Unreachable', /longer than 262144 bytes/, 3],
  ];
  for (const [what, answer, code, message, requests] of cases) {
    test(what, async () => {
      await using endpoint = await TokenEndpoint.start();
      endpoint.answer = () => answer;
      const agent = oidcAgent({ requestUri: endpoint.uri() });
      const error = await complaint(agent);
      assert.equal(error.code, code);
      assert.match(error.message, message);
      assert.match(error.problem, /^Azure DevOps gave this step no ID token: /);
      assert.equal(endpoint.requests.length, requests);
      assertNoSecrets(agent, error.message, leaked, 'opaque-secret-0123456789');
    });
  }
});

test('an ID token in a response that is refused for another reason is masked, too', async () => {
  await using endpoint = await TokenEndpoint.start();
  endpoint.answer = () => ({ body: JSON.stringify({ oidcToken: 'opaque-secret-0123456789' }) });
  const agent = oidcAgent({ requestUri: endpoint.uri() });
  await complaint(agent);
  assert.ok(agent.masked.has('opaque-secret-0123456789'));
});

test('an address where nobody listens is reported as that', async () => {
  const endpoint = await TokenEndpoint.start();
  const uri = endpoint.uri();
  await endpoint[Symbol.asyncDispose]();
  const error = await complaint(oidcAgent({ requestUri: uri }));
  assert.equal(error.code, 'Unreachable');
  assert.match(error.message, /cannot be reached \(ECONNREFUSED\)/);
});

describe("the agent's own certificate authority", { concurrency: 2 }, async () => {
  const authority = await createAuthority();
  const certificate = await authority.server();
  const folder = temporaryFolder('oidc-');
  const caFile = path.join(folder, 'ca.pem');
  writeFileSync(caFile, authority.cert);

  test('is trusted if Agent.CAInfo names its file', async () => {
    await using endpoint = await TokenEndpoint.start(certificate);
    const agent = oidcAgent({ requestUri: endpoint.uri(), variables: { 'Agent.CAInfo': caFile } });
    assert.equal(await tokenOf(agent), endpoint.issued[0]);
  });

  test("isn't trusted otherwise, and the job's token isn't sent", async () => {
    await using endpoint = await TokenEndpoint.start(certificate);
    const error = await complaint(oidcAgent({ requestUri: endpoint.uri() }));
    assert.equal(error.code, 'TlsFailure');
    assert.match(error.message, /certificate of 127\.0\.0\.1:\d+ is not trusted .*Agent\.CAInfo/);
    assert.equal(endpoint.requests.length, 0);
  });

  test("doesn't vouch for a server with another name", async () => {
    await using endpoint = await TokenEndpoint.start(await authority.server({ names: ['elsewhere.example'] }));
    const agent = oidcAgent({ requestUri: endpoint.uri(), variables: { 'Agent.CAInfo': caFile } });
    const error = await complaint(agent);
    assert.equal(error.code, 'TlsFailure');
    assert.match(error.message, /ERR_TLS_CERT_ALTNAME_INVALID/);
  });

  test("isn't needed if the agent doesn't verify certificates", async () => {
    await using endpoint = await TokenEndpoint.start(certificate);
    const agent = oidcAgent({
      requestUri: endpoint.uri(),
      variables: { 'Agent.SkipCertValidation': 'True' },
    });
    assert.equal(await tokenOf(agent), endpoint.issued[0]);
  });

  test("whose file can't be read is reported with the step's other problems", async () => {
    const agent = oidcAgent({
      variables: {
        'System.OidcRequestUri': 'https://dev.azure.com/x',
        'Agent.CAInfo': path.join(folder, 'absent.pem'),
      },
    });
    const error = await complaint(agent);
    assert.equal(error.code, 'InvalidInput');
    assert.match(error.message, /Agent\.CAInfo: .* cannot be read \(ENOENT/);
  });
});

describe("the agent's proxy", { concurrency: 2 }, async () => {
  const authority = await createAuthority();
  const caFile = path.join(temporaryFolder('oidc-'), 'ca.pem');
  writeFileSync(caFile, authority.cert);

  const behindProxy = async (credentials?: string) => {
    const endpoint = await TokenEndpoint.start(await authority.server({ names: [HOST, '127.0.0.1'] }));
    const proxy = await TunnelProxy.start(endpoint.port, credentials);
    return {
      endpoint,
      proxy,
      variables: { 'System.OidcRequestUri': endpoint.uri(HOST), 'Agent.ProxyUrl': proxy.url, 'Agent.CAInfo': caFile },
      async [Symbol.asyncDispose]() {
        await proxy[Symbol.asyncDispose]();
        await endpoint[Symbol.asyncDispose]();
      },
    };
  };

  test('tunnels to Azure DevOps, whose certificate is still verified, by a name that only the proxy knows', async () => {
    await using site = await behindProxy();
    assert.equal(await tokenOf(oidcAgent({ variables: site.variables })), site.endpoint.issued[0]);
    assert.deepEqual(site.proxy.targets, [`${HOST}:443`]);
    assert.equal(site.endpoint.requests[0]!.headers.host, HOST);
    assert.equal(site.endpoint.requests[0]!.headers['proxy-authorization'], undefined);

    const error = await complaint(oidcAgent({ variables: { ...site.variables, 'Agent.CAInfo': '' } }));
    assert.equal(error.code, 'TlsFailure');
    for (let turn = 0; turn < 1_000 && site.proxy.open > 0; turn++) await setImmediate();
    assert.equal(site.proxy.open, 0, 'the tunnel to an untrusted server stayed open');
  });

  test('gets the user name and the password, which is masked', async () => {
    await using site = await behindProxy(`ada:${PROXY_PASSWORD}`);
    const agent = oidcAgent({
      variables: { ...site.variables, 'Agent.ProxyUsername': 'ada' },
      secrets: { 'Agent.ProxyPassword': PROXY_PASSWORD },
    });
    assert.equal(await tokenOf(agent), site.endpoint.issued[0]);
    for (const secret of [PROXY_PASSWORD, Buffer.from(`ada:${PROXY_PASSWORD}`).toString('base64')])
      assert.ok(agent.masked.has(secret));
    assertNoSecrets(agent, '');
  });

  test('that refuses the agent is named in the error, instead of Azure DevOps', async () => {
    await using site = await behindProxy(`ada:${PROXY_PASSWORD}`);
    const error = await complaint(oidcAgent({ variables: site.variables }));
    assert.equal(error.code, 'Denied');
    assert.match(error.message, /the proxy 127\.0\.0\.1:\d+ answered with HTTP status 407\. .*--proxyusername/);
    assert.equal(site.endpoint.requests.length, 0);
  });

  test('is bypassed for what the bypass list names, by scheme and host', async () => {
    await using site = await behindProxy();
    const agent = oidcAgent({
      variables: {
        ...site.variables,
        'System.OidcRequestUri': site.endpoint.uri(),
        'Agent.ProxyBypassList': JSON.stringify(['contoso$', '^HTTPS://127\\.0\\.0\\.1:\\d+$']),
      },
    });
    await tokenOf(agent);
    assert.deepEqual(site.proxy.targets, []);
  });

  test('is used for everything else, even if a bypass entry is invalid or never finishes matching', async () => {
    await using site = await behindProxy();
    const agent = oidcAgent({
      variables: {
        ...site.variables,
        // The path of the URL holds "contoso", and so does the host, but neither ends with it.
        'Agent.ProxyBypassList': JSON.stringify(['contoso$', '(', '^(\\w|\\W\\w*|\\w+)+!$']),
      },
    });
    await tokenOf(agent);
    assert.deepEqual(site.proxy.targets, [`${HOST}:443`]);
    assert.equal(agent.warnings.length, 2);
    assert.match(agent.warnings[0]!, /"\(" of Agent\.ProxyBypassList is ignored: Invalid regular expression/);
    assert.match(agent.warnings[1]!, /\+!\$" of Agent\.ProxyBypassList is ignored: it takes too long\./);
  });

  test("is used if the bypass list isn't a JSON array", async () => {
    await using site = await behindProxy();
    const agent = oidcAgent({ variables: { ...site.variables, 'Agent.ProxyBypassList': '.*' } });
    await tokenOf(agent);
    assert.deepEqual(site.proxy.targets, [`${HOST}:443`]);
    assert.match(agent.warnings.join(), /is ignored: it isn't a JSON array/);
  });

  test("with an invalid URL is reported with the step's other problems", async () => {
    for (const url of ['proxy.contoso.example:8080', 'socks5://proxy:1080']) {
      const error = await complaint(
        oidcAgent({ variables: { 'System.OidcRequestUri': 'https://dev.azure.com/x', 'Agent.ProxyUrl': url } }),
      );
      assert.match(error.message, /^InvalidInput: Agent\.ProxyUrl: /, url);
    }
  });
});

describe('before it asks for a token, a step reports', () => {
  test("that this agent or project doesn't offer OIDC", async () => {
    const error = await complaint(oidcAgent());
    assert.equal(error.code, 'Unsupported');
    assert.match(error.message, /System\.OidcRequestUri is absent\)\. Run the step in a job of Azure DevOps Services/);
    const withoutJob = oidcAgent({ jobToken: '', variables: { 'System.OidcRequestUri': 'https://dev.azure.com/x' } });
    assert.match((await complaint(withoutJob)).message, /the token of the job is absent/);
  });

  test("that it won't send the job's token in clear text over a network", async () => {
    for (const uri of ['http://dev.azure.com/x', 'file:///etc/passwd', 'dev.azure.com/x', 'http://127.0.0.1.nip.io/']) {
      const error = await complaint(oidcAgent({ requestUri: uri }));
      assert.match(error.message, /^InvalidInput: System\.OidcRequestUri: is not an https:\/\/ URL/, uri);
    }
  });

  test('everything that prevents signing in with OIDC', async () => {
    const variables = { 'System.OidcRequestUri': 'https://dev.azure.com/x' };
    const error = await complaint(
      oidcAgent({
        variables,
        secrets: { other: 'other-secret-0123456789' },
        inputs: { credentialsVariable: 'other' },
        connection: {
          url: 'nats://nats.example',
          scheme: 'Token',
          parameters: { apitoken: 'x-secret', credentials: 'y-secret' },
        },
      }),
    );
    assert.equal(
      error.message,
      'InvalidInput: natsConnection: with oidc the step signs in with the ID token of the run, which needs every server to be tls://, and the authentication scheme None instead of "Token", and its field credentials to be empty, and the input credentialsVariable to be empty. Correct that, or clear "oidc" in the connection.',
    );
    const oneServer = oidcAgent({
      variables,
      connection: { data: { oidc: 'TRUE', servers: 'nats://nats-2.example' } },
    });
    assert.match((await complaint(oneServer)).message, /every server to be tls:\/\//);
    const unclear = oidcAgent({ variables, connection: { data: { oidc: 'yes' } } });
    assert.throws(() => readSettings(unclear), /the connection's field oidc is "yes", not true or false/);
  });
});
