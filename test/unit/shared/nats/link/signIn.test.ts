import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Authentication, TokenSource } from '../../../../../shared/connection/settings.ts';
import {
  longToken,
  secretSentBy,
  signInAfterRefusal,
  signInOptions,
  signInWith,
} from '../../../../../shared/nats/link/signIn.ts';

const { signal } = new AbortController();
const source: TokenSource = {
  current: () => Promise.resolve('first'),
  newerThan: (refused) => Promise.resolve(refused === 'first' ? 'second' : undefined),
  awaited: () => undefined,
  close: () => {},
};

for (const [kind, authentication, called] of [
  ['idToken', { kind: 'oidc', idToken: source }, 'ID token'],
  ['accessToken', { kind: 'entra', accessToken: source }, 'access token'],
] as const satisfies readonly (readonly [string, Authentication, string])[]) {
  test(`an ${called} is sent as the NATS token, and replaced by a newer one if it's refused`, async () => {
    const first = await signInWith(authentication, signal);
    assert.deepEqual(first, { kind, token: 'first' });
    assert.deepEqual(signInOptions({ kind, token: 'first' }), { token: 'first' });
    const second = await signInAfterRefusal(authentication, { kind, token: 'first' }, signal);
    assert.deepEqual(second, { kind, token: 'second' });
    assert.equal(await signInAfterRefusal(authentication, { kind, token: 'second' }, signal), undefined);
  });

  test(`an ${called} is called that in warnings, and one that is too long is recognised`, () => {
    assert.equal(secretSentBy({ kind, token: 'first' }), called);
    assert.equal(longToken({ kind, token: 'x'.repeat(3_900) }), undefined);
    assert.equal(longToken({ kind, token: 'x'.repeat(3_901) })?.length, 3_901);
  });
}
