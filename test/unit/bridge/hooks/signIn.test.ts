import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, test } from 'node:test';
import { projectPassword, signIn } from '../../../../bridge/hooks/signIn.ts';
import { SHOP } from '../../../support/bridge/hookPosts.ts';

const NEW = 'the new secret';
const OLD = 'the old secret';
const SETTINGS = {
  user: 'hooks',
  passwords: [NEW, OLD].map((value) => ({ label: 'a secret', value })),
  sharedSecret: false,
};

function basic(user: string, password: string) {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
}

describe('A post is signed in', () => {
  test("with its project's password, derived from any of the secrets", () => {
    for (const secret of [NEW, OLD]) {
      const password = createHmac('sha256', secret).update(SHOP.id).digest('base64url');
      assert.equal(projectPassword(secret, SHOP.id), password);
      assert.deepEqual(signIn(SETTINGS, basic(`hooks.${SHOP.id}`, password)), { projectId: SHOP.id });
    }
  });

  test('with the plain secret only if that is allowed', () => {
    assert.equal(signIn(SETTINGS, basic('hooks', NEW)), undefined);
    const settings = { ...SETTINGS, sharedSecret: true };
    for (const secret of [NEW, OLD])
      assert.deepEqual(signIn(settings, basic('hooks', secret)), { projectId: undefined });
  });

  const password = projectPassword(NEW, SHOP.id);
  const refused: readonly (readonly [name: string, headers: Readonly<Record<string, string>>])[] = [
    ['nobody', {}],
    ['an empty user and password', basic('', '')],
    ["another project's password", basic(`hooks.${SHOP.id.replace('6', '7')}`, password)],
    ["another user's password", basic(`other.${SHOP.id}`, password)],
    ['the plain secret for a project', basic(`hooks.${SHOP.id}`, NEW)],
    ["a project's password for all", basic('hooks', password)],
    ['a truncated password', basic(`hooks.${SHOP.id}`, password.slice(0, -1))],
    ['a longer password', basic(`hooks.${SHOP.id}`, `${password}x`)],
    ['no project', basic('hooks.', projectPassword(NEW, ''))],
    ['an invalid project', basic('hooks.a.b', projectPassword(NEW, 'a.b'))],
    ['an unknown user', basic('admin', NEW)],
    ['a bearer token', { authorization: `Bearer ${NEW}` }],
  ];
  for (const [name, headers] of refused) {
    test(`not by ${name}`, () => {
      for (const sharedSecret of [false, true]) assert.equal(signIn({ ...SETTINGS, sharedSecret }, headers), undefined);
    });
  }

  test('never with an empty secret', () => {
    const settings = { ...SETTINGS, sharedSecret: true, passwords: [{ label: 'a secret', value: '' }] };
    assert.equal(signIn(settings, basic('hooks', '')), undefined);
    assert.equal(signIn(settings, basic(`hooks.${SHOP.id}`, projectPassword('', SHOP.id))), undefined);
  });
});
