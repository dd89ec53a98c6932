import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { DiscardPolicy, RetentionPolicy, StorageType, type StreamConfig } from 'nats';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { parseDuration } from '../../../shared/text/duration.ts';
import type { CommandRun } from '../../support/bridge/bridgeProcess.ts';
import { runHere } from '../../support/bridge/commandsHere.ts';
import { configurationFile } from '../../support/bridge/configurationFile.ts';
import { json, startFakeServer } from '../../support/bridge/fakeServer.ts';
import {
  natsServerBinary,
  startNatsCluster,
  startNatsServer,
  type NatsServer,
  type NatsServerOptions,
} from '../../support/nats/natsServer.ts';
import { Admin } from '../../support/nats/testStream.ts';

const MIB = 1_024 * 1_024;
const WAITS_ENV = { TOKEN: 'a-token-of-some-length', KEY: Buffer.alloc(32, 7).toString('base64') };
const env = { PAT: 'check-test-pat', HOOK: 'a hook secret of some length' };

/** An Azure DevOps that knows the bridge; returns the URL of its organization. */
async function startAzureDevOps(t: TestContext, status = 200): Promise<string> {
  const { port } = await startFakeServer(t, (_, response) =>
    json(response, status, { authenticatedUser: { id: '1b1c' } }),
  );
  return `http://127.0.0.1:${port}/contoso`;
}

function configuration(nats: string, organization: string, more = ''): string {
  return `nats: { servers: [${nats}], user: bridge, passwordEnv: PASSWORD }
azureDevOps: { organization: "${organization}", identity: { kind: pat, patEnv: PAT } }
hooks: { passwordEnvs: [HOOK], events: [{ event: git.push }] }
${more}`;
}

/** A server with one user for the bridge, who has these permissions, and one for the test. */
function serverConfig(permissions = ''): string {
  return `authorization { users: [
    { user: bridge, password: secret${permissions === '' ? '' : `, ${permissions}`} }
    { user: admin, password: admin }
  ] }`;
}

function startServer(options: NatsServerOptions = {}, permissions = ''): Promise<NatsServer> {
  return startNatsServer({ maxPayload: 3 * MIB, config: serverConfig(permissions), ...options });
}

function bridge(args: readonly string[], yaml: string, more = {}): Promise<CommandRun> {
  return runHere(args, configurationFile(yaml), { ...env, PASSWORD: 'secret', ...more });
}

/** What `check` says of a server that can't be asked what a user may do. */
function untold({ version }: Pick<NatsServer, 'version'>): string[] {
  if (!version.startsWith('2.9.')) return [];
  return [
    `warning: permissions of the user: unneeded permissions can't be checked: nats-server ${version} doesn't report them. Compare them with what nats-event-bridge setup prints, or upgrade to nats-server 2.10 or later.`,
  ];
}

function linesOf({ stdout }: CommandRun): string[] {
  return stdout.split('\n').filter(Boolean);
}

/** The block that `setup` prints for the configuration of a server. */
function permissionsIn({ stdout }: CommandRun): string {
  return stdout.slice(stdout.indexOf('permissions: {'));
}

const GRANT_IT = 'Grant it to the user of the bridge; nats-event-bridge setup prints all that it needs.';
const GRANT_THEM = GRANT_IT.replace('it', 'them');

interface Made {
  readonly stream: string;
  readonly consumer?: string;
  readonly config: Readonly<Record<string, unknown>> & { readonly opt_start_time?: number };
}

/** What a command of the NATS CLI creates, with its defaults for options that aren't given. */
function madeBy(command: string): Made {
  const [words = '', ...options] = command.split(' --');
  const values = new Map<string, string[]>();
  for (const option of options) {
    const [name = '', value = ''] = option.split(' ');
    values.set(name, [...(values.get(name) ?? []), value.replaceAll("'", '')]);
  }
  const given = (name: string) => values.get(name)?.[0];
  const nanoseconds = (text: string | undefined) => (parseDuration(text ?? '', Infinity) ?? 0) * 1_000_000;
  const [, kind, , name = '', durable = ''] = words.split(' ');
  if (kind === 'consumer') {
    const filters = values.get('filter') ?? [];
    const start = given('deliver') ?? '';
    const ago = parseDuration(start);
    return {
      stream: name,
      consumer: durable,
      config: {
        deliver_policy: ago === undefined ? start : 'by_start_time',
        ...(ago !== undefined && { opt_start_time: Date.now() - ago }),
        ack_policy: given('ack'),
        ack_wait: nanoseconds(given('wait')),
        max_ack_pending: Number(given('max-pending')),
        max_deliver: Number(given('max-deliver')),
        filter_subject: filters.length === 1 ? filters[0] : undefined,
        filter_subjects: filters.length > 1 ? filters : undefined,
      },
    };
  }
  const isBucket = kind === 'kv';
  return {
    stream: isBucket ? `KV_${name}` : name,
    config: {
      subjects: isBucket ? [`$KV.${name}.>`] : values.get('subjects'),
      retention: given('retention') ?? 'limits',
      storage: given('storage'),
      discard: given('discard') ?? 'new',
      max_age: nanoseconds(given(isBucket ? 'ttl' : 'max-age')),
      max_bytes: Number(given('max-bucket-size') ?? -1),
      max_msgs: -1,
      max_msg_size: -1,
      max_msgs_per_subject: Number(given('history') ?? -1),
      num_replicas: Number(given('replicas')),
      duplicate_window: nanoseconds(given('dupe-window') ?? '2m'),
      allow_direct: isBucket || values.has('allow-direct'),
      allow_rollup_hdrs: isBucket,
      deny_delete: isBucket,
    },
  };
}

describe('setup', () => {
  for (const line of ['2.9', '2.10', '2.15'] as const)
    test(`creates what check asks for, with the permissions it prints, on nats-server ${line}`, async (t) => {
      const organization = await startAzureDevOps(t);
      const binary = natsServerBinary(line);
      await using server = await startServer({ binary });
      const yaml = configuration(server.url, organization, 'streams: { BRIDGE_AUDIT: { maxAge: 40d } }\n');
      const printed = await bridge(['setup'], yaml);
      assert.equal(printed.status, 0);
      await server.reload(serverConfig(permissionsIn(printed)));

      const before = await bridge(['check'], yaml);
      assert.equal(before.status, 1);
      const missing = ['bucket BRIDGE_PROJECTS', 'stream AZDO', 'stream BRIDGE_AUDIT', 'stream BRIDGE_DEAD'].map(
        (about) => `error: ${about}: it doesn't exist. Create it: nats-event-bridge setup --apply.`,
      );
      assert.deepEqual(linesOf(before).sort(), [...missing, ...untold(server)]);

      const applied = await bridge(['setup', '--apply'], yaml);
      assert.equal(applied.status, 0, applied.stderr);
      assert.equal(applied.stdout, printed.stdout);
      const after = await bridge(['check'], yaml);
      assert.deepEqual([after.status, linesOf(after)], [0, untold(server)]);
      assert.match(after.stderr, line === '2.9' ? /^No problems, 1 warning\.$/m : /^No problems\.$/m);

      await using admin = await Admin.connect([server.url], { user: 'admin', pass: 'admin' });
      const { config } = await admin.manager.streams.info('AZDO');
      const DAY_NS = 86_400_000_000_000;
      assert.deepEqual(
        [config.subjects, config.duplicate_window, config.max_age, config.storage, config.retention, config.discard],
        [['azdo.>'], DAY_NS / 24, 30 * DAY_NS, 'file', 'limits', 'old'],
      );
      assert.equal((await admin.manager.streams.info('BRIDGE_AUDIT')).config.max_age, 40 * DAY_NS);
      const bucket = await admin.connection.jetstream().views.kv('BRIDGE_PROJECTS', { bindOnly: true });
      assert.equal(await bucket.create('a.key', 'x'), 1);
      await assert.rejects(bucket.create('a.key', 'y'));
    });

  test('leaves what exists alone, and creates the rest', async (t) => {
    await using server = await startServer();
    await using admin = await Admin.connect([server.url], { user: 'admin', pass: 'admin' });
    await admin.stream('AZDO', { subjects: ['mine.>'], max_msgs: 7 });
    const yaml = configuration(server.url, await startAzureDevOps(t));
    const { status, stdout, stderr } = await bridge(['setup', '--apply'], yaml);
    assert.equal(status, 0);
    assert.match(
      stderr,
      /^stream AZDO: it is there, and left as it is, but it takes "mine\.>", not "azdo\.>"\. Change it with the NATS CLI: nats stream edit AZDO --subjects 'mine\.>' --subjects 'azdo\.>'\.$/m,
    );
    assert.match(stderr, /^bucket BRIDGE_PROJECTS: created\.$/m);
    // It prints what was missing, and a second time nothing.
    const commands = stdout.split('\n').filter((line) => line.startsWith('nats '));
    assert.deepEqual(
      commands.map((line) => line.split(' ')[3]),
      ['BRIDGE_PROJECTS', 'BRIDGE_AUDIT', 'BRIDGE_DEAD'],
    );
    const again = await bridge(['setup', '--apply'], yaml);
    assert.deepEqual([again.status, again.stdout], [0, '']);
    assert.match(
      again.stderr,
      /^There already, and left as they are: bucket BRIDGE_PROJECTS, stream BRIDGE_AUDIT, stream BRIDGE_DEAD\.$/m,
    );
    const { config } = await admin.manager.streams.info('AZDO');
    assert.deepEqual([config.subjects, config.max_msgs], [['mine.>'], 7]);
  });

  test('creates the requested streams, leaves existing ones alone, and says how they differ', async (t) => {
    await using server = await startServer();
    await using admin = await Admin.connect([server.url], { user: 'admin', pass: 'admin' });
    await admin.stream('OURS', { subjects: ['ours.>', 'also'] });
    const yaml = configuration(server.url, await startAzureDevOps(t));
    const asked = (...streams: string[]) => streams.flatMap((stream) => ['--create-stream', stream]);
    const options = asked('CI=ci.>,done.*', 'OURS=also,ours.>');
    const printed = await bridge(['setup', ...options], yaml);
    assert.equal(printed.status, 0);
    assert.match(
      printed.stdout,
      /^nats stream add CI --subjects 'ci\.>' --subjects 'done\.\*' --storage file --replicas 1 /m,
    );
    await assert.rejects(admin.manager.streams.info('CI'), /stream not found/);
    await server.reload(serverConfig(permissionsIn(await bridge(['setup'], yaml))));
    const refused = await bridge(['setup', '--apply', ...asked('CI=ci.>')], yaml);
    assert.equal(refused.status, 1);
    assert.match(
      refused.stderr,
      /^stream CI: it can't be looked at: the user may not publish to \$JS\.API\.STREAM\.INFO\.CI\. Creating it takes permission to publish to "\$JS\.API\.STREAM\.INFO\.CI" and "\$JS\.API\.STREAM\.CREATE\.CI": setup prints both when it is given this --create-stream\.$/m,
    );
    // With no more permissions than it prints.
    await server.reload(serverConfig(permissionsIn(printed)));
    const applied = await bridge(['setup', '--apply', ...options], yaml);
    assert.equal(applied.status, 0, applied.stderr);
    assert.match(applied.stderr, /^stream CI: created\.$/m);
    assert.match(applied.stderr, /^There already, and left as they are: stream OURS, stream AZDO, /m);
    const { config } = await admin.manager.streams.info('CI');
    assert.deepEqual(
      [config.subjects, config.storage, config.retention, config.discard, config.max_age, config.num_replicas],
      [['ci.>', 'done.*'], 'file', 'limits', 'old', 0, 1],
    );
    assert.equal(config.allow_direct, true);

    const differs = await bridge(['setup', '--apply', ...asked('OURS=ours.>')], yaml);
    assert.equal(differs.status, 1);
    assert.match(
      differs.stderr,
      /^stream OURS: it is there, and left as it is, but takes "ours\.>", "also", not "ours\.>"\. Leave out its --create-stream, or change the stream with the NATS CLI: nats stream edit OURS --subjects 'ours\.>'\.$/m,
    );
    assert.deepEqual((await admin.manager.streams.info('OURS')).config.subjects, ['ours.>', 'also']);
    const own = await bridge(['setup', '--apply', ...asked('AZDO=azdo.>')], yaml);
    assert.deepEqual(
      [own.status, own.stderr],
      [2, '--create-stream "AZDO": setup creates this stream without it. Leave the option out.\n'],
    );
  });

  test('prints commands that create what --apply creates, and check says what breaks a promise', async (t) => {
    // Servers before 2.10 know no list of filters.
    await using server = await startServer({ binary: natsServerBinary('2.15') });
    await using admin = await Admin.connect([server.url], { user: 'admin', pass: 'admin' });
    const organization = await startAzureDevOps(t);
    const start = Date.now() - 3_600_000;
    const route = 'stream: CI, pipeline: { project: Shop, id: 7 }, parameters: { natsEventId: event.id }';
    const yaml = `${configuration(server.url, organization)}streams: { AZDO: { maxAge: 2d } }
runs:
  - { name: one, subject: ci.done, ${route} }
  - { name: all, subject: [ci.a, ci.b], startFrom: all, ${route} }
  - { name: since, subject: ['ci.>', ci.a], startFrom: '${new Date(start).toISOString()}', ${route} }
waits:
  organizations: ["${organization}/"]
  tokenEnvs: [TOKEN]
  sealingKeyEnvs: [KEY]
  rules: [{ projects: [Shop], pipelines: ['*'], subjects: [ci.>] }]
`;
    const run = (...args: readonly string[]) => bridge(args, yaml, WAITS_ENV);
    const applied = await run('setup', '--apply', '--create-stream', 'CI=ci.>');
    assert.equal(applied.status, 0, applied.stderr);
    const commands = applied.stdout.split('\n').filter((line) => line.startsWith('nats '));
    assert.equal(commands.length, 10);
    for (const command of commands) {
      const { stream, consumer, config } = madeBy(command);
      const { config: is } =
        consumer === undefined
          ? await admin.manager.streams.info(stream)
          : await admin.manager.consumers.info(stream, consumer);
      // The command line knows how long ago a time was, to the second.
      const { opt_start_time: at, ...made } = config;
      if (at !== undefined) assert.ok(Math.abs(at - start) < 30_000, command);
      assert.deepEqual(Object.fromEntries(Object.keys(made).map((key) => [key, is[key as keyof typeof is]])), made);
    }

    const { config } = await admin.manager.streams.info('KV_BRIDGE_INTENTS');
    const mistaken = async (mistake: Partial<StreamConfig>) => {
      await admin.manager.streams.update('KV_BRIDGE_INTENTS', { ...config, ...mistake });
      return linesOf(await run('check')).filter((line) => line.includes(' bucket '));
    };
    assert.deepEqual(await mistaken({ max_age: 0, max_bytes: 10 * MIB }), [
      'warning: bucket BRIDGE_INTENTS: it never forgets, so it fills up and then takes nothing more. Change it with the NATS CLI: nats stream edit KV_BRIDGE_INTENTS --max-age 168h.',
      'warning: bucket BRIDGE_INTENTS: it is full at 10 MiB, not at 512 MiB, and then takes nothing more. Change it with the NATS CLI: nats stream edit KV_BRIDGE_INTENTS --max-bytes 536870912.',
    ]);
    assert.deepEqual(await mistaken({ max_age: 3_600_000_000_000, max_msgs: 7, discard: DiscardPolicy.Old }), [
      'error: bucket BRIDGE_INTENTS: it forgets what is older than 1h, which the bridge needs for 168h. Change it with the NATS CLI: nats stream edit KV_BRIDGE_INTENTS --max-age 168h.',
      'warning: bucket BRIDGE_INTENTS: it is full with 7 keys, and then takes nothing more. Change it with the NATS CLI: nats stream edit KV_BRIDGE_INTENTS --max-msgs=-1.',
      'error: bucket BRIDGE_INTENTS: it drops the oldest once it is full, which the bridge still needs. Change it with the NATS CLI: nats stream edit KV_BRIDGE_INTENTS --discard new.',
    ]);
    assert.deepEqual(await mistaken({}), []);

    // A misspelt subject, in a new route and in one that has its consumer: making that anew would fail.
    const misspelt = yaml
      .replace('subject: ci.done', 'subject: cii.done')
      .replace('waits:', `  - { name: typo, subject: cii.a, ${route} }\nwaits:`);
    const takes = (name: string, subject: string) =>
      `CI takes ci.>, not ${subject}. Correct the subject of route ${name}, or the stream's subjects.`;
    assert.deepEqual(
      linesOf(await bridge(['check'], misspelt, WAITS_ENV)).filter((line) => line.includes(' consumer ')),
      [
        `error: consumer bridge-one of CI: ${takes('one', 'cii.done')}`,
        `error: consumer bridge-typo of CI: ${takes('typo', 'cii.a')}`,
      ],
    );
    const refused = await bridge(['setup', '--apply'], misspelt, WAITS_ENV);
    assert.equal(refused.status, 1);
    assert.ok(
      refused.stderr.includes(`\nconsumer bridge-typo of CI: it can't be created: ${takes('typo', 'cii.a')}\n`),
      refused.stderr,
    );

    assert.ok(
      refused.stderr.includes(
        `\nconsumer bridge-one of CI: it is there, and left as it is, but ${takes('one', 'cii.done')}\n`,
      ),
      refused.stderr,
    );
    const moved = await bridge(['setup', '--apply'], yaml.replace('ci.done', 'ci.new'), WAITS_ENV);
    assert.deepEqual(
      moved.stderr.split('\n').filter((line) => line.startsWith('consumer ')),
      [
        "consumer bridge-one of CI: it is there, and left as it is, but it delivers ci.done, not ci.new. Remove it with the NATS CLI (nats consumer rm CI bridge-one), or rename the route, which then starts a second run for an event that it reads again; then run nats-event-bridge setup --apply. The new one begins at the route's startFrom.",
      ],
    );

    // The stream is the mistake: another one couldn't take what this one has.
    const elsewhere = await bridge(['check'], yaml.replaceAll('stream: CI', 'stream: CJ'), WAITS_ENV);
    assert.deepEqual(
      linesOf(elsewhere).filter((line) => line.includes(' stream CJ')),
      [
        `error: stream CJ: it doesn't exist. The stream CI captures "ci.>". Did you mean it? Correct the stream of routes one, all, since.`,
      ],
    );

    const setUp = await bridge(['setup', '--apply'], yaml.replaceAll('stream: CI', 'stream: CJ'), WAITS_ENV);
    assert.ok(
      setUp.stderr.includes(
        `\nconsumer bridge-one of CJ: its stream doesn't exist. The stream CI captures "ci.>". Did you mean it? Correct the stream of routes`,
      ),
      setUp.stderr,
    );

    // The same for a user who may do nothing with it.
    const least = yaml.slice(0, yaml.indexOf('waits:'));
    const printed = permissionsIn(await bridge(['setup', '--create-stream', 'CI=ci.>'], least));
    assert.equal(printed.match(/STREAM\.INFO\.CI"/g)?.length, 1, printed);
    await server.reload(serverConfig(printed));
    const limited = await bridge(['check'], least.replace('ci.done, stream: CI', 'ci.done, stream: CJ'));
    const denied = ['$JS.API.STREAM.INFO.CJ', '$JS.API.CONSUMER.INFO.CJ.bridge-one', '$JS.ACK.CJ.bridge-one.>'];
    assert.deepEqual(
      linesOf(limited).filter((line) => !line.includes(' route ') || line.includes(' CJ')),
      [
        `error: stream CJ: the user may not publish to ${denied.join(', ')}, $JS.API.CONSUMER.MSG.NEXT.CJ.bridge-one. The stream CI captures "ci.done". Did you mean it? Correct the stream of route one. Otherwise, ${GRANT_THEM.replace('G', 'g')}`,
      ],
    );
  });

  test("says what it couldn't create, and exits with 1", async (t) => {
    await using server = await startServer();
    await using admin = await Admin.connect([server.url], { user: 'admin', pass: 'admin' });
    await admin.stream('OTHER', { subjects: ['azdo.contoso.>'] });
    await admin.stream('TOO', { subjects: ['bridge.decisions.>'] });
    const { status, stderr } = await bridge(
      ['setup', '--apply', '--create-stream', 'MINE=mine,azdo.contoso.*'],
      configuration(server.url, await startAzureDevOps(t)),
    );
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^stream AZDO: it can't be created: subjects overlap with an existing stream \(JetStream error 10065\)\. OTHER captures some of them: name that stream in hooks\.stream or, if that is another bridge's, give this one another instance or hooks\.subjectPrefix\.$/m,
    );
    assert.match(
      stderr,
      /^stream BRIDGE_AUDIT: .* TOO captures some of them: take them from that stream or, if .* another instance\.$/m,
    );
    assert.match(
      stderr,
      /^stream MINE: .*\. OTHER captures some of them: leave them out of --create-stream, or use that stream\.$/m,
    );
    assert.match(stderr, /^stream BRIDGE_DEAD: created\.$/m);
  });

  test('works in a JetStream domain, with the permissions it prints', async (t) => {
    const store = temporaryFolder('domain-');
    const hub = (permissions = '') => `jetstream { store_dir: "${store}", domain: hub }\n${serverConfig(permissions)}`;
    await using server = await startServer({ jetStream: false, config: hub() });
    const yaml = configuration(server.url, await startAzureDevOps(t)).replace(
      'nats: {',
      'nats: { jetStreamDomain: hub,',
    );
    const printed = await bridge(['setup'], yaml);
    await server.reload(hub(permissionsIn(printed)));
    const applied = await bridge(['setup', '--apply'], yaml);
    assert.equal(applied.status, 0, applied.stderr);
    const checked = await bridge(['check'], yaml);
    assert.deepEqual([checked.status, linesOf(checked)], [0, untold(server)]);
    await server.reload(hub());
    const elsewhere = await bridge(['check'], yaml.replace('jetStreamDomain: hub', 'jetStreamDomain: spoke'));
    assert.match(elsewhere.stdout, /^error: JetStream: it isn't there\. Enable it/m);
  });

  test('gives each instance its own names and subjects', async (t) => {
    await using server = await startServer();
    const organization = await startAzureDevOps(t);
    const yaml = configuration(server.url, organization);
    for (const one of [yaml, `${yaml}instance: blue\n`]) {
      const { status, stderr } = await bridge(['setup', '--apply'], one);
      assert.equal(status, 0, stderr);
      const checked = await bridge(['check'], one);
      assert.deepEqual([checked.status, linesOf(checked).filter((line) => line.startsWith('error'))], [0, []]);
    }
    await using admin = await Admin.connect([server.url], { user: 'admin', pass: 'admin' });
    const { config } = await admin.manager.streams.info('blue_BRIDGE_DEAD');
    assert.deepEqual(config.subjects, ['blue.bridge.dead.>']);
  });
});

describe('replicas on nats-server 2.9', () => {
  const yaml = (servers: readonly string[], organization: string, replicas: number) => `
nats: { servers: ${JSON.stringify(servers)} }
azureDevOps: { organization: "${organization}", identity: { kind: pat, patEnv: PAT } }
streams: { replicas: ${replicas} }
runs:
  - name: deploy
    subject: ci.done
    stream: CI
    pipeline: { project: Shop, id: 7, branch: refs/heads/main }
    parameters: { natsEventId: event.id }
waits:
  organizations: ["${organization}/"]
  tokenEnvs: [TOKEN]
  sealingKeyEnvs: [KEY]
  rules: [{ projects: [Shop], pipelines: ['*'], subjects: [ci.>] }]
`;
  const command = (args: readonly string[], text: string) => bridge(args, text, WAITS_ENV);
  const bucketLines = ({ stdout, stderr }: CommandRun) =>
    `${stdout}${stderr}`.split('\n').filter((line) => /^error: bucket .* replicas on nats-server/.test(line));
  const refusal = (bucket: string) =>
    new RegExp(
      `^error: bucket ${bucket}: with 3 replicas on nats-server 2\\.9\\.\\d+, two writes at the same time can both succeed: .* Upgrade all servers to nats-server 2\\.10 or later; or have one replica: streams\\.replicas: 1, and nats stream edit KV_${bucket} --replicas 1\\.$`,
    );

  test('are refused by check and setup if something relies on compare-and-set', async (t) => {
    const organization = await startAzureDevOps(t);
    await using cluster = await startNatsCluster({ binary: natsServerBinary('2.9') });
    const three = yaml(cluster.urls, organization, 3);
    const [intents, waits, ...others] = bucketLines(await command(['check'], three));
    assert.match(intents ?? '', refusal('BRIDGE_INTENTS'));
    assert.match(waits ?? '', refusal('BRIDGE_WAITS'));
    assert.deepEqual(others, []);
    const applied = await command(['setup', '--apply'], three);
    assert.deepEqual([applied.status, bucketLines(applied).length], [1, 2]);
    await using admin = await Admin.connect(cluster.urls);
    assert.deepEqual(await admin.manager.streams.list().next(), [], 'check created a stream');

    // One replica is one server that decides.
    const one = yaml(cluster.urls, organization, 1);
    await admin.stream('CI', { subjects: ['ci.>'] });
    assert.equal((await command(['setup', '--apply'], one)).status, 0);
    assert.deepEqual(bucketLines(await command(['check'], one)), []);
    // What somebody else has made counts as well.
    const { config } = await admin.manager.streams.info('KV_BRIDGE_WAITS');
    await admin.manager.streams.update('KV_BRIDGE_WAITS', { ...config, num_replicas: 3 });
    const [made, ...more] = bucketLines(await command(['check'], one));
    assert.match(made ?? '', refusal('BRIDGE_WAITS'));
    assert.deepEqual(more, []);
  });

  test('are accepted on 2.10', async (t) => {
    const organization = await startAzureDevOps(t);
    await using cluster = await startNatsCluster({ binary: natsServerBinary('2.10') });
    const three = yaml(cluster.urls, organization, 3);
    await using admin = await Admin.connect(cluster.urls);
    // Tried again until the new cluster has places for three replicas.
    await admin.stream('CI', { subjects: ['ci.>'], num_replicas: 3 });
    assert.equal((await command(['setup', '--apply'], three)).status, 0);
    assert.deepEqual(bucketLines(await command(['check'], three)), []);
  });
});

/** Mistakes with a stream, and all that `check` says about them. */
const STREAM_MISTAKES: readonly (readonly [
  name: string,
  stream: string,
  config: Partial<StreamConfig>,
  lines: readonly string[],
])[] = [
  [
    'other subjects, and a short window',
    'AZDO',
    { subjects: ['azdo.contoso.>', 'hooks.>'], duplicate_window: 120_000_000_000 },
    [
      `error: stream AZDO: it takes "azdo.contoso.>", "hooks.>", not "azdo.>". Change it with the NATS CLI: nats stream edit AZDO --subjects 'hooks.>' --subjects 'azdo.>'.`,
      'error: stream AZDO: its duplicate window is 2m, so an event that comes again after it is stored twice. Change it with the NATS CLI: nats stream edit AZDO --dupe-window 1h.',
    ],
  ],
  [
    'a work queue in memory',
    'BRIDGE_DEAD',
    { retention: RetentionPolicy.Workqueue, storage: StorageType.Memory },
    [
      'error: stream BRIDGE_DEAD: its retention is workqueue, so messages go once they are read. Create it anew with retention limits.',
      'error: stream BRIDGE_DEAD: it keeps its messages in memory: a restart of the server loses them. Create it anew with file storage.',
    ],
  ],
  [
    'small messages only, and another age',
    'BRIDGE_DEAD',
    { max_msg_size: 1_000_000, max_age: 3_600_000_000_000 },
    [
      'error: stream BRIDGE_DEAD: it takes no messages of 2.5 MiB. Change it with the NATS CLI: nats stream edit BRIDGE_DEAD --max-msg-size=-1.',
      'warning: stream BRIDGE_DEAD: it keeps messages for 1h, not 720h as the configuration says. Change it with the NATS CLI: nats stream edit BRIDGE_DEAD --max-age 720h. Or set streams.BRIDGE_DEAD.maxAge: 1h.',
    ],
  ],
  [
    'no limit',
    'BRIDGE_AUDIT',
    { max_age: 0 },
    [
      'warning: stream BRIDGE_AUDIT: it has no limit, so it grows until the disk is full. Change it with the NATS CLI: nats stream edit BRIDGE_AUDIT --max-age 9600h.',
    ],
  ],
  [
    'nothing new once it is full',
    'AZDO',
    { discard: DiscardPolicy.New },
    [
      'warning: stream AZDO: it takes nothing more once it is full, instead of dropping the oldest. Change it with the NATS CLI: nats stream edit AZDO --discard old.',
    ],
  ],
  [
    'sealed',
    'AZDO',
    { sealed: true },
    ['error: stream AZDO: it is sealed: nothing can be stored. Give the bridge another one.'],
  ],
];

/** Permissions that are taken away, and what `check` says about it. */
const PERMISSION_MISTAKES: readonly (readonly [without: string, level: 'error' | 'warning', about: string])[] = [
  ['azdo.>', 'error', 'azdo.>'],
  ['bridge.dead.>', 'error', 'bridge.dead.>'],
  ['$KV.BRIDGE_PROJECTS.>', 'error', '$KV.BRIDGE_PROJECTS.>'],
  ['$JS.API.STREAM.INFO.AZDO', 'error', '$JS.API.STREAM.INFO.AZDO'],
  ['$JS.API.STREAM.MSG.GET.KV_BRIDGE_PROJECTS', 'error', '$JS.API.STREAM.MSG.GET.KV_BRIDGE_PROJECTS'],
  ['$JS.API.STREAM.MSG.GET.BRIDGE_DEAD', 'warning', '$JS.API.STREAM.MSG.GET.BRIDGE_DEAD'],
];

describe('check', () => {
  test('reports each mistake with a stream once, with its fix', async (t) => {
    await using server = await startServer();
    await using admin = await Admin.connect([server.url], { user: 'admin', pass: 'admin' });
    const yaml = configuration(server.url, await startAzureDevOps(t));
    const unlimited = [
      'warning: permission to publish: the user may publish to every subject of its account. Limit it to what nats-event-bridge setup prints.',
      'warning: permission to subscribe: the user may subscribe to every subject of its account. Limit it to what nats-event-bridge setup prints.',
    ];
    const limits = untold(server);
    for (const [name, stream, config, lines] of STREAM_MISTAKES) {
      await bridge(['setup', '--apply'], yaml);
      const good = (await admin.manager.streams.info(stream)).config;
      await admin.manager.streams.delete(stream);
      // A stream can be sealed once it is there only.
      const { sealed, ...others } = config;
      await admin.manager.streams.add({ ...good, ...others });
      if (sealed === true) await admin.manager.streams.update(stream, { ...good, sealed } as StreamConfig);
      const checked = await bridge(['check'], yaml);
      assert.deepEqual(linesOf(checked).sort(), [...lines, ...(limits.length > 0 ? limits : unlimited)].sort(), name);
      assert.equal(checked.status, lines.some((line) => line.startsWith('error')) ? 1 : 0, name);
      await admin.manager.streams.delete(stream);
    }
  });

  for (const line of ['2.9', '2.15'] as const)
    test(`reports missing and unneeded permissions, and stores nothing, on nats-server ${line}`, async (t) => {
      await using server = await startServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url], { user: 'admin', pass: 'admin' });
      const yaml = configuration(server.url, await startAzureDevOps(t));
      const all = permissionsIn(await bridge(['setup', '--apply'], yaml));
      for (const [without, level, about] of PERMISSION_MISTAKES) {
        assert.ok(all.includes(JSON.stringify(without)));
        await server.reload(
          serverConfig(
            all
              .replace(`${JSON.stringify(without)}\n`, '\n')
              .replace(new RegExp(`"${without.replace(/[$.*]/g, '\\$&')}"  #.*`), ''),
          ),
        );
        const checked = await bridge(['check'], yaml);
        const told =
          level === 'error'
            ? `error: permission to publish to ${about}: it is missing. ${GRANT_IT}`
            : `warning: optional permissions to publish: 1 missing: ${about} (the command deadLetters). ${GRANT_IT} Or do without.`;
        assert.deepEqual(linesOf(checked).sort(), [told, ...untold(server)].sort());
        assert.equal(checked.status, level === 'error' ? 1 : 0);
      }
      // Together, so that one edit of the server's configuration is enough.
      const some = ['azdo.>', '$KV.BRIDGE_PROJECTS.>', '$JS.API.STREAM.MSG.GET.KV_BRIDGE_PROJECTS'];
      const looking = '$JS.API.STREAM.INFO.KV_BRIDGE_PROJECTS';
      const optional = all.split('\n').filter((one) => one.includes('# optional'));
      const missing = optional
        .filter((one) => !one.includes('setup --apply'))
        .map((one) => /^ *"(.*)" {2}# optional: (.*)$/.exec(one) ?? []);
      const grouped = new Map<string, string[]>();
      for (const [, subject = '', reason = ''] of missing)
        grouped.set(reason, [...(grouped.get(reason) ?? []), subject]);
      const reasons = [...grouped].map(([reason, subjects]) => `${subjects.join(', ')} (${reason})`);
      const least = [...some, looking].reduce(
        (block, subject) => block.replace(`${JSON.stringify(subject)}\n`, '\n'),
        all,
      );
      await server.reload(serverConfig(least.replace(/.*# optional.*/g, '')));
      assert.deepEqual(linesOf(await bridge(['check'], yaml)).sort(), [
        `error: permissions to publish: 4 missing: ${[looking, ...some].join(', ')}. ${GRANT_THEM}`,
        `warning: optional permissions to publish: ${missing.length} missing: ${reasons.join('; ')}. ${GRANT_THEM} Or do without.`,
        ...untold(server),
      ]);
      // Without answers, nothing else is known, and everything would seem to be missing.
      await server.reload(serverConfig(all.replace('_INBOX.*.*', '_INBOX_other.*.*')));
      const otherwise = 'Or set nats.inboxPrefix to the prefix that it may subscribe to.';
      assert.deepEqual(linesOf(await bridge(['check'], yaml)), [
        `error: permission to subscribe to _INBOX.*.*: it is missing. ${GRANT_IT} ${otherwise}`,
      ]);
      const refused = await bridge(['setup', '--apply'], yaml);
      assert.equal(refused.status, 1);
      assert.match(
        refused.stderr,
        /^The password .*\nDenied: The NATS server does not let this user subscribe to "_INBOX\.\*\.\*"\. .* setup prints all .* nats\.inboxPrefix .*\n$/,
      );
      await server.reload(serverConfig(all.replace('"azdo.>"', '"azdo.>"\n"payroll.*"')));
      const unneeded = await bridge(['check'], yaml);
      assert.deepEqual(
        linesOf(unneeded),
        line === '2.9'
          ? untold(server)
          : ['warning: permission to publish to payroll.*: the bridge does not need it. Take it away from the user.'],
      );
      const messages = ['AZDO', 'BRIDGE_AUDIT', 'BRIDGE_DEAD', 'KV_BRIDGE_PROJECTS'].map(
        async (stream) => (await admin.manager.streams.info(stream)).state.messages,
      );
      // The one is the order to set up.
      assert.deepEqual(await Promise.all(messages), [0, 1, 0, 0]);
    });

  test('reports what keeps the bridge from reaching NATS and Azure DevOps', async (t) => {
    const organization = await startAzureDevOps(t);
    const [only = '', ...more] = linesOf(
      await bridge(['check'], configuration('nats://127.0.0.1:1', organization, 'timing: { connect: 1s }\n')),
    );
    assert.match(only, /^error: NATS: Cannot connect to NATS: 127\.0\.0\.1:1 .*ECONNREFUSED.*\. \S/);
    assert.deepEqual(more, []);

    await using server = await startServer();
    const refused = await bridge(['check'], configuration(server.url, organization), { PASSWORD: 'wrong' });
    assert.equal(refused.status, 1);
    assert.match(
      refused.stdout,
      /^error: NATS: Cannot connect to NATS: .*Check nats\.user and nats\.passwordEnv, and that the server knows this user\.$/m,
    );
    assert.doesNotMatch(refused.stdout + refused.stderr, /wrong/);

    const yaml = configuration(server.url, await startAzureDevOps(t, 401));
    await bridge(['setup', '--apply'], yaml);
    const stranger = await bridge(['check'], yaml);
    assert.equal(stranger.status, 1);
    assert.deepEqual(
      linesOf(stranger).filter((line) => line.startsWith('error')),
      [
        'error: Azure DevOps: Azure DevOps does not accept the sign-in (status 401). Check azureDevOps.identity, and that it is a user of the organization. Its credentials may have expired.',
      ],
    );
  });

  test('reports a server with too small a message limit, and one without JetStream', async (t) => {
    const organization = await startAzureDevOps(t);
    await using small = await startServer({ maxPayload: MIB });
    await bridge(['setup', '--apply'], configuration(small.url, organization));
    assert.deepEqual(
      linesOf(await bridge(['check'], configuration(small.url, organization))).filter((line) =>
        line.startsWith('error'),
      ),
      [
        'error: max_payload: the server takes no messages of 2.5 MiB, so large hooks become dead letters without their body. Set max_payload: 3MB in the configuration of the server.',
      ],
    );
    await using without = await startServer({ jetStream: false });
    assert.deepEqual(
      linesOf(await bridge(['check'], configuration(without.url, organization))).filter((line) =>
        line.startsWith('error'),
      ),
      ["error: JetStream: it isn't there. Enable it for the server and the account of this user."],
    );
  });

  test("fails if the policy lets others publish to a route's publisher subjects", async () => {
    const rule = { sub: 'sc://contoso/*/nats', account: 'APP', subscribe: [] };
    const policy = (publish: string) =>
      JSON.stringify({
        issuers: [{ issuer: 'https://issuer.example', audience: 'a', rules: [{ ...rule, publish: [publish] }] }],
      });
    const yaml = `${configuration('nats://127.0.0.1:1', 'http://127.0.0.1:1/contoso')}publisherPolicyFile: policy.json
runs:
  - name: web
    subject: ci.Shop.done.v1
    stream: CI
    publishers: [{ project: Shop }]
    pipeline: { project: Shop, id: 42 }
`;
    const said = (publish: string) =>
      runHere(['check', '--offline'], configurationFile(yaml, { 'policy.json': policy(publish) }), {
        ...{ PAT: 'x', HOOK: 'long-enough-a-password', PASSWORD: 'x' },
      });
    const bound = await said('ci.{project}.>');
    assert.equal(bound.status, 0, bound.stdout);
    const open = await said('ci.>');
    assert.equal(open.status, 1, open.stdout);
    assert.match(
      open.stdout,
      /^error: route web: its publishers aren't proven: issuers\[0\]\.rules\[0\] lets others publish on "ci\.>", and so on "ci\.Shop\.done\.v1"\. Bind/m,
    );
  });
});
