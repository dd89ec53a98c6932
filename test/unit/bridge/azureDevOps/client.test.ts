import assert from 'node:assert/strict';
import { createServer as createTcpServer, connect, type AddressInfo } from 'node:net';
import { getEventListeners, once } from 'node:events';
import { describe, test, type TestContext } from 'node:test';
import { AzureDevOps, NOT_ASKED, type Outcome } from '../../../../bridge/azureDevOps/client.ts';
import { checkAzureDevOps } from '../../../../bridge/azureDevOps/check.ts';
import { Metrics } from '../../../../bridge/metrics.ts';
import type { AzureDevOpsSettings } from '../../../../bridge/settings.ts';
import { TIMING } from '../../../../bridge/timing.ts';
import { json, startFakeServer, type Got } from '../../../support/bridge/fakeServer.ts';
import { createAuthority } from '../../../support/nats/certificates.ts';
import type { ServerResponse } from 'node:http';

const PAT = 'client-test-pat';
const AUTHORIZATION = `Basic ${Buffer.from(`:${PAT}`).toString('base64')}`;

function client(t: TestContext, organization: string, more: Partial<AzureDevOpsSettings> = {}, azureDevOps = 2_000) {
  const metrics = new Metrics();
  const settings: AzureDevOpsSettings = {
    organization,
    organizationName: 'contoso',
    identity: { kind: 'pat', pat: { label: 'pat', value: PAT } },
    proxy: '',
    ca: undefined,
    ...more,
  };
  const timing = { ...TIMING, azureDevOps };
  const one = new AzureDevOps({ settings, timing, metrics, version: '1.2.3', now: Date.now });
  t.after(() => one.close());
  return { azureDevOps: one, metrics };
}

async function withServer(t: TestContext, answer: (got: Got, response: ServerResponse) => void) {
  const { port, got } = await startFakeServer(t, answer);
  return { ...client(t, `http://127.0.0.1:${port}/contoso/`), got };
}

const CALL = { method: 'POST', path: '_apis/things?api-version=7.1', body: { a: 1 } } as const;

/** The outcome of a call that gets this response. */
async function outcomeOf(
  t: TestContext,
  status: number,
  text: string,
  headers: Record<string, string> = {},
): Promise<Outcome> {
  const { azureDevOps } = await withServer(t, (_, response) => response.writeHead(status, headers).end(text));
  return azureDevOps.call(CALL);
}

describe('A call of Azure DevOps', () => {
  test('is signed in, and sends and gets JSON', async (t) => {
    const { azureDevOps, got } = await withServer(t, (_, response) =>
      json(response, 201, { id: 7 }, { 'retry-after': '3', 'x-ms-continuationtoken': 'more' }),
    );
    assert.deepEqual(await azureDevOps.call(CALL), {
      kind: 'ok',
      status: 201,
      body: { id: 7 },
      retryAfterMs: 3_000,
      continuationToken: 'more',
    });
    const [{ method, url, headers, body } = assert.fail('the call neither returned nor threw')] = got;
    assert.deepEqual([method, url, body], ['POST', '/contoso/_apis/things?api-version=7.1', '{"a":1}']);
    assert.deepEqual(
      [headers.authorization, headers['content-type'], headers['user-agent'], headers['x-tfs-fedauthredirect']],
      [AUTHORIZATION, 'application/json', 'nats-event-bridge/1.2.3', 'Suppress'],
    );
  });

  test('has the outcome that the response calls for', async (t) => {
    const message = 'TF401234: no \u001b[31m##vso[task.complete]';
    const safe = 'TF401234: no \\u{1b}[31m##_vso[task.complete]';
    const refusal = JSON.stringify({ message, typeKey: 'PipelineValidationException' });
    assert.deepEqual(await outcomeOf(t, 400, refusal), {
      kind: 'refused',
      status: 400,
      typeKey: 'PipelineValidationException',
      message: safe,
    });
    assert.deepEqual(await outcomeOf(t, 404, '<html>'), {
      kind: 'refused',
      status: 404,
      typeKey: undefined,
      message: 'Azure DevOps answers with status 404',
    });
    assert.equal((await outcomeOf(t, 204, '')).kind, 'ok');
    // Whoever quotes it adds the full stop.
    for (const ending of ['.', '. \n', '...']) {
      const outcome = await outcomeOf(t, 404, JSON.stringify({ message: `VS402323: no such plan (1.2)${ending}` }));
      assert.ok(outcome.kind === 'refused');
      assert.equal(outcome.message, 'VS402323: no such plan (1.2)');
    }
    assert.deepEqual(await outcomeOf(t, 429, JSON.stringify({ message }), { 'retry-after': '1.5' }), {
      kind: 'throttled',
      retryAfterMs: 1_500,
      message: safe,
    });
    assert.deepEqual(await outcomeOf(t, 503, '', { 'retry-after': '2' }), {
      kind: 'open',
      status: 503,
      retryAfterMs: 2_000,
      message: 'Azure DevOps answers with status 503',
    });
    for (const [status, text] of [
      [203, '<html>Sign in'],
      [203, '{}'],
      [302, ''],
      [401, '{}'],
      [200, '<html>Sign in'],
    ] as const)
      assert.equal((await outcomeOf(t, status, text, { location: '/_signin' })).kind, 'signIn', `${status} ${text}`);
  });

  test('never shows the token, even if the response does', async (t) => {
    const { azureDevOps } = await withServer(t, ({ headers }, response) =>
      json(response, 400, { message: `you sent ${headers.authorization}` }),
    );
    const outcome = await azureDevOps.call(CALL);
    assert.ok(outcome.kind === 'refused');
    assert.equal(outcome.message, 'you sent Basic ***');
  });

  test('says whether it can have had an effect', async (t) => {
    const closed = createTcpServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port } = closed.address() as AddressInfo;
    closed.close();
    const { azureDevOps: unreachable } = client(t, `http://127.0.0.1:${port}/contoso/`);
    assert.equal((await unreachable.call(CALL)).kind, 'unreachable');

    const { azureDevOps: reset } = await withServer(t, (_, response) => response.socket?.destroy());
    assert.equal((await reset.call(CALL)).kind, 'open');

    const { port: silent } = await startFakeServer(t, () => {});
    const { azureDevOps: slow } = client(t, `http://127.0.0.1:${silent}/contoso/`, {}, 100);
    assert.deepEqual(await slow.call(CALL), {
      kind: 'open',
      status: undefined,
      retryAfterMs: undefined,
      message: 'no answer within 100 ms',
    });
  });

  test("can be made on someone else's behalf, without a verdict on the bridge's own sign-in", async (t) => {
    const { azureDevOps } = client(t, 'http://127.0.0.1:9/own/');
    const { port, got } = await startFakeServer(t, (_, response) => response.writeHead(203).end('<html>Sign in'));
    const caller = { organization: `http://127.0.0.1:${port}/theirs/`, token: 'token-of-a-job' };
    assert.deepEqual(await azureDevOps.callAs(caller, { ...CALL, body: Buffer.from('{"a":1}') }), {
      kind: 'signIn',
      status: 203,
      message: 'Azure DevOps does not accept the sign-in (status 203)',
    });
    assert.equal(azureDevOps.trouble, NOT_ASKED);
    const [{ url, headers, body } = assert.fail('the call neither returned nor threw')] = got;
    assert.deepEqual([url, body], ['/theirs/_apis/things?api-version=7.1', '{"a":1}']);
    assert.deepEqual(
      [headers.authorization, headers['content-type']],
      ['Bearer token-of-a-job', 'application/octet-stream'],
    );
  });

  test('leaves no listener on a signal that outlives it', async (t) => {
    const { azureDevOps, got } = await withServer(t, (_, response) => response.end('{}'));
    const { signal } = new AbortController();
    for (let count = 0; count < 5; count++) await azureDevOps.call(CALL, signal);
    assert.deepEqual([got.length, getEventListeners(signal, 'abort').length], [5, 0]);
  });

  test("passes on Azure DevOps' own type of an error", async (t) => {
    const gone = JSON.stringify({ message: 'No session', typeKey: 'OrchestrationSessionNotFoundException' });
    assert.deepEqual(await outcomeOf(t, 500, gone), {
      ...{ kind: 'open', status: 500, typeKey: 'OrchestrationSessionNotFoundException' },
      ...{ retryAfterMs: undefined, message: 'No session' },
    });
  });

  test('ends when the response gets too large', async (t) => {
    const { azureDevOps } = await withServer(t, (_, response) => {
      const write = () => {
        while (response.write(Buffer.alloc(1_000_000, 32)));
        response.once('drain', write);
      };
      write();
    });
    assert.match(JSON.stringify(await azureDevOps.call(CALL)), /"kind":"open".*the answer is larger than/);
  });

  test('is counted by status, with the pauses that Azure DevOps asked for', async (t) => {
    const { azureDevOps, metrics } = await withServer(t, (_, response) =>
      json(response, 429, {}, { 'retry-after': '4' }),
    );
    await azureDevOps.call(CALL);
    await azureDevOps.call(CALL);
    const text = await metrics.text();
    assert.match(text, /nats_bridge_azdo_responses_total\{status="429"\} 2/);
    assert.match(text, /nats_bridge_azdo_throttle_seconds_total 8/);
  });

  test('goes through a proxy, and trusts the configured authority', async (t) => {
    const authority = await createAuthority();
    const server = await authority.server({ names: ['localhost'] });
    const { port } = await startFakeServer(t, (_, response) => json(response, 200, { there: true }), server);
    const tunnels: string[] = [];
    const proxy = createTcpServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', (head) => {
        tunnels.push(/^CONNECT (\S+)/.exec(head.toString())?.[1] ?? '');
        const upstream = connect(port, '127.0.0.1', () => {
          socket.write('HTTP/1.1 200 OK\r\n\r\n');
          socket.pipe(upstream).pipe(socket);
        }).on('error', () => socket.destroy());
      });
    }).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    t.after(() => proxy.close());
    const organization = `https://localhost:${port}/contoso/`;
    const proxyUrl = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/`;
    const { azureDevOps } = client(t, organization, { ca: authority.cert, proxy: proxyUrl });
    assert.deepEqual((await azureDevOps.call(CALL)).kind, 'ok');
    assert.deepEqual(tunnels, [`localhost:${port}`]);
    const { azureDevOps: direct } = client(t, organization, { ca: authority.cert });
    assert.deepEqual((await direct.call(CALL)).kind, 'ok');
    const { azureDevOps: distrustful } = client(t, organization);
    assert.match(JSON.stringify(await distrustful.call(CALL)), /"unreachable".*certificate/);
  });
});

test('a call that may be repeated is repeated with a new token', async (t) => {
  let asked = 0;
  const { azureDevOps } = await withServer(t, (_, response) => json(response, asked++ === 0 ? 401 : 200, {}));
  assert.equal((await azureDevOps.ask('_apis/projects')).kind, 'ok');
  assert.equal(asked, 2);
  assert.equal(azureDevOps.trouble, undefined);
});

test('a refused sign-in is trouble until one is accepted', async (t) => {
  let status = 203;
  const { azureDevOps } = await withServer(t, (_, response) => json(response, status, {}));
  assert.equal(azureDevOps.trouble, NOT_ASKED);
  await azureDevOps.signIn();
  assert.equal(azureDevOps.trouble, NOT_ASKED);
  await azureDevOps.call(CALL);
  assert.equal(azureDevOps.trouble, 'Azure DevOps does not accept the sign-in (status 203)');
  status = 500;
  await azureDevOps.call(CALL);
  assert.notEqual(azureDevOps.trouble, undefined);
  status = 200;
  await azureDevOps.call(CALL);
  assert.equal(azureDevOps.trouble, undefined);
  status = 500;
  await azureDevOps.call(CALL);
  assert.equal(azureDevOps.trouble, undefined);
});

test('an Azure DevOps that is unreachable or has failed from the start is trouble', async (t) => {
  const closed = createTcpServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const { port } = closed.address() as AddressInfo;
  closed.close();
  const { azureDevOps: unreachable } = client(t, `http://127.0.0.1:${port}/contoso/`);
  await unreachable.call(CALL);
  assert.match(unreachable.trouble ?? '', /^Azure DevOps can't be reached: .*ECONNREFUSED/);
  const { azureDevOps: failing } = await withServer(t, (_, response) => json(response, 500, {}));
  await failing.call(CALL);
  assert.equal(failing.trouble, 'Azure DevOps answers with status 500');
});

test('the check distinguishes a user from an anonymous caller, and detects a wrong organization', async (t) => {
  const findings = async (status: number, body: unknown) => {
    const { azureDevOps } = await withServer(t, (_, response) => json(response, status, body));
    const found = (await checkAzureDevOps(azureDevOps, [])).map(({ level, problem }) => `${level}: ${problem}`);
    // Readiness agrees with the check.
    assert.equal(azureDevOps.trouble === undefined, found.length === 0, azureDevOps.trouble);
    return found;
  };
  assert.deepEqual(await findings(200, { authenticatedUser: { id: '1b1c' } }), []);
  const nobody = { authenticatedUser: { id: 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa' } };
  for (const body of [nobody, {}, [], { authenticatedUser: null }])
    assert.deepEqual(await findings(200, body), ['error: it answers, but as to somebody who has not signed in']);
  assert.deepEqual(await findings(401, {}), ['error: Azure DevOps does not accept the sign-in (status 401)']);
  assert.deepEqual(await findings(404, { message: 'no such collection' }), ['error: status 404: no such collection']);
  assert.deepEqual(await findings(429, {}), ['warning: it asks for a pause: Azure DevOps answers with status 429']);
  assert.deepEqual(await findings(500, {}), ['error: Azure DevOps answers with status 500']);
});

test('the check looks up each project of the hooks once, and stops at the first refusal', async (t) => {
  const user = { authenticatedUser: { id: '1b1c' } };
  const answers: Readonly<Record<string, number>> = { Shop: 200, 'Old%20%26%20gone': 404, Secret: 403, Last: 404 };
  const { azureDevOps, got } = await withServer(t, ({ url }, response) => {
    const [, project] = /_apis\/projects\/([^?]+)/.exec(url) ?? [];
    json(response, project === undefined ? 200 : (answers[project] ?? 500), project === undefined ? user : {});
  });
  const projects = ['*', 'Shop', 'Old & gone', 'Shop', 'Secret', 'Last'].map((project) => ({ project }));
  assert.deepEqual(await checkAzureDevOps(azureDevOps, projects), [
    {
      level: 'error',
      about: 'hooks.events[2].project',
      problem: 'there is no project "Old & gone", or the bridge\'s identity may not see it',
      remedy: 'Correct the name, or make the identity a reader of the project.',
    },
    {
      level: 'warning',
      about: 'hooks.events[4].project',
      problem: 'can\'t find out whether there is a project "Secret": Azure DevOps answers with status 403',
      remedy: 'Let the identity read projects; a personal access token needs the scope Project and Team (Read).',
    },
  ]);
  assert.equal(got.length, 4);
});

describe('A call of Azure Artifacts', () => {
  test('that is refused does not count against the sign-in elsewhere', async (t) => {
    const { azureDevOps, got } = await withServer(t, (_, response) => response.writeHead(401).end());
    const outcome = await azureDevOps.ask('_apis/packaging/Feeds/x?api-version=7.1', undefined, 'feeds');
    assert.deepEqual([outcome.kind, got.length, azureDevOps.trouble], ['signIn', 2, NOT_ASKED]);
    // A local server serves its feeds itself.
    assert.equal(got[0]?.url, '/contoso/_apis/packaging/Feeds/x?api-version=7.1');
    await azureDevOps.ask('_apis/projects/x');
    assert.match(azureDevOps.trouble ?? '', /does not accept the sign-in/);
  });

  test('that gets too large a response says so', async (t) => {
    const { azureDevOps } = await withServer(t, (_, response) => response.end(Buffer.alloc(17 * 1_024 * 1_024, 0x20)));
    const outcome = await azureDevOps.ask('_apis/packaging/Feeds/x', undefined, 'feeds');
    assert.deepEqual([outcome.kind, outcome.kind === 'open' && outcome.isTooLarge], ['open', true]);
  });
});

describe('A public document', () => {
  const { signal } = new AbortController();

  test('is fetched without the token', async (t) => {
    const { azureDevOps, got } = await withServer(t, (_, response) => json(response, 200, { issuer: 'x' }));
    await azureDevOps.ask('_apis/x');
    const { host } = got[0]!.headers;
    assert.deepEqual(await azureDevOps.document(`http://${host!}/keys`, signal), { issuer: 'x' });
    assert.deepEqual([got.at(-1)!.url, got.at(-1)!.headers.authorization], ['/keys', undefined]);
  });

  test('is refused if the response is a redirect, is not JSON, or has another status', async (t) => {
    const answers: [status: number, text: string, headers?: Record<string, string>][] = [
      [302, '{}', { location: 'https://evil.example/' }],
      [200, '<html>'],
      [404, '{}'],
    ];
    for (const [status, text, headers = {}] of answers) {
      const { azureDevOps, got } = await withServer(t, (_, response) => response.writeHead(status, headers).end(text));
      await azureDevOps.ask('_apis/x');
      const { host } = got[0]!.headers;
      const asked = azureDevOps.document(`http://${host!}/keys`, signal);
      await assert.rejects(asked, new RegExp(`^Error: ${host!} answers with status ${status}$`));
    }
  });
});
