import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Subscription } from '../../../../../bridge/hooks/subscriptions/api.ts';
import { bodyOf, hooksUrl, planSubscriptions, postsTo } from '../../../../../bridge/hooks/subscriptions/plan.ts';
import type { Wanted } from '../../../../../bridge/hooks/subscriptions/wanted.ts';

const SHOP = { id: '6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c', name: 'Shop' };
const TARGET = { url: 'https://bridge.example.com/hooks', user: 'hooks' };
const EVENT = {
  ...{ publisherId: 'tfs', eventType: 'build.complete', resourceVersions: ['2.0', '1.0'] },
  inputs: ['projectId', 'definitionName', 'buildStatus'],
};
const WANTED: Wanted = { event: EVENT, resourceVersion: '2.0', project: SHOP, inputs: { definitionName: 'web' } };

type Given = Partial<Subscription>;

/** The subscription that Azure DevOps returns after the wanted one was created. */
function stored(id: string, given: Given = {}): Subscription {
  const body = bodyOf(WANTED, TARGET, 'secret', undefined, true);
  return {
    ...{ ...body, id, status: 'enabled', createdAt: 0 },
    publisherInputs: { ...body.publisherInputs, buildStatus: '', tfsSubscriptionId: 'x', hostId: 'y' },
    consumerInputs: { ...body.consumerInputs, basicAuthPassword: '********' },
    ...given,
  };
}

function consumer(inputs: Readonly<Record<string, string>>): Given {
  return { consumerInputs: { ...stored('').consumerInputs, ...inputs } };
}

function publisher(inputs: Readonly<Record<string, string>>): Given {
  return { publisherInputs: { ...stored('').publisherInputs, ...inputs } };
}

function planned(existing: readonly Subscription[], rotate = false, wanted = [WANTED]): string[] {
  const steps = planSubscriptions({ ...TARGET, wanted, existing, projects: [SHOP], rotate });
  return steps.map(({ action, old, reason }) => [action, old?.id, reason].filter(Boolean).join(' '));
}

test('leaves correct subscriptions alone, despite what Azure DevOps adds and masks', () => {
  assert.deepEqual(planned([stored('a')]), ['unchanged a']);
  const masked = consumer({ basicAuthUsername: '********', acceptUntrustedCerts: 'false', httpHeaders: '********' });
  assert.deepEqual(planned([stored('a', masked)]), ['unchanged a']);
  assert.deepEqual(planned([stored('a', publisher({ projectId: SHOP.id.toUpperCase() }))]), ['unchanged a']);
});

test('creates what is missing', () => {
  assert.deepEqual(planned([]), ['create there is none']);
  assert.deepEqual(planned([stored('a', { eventType: 'git.push' })]), [
    'create there is none',
    "remove-superseded a hooks.events doesn't ask for it",
  ]);
});

test('updates what differs, and says how it differs', () => {
  const withoutDetail = { ...stored('').consumerInputs, detailedMessagesToSend: '' };
  for (const [given, reason] of [
    [{ resourceVersion: '1.0' }, 'resourceVersion is 1.0 instead of 2.0'],
    [consumer({ resourceDetailsToSend: 'minimal' }), 'resourceDetailsToSend is minimal instead of all'],
    [consumer({ messagesToSend: 'all' }), 'messagesToSend is all instead of none'],
    [{ consumerInputs: withoutDetail }, 'detailedMessagesToSend is all instead of none'],
    [consumer({ basicAuthUsername: 'hooks' }), `basicAuthUsername is hooks instead of hooks.${SHOP.id}`],
    [consumer({ basicAuthUsername: '' }), `basicAuthUsername is not set instead of hooks.${SHOP.id}`],
    [consumer({ acceptUntrustedCerts: 'true' }), 'acceptUntrustedCerts is true instead of false'],
  ] as const)
    assert.deepEqual(planned([stored('a', given)]), [`update a ${reason}`]);
});

test('replaces one with other filters: creates the new one before removing the old', () => {
  for (const given of [publisher({ definitionName: 'api' }), publisher({ buildStatus: 'Failed' })])
    assert.deepEqual(planned([stored('a', given)]), [
      'create there is none',
      "remove-superseded a hooks.events doesn't ask for it",
    ]);
});

test('recreates disabled ones, whoever disabled them', () => {
  for (const status of ['disabledBySystem', 'disabledByUser', 'disabledByInactiveIdentity', 'disabledBySomethingNew'])
    assert.deepEqual(planned([stored('a', { status })]), [`recreate a its status is ${status}`]);
  const withHeaders = stored('a', { status: 'disabledByUser', ...consumer({ httpHeaders: '********' }) });
  assert.match(planned([withHeaders])[0] ?? '', /httpHeaders, which are masked, have to be set again$/);
});

test('creates a second one next to one on probation, which still has an event to deliver', () => {
  const onProbation = stored('a', { status: 'onProbation' });
  const kept = 'unchanged a Azure DevOps is still trying to deliver an event through it';
  assert.deepEqual(planned([onProbation]), [
    "create the existing one is on probation: Azure DevOps doesn't use it for new events",
    kept,
  ]);
  assert.deepEqual(planned([onProbation, stored('b')]), ['unchanged b', kept]);
  const rotated = planned([onProbation, stored('b')], true);
  assert.deepEqual(rotated, ['update b it gets the newest secret', 'update a it gets the newest secret']);
});

test('keeps the best of several duplicates', () => {
  const old = stored('old', { resourceVersion: '1.0' });
  const double = 'there is another one for the same event';
  assert.deepEqual(planned([old, stored('good')]), ['unchanged good', `remove-superseded old ${double}`]);
  const off = stored('off', { status: 'disabledBySystem' });
  assert.deepEqual(planned([off, stored('good')]), ['unchanged good', `remove-superseded off ${double}`]);
  assert.deepEqual(planned([off, { ...off, id: 'off2' }]), [
    'recreate off its status is disabledBySystem',
    `remove-superseded off2 ${double}`,
  ]);
});

test('leaves those of an invisible project alone, and removes those of all projects', () => {
  const elsewhere = stored('a', publisher({ projectId: '0b1c4a52-5a0e-4f6c-9a39-1f0f3a6a7b11' }));
  assert.deepEqual(planned([elsewhere], false, []), ["unchanged a the identity doesn't see its project"]);
  const ofAll = stored('a', publisher({ projectId: '' }));
  assert.deepEqual(planned([ofAll], false, []), ["remove-superseded a hooks.events doesn't ask for it"]);
});

test("a rotation updates all, since there's no telling which secret each has", () => {
  assert.deepEqual(planned([stored('a', { resourceVersion: '1.0' })], true), [
    'update a resourceVersion is 1.0 instead of 2.0, it gets the newest secret',
  ]);
  assert.deepEqual(planned([], true), ['create there is none']);
});

test('asks for a subscription that signs in for its project only, and sends everything but messages', () => {
  assert.deepEqual(bodyOf(WANTED, TARGET, 'secret', undefined, true), {
    ...{ publisherId: 'tfs', eventType: 'build.complete', resourceVersion: '2.0' },
    ...{ consumerId: 'webHooks', consumerActionId: 'httpRequest' },
    publisherInputs: { projectId: SHOP.id, definitionName: 'web' },
    consumerInputs: {
      url: TARGET.url,
      ...{ resourceDetailsToSend: 'all', messagesToSend: 'none', detailedMessagesToSend: 'none' },
      ...{ basicAuthUsername: `hooks.${SHOP.id}`, basicAuthPassword: 'secret' },
    },
  });
});

test('keeps headers that someone added, and masked ones if Azure DevOps fills them in', () => {
  const headers = (httpHeaders: string, isNew: boolean) =>
    bodyOf(WANTED, TARGET, 'secret', stored('a', consumer({ httpHeaders })), isNew).consumerInputs['httpHeaders'];
  assert.equal(headers('X-Key: 1', true), 'X-Key: 1');
  assert.equal(headers('********', false), '********');
  assert.equal(headers('********', true), undefined);
});

test('knows its own subscriptions by their URL', () => {
  assert.equal(hooksUrl('https://bridge.example.com/'), TARGET.url);
  assert.equal(hooksUrl('https://bridge.example.com/base'), 'https://bridge.example.com/base/hooks');
  for (const [url, isOurs] of [
    [TARGET.url, true],
    ['https://BRIDGE.example.com:443/hooks', true],
    ['https://bridge.example.com/hooks/', false],
    ['https://bridge.example.com.evil.example/hooks', false],
    ['http://bridge.example.com/hooks', false],
    ['', false],
  ] as const)
    assert.equal(postsTo({ consumerInputs: { url } }, TARGET.url), isOurs, url);
});
