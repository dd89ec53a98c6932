import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { entriesFor } from '../../bridge/hooks/configuredEvents.ts';
import { KNOWN_EVENTS } from '../../bridge/hooks/families.ts';
import { readHook } from '../../bridge/hooks/hook.ts';
import { hookEvent, subjectToken } from '../../bridge/hooks/hookEvent.ts';
import { organizationTest } from '../../bridge/hooks/organization.ts';
import { encodeHeaders } from '../../shared/nats/publishing/messageFrames.ts';
import { subjectProblem } from '../../shared/subject.ts';
import { ORGANIZATION, SHOP } from '../support/bridge/hookPosts.ts';
import { cases, parameters } from '../support/hostile/hostile.ts';
import { anyCharacter } from '../support/hostile/hostileText.ts';
import { basic, Receiver, SECRET } from '../support/bridge/hookReceiver.ts';

const RUNS = cases({ short: 1_000, long: 200_000 });
const SETTINGS = { subjectPrefix: 'azdo', stream: 'AZDO', ...ORGANIZATION };
const EVENTS = [...KNOWN_EVENTS.keys()];
const ENTRIES = EVENTS.map((event) => ({
  event,
  project: '*',
  inputs: {
    definitionName: 'x',
    branch: 'x',
    areaPath: 'x',
    stageNameId: 'x',
    releaseApprovalType: '1',
    toString: 'x',
  },
}));

/** What attackers and accidents put in place of a string or a number. */
const odd = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom('', ' ', '\r\nNats-Rollup: all', '>', '*', '..', '$JS', '\ud800', '\u0000', '__proto__', -0, 1e308),
  fc.string({ unit: anyCharacter, maxLength: 300 }),
  fc.nat().map((length) => 'x'.repeat(length % 70_000)),
);
const orGood = <Value>(...good: readonly Value[]) => fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...good) }, odd);
const nested = (...names: readonly string[]) =>
  fc.record(Object.fromEntries(names.map((name) => [name, odd])), { requiredKeys: [] });

/** Objects where the bridge expects them, with anything inside. */
const resource = fc.oneof(
  odd,
  fc.record(
    {
      ...{
        id: odd,
        run: nested('id', 'state', 'requestedFor'),
        stage: nested('name', 'state'),
        job: nested('id', 'state'),
      },
      ...{ definition: nested('name'), pipeline: nested('id', 'name'), project: nested('id', 'name'), projectId: odd },
      ...{
        repository: fc.record({ id: odd, project: nested('id', 'name') }),
        refUpdates: fc.array(nested('name', 'newObjectId')),
      },
      ...{ fields: nested('System.AreaPath', 'System.WorkItemType'), release: nested('id', 'releaseDefinition') },
    },
    { requiredKeys: [] },
  ),
);
const container = fc.oneof(odd, fc.record({ id: orGood(SHOP.id), baseUrl: orGood(ORGANIZATION.organization) }));
const body = fc
  .record(
    {
      ...{ id: orGood('an-id'), eventType: orGood(...EVENTS), resource, createdDate: orGood('2026-11-28T12:00:00Z') },
      resourceContainers: fc.oneof(odd, fc.record({ project: container, account: container, collection: container })),
      __proto__: odd,
    },
    { requiredKeys: [] },
  )
  .map((value) => Buffer.from(JSON.stringify(value)));
const anyBody = fc.oneof(
  { weight: 8, arbitrary: body },
  { weight: 1, arbitrary: odd.map((value) => Buffer.from(JSON.stringify(value))) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 2_000 }) },
);

test('hostile bodies become events with a valid subject and valid headers, or are unusable', () => {
  let hooks = 0;
  fc.assert(
    fc.property(anyBody, odd, (bytes, name) => {
      const hook = readHook(bytes);
      if (hook.kind === 'unusable') return;
      hooks++;
      entriesFor(hook, ENTRIES);
      hook.organizationUrls.forEach(organizationTest(ORGANIZATION.organization));
      const projectName = hook.projectName(SHOP.id) ?? JSON.stringify(name).slice(0, 256);
      const project = { id: SHOP.id, name: projectName, token: subjectToken(projectName) };
      const message = hookEvent(hook, bytes, project, SETTINGS, undefined);
      assert.equal(subjectProblem(message.subject, 'subject'), undefined, message.subject);
      assert.match(message.subject, /^[\w.-]+$/);
      assert.equal(message.payload, bytes);
      const headers = encodeHeaders(message.headers);
      assert.ok(headers.length < 32_768, `${headers.length} bytes of headers`);
      assert.equal(headers.toString('latin1').split('\r\n').length, message.headers.length + 3);
    }),
    parameters(RUNS),
  );
  assert.ok(hooks > RUNS / 5, `only ${hooks} of them were hooks`);
});

test('hostile posts are answered with 200 or 401', async () => {
  const receiver = new Receiver({ events: ENTRIES, sharedSecret: true });
  const answers = new Map<number, number>();
  const headers = fc.record(
    {
      authorization: fc.oneof(
        { weight: 5, arbitrary: fc.constant(basic('hooks', SECRET).authorization) },
        fc.string(),
        fc.base64String(),
      ),
      'content-type': fc.oneof(fc.string(), fc.array(fc.string())),
      'x-vss-subscriptionid': fc.string({ unit: anyCharacter }),
    },
    { requiredKeys: [] },
  );
  await fc.assert(
    fc.asyncProperty(anyBody, headers, async (bytes, given) => {
      receiver.now += 1_000;
      const { status } = await receiver.post(bytes, given);
      assert.ok(status === 200 || status === 401, String(status));
      answers.set(status, (answers.get(status) ?? 0) + 1);
      const message = receiver.publisher.stored.at(-1);
      if (message === undefined) return;
      assert.equal(subjectProblem(message.subject, 'subject'), undefined, message.subject);
      encodeHeaders(message.headers);
      receiver.publisher.stored.length = 0;
    }),
    parameters(RUNS),
  );
  assert.ok((answers.get(200) ?? 0) > RUNS / 5 && (answers.get(401) ?? 0) > RUNS / 20, JSON.stringify([...answers]));
});

test('bodies of 2 MiB take less than two seconds', () => {
  const megabytes = 2 * 1_024 * 1_024;
  const start = '{"id":"1","eventType":"git.push","resource":';
  const bodies: Readonly<Record<string, string>> = {
    depth: `${start}${'['.repeat(megabytes / 2)}${']'.repeat(megabytes / 2)}}`,
    objects: `${start}${'{"run":'.repeat(megabytes / 8)}1${'}'.repeat(megabytes / 8)}}`,
    updates: `${start}{"refUpdates":[${'{"name":"refs/heads/main"},'.repeat(megabytes / 28)}{}]}}`,
    keys: `${start}{${Array.from({ length: megabytes / 12 }, (_, index) => `"k${index}":1,`).join('')}"id":1}}`,
    text: `${start}"${'\\ud800'.repeat(megabytes / 6)}"}`,
    id: `{"id":"${'x'.repeat(megabytes)}"}`,
    eventType: `{"id":"1","eventType":"${'ä'.repeat(megabytes / 2)}"}`,
    name: `${start}{"project":{"name":"${'\u{1f600}'.repeat(megabytes / 4)}"}}}`,
  };
  for (const [name, text] of Object.entries(bodies)) {
    const bytes = Buffer.from(text);
    // CPU time, because other work on the machine doesn't count.
    const before = process.cpuUsage();
    const hook = readHook(bytes);
    if (hook.kind === 'hook') {
      entriesFor(hook, ENTRIES);
      const project = { ...SHOP, token: subjectToken(hook.projectName(SHOP.id) ?? '') };
      hookEvent(hook, bytes, project, SETTINGS, undefined);
    }
    const { user, system } = process.cpuUsage(before);
    const ms = (user + system) / 1_000;
    assert.ok(ms < 2_000, `${name}: ${ms} ms`);
  }
});
