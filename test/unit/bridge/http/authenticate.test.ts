import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  basicCredentials,
  bearerToken,
  isSecret,
  unauthorized,
  whichSecret,
} from '../../../../bridge/http/authenticate.ts';

const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` });

test('reads a user and a password, which may contain colons', () => {
  assert.deepEqual(basicCredentials(basic('hooks:a:b')), { user: 'hooks', password: 'a:b' });
  assert.deepEqual(basicCredentials(basic(':p')), { user: '', password: 'p' });
  assert.deepEqual(basicCredentials({ authorization: basic('ü:ä').authorization.replace('Basic', 'bAsIc') }), {
    user: 'ü',
    password: 'ä',
  });
});

test('reads no user and password from anything else', () => {
  for (const authorization of [
    '',
    'Basic',
    'Basic ',
    'Basic !!!',
    'Bearer eDp5',
    'Basic eDp5 eDp5',
    'eDp5',
    'Basic eA==',
  ])
    assert.equal(basicCredentials({ authorization }), undefined, authorization);
  assert.equal(basicCredentials({}), undefined);
  assert.equal(basicCredentials({ authorization: ['Basic eDp5'] }), undefined);
});

test('reads a bearer token', () => {
  assert.equal(bearerToken({ authorization: 'bearer abc' }), 'abc');
  assert.equal(bearerToken({ authorization: 'Basic abc' }), undefined);
});

test('compares secrets of any length', () => {
  assert.equal(isSecret('abc', 'abc'), true);
  for (const given of ['abd', 'ab', 'abcd', '', 'ABC']) assert.equal(isSecret(given, 'abc'), false, given);
  const secrets = [{ value: 'new' }, { value: 'old' }];
  const which = (given: string) => whichSecret(given, secrets, ({ value }) => value);
  assert.deepEqual(
    [which('new'), which('old'), which('none'), which('')],
    [secrets[0], secrets[1], undefined, undefined],
  );
});

test('a 401 says only that the credentials are missing or wrong', () => {
  assert.deepEqual(unauthorized('Basic'), {
    status: 401,
    headers: { 'www-authenticate': 'Basic realm="nats-event-bridge"' },
    body: { error: { code: 'Unauthorized', message: 'The credentials are missing or wrong.' } },
  });
});
