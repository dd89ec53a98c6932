import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  corePublishGrants,
  coreWaitGrants,
  deniedError,
  deniedToService,
  streamPublishGrants,
  streamWaitGrants,
} from '../../../../shared/nats/permissions.ts';

test('a refused publish to core NATS names the subject, and the block grants nothing else', () => {
  const error = deniedError('publish', 'ci.built.v1', corePublishGrants('ci.built.v1'));
  assert.equal(
    error.message,
    'Denied: The NATS server does not let this user publish to "ci.built.v1". Grant it publish permission for "ci.built.v1"; the log above shows all the permissions this step needs.',
  );
  assert.deepEqual(error.details, [
    'Permissions this step needs, for its user in the NATS server configuration:',
    'permissions: {',
    '  publish: { allow: [',
    '    "ci.built.v1"',
    '  ] }',
    '  subscribe: { deny: ">" }',
    '}',
  ]);
});

test('a refused wait on core NATS names the pattern, and the block denies publishing', () => {
  const error = deniedError('subscription', 'ci.>', coreWaitGrants(['ci.>', 'qa.*']));
  assert.match(error.problem, /does not let this user subscribe to "ci\.>"$/);
  assert.match(error.remedy, /^Grant it subscribe permission for "ci\.>"/);
  assert.deepEqual(error.details.slice(1), [
    'permissions: {',
    '  publish: { deny: ">" }',
    '  subscribe: { allow: [',
    '    "ci.>"',
    '    "qa.*"',
    '  ] }',
    '}',
  ]);
});

test('publishing to a stream needs the subject and an inbox for the acknowledgement', () => {
  const error = deniedError(
    'subscription',
    '_INBOX.ci.abc.*',
    streamPublishGrants('ci.built.v1', '$JS.hub.API', '_INBOX.ci'),
  );
  assert.equal(
    error.remedy,
    'Grant it subscribe permission for "_INBOX.ci.*.*"; the log above shows all the permissions this step needs. Answers arrive there: if this user may subscribe to another prefix, set the field inboxPrefix of the connection to it (now "_INBOX.ci").',
  );
  assert.deepEqual(error.details.slice(1), [
    'permissions: {',
    '  publish: { allow: [',
    '    "ci.built.v1"',
    '    "$JS.hub.API.STREAM.NAMES"  # optional: tells a missing stream from one without a leader',
    '  ] }',
    '  subscribe: { allow: [',
    '    "_INBOX.ci.*.*"',
    '  ] }',
    '}',
  ]);
});

for (const [refused, filter, named, grant] of [
  ['$JS.API.STREAM.NAMES', 'ci.>', false, '$JS.API.STREAM.NAMES'],
  ['$JS.API.STREAM.INFO.CI', 'ci.>', true, '$JS.API.STREAM.INFO.CI'],
  ['$JS.API.CONSUMER.CREATE.CI.abc-1.ci.>', 'ci.>', true, '$JS.API.CONSUMER.CREATE.CI.*.ci.>'],
  ['$JS.API.CONSUMER.CREATE.CI.abc-1', undefined, true, '$JS.API.CONSUMER.CREATE.CI.*'],
  ['$JS.API.CONSUMER.MSG.NEXT.CI.abc-1', 'ci.>', true, '$JS.API.CONSUMER.MSG.NEXT.CI.*'],
] as const) {
  test(`a wait that may not use ${refused} asks for ${grant}`, () => {
    const grants = streamWaitGrants('$JS.API', 'CI', named, filter, '_INBOX');
    const error = deniedError('publish', refused, grants);
    assert.ok(error.problem.includes(JSON.stringify(refused)));
    assert.ok(error.remedy.includes(`publish permission for ${JSON.stringify(grant)};`), error.remedy);
    assert.ok(error.details.includes(`    ${JSON.stringify(grant)}`));
  });
}

test("a stream that isn't known yet gets a placeholder, and the log says so", () => {
  const grants = streamWaitGrants('$JS.API', '<stream>', false, undefined, '_INBOX');
  const { details } = deniedError('publish', '$JS.API.STREAM.NAMES', grants);
  assert.equal(
    details[0],
    'Permissions this step needs, for its user in the NATS server configuration, with the name of the stream in the place of <stream>:',
  );
  assert.ok(details.includes('    "$JS.API.STREAM.INFO.<stream>"'));
});

test("a wait on a named stream needn't list streams, and no permission goes beyond that stream", () => {
  const { publish, subscribe, optional } = streamWaitGrants('$JS.hub.API', 'CI', true, 'ci.*', '_INBOX');
  assert.deepEqual(publish, [
    '$JS.hub.API.STREAM.INFO.CI',
    '$JS.hub.API.CONSUMER.CREATE.CI.*.ci.*',
    '$JS.hub.API.CONSUMER.MSG.NEXT.CI.*',
  ]);
  assert.deepEqual(subscribe, ['_INBOX.*.*']);
  assert.deepEqual(
    optional!.map(({ subject }) => subject),
    ['$JS.hub.API.CONSUMER.DELETE.CI.*'],
  );
});

test("a service without permission to ack is shown the pattern for all the consumer's messages", () => {
  for (const [subject, grant] of [
    ['$JS.ACK.CI.bridge-web.1.7.7.1767225600000000000.0', '$JS.ACK.CI.bridge-web.>'],
    ['$JS.ACK.hub.ABCD12.CI.bridge-web.1.7.7.1767225600000000000.0.xyz', '$JS.ACK.*.*.CI.bridge-web.>'],
    ['$JS.ACK.CI', '$JS.ACK.CI'],
  ] as const)
    assert.equal(deniedToService('publish', subject).remedy, `Grant it publish permission for "${grant}".`);
});

test('a service that may not subscribe to its inbox is shown the prefix and the pattern for all its inboxes', () => {
  assert.equal(
    deniedToService('subscription', '_INBOX_b.abc.0').remedy,
    'Grant it subscribe permission for "_INBOX_b.*.*". Answers arrive there: if this user may subscribe to another prefix, set nats.inboxPrefix to it.',
  );
  assert.equal(deniedToService('publish', 'ci.built').remedy, 'Grant it publish permission for "ci.built".');
});
