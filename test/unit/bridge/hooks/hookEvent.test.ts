import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readHook, type Hook } from '../../../../bridge/hooks/hook.ts';
import { hookEvent, subjectToken } from '../../../../bridge/hooks/hookEvent.ts';
import { DecodedEvent } from '../../../../shared/event/decode.ts';
import { parseUserSeed } from '../../../../shared/nkey.ts';
import { parseTrustedKeys, verifySignature } from '../../../../shared/signing/signature.ts';
import { BUILD, buildBody, hookBody, ORGANIZATION, SHOP } from '../../../support/bridge/hookPosts.ts';
import { headerOf, headersOf } from '../../../support/bridge/memoryNats.ts';
import { createNKey } from '../../../support/nats/natsAccounts.ts';

const SETTINGS = { subjectPrefix: 'azdo', stream: 'AZDO', ...ORGANIZATION };
const PROJECT = { ...SHOP, token: 'Shop' };
const COMMIT = '0b6c2a8f1c0e4a5d9f0b6c2a8f1c0e4a5d9f0b6c';

function hookOf(body: Uint8Array): Hook {
  const hook = readHook(body);
  assert.equal(hook.kind, 'hook', JSON.stringify(hook));
  return hook;
}

function eventOf(body: Uint8Array) {
  return hookEvent(hookOf(body), body, PROJECT, SETTINGS, undefined);
}

/** The message as a subscriber receives it. */
function received(message: ReturnType<typeof eventOf>) {
  const headers = new Map<string, string[]>();
  for (const [name, value] of message.headers)
    headers.set(name.toLowerCase(), [...(headers.get(name.toLowerCase()) ?? []), value]);
  return { ...message, headers, place: undefined, storedAt: undefined, receivedAt: 0 };
}

const RUN = { id: 20163, name: '20261128.3', state: 'completed', result: 'succeeded' };
const PIPELINE = { id: 139, name: 'web-ci' };
const OF_RUN = { azppipeline: 'web-ci', azprunid: '20163', correlationid: '20163' };
const REPOSITORY = { id: 'r-1', name: 'web', project: SHOP };
const PULL_REQUEST = {
  pullRequestId: 17,
  repository: REPOSITORY,
  targetRefName: 'refs/heads/main',
  lastMergeSourceCommit: { commitId: COMMIT },
};
const RELEASE = { id: 12, releaseDefinition: { id: 1, name: 'web-cd' }, createdBy: { displayName: 'Ada' } };
const OF_RELEASE = { azppipeline: 'web-cd', azprunid: '12', azprequester: 'Ada', correlationid: '12' };
const PUSH = { repository: REPOSITORY, pushId: 7, refUpdates: [{ name: 'refs/heads/main', newObjectId: COMMIT }] };
/** As others captured it: ids are strings, and people are names. */
const APPROVAL = {
  approval: { id: 'a-1', pipeline: { id: '139', name: 'web-ci', owner: { id: 20163 } } },
  approvalId: 'a-1',
  pipeline: { id: '139', name: 'web-ci' },
  run: { id: '20163', requestedFor: 'Bob' },
  runId: 20163,
};

type Case = readonly [
  eventType: string,
  resource: unknown,
  name: string,
  subject: string | undefined,
  attributes?: Readonly<Record<string, string>>,
];

const RUN_EVENT = 'ms.vss-pipelines.run-state-changed-event';
const STAGE_EVENT = 'ms.vss-pipelines.stage-state-changed-event';
const JOB_EVENT = 'ms.vss-pipelines.job-state-changed-event';

const CASES: readonly Case[] = [
  [
    'build.complete',
    BUILD,
    'build.completed',
    'builds/4242',
    {
      azppipeline: 'web',
      azprunid: '4242',
      azprequester: 'Zoë "Z" Example',
      azpcommit: COMMIT,
      correlationid: '4242',
    },
  ],
  ...(
    [
      ['inProgress', 'in-progress'],
      ['canceling', 'canceling'],
      ['completed', 'completed'],
    ] as const
  ).map(([state, name]): Case => [
    RUN_EVENT,
    { run: { ...RUN, state }, pipeline: PIPELINE, requestedFor: { displayName: 'Bob' } },
    `run.${name}`,
    'runs/20163',
    { ...OF_RUN, azprequester: 'Bob' },
  ]),
  ...(
    [
      ['notStarted', 'not-started'],
      ['waiting', 'waiting'],
      ['running', 'running'],
      ['completed', 'completed'],
    ] as const
  ).flatMap(([state, name]): Case[] => [
    [
      STAGE_EVENT,
      { stage: { name: 'Build', state }, stageName: 'Build', run: RUN, pipeline: PIPELINE },
      `stage.${name}`,
      'runs/20163/stages/Build',
      OF_RUN,
    ],
    [
      JOB_EVENT,
      {
        job: { id: 'j-1', name: 'Compile', state },
        run: RUN,
        pipeline: PIPELINE,
        repositories: [{ change: { version: COMMIT } }],
      },
      `job.${name}`,
      'runs/20163/jobs/j-1',
      { ...OF_RUN, azpcommit: COMMIT },
    ],
  ]),
  [
    'ms.vss-pipelinechecks-events.approval-pending',
    APPROVAL,
    'approval.pending',
    'approvals/a-1',
    { ...OF_RUN, azprequester: 'Bob' },
  ],
  [
    'ms.vss-pipelinechecks-events.approval-completed',
    { ...APPROVAL, run: { id: '20163', requestedFor: null } },
    'approval.completed',
    'approvals/a-1',
    OF_RUN,
  ],
  ['git.push', PUSH, 'git.pushed', 'repositories/r-1/pushes/7', { azpcommit: COMMIT }],
  [
    'git.push',
    { ...PUSH, refUpdates: [{ name: 'refs/heads/old', newObjectId: '0'.repeat(40) }] },
    'git.pushed',
    'repositories/r-1/pushes/7',
    {},
  ],
  ...['created', 'updated', 'merged'].map((event): Case => [
    `git.pullrequest.${event}`,
    PULL_REQUEST,
    `pullrequest.${event}`,
    'pullrequests/17',
    { azpcommit: COMMIT },
  ]),
  [
    'ms.vss-code.git-pullrequest-comment-event',
    { comment: { id: 1 }, pullRequest: PULL_REQUEST },
    'pullrequest.commented',
    'pullrequests/17',
    { azpcommit: COMMIT },
  ],
  ['workitem.updated', { id: 900_001, workItemId: 31 }, 'workitem.updated', 'workitems/31'],
  ...['created', 'commented', 'deleted', 'restored'].map((event): Case => [
    `workitem.${event}`,
    { id: 31 },
    `workitem.${event}`,
    'workitems/31',
  ]),
  ...['created', 'abandoned'].map((event): Case => [
    `ms.vss-release.release-${event}-event`,
    { release: RELEASE },
    `release.${event}`,
    'releases/12',
    OF_RELEASE,
  ]),
  [
    'ms.vss-release.deployment-started-event',
    // As in Azure DevOps' own sample, the release next to the environment is empty.
    {
      environment: { id: 5, release: { id: 12 } },
      release: { id: 0, releaseDefinition: { name: 'web-cd' }, createdBy: null },
    },
    'release.deployment-started',
    'releases/12/environments/5',
    { azppipeline: 'web-cd', azprunid: '12', correlationid: '12' },
  ],
  [
    'ms.vss-release.deployment-completed-event',
    { environment: { id: 5, release: { id: 12 } } },
    'release.deployment-completed',
    'releases/12/environments/5',
    { azprunid: '12', correlationid: '12' },
  ],
  ...['pending', 'completed'].map((event): Case => [
    `ms.vss-release.deployment-approval-${event}-event`,
    { approval: { id: 3 }, release: RELEASE },
    `release.approval-${event}`,
    'releases/12',
    OF_RELEASE,
  ]),
  ['ms.vss-x.some-event', { id: 1 }, 'other.ms-vss-x-some-event', undefined],
  ['ünknown type/😀', {}, 'other.-nknown-type--', undefined],
  ['constructor', {}, 'other.constructor', undefined],
  // A state that's newer than the bridge: still an event of a run.
  [
    RUN_EVENT,
    { run: { ...RUN, state: 'paused' }, pipeline: PIPELINE },
    `other.${RUN_EVENT.replaceAll('.', '-')}`,
    'runs/20163',
    OF_RUN,
  ],
  [RUN_EVENT, { run: { state: 'toString' } }, `other.${RUN_EVENT.replaceAll('.', '-')}`, undefined],
];

describe('A service hook becomes an event', () => {
  for (const [eventType, resource, name, subject, attributes = {}] of CASES) {
    test(`${eventType} becomes ${name}`, () => {
      const body = hookBody(eventType, resource);
      const message = eventOf(body);
      assert.equal(message.subject, `azdo.contoso.Shop.${name}.v1`);
      assert.equal(message.payload, body);
      assert.equal(headerOf(message, 'Nats-Msg-Id'), '27646e0e-b520-4d2b-9411-bba7524947cd');
      assert.equal(headerOf(message, 'Nats-Expected-Stream'), 'AZDO');
      const { traceparent, ...decoded } = new DecodedEvent(received(message)).attributes;
      assert.match(traceparent ?? '', /^00-/);
      assert.deepEqual(decoded, {
        specversion: '1.0',
        id: '27646e0e-b520-4d2b-9411-bba7524947cd',
        source: `https://dev.azure.com/contoso/${SHOP.id}`,
        type: `azdo.${name}.v1`,
        time: '2026-09-19T13:03:27.0379153Z',
        datacontenttype: 'application/json',
        azporganization: 'contoso',
        azpproject: 'Shop',
        ...(subject === undefined ? {} : { subject }),
        ...attributes,
      });
    });
  }

  test('names become tokens of subjects', () => {
    assert.equal(subjectToken('My Shop 2.0'), 'My-Shop-2-0');
    assert.equal(subjectToken('東京'), '--');
    assert.equal(subjectToken('A_b-9'), 'A_b-9');
    assert.equal(subjectToken(''), '-');
    assert.equal(subjectToken('x'.repeat(5_000)).length, 256);
  });

  test('an invalid time is left out', () => {
    for (const createdDate of ['yesterday', '2026-02-30T00:00:00Z', 7, null, '2026-09-19T13:03:27']) {
      const message = eventOf(hookBody('build.complete', BUILD, { createdDate }));
      assert.equal(headersOf(message)['ce-time'], undefined);
    }
  });

  test("it is signed with the bridge's key", () => {
    const { seed, publicKey } = createNKey();
    const body = buildBody();
    const now = new Date('2026-11-28T12:00:00Z');
    const message = hookEvent(hookOf(body), body, PROJECT, SETTINGS, { key: parseUserSeed(seed), now });
    const { keys } = parseTrustedKeys(`${publicKey} azdo.contoso.Shop.>`);
    assert.deepEqual(verifySignature(received(message), keys), { ok: true, kid: publicKey, signedAt: now.getTime() });
  });
});

describe('A post that is not a service hook', () => {
  const unusable: readonly (readonly [name: string, body: Uint8Array, problem: RegExp])[] = [
    ['nothing', Buffer.alloc(0), /is empty/],
    ['bytes', Buffer.from([0xff, 0xfe]), /UTF-8/],
    ['a text', Buffer.from('hello'), /isn't JSON/],
    ['an array', Buffer.from('[]'), /JSON object/],
    ['null', Buffer.from('null'), /JSON object/],
    ['no id', hookBody('build.complete', BUILD, { id: undefined }), /its id/],
    ['a number as id', hookBody('build.complete', BUILD, { id: 7 }), /its id/],
    ['an empty id', hookBody('build.complete', BUILD, { id: '' }), /its id/],
    ['a long id', hookBody('build.complete', BUILD, { id: 'x'.repeat(257) }), /its id/],
    ['an id with a line break', hookBody('build.complete', BUILD, { id: 'a\r\nb' }), /its id/],
    ['an id that ends with a line break', hookBody('build.complete', BUILD, { id: 'a\n' }), /its id/],
    ['an id beyond ASCII', hookBody('build.complete', BUILD, { id: 'ä' }), /its id/],
    ['no event type', hookBody('build.complete', BUILD, { eventType: undefined }), /eventType/],
    ['an object as event type', hookBody('build.complete', BUILD, { eventType: {} }), /eventType/],
    [
      'an invalid project id',
      hookBody('build.complete', BUILD, { resourceContainers: { project: { id: 'a.b' } } }),
      /its project id/,
    ],
  ];
  for (const [name, body, problem] of unusable) {
    test(name, () => {
      const hook = readHook(body);
      assert.equal(hook.kind, 'unusable');
      assert.match(hook.problem, problem);
    });
  }

  test('ids may have 1 to 256 printable characters', () => {
    for (const id of ['~', ' !"#'.repeat(64)]) {
      const message = eventOf(buildBody(id));
      assert.equal(new DecodedEvent(received(message)).attributes['id'], id);
    }
  });

  test('a resource of another project does not name the project', () => {
    const hook = hookOf(hookBody('build.complete', { project: { id: 'other', name: 'Payments' } }));
    assert.equal(hook.projectName(SHOP.id), undefined);
    assert.equal(hookOf(buildBody()).projectName(SHOP.id.toUpperCase()), 'Shop');
    assert.equal(hookOf(hookBody('git.push', PUSH)).projectName(SHOP.id), 'Shop');
  });
});
