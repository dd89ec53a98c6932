import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { NO_PUBLISHER, stampExtension, stampTask, taskVersion, type Channel } from '../../scripts/build/channels.ts';
import {
  BRIDGE_FOLDER,
  AGENTLESS_TASK,
  connectionTypesOf,
  readExtension,
  readJson,
  readTask,
  ROOT,
  TASK_NAMES,
  type PackageManifest,
} from '../../scripts/build/manifest.ts';
import { learnSecrets } from '../../tasks/agent/secrets.ts';
import { FakeAgent } from '../support/agent/fakeAgent.ts';

const project = readJson('package.json') as PackageManifest;
const extension = readExtension();
const [connection, bridge] = connectionTypesOf(extension);
const schemes = Object.fromEntries(
  connection.authenticationSchemes.map(({ type, displayName, inputDescriptors }) => [
    type.replace('ms.vss-endpoint.endpoint-auth-scheme-', ''),
    { displayName, fields: Object.fromEntries(inputDescriptors.map((field) => [field.id, field])) },
  ]),
);

test("the extension has its public identity, asks for no scope and keeps the Marketplace's limits", () => {
  assert.equal(extension.id, 'nats-event-tasks');
  assert.equal(extension.name, 'Event Tasks for NATS');
  assert.deepEqual(extension.categories, ['Azure Pipelines']);
  assert.equal(extension.scopes, undefined);
  assert.ok(extension.description.length <= 200);
  assert.equal(extension.version, '0.0.0', 'the manifest has a version of its own; only package.json may');
});

test('each task is contributed from its own folder, and each contribution has its own id', () => {
  const tasks = extension.contributions.filter(({ type }) => type === 'ms.vss-distributed-task.task');
  assert.deepEqual(
    tasks.map(({ properties }) => properties.name),
    [...TASK_NAMES, AGENTLESS_TASK],
  );
  for (const task of [...TASK_NAMES, AGENTLESS_TASK]) {
    assert.ok(existsSync(path.join(ROOT, 'tasks', task, 'task.json')));
    assert.ok(extension.files.some((file) => file.path === task));
  }
  assert.equal(new Set(extension.contributions.map(({ id }) => id)).size, extension.contributions.length);
});

test('both tasks accept the connection type that the extension contributes', () => {
  assert.equal(connection.name, 'NatsServer');
  assert.equal(connection.displayName, 'NATS');
  assert.equal(connection.isVerifiable, false, 'Azure DevOps can verify HTTP servers only');
  for (const task of TASK_NAMES) {
    const input = readTask(task).inputs.find(({ name }) => name === 'natsConnection');
    assert.equal(input?.type, `connectedService:${connection.name}`);
  }
});

test('a connection to a bridge sends a bearer token, and Verify checks that it reaches a bridge', () => {
  assert.deepEqual([bridge.name, bridge.displayName], ['NatsBridge', 'NATS Bridge']);
  const [scheme, ...others] = bridge.authenticationSchemes;
  assert.deepEqual(others, []);
  assert.equal(scheme?.type, 'ms.vss-endpoint.endpoint-auth-scheme-token');
  // Without it, Azure DevOps sends the token alone.
  assert.deepEqual(scheme.headers, [{ name: 'Authorization', value: 'Bearer {{{endpoint.apitoken}}}' }]);
  assert.deepEqual(
    scheme.inputDescriptors.map(({ id, isConfidential, validation }) => [id, isConfidential, validation.isRequired]),
    [['apitoken', true, true]],
  );
  assert.deepEqual(
    bridge.dataSources?.map(({ name, endpointUrl }) => [name, endpointUrl]),
    [['TestConnection', '{{endpoint.url}}/v1/whoami']],
  );
  assert.equal(readTask(AGENTLESS_TASK).inputs[0]?.type, `connectedService:${bridge.name}`);
});

test('the icons are addressable PNGs of the size that the Marketplace requires', () => {
  const images = extension.files.find((file) => file.path === 'images');
  assert.equal(images?.addressable, true);
  for (const [file, size] of [
    [extension.icons.default, 128],
    [connection.icon, 32],
    [bridge.icon, 32],
  ] as const) {
    const bytes = readFileSync(path.join(ROOT, file));
    assert.deepEqual([bytes.readUInt32BE(16), bytes.readUInt32BE(20)], [size, size], file);
  }
});

test('the sign-in schemes are those of the public interface', () => {
  const shape = Object.entries(schemes).map(([scheme, { displayName, fields }]) => [
    scheme,
    displayName,
    Object.values(fields).map(({ id, validation }) => id + (validation.isRequired ? '' : '?')),
  ]);
  assert.deepEqual(shape, [
    ['none', 'Credentials file, NKey, or no secret', ['credentials?']],
    ['token', 'Token', ['apitoken']],
    ['basic', 'User name and password', ['username', 'password']],
    ['cert', 'Client certificate', ['certificate', 'privateKey', 'credentials?']],
  ]);
});

test('every secret is an authentication parameter, which the agent masks, and no plain field is confidential', () => {
  const fields = Object.values(schemes).flatMap((scheme) => Object.values(scheme.fields));
  for (const field of fields) assert.equal(field.isConfidential, field.id !== 'username', field.id);
  for (const { id } of fields.filter(({ isConfidential }) => isConfidential)) {
    const secret = `what the field ${id} holds`;
    const nats = { url: 'nats://localhost', scheme: 'None', parameters: { [id]: secret } };
    const agent = new FakeAgent({ inputs: { natsConnection: 'nats' }, connections: { nats } });
    learnSecrets(agent);
    assert.ok(agent.masked.has(secret), `tasks/agent/secrets.ts has not learned of ${id}`);
  }
  assert.deepEqual(
    connection.inputDescriptors.map(({ id, isConfidential, validation }) => [
      id,
      isConfidential,
      validation.isRequired,
    ]),
    [
      'servers',
      'caCertificate',
      'tlsFirst',
      'oidc',
      'entraTenantId',
      'entraClientId',
      'entraScope',
      'entraAuthority',
      'inboxPrefix',
      'jetStreamDomain',
      'publishSubjects',
      'waitSubjects',
    ].map((id) => [id, false, false]),
  );
});

test('multi-line fields have a text area, and no secret field is too short for a JWT', () => {
  const all = [
    ...connection.inputDescriptors,
    ...Object.values(schemes).flatMap(({ fields }) => Object.values(fields)),
  ];
  for (const { id, inputMode, validation } of all) {
    const lines = [
      'credentials',
      'certificate',
      'privateKey',
      'caCertificate',
      'servers',
      'publishSubjects',
      'waitSubjects',
    ];
    assert.equal(inputMode === 'textarea', lines.includes(id), id);
    assert.equal(validation.maxLength, undefined, id);
  }
});

test('the dev channel is private, and shares no id with the prod channel', () => {
  const idsOf = (channel: Channel) => {
    const stamped = stampExtension(extension, project, channel);
    const types = connectionTypesOf(stamped);
    const tasks = ([...TASK_NAMES, AGENTLESS_TASK] as const).map((task) => stampTask(readTask(task), project, channel));
    for (const task of tasks) {
      const { name } = types[task.name === AGENTLESS_TASK ? 1 : 0];
      assert.equal(task.inputs[0]?.type, `connectedService:${name}`, `${channel}: ${task.name}`);
    }
    assert.equal(stamped.public, channel === 'prod');
    assert.equal(stamped.publisher, channel === 'prod' ? project.publisher : `${project.publisher}-dev`);
    return [
      stamped.id,
      stamped.name,
      ...types.flatMap(({ name, displayName }) => [name, displayName]),
      ...tasks.flatMap((task) => [task.id, task.friendlyName]),
    ];
  };
  const ids = [...idsOf('prod'), ...idsOf('dev')];
  assert.equal(new Set(ids).size, ids.length, ids.join(', '));
  assert.deepEqual(idsOf('dev').slice(0, 6), [
    'nats-event-tasks-dev',
    'Event Tasks for NATS (Dev)',
    'NatsServerDev',
    'NATS (Dev)',
    'NatsBridgeDev',
    'NATS Bridge (Dev)',
  ]);
  for (const task of [...TASK_NAMES, AGENTLESS_TASK] as const)
    assert.ok(stampTask(readTask(task), project, 'dev').friendlyName.length <= 40);
});

test('the extension, the tasks and the bridge share the version of package.json', () => {
  const ofBridge = JSON.parse(readFileSync(path.join(BRIDGE_FOLDER, 'package.json'), 'utf8')) as { version: string };
  const lock = readJson('package-lock.json') as { version: string; packages: Record<string, { version: string }> };
  const versions = {
    'vss-extension.json': stampExtension(extension, project, 'prod').version,
    'the dev channel': stampExtension(extension, project, 'dev').version,
    'the bridge': ofBridge.version,
    'package-lock.json': lock.version,
    'its first package': lock.packages['']?.version,
    ...Object.fromEntries(
      ([...TASK_NAMES, AGENTLESS_TASK] as const).map((task) => {
        const { Major, Minor, Patch } = stampTask(readTask(task), project, 'prod').version;
        return [task, `${Major}.${Minor}.${Patch}`];
      }),
    ),
  };
  for (const [what, version] of Object.entries(versions)) assert.equal(version, project.version, what);
});

test("a version is three numbers, and its major is the one after a task's name in YAML", () => {
  assert.deepEqual(taskVersion('1.20.3'), { Major: 1, Minor: 20, Patch: 3 });
  for (const wrong of ['1.0', '1.0.0-rc.1', '1.01.0', '', '0.1.0', '2.0.0'])
    assert.throws(() => taskVersion(wrong), /isn't 1\.y\.z/, wrong);
});

test('links come from the URLs in package.json; without those there are none', () => {
  const bare: PackageManifest = { version: '1.0.0', license: 'MIT', publisher: 'x' };
  const homepage = 'https://docs.example/nats';
  const without = stampExtension(extension, bare, 'prod');
  assert.deepEqual([without.links, without.repository], [undefined, undefined]);

  const issues = 'https://github.com/owner/name/issues';
  const privacyPolicy = 'https://docs.example/privacy';
  const repository = { type: 'git', url: 'git+https://github.com/owner/name.git' };
  const all = stampExtension(
    extension,
    { ...bare, homepage, repository, bugs: { url: issues }, privacyPolicy },
    'prod',
  );
  assert.deepEqual(all.links, {
    learn: { uri: homepage },
    support: { uri: issues },
    issues: { uri: issues },
    privacypolicy: { uri: privacyPolicy },
  });
  assert.deepEqual(all.repository, { type: 'git', uri: 'https://github.com/owner/name' });
});

test("each task's form links to the documentation, otherwise to the Marketplace page if there is one", () => {
  const bare: PackageManifest = { version: '1.0.0', license: 'MIT', publisher: 'x' };
  const homepage = 'https://docs.example/nats';
  for (const name of [...TASK_NAMES, AGENTLESS_TASK] as const) {
    const helpOf = (manifest: PackageManifest, channel: Channel) => {
      const { helpUrl, helpMarkDown } = stampTask(readTask(name), manifest, channel);
      assert.equal(helpMarkDown, `[Learn more about this task](${helpUrl})`);
      return helpUrl;
    };
    assert.equal(helpOf({ ...bare, homepage }, 'prod'), homepage);
    const unpublished = stampTask(readTask(name), { ...bare, publisher: NO_PUBLISHER }, 'prod');
    assert.deepEqual([unpublished.helpUrl, unpublished.helpMarkDown], [undefined, undefined]);
    const item = 'https://marketplace.visualstudio.com/items?itemName=';
    for (const channel of ['prod', 'dev'] as const) {
      const { publisher, id } = stampExtension(extension, bare, channel);
      assert.equal(helpOf(bare, channel), `${item}${publisher}.${id}`);
    }
  }
});
