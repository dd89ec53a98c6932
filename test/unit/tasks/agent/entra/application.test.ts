import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TaskError } from '../../../../../shared/errors.ts';
import { readEntraApplication } from '../../../../../tasks/agent/entra/application.ts';
import { oidcAgent, readSettings, type OidcJob } from '../../../../support/agent/oidcJob.ts';

const TENANT = '11111111-2222-3333-4444-555555555555';
const CLIENT = '8e1d4c1a-0d6e-4a8e-9f0e-2f3f6c1d7a11';
const FIELDS = { entraTenantId: TENANT, entraClientId: CLIENT, entraScope: 'api://nats/.default' };

/** What is read of the fields, and what is noted about them. */
function read(fields: Readonly<Record<string, string>>, usesOidc = true) {
  const notes: string[] = [];
  const application = readEntraApplication(
    (name) => fields[name],
    usesOidc,
    (field, problem, remedy = '') => notes.push(`${field} ${problem}. ${remedy}`),
  );
  return { application, notes };
}

describe('the fields of a service principal', () => {
  test("give the tenant's token endpoint", () => {
    const { application, notes } = read({ ...FIELDS, entraTenantId: ` ${TENANT}\n` });
    assert.deepEqual(notes, []);
    assert.equal(application?.tokenUrl.href, `https://login.microsoftonline.com/${TENANT}/oauth2/v2.0/token`);
    assert.equal(application.clientId, CLIENT);
    assert.equal(application.scope, 'api://nats/.default');
  });

  test('may all be empty', () => {
    assert.deepEqual(read({}), { application: undefined, notes: [] });
    assert.deepEqual(read({ entraTenantId: ' ' }, false), { application: undefined, notes: [] });
  });

  for (const tenant of ['contoso.onmicrosoft.com', 'Contoso.example', TENANT.toUpperCase()]) {
    test(`accept the tenant ${tenant}`, () => assert.deepEqual(read({ ...FIELDS, entraTenantId: tenant }).notes, []));
  }

  for (const scope of [
    'api://nats/.default',
    `api://${CLIENT}/.default`,
    'https://contoso.example/nats/.default',
    `${CLIENT}/.default`,
    'https://contoso.example//.default',
  ]) {
    test(`accept the scope ${scope}`, () => assert.deepEqual(read({ ...FIELDS, entraScope: scope }).notes, []));
  }

  for (const [authority, host] of [
    ['https://login.microsoftonline.us', 'login.microsoftonline.us'],
    ['https://login.partner.microsoftonline.cn/', 'login.partner.microsoftonline.cn'],
    ['http://127.0.0.1:8080', '127.0.0.1:8080'],
  ] as const) {
    test(`accept the authority ${authority}`, () => {
      const { application, notes } = read({ ...FIELDS, entraAuthority: authority });
      assert.deepEqual(notes, []);
      assert.equal(application?.tokenUrl.host, host);
    });
  }

  const WRONG: readonly (readonly [what: string, fields: Readonly<Record<string, string>>, note: RegExp])[] = [
    ['a tenant alone', { entraTenantId: TENANT }, /^entraClientId is empty, and entraTenantId isn't\. .*or none/],
    ['no scope', { ...FIELDS, entraScope: '' }, /^entraScope is empty, and entraTenantId isn't/],
    [
      'an authority alone',
      { entraAuthority: 'https://a.example' },
      /^entraTenantId is empty, and entraAuthority isn't/,
    ],
    ['any tenant', { ...FIELDS, entraTenantId: 'Common' }, /^entraTenantId is "Common", which stands for any tenant/],
    ['a tenant by its name', { ...FIELDS, entraTenantId: 'contoso' }, /is "contoso", neither a GUID nor a domain/],
    ['a tenant with a path', { ...FIELDS, entraTenantId: 'contoso.example/x' }, /neither a GUID nor a domain/],
    ['a tenant that is no text', { ...FIELDS, entraTenantId: '\ud800' }, /neither a GUID nor a domain/],
    ['a variable', { ...FIELDS, entraTenantId: '$(tenant)' }, /is "\$\(tenant\)", neither/],
    ['a client by its name', { ...FIELDS, entraClientId: 'pipelines' }, /^entraClientId is "pipelines", not a GUID/],
    [
      'a scope without /.default',
      { ...FIELDS, entraScope: 'api://nats' },
      /^entraScope is "api:\/\/nats", without "\/\.default"\. Write "api:\/\/nats\/\.default"\.$/,
    ],
    [
      'a scope of users',
      { ...FIELDS, entraScope: 'api://nats/Events.Publish' },
      /without "\/\.default"\. Write "api:\/\/nats\/\.default"\.$/,
    ],
    ['a slash too many', { ...FIELDS, entraScope: 'api://nats/' }, /Write "api:\/\/nats\/\.default"\.$/],
    [
      'two scopes',
      { ...FIELDS, entraScope: 'api://nats/.default openid' },
      /^entraScope is "api:\/\/nats\/\.default openid", not one scope of an application/,
    ],
    ['a scope of nobody', { ...FIELDS, entraScope: '.default' }, /not one scope of an application/],
    ['only /.default', { ...FIELDS, entraScope: '/.default' }, /not one scope of an application/],
    ['clear text', { ...FIELDS, entraAuthority: 'http://login.example' }, /^entraAuthority is not an https:\/\/ URL/],
    ['a host alone', { ...FIELDS, entraAuthority: 'login.example' }, /^entraAuthority is not an https:\/\/ URL/],
    [
      'the tenant in the authority',
      { ...FIELDS, entraAuthority: `https://login.example/${TENANT}` },
      /^entraAuthority holds more than a host\. .*The tenant goes into entraTenantId/,
    ],
  ];
  for (const [what, fields, note] of WRONG) {
    test(`are refused with the reason: ${what}`, () => assert.match(read(fields).notes.join('\n'), note));
  }

  test('need OIDC', () => {
    const { notes } = read(FIELDS, false);
    assert.equal(notes.length, 1);
    assert.match(notes[0]!, /^entraTenantId is filled in, and oidc isn't set\. .*set oidc, or clear the fields/);
  });

  test('never show the password in an authority', () => {
    const { notes } = read({ ...FIELDS, entraAuthority: 'https://ada:canary-4711@login.example' });
    assert.match(notes.join(), /^entraAuthority holds a user name or password/);
    assert.ok(!notes.join().includes('canary'), notes.join());
  });
});

describe('a service connection with a service principal', () => {
  const job = (data: Readonly<Record<string, string>>, variables: OidcJob['variables'] = {}): OidcJob => ({
    requestUri: 'https://dev.azure.com/x',
    connection: { data: { oidc: 'true', ...data } },
    variables,
  });

  test('signs in with access tokens', () => {
    const { authentication } = readSettings(oidcAgent(job(FIELDS)));
    assert.equal(authentication.kind, 'entra');
    assert.equal(readSettings(oidcAgent(job({}))).authentication.kind, 'oidc');
  });

  test('reports all its problems together, each once', () => {
    const connection = job({ ...FIELDS, entraClientId: 'x', entraScope: 'y' }, { 'Agent.CAInfo': '/absent.pem' });
    assert.throws(
      () => readSettings(oidcAgent(connection)),
      (error: unknown) => {
        assert.ok(error instanceof TaskError, String(error));
        assert.equal(error.code, 'InvalidInput');
        assert.match(error.message, /^InvalidInput: 3 problems with the inputs of this step/);
        assert.match(error.message, /natsConnection: the connection's field entraClientId is "x", not a GUID/);
        return true;
      },
    );
  });

  test('needs TLS to NATS', () => {
    const connection = { url: 'nats://nats.example', data: { oidc: 'true', ...FIELDS } };
    assert.throws(() => readSettings(oidcAgent({ requestUri: 'https://dev.azure.com/x', connection })), {
      message: /which needs every server to be tls:\/\//,
    });
  });
});
