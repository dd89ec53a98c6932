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
  it('replaces a secret wherever it stands, and everything that looks like it', () => {
    assert.equal(maskerOf('nats').mask('nats://host: user nats, subject natsy'), '***://host: user ***, subject ***y');
  });

  it('finds a value JSON-escaped and URI-escaped', () => {
    const masker = maskerOf('p"a/s\ts!');
    assert.equal(masker.mask(JSON.stringify({ password: 'p"a/s\ts!' })), '{"password":"***"}');
    assert.equal(masker.mask('?password=p%22a%2Fs%09s%21'), '?password=***');
  });

  it('does not find a value in base64, unless it is a secret variable of the job', () => {
    const encoded = Buffer.from('opensesame').toString('base64');
    const masker = maskerOf('opensesame');
    assert.equal(masker.mask(encoded), encoded);
    masker.addVariable('opensesame');
    assert.equal(masker.mask(encoded), '***');
  });

  it('finds a secret variable trimmed, without its quotes, and as a logging command escapes it', () => {
    const masker = new SecretMasker();
    masker.addVariable(' padded-secret ');
    masker.addVariable(`'quoted-secret'`);
    masker.addVariable('50%\noff');
    assert.equal(masker.mask('padded-secret quoted-secret 50%AZP25%0Aoff'), '*** *** ***');
  });

  it('masks a value of several lines only as a whole', () => {
    const pem = '-----BEGIN KEY-----\nMIIEvQ\n-----END KEY-----';
    const masker = maskerOf(pem);
    assert.equal(masker.mask(`key: ${pem}`), 'key: ***');
    assert.equal(masker.mask(JSON.stringify(pem)), '"***"');
    assert.equal(masker.mask('bad line MIIEvQ'), 'bad line MIIEvQ');
  });

  it('writes one mask for secrets that overlap or touch', () => {
    assert.equal(maskerOf('abcd', 'cdef', 'gh').mask('xabcdefghy'), 'x***y');
  });

  it('finds the spellings of a value with backslashes', () => {
    assert.equal(maskerOf(String.raw`a\\b\"c\'d\te`).mask(`a\\b"c'd\te`), '***');
  });

  it('finds no other spelling: other case, parts of it, or spread over lines', () => {
    const masker = maskerOf('Open-Sesame');
    for (const text of ['open-sesame', 'Open-Sesam', 'Open-\nSesame', 'Open -Sesame', 'Open%AZP252DSesame'])
      assert.equal(masker.mask(text), text);
  });

  it('has nothing to do for an empty value', () => {
    const masker = maskerOf('');
    masker.addVariable(' ');
    masker.addParameter('apitoken', '');
    assert.equal(masker.mask('a b'), 'a b');
  });

  it('hides every authorization parameter but the known ones, by their names in any case', () => {
    for (const name of [
      ...['role', 'scope', 'tenantId', 'issuedAt', 'expiresAt', 'audience', 'AuthenticationType', 'AuthorizationType'],
      ...['accessTokenType', 'accessTokenFetchingMethod', 'UseWindowsSecurity', 'unsecured'],
      ...['OAuthAccessTokenIsSupplied', 'completeCallbackPayload', 'acceptUntrustedCertificates'],
    ]) {
      const masker = new SecretMasker();
      masker.addParameter(name, 'shown-value');
      assert.equal(masker.mask('shown-value'), 'shown-value', name);
    }
    // A user name too, although it is no secret.
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
