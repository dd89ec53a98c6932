import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { readConnectionFile } from '../../../localAgent/connectionFile.ts';
import { temporaryFolder } from '../../../localAgent/index.ts';

/** Reads a file with this content, next to a file `ci.creds`. */
function read(content: unknown): ReturnType<typeof readConnectionFile> {
  const file = path.join(temporaryFolder('connections-'), 'connections.json');
  writeFileSync(path.join(path.dirname(file), 'ci.creds'), 'line 1\nline 2\n');
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return readConnectionFile(file);
}

describe('a file of service connections', () => {
  it("accepts each of the form's fields that is not a secret", () => {
    const data = { oidc: true, entraTenantId: 't', entraClientId: 'c', entraScope: 's', entraAuthority: 'a' };
    const { nats } = read({ nats: { url: 'tls://n', data } });
    assert.deepEqual(nats?.data, { ...data, oidc: 'true' });
  });

  it('takes secrets from itself, the environment and other files', () => {
    process.env['CONNECTION_FILE_TEST'] = 'hush';
    const connections = read({
      plain: { url: 'nats://localhost' },
      'by-token': { url: 'tls://n', scheme: 'Token', parameters: { apitoken: { env: 'CONNECTION_FILE_TEST' } } },
      'by-creds': {
        url: 'tls://n',
        parameters: { credentials: { file: 'ci.creds' } },
        data: { tlsFirst: true, caCertificate: { file: 'ci.creds' } },
      },
      'by-user': { url: 'tls://n', scheme: 'UsernamePassword', parameters: { username: 'u', password: 'p' } },
    });
    assert.deepEqual(connections, {
      plain: { url: 'nats://localhost', scheme: 'None', parameters: {}, data: {} },
      'by-token': { url: 'tls://n', scheme: 'Token', parameters: { apitoken: 'hush' }, data: {} },
      'by-creds': {
        url: 'tls://n',
        scheme: 'None',
        parameters: { credentials: 'line 1\nline 2\n' },
        data: { tlsFirst: 'true', caCertificate: 'line 1\nline 2\n' },
      },
      'by-user': { url: 'tls://n', scheme: 'UsernamePassword', parameters: { username: 'u', password: 'p' }, data: {} },
    });
  });

  it('is refused with all its problems, without showing values', () => {
    const content = {
      a: { scheme: 'Basic' },
      b: { url: 'nats://n', scheme: 'Token', parameters: { token: 'hunter22', apitoken: { env: 'NOT_THERE' } } },
      c: {
        url: 'nats://n',
        parameters: { credentials: { file: 'missing' } },
        data: { tls: 'hunter22', inboxPrefix: 7 },
        more: 1,
      },
      d: 'hunter22',
    };
    assert.throws(
      () => read(content),
      ({ message }: Error) => {
        for (const part of [
          'a.url must be a text',
          'a.scheme must be one of None, Token, UsernamePassword, Certificate (None also for a credentials file or an NKey);',
          'b.parameters of the scheme Token has no "token", only apitoken',
          'b.parameters.apitoken: the environment has no variable of this name',
          'c.parameters.credentials: there is no file "/',
          '/missing"; c.data',
          'c.data has no "tls", only servers, ',
          'c.data.inboxPrefix must be',
          'c has no "more", only type, url, scheme, parameters, data',
          'd must be an object',
        ])
          assert.ok(message.includes(part), `"${part}" is not in: ${message}`);
        assert.ok(!message.includes('hunter22'));
        return true;
      },
    );
    assert.throws(() => read('{ "a": hunter22 }'), /connections\.json: isn't JSON\.$/);
  });
});
