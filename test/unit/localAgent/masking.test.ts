import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SecretMasker } from '../../../localAgent/secretMasker.ts';

function maskerOf(...values: string[]): SecretMasker {
  const masker = new SecretMasker();
  values.forEach((value) => {
    masker.add(value);
  });
  return masker;
}

describe('the masking of a log', () => {
  it('replaces a secret everywhere, even inside other words', () => {
    assert.equal(maskerOf('nats').mask('nats://host: user nats, subject natsy'), '***://host: user ***, subject ***y');
  });

  it('finds a value in its JSON and URI escapes', () => {
    const masker = maskerOf('p"a/s\ts!');
    assert.equal(masker.mask(JSON.stringify({ password: 'p"a/s\ts!' })), '{"password":"***"}');
    assert.equal(masker.mask('?password=p%22a%2Fs%09s%21'), '?password=***');
  });

  it("does not find a value in base64, unless it is one of the job's secret variables", () => {
    const encoded = Buffer.from('opensesame').toString('base64');
    const masker = maskerOf('opensesame');
    assert.equal(masker.mask(encoded), encoded);
    masker.addVariable('opensesame');
    assert.equal(masker.mask(encoded), '***');
  });

  it('finds a secret variable trimmed, unquoted, and escaped as in a logging command', () => {
    const masker = new SecretMasker();
    masker.addVariable(' padded-secret ');
    masker.addVariable(`'quoted-secret'`);
    masker.addVariable('50%\noff');
    assert.equal(masker.mask('padded-secret quoted-secret 50%AZP25%0Aoff'), '*** *** ***');
  });

  it('masks a multi-line value only as a whole', () => {
    const pem = '-----BEGIN KEY-----\nMIIEvQ\n-----END KEY-----';
    const masker = maskerOf(pem);
    assert.equal(masker.mask(`key: ${pem}`), 'key: ***');
    assert.equal(masker.mask(JSON.stringify(pem)), '"***"');
    assert.equal(masker.mask('bad line MIIEvQ'), 'bad line MIIEvQ');
  });

  it('writes one mask for secrets that overlap or touch', () => {
    assert.equal(maskerOf('abcd', 'cdef', 'gh').mask('xabcdefghy'), 'x***y');
  });

  it('finds a value with its backslash escapes undone', () => {
    assert.equal(maskerOf(String.raw`a\\b\"c\'d\te`).mask(`a\\b"c'd\te`), '***');
  });

  it('does not find a value in another case, in part or across lines', () => {
    const masker = maskerOf('Open-Sesame');
    for (const text of ['open-sesame', 'Open-Sesam', 'Open-\nSesame', 'Open -Sesame', 'Open%AZP252DSesame'])
      assert.equal(masker.mask(text), text);
  });

  it('ignores an empty value', () => {
    const masker = maskerOf('');
    masker.addVariable(' ');
    masker.addParameter('apitoken', '');
    assert.equal(masker.mask('a b'), 'a b');
  });

  it('hides each authorization parameter, except those known to be harmless', () => {
    for (const name of [
      ...['role', 'scope', 'tenantId', 'issuedAt', 'expiresAt', 'audience', 'AuthenticationType', 'AuthorizationType'],
      ...['accessTokenType', 'accessTokenFetchingMethod', 'UseWindowsSecurity', 'unsecured'],
      ...['OAuthAccessTokenIsSupplied', 'completeCallbackPayload', 'acceptUntrustedCertificates'],
    ]) {
      const masker = new SecretMasker();
      masker.addParameter(name, 'shown-value');
      assert.equal(masker.mask('shown-value'), 'shown-value', name);
    }
    // The user name, too, even though it isn't secret.
    for (const name of ['username', 'password', 'apitoken', 'certificate', 'credentials', 'url', 'Role2']) {
      const masker = new SecretMasker();
      masker.addParameter(name, 'hidden-value');
      assert.equal(masker.mask('hidden-value'), '***', name);
    }
  });

  it('hides the password in a URL', () => {
    assert.equal(new SecretMasker().mask('nats://user:hush@host:4222'), 'nats://user:***@host:4222');
  });
});
