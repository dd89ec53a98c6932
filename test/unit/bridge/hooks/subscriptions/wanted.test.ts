import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PublisherEvent } from '../../../../../bridge/hooks/subscriptions/api.ts';
import { wantedSubscriptions } from '../../../../../bridge/hooks/subscriptions/wanted.ts';
import { KNOWN_EVENTS } from '../../../../../bridge/hooks/families.ts';
import { hookBodies } from '../../../../support/azureDevOps/hookBodies.ts';
import { PUBLISHED_EVENTS } from '../../../../support/azureDevOps/hookPublishers.ts';

const KNOWN: PublisherEvent[] = PUBLISHED_EVENTS.map(({ publisher, id, versions, inputs }) => ({
  ...{ publisherId: publisher, eventType: id, resourceVersions: versions, inputs: Object.keys(inputs) },
}));
const [SHOP, ORDERS] = [
  { id: '6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c', name: 'Shop' },
  { id: '0b1c4a52-5a0e-4f6c-9a39-1f0f3a6a7b11', name: 'Orders & Co' },
];
const PROJECTS = [SHOP, ORDERS];

interface Entry {
  readonly event: string;
  readonly project?: string;
  readonly inputs?: Readonly<Record<string, string>>;
}

function wantedOf(...entries: Entry[]) {
  const events = entries.map((entry) => ({ project: 'Shop', inputs: {}, ...entry }));
  const { wanted, problems } = wantedSubscriptions({ events }, KNOWN, PROJECTS);
  return {
    wanted: wanted.map(({ event, resourceVersion, project, inputs }) => [
      ...[event.publisherId, event.eventType, resourceVersion, project.name],
      inputs,
    ]),
    problems: problems.map(({ about, problem, remedy }) => `${about}: ${problem}. ${remedy}`),
  };
}

test('asks each publisher for its events, in the version that the bridge reads', () => {
  const versions = new Map(
    wantedOf(...[...KNOWN_EVENTS.keys()].map((event) => ({ event }))).wanted.map(([, event, version]) => [
      event,
      version,
    ]),
  );
  for (const { eventType, resourceVersion } of hookBodies().everyEvent())
    if (KNOWN_EVENTS.has(eventType)) assert.equal(versions.get(eventType), resourceVersion, eventType);
  assert.equal(versions.size, KNOWN_EVENTS.size);
});

test('asks for an event unknown to the bridge in its newest version', () => {
  const event = 'ms.vss-pipelinechecks-events.check-updated-event';
  assert.deepEqual(wantedOf({ event }).wanted, [['pipelines', event, '5.1-preview.2', 'Shop', {}]]);
});

test('has one subscription per project, without duplicates', () => {
  const { wanted, problems } = wantedOf(
    { event: 'git.push', project: '*' },
    { event: 'git.push', project: 'SHOP' },
    { event: 'git.pushed', project: ORDERS.id.toUpperCase(), inputs: { branch: '' } },
    { event: 'git.push', inputs: { branch: 'main' } },
  );
  assert.deepEqual(problems, []);
  assert.deepEqual(wanted, [
    ['tfs', 'git.push', '1.0', 'Shop', {}],
    ['tfs', 'git.push', '1.0', 'Orders & Co', {}],
    ['tfs', 'git.push', '1.0', 'Shop', { branch: 'main' }],
  ]);
});

test('has one subscription per kind of pull request change, unless the inputs name one', () => {
  const all = wantedOf({ event: 'git.pullrequest.updated', inputs: { branch: 'main' } }).wanted;
  assert.deepEqual(
    all.map(([, , , , inputs]) => inputs),
    ['Push', 'ReviewersUpdate', 'StatusUpdate', 'ReviewerVote'].map((what) => ({
      branch: 'main',
      notificationType: `${what}Notification`,
    })),
  );
  const inputs = { notificationType: 'PushNotification' };
  assert.equal(wantedOf({ event: 'pullrequest.updated', inputs }).wanted.length, 1);
});

test("accepts the bridge's own names, including those of a single state", () => {
  const { wanted } = wantedOf(
    { event: 'run.completed', inputs: { pipelineId: '42' } },
    { event: 'stage.not-started' },
    { event: 'build.completed' },
    { event: 'release.approval-pending' },
  );
  assert.deepEqual(
    wanted.map(([, event, , , inputs]) => [event, inputs]),
    [
      ['ms.vss-pipelines.run-state-changed-event', { runStateId: 'Completed', pipelineId: '42' }],
      ['ms.vss-pipelines.stage-state-changed-event', { stageStateId: 'NotStarted' }],
      ['build.complete', {}],
      ['ms.vss-release.deployment-approval-pending-event', {}],
    ],
  );
});

test('reports what does not exist, with the nearest name that does', () => {
  const { wanted, problems } = wantedOf(
    { event: 'git.puhs' },
    { event: 'git.push', project: 'Shpo' },
    { event: 'git.push' },
  );
  assert.equal(wanted.length, 1);
  assert.deepEqual(problems, [
    'hooks.events[0].event: no publisher of the organization knows an event "git.puhs". The nearest one is "git.push".',
    'hooks.events[1].project: there is no project "Shpo", or the identity may not see it. The nearest one is "Shop". Correct the name, or make the identity a member of the project.',
  ]);
  assert.match(wantedOf({ event: 'build.completd' }).problems[0] ?? '', /The nearest one is "build\.complete"\.$/);
  assert.match(wantedOf({ event: 'build.compleeted' }).problems[0] ?? '', /The nearest one is "build\.completed"\.$/);
  const events = [{ event: 'git.push', project: '*', inputs: {} }];
  const nothing = wantedSubscriptions({ events }, KNOWN, []);
  assert.match(nothing.problems[0]?.problem ?? '', /^the identity sees no project$/);
});
