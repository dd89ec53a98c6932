import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readPolicy } from '../../../../bridge/callout/policy.ts';
import { safeToken } from '../../../../bridge/callout/grant.ts';
import { strangersIn } from '../../../../bridge/callout/publishers.ts';
import type { RouteSettings } from '../../../../bridge/settings.ts';

interface GivenRule {
  readonly sub?: string;
  readonly roles?: readonly string[];
  readonly publish: readonly string[];
}

/** Who else these rules let publish what a route of the project Shop takes. */
function strangers(rules: readonly GivenRule[], route: Partial<RouteSettings> = {}): string[] {
  const issuer = 'https://vstoken.dev.azure.com/6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c';
  const given = rules.map((rule) => ({ account: 'APP', subscribe: [], ...rule }));
  const read = readPolicy(JSON.stringify({ issuers: [{ issuer, audience: 'a', rules: given }] }), undefined);
  assert.ok('policy' in read, JSON.stringify(read));
  const publishers = [{ project: 'Shop', pipeline: '*' }];
  return strangersIn(read.policy, { subjects: ['ci.Shop.done.v1'], publishers, ...route } as RouteSettings);
}

test('a subject with the name of the project, or a sub that names it, proves the publisher', () => {
  assert.deepEqual(strangers([{ sub: 'sc://contoso/*/nats', publish: ['ci.{project}.>'] }]), []);
  assert.deepEqual(strangers([{ sub: 'sc://contoso/Shop/nats', publish: ['ci.>'] }]), []);
  assert.deepEqual(strangers([{ roles: ['nats.publish.other'], publish: ['other.>'] }]), []);
});

test('anyone else who may publish there is a stranger', () => {
  const isFound = (rules: readonly GivenRule[], route?: Partial<RouteSettings>) =>
    assert.match(strangers(rules, route).join(), /^issuers\[0\]\.rules\[0\] lets others publish on "/);
  isFound([{ sub: 'sc://contoso/*/nats', publish: ['ci.>'] }]);
  isFound([{ sub: 'sc://contoso/Other/nats', publish: ['ci.>'] }]);
  isFound([{ roles: ['nats.publish'], publish: ['ci.Shop.done.v1'] }]);
  // The name is in another place of the subject, or in none for sure.
  isFound([{ sub: 'sc://contoso/*/nats', publish: ['ci.*.{project}.>'] }]);
  isFound([{ sub: 'sc://contoso/*/nats', publish: ['ci.{project}.>'] }], { subjects: ['ci.*.done.v1'] });
  isFound([{ sub: 'sc://contoso/*/nats', publish: ['ci.{connection}.>'] }]);
});

test('projects with similar names are told apart by the subject', () => {
  const rules = [{ sub: 'sc://contoso/*/nats', publish: ['ci.{project}.>'] }];
  const publishers = [{ project: 'My Shop', pipeline: '*' }];
  assert.deepEqual(strangers(rules, { publishers, subjects: [`ci.${safeToken('My Shop')}.done.v1`] }), []);
  assert.equal(strangers(rules, { publishers, subjects: ['ci.My-Shop.done.v1'] }).length, 1);
});

test('a pipeline is proven by its own sub, or its name in the subject, but not by a service connection', () => {
  const publishers = [{ project: 'Shop', pipeline: 'web' }];
  const of = (sub: string, publish: string) => strangers([{ sub, publish: [publish] }], { publishers });
  assert.deepEqual(of('p://contoso/Shop/web', 'ci.>'), []);
  assert.equal(of('sc://contoso/Shop/web', 'ci.>').length, 1);
  assert.equal(of('p://contoso/Shop/*', 'ci.{project}.>').length, 1);
  const subjects = ['ci.Shop.web.v1'];
  const bound = [{ sub: 'p://contoso/*/*', publish: ['ci.{project}.{pipeline}.>'] }];
  assert.deepEqual(strangers(bound, { publishers, subjects }), []);
});
