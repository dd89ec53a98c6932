import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { StreamSource } from '../../../shared/bus.ts';
import type { ConnectionSettings } from '../../../shared/connection/settings.ts';
import { TaskError } from '../../../shared/errors.ts';
import { natsServerBinary, startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';
import { openBus, type OpenBus } from '../../support/nats/openBus.ts';
import { Admin, type TestStream } from '../../support/nats/testStream.ts';

const PASSWORD = 'pw';
const DENIED_WITHIN_MS = 5_000;

/** One thing a step does with NATS. It resolves when that worked and throws what went wrong. */
interface Mode {
  readonly name: string;
  readonly settings?: Partial<ConnectionSettings>;
  /** Over a server that has no JetStream itself and passes everything on to the one that has. */
  readonly overLeaf?: boolean;
  readonly run: (open: OpenBus, stream: TestStream) => Promise<void>;
  /** The subjects of the printed block on this server, optional ones marked. */
  readonly block: { readonly publish: readonly string[]; readonly subscribe: readonly string[] };
}

const namedStream = {
  publish: ['$JS.API.STREAM.INFO.CI', '$JS.API.CONSUMER.CREATE.CI.*.CI.a.>', '$JS.API.CONSUMER.MSG.NEXT.CI.*'],
  optional: '$JS.API.CONSUMER.DELETE.CI.* (optional)',
};

const MODES: readonly Mode[] = [
  {
    name: 'publish to core NATS',
    run: publishCore,
    block: { publish: ['core.a'], subscribe: [] },
  },
  {
    name: 'publish to a stream',
    run: publishToStream,
    block: { publish: ['CI.a.x', '$JS.API.STREAM.NAMES (optional)'], subscribe: ['_INBOX.*.*'] },
  },
  {
    name: 'publish to a stream of the own domain, with an inbox prefix',
    settings: { jetStreamDomain: 'hub', inboxPrefix: '_INBOX_ci' },
    run: publishToStream,
    block: { publish: ['CI.a.x', '$JS.API.STREAM.NAMES (optional)'], subscribe: ['_INBOX_ci.*.*'] },
  },
  {
    name: 'publish to a stream of another domain',
    settings: { jetStreamDomain: 'hub' },
    overLeaf: true,
    run: publishToStream,
    block: { publish: ['CI.a.x', '$JS.hub.API.STREAM.NAMES (optional)'], subscribe: ['_INBOX.*.*'] },
  },
  {
    name: 'publish a request',
    run: request,
    block: { publish: ['core.service'], subscribe: ['_INBOX.*.*'] },
  },
  {
    name: 'wait on core NATS',
    run: async (open, { admin }) => {
      await using reading = await open.subscribe(['core.b.*', 'core.c']);
      admin.connection.publish('core.b.x');
      admin.connection.publish('core.c');
      await reading.seen.until(() => reading.seen.messages.length >= 2 || reading.seen.failures.length > 0, 'events');
      if (reading.seen.failures[0]) throw reading.seen.failures[0];
    },
    block: { publish: [], subscribe: ['core.b.*', 'core.c'] },
  },
  {
    name: 'wait on one subject of a named stream',
    run: waitFor({ subjects: ['CI.a.>'], stream: 'CI' }),
    block: { publish: [...namedStream.publish, namedStream.optional], subscribe: ['_INBOX.*.*'] },
  },
  {
    name: 'wait on one subject, its stream found',
    run: waitFor({ subjects: ['CI.a.>'] }),
    block: {
      publish: ['$JS.API.STREAM.NAMES', ...namedStream.publish, namedStream.optional],
      subscribe: ['_INBOX.*.*'],
    },
  },
  {
    name: 'wait on one subject of the own domain, with an inbox prefix',
    settings: { jetStreamDomain: 'hub', inboxPrefix: '_INBOX_ci' },
    run: waitFor({ subjects: ['CI.a.>'], stream: 'CI' }),
    block: { publish: [...namedStream.publish, namedStream.optional], subscribe: ['_INBOX_ci.*.*'] },
  },
  {
    name: 'wait on one subject of another domain',
    settings: { jetStreamDomain: 'hub' },
    overLeaf: true,
    run: waitFor({ subjects: ['CI.a.>'], stream: 'CI' }),
    block: {
      publish: [...namedStream.publish, namedStream.optional].map((subject) => subject.replace('$JS', '$JS.hub')),
      subscribe: ['_INBOX.*.*'],
    },
  },
  {
    name: 'wait on several subjects',
    run: waitFor({ subjects: ['CI.a.*', 'CI.b'] }),
    block: {
      publish: [
        '$JS.API.STREAM.NAMES',
        '$JS.API.STREAM.INFO.CI',
        '$JS.API.CONSUMER.CREATE.CI.*',
        '$JS.API.CONSUMER.MSG.NEXT.CI.*',
        namedStream.optional,
      ],
      subscribe: ['_INBOX.*.*'],
    },
  },
];

for (const line of ['2.9', '2.10', '2.15'] as const) {
  describe(`the permissions a step prints, on nats-server ${line}`, () => {
    let storeDir: string;
    let server: NatsServer;
    let leaf: NatsServer;
    let leafnodes: string;
    let admin: Admin;
    let stream: TestStream;

    before(async () => {
      const binary = natsServerBinary(line);
      storeDir = mkdtempSync(join(tmpdir(), 'permissions-'));
      server = await startNatsServer({ binary, jetStream: false, config: serverText({ nobody: NOTHING }) });
      const address = /Listening for leafnode connections on (\S+)/.exec(server.logText())![1]!;
      leafnodes = `leafnodes { remotes: [{ url: "nats-leaf://admin:${PASSWORD}@${address}" }] }`;
      leaf = await startNatsServer({ binary, jetStream: false, config: leafText({ nobody: NOTHING }) });
      await leaf.logged(/Leafnode connection created/);
      admin = await Admin.connect([server.url], { user: 'admin', pass: PASSWORD });
      stream = await admin.stream('CI');
      await stream.publish('a.x', 'event');
      await stream.publish('b', 'event');
    });
    after(async () => {
      await admin[Symbol.asyncDispose]();
      await leaf.stop();
      await server.stop();
      rmSync(storeDir, { recursive: true });
    });

    type Users = Readonly<Record<string, readonly string[]>>;
    const serverText = (users: Users): string =>
      [
        `jetstream { store_dir: ${JSON.stringify(storeDir)}, domain: hub }`,
        'leafnodes { listen: "127.0.0.1:-1" }',
        usersText(users),
      ].join('\n');
    const leafText = (users: Users): string => [leafnodes, usersText(users)].join('\n');

    /** Runs the mode as one of the server's users; resolves with the error, or undefined when it worked. */
    async function attempt({ run, settings, overLeaf }: Mode, user: string): Promise<TaskError | undefined> {
      await using open = await openAs(user, settings, overLeaf ? leaf : server);
      try {
        await run(open, stream);
        return undefined;
      } catch (error) {
        if (error instanceof TaskError) return error;
        throw error;
      }
    }

    const openAs = (username: string, settings: Partial<ConnectionSettings> = {}, { url } = server): Promise<OpenBus> =>
      openBus([url], { ...settings, authentication: { kind: 'userPassword', username, password: PASSWORD } });

    for (const mode of MODES) {
      test(`${mode.name}: the block that a user without permissions is shown is enough, and each line of it is needed`, async () => {
        const first = await attempt(mode, 'nobody');
        assert.equal(first?.code, 'Denied');
        const block = printedBlock(first);
        assert.deepEqual(grantsOf(block), [...mode.block.publish, ...mode.block.subscribe]);

        const required = block.filter((text) => GRANT.test(text) && !text.includes('# optional'));
        const users: Record<string, readonly string[]> = {
          all: block,
          required: block.filter((text) => !text.includes('# optional')),
        };
        for (const text of required) users[`without ${subjectOf(text)}`] = block.filter((other) => other !== text);
        if (mode.overLeaf) await leaf.reload(leafText({ nobody: NOTHING, ...users }));
        else await server.reload(serverText({ nobody: NOTHING, ...users }));

        assert.equal(await attempt(mode, 'all'), undefined);
        assert.equal(await attempt(mode, 'required'), undefined);
        for (const text of required) {
          const subject = subjectOf(text);
          const startedAt = Date.now();
          const error = await attempt(mode, `without ${subject}`);
          assert.equal(error?.code, 'Denied', `without ${subject}: ${String(error)}`);
          assert.ok(error.remedy.includes(` permission for "${subject}";`), error.message);
          assert.deepEqual(printedBlock(error), block);
          assert.ok(Date.now() - startedAt < DENIED_WITHIN_MS);
        }
      });
    }

    test('without permission to delete its consumer, a wait works, and the server removes the consumer after a minute', async () => {
      const grants = [...namedStream.publish.map((subject) => JSON.stringify(subject))].join(', ');
      await server.reload(
        serverText({
          waiter: [`permissions: { publish: { allow: [${grants}] }, subscribe: { allow: ["_INBOX.*.*"] } }`],
        }),
      );
      const earlier = new Set((await stream.consumers()).map(({ name }) => name));
      await using open = await openAs('waiter');
      const reading = await open.read({ subjects: ['CI.a.>'], stream: 'CI', start: { from: 'all' } });
      await reading.seen.count(1);
      await reading.subscription.stop();
      const left = (await stream.consumers()).filter(({ name }) => !earlier.has(name));
      assert.equal(left.length, 1);
      const { name, config } = left[0]!;
      assert.equal(config.inactive_threshold, 60e9);
      assert.deepEqual(
        open.step.lines.filter((text) => text.includes(name)),
        [`debug The consumer ${name} was not removed (denied); the server removes it after 60 s without use.`],
      );
      assert.deepEqual(reading.seen.failures, []);
    });

    test('without permission to list streams, publishing waits for a stream to appear', async () => {
      await server.reload(
        serverText({
          publisher: ['permissions: { publish: { allow: ["late.a"] }, subscribe: { allow: ["_INBOX.*.*"] } }'],
        }),
      );
      await using open = await openAs('publisher');
      const from = server.logText().length;
      const published = open.publishToStream('late.a');
      await server.logged(/Publish Violation.*STREAM\.NAMES/, from);
      const late = await admin.stream('late');
      assert.deepEqual(await published, { stream: 'late', sequence: 1, duplicate: false });
      await late.delete();
    });

    test('permissions taken away during a wait end it', async () => {
      const rules = (subject: string): Record<string, readonly string[]> => ({
        waiter: [`permissions: { publish: { deny: ">" }, subscribe: { allow: [${JSON.stringify(subject)}] } }`],
      });
      await server.reload(serverText(rules('core.b')));
      await using open = await openAs('waiter');
      await using reading = await open.subscribe(['core.b']);
      await server.reload(serverText(rules('core.other')));
      await reading.seen.until(() => reading.seen.failures.length > 0, 'the end of the wait');
      assert.equal((reading.seen.failures[0] as TaskError).code, 'Denied');
    });
  });
}

async function publishCore(open: OpenBus, { admin }: TestStream): Promise<void> {
  const subscription = admin.connection.subscribe('core.a', { max: 1 });
  await admin.connection.flush();
  await open.publishCore('core.a');
  for await (const message of subscription) assert.equal(message.string(), 'payload');
}

async function publishToStream(open: OpenBus, stream: TestStream): Promise<void> {
  assert.equal((await open.publishToStream('CI.a.x')).stream, stream.name);
}

async function request(open: OpenBus, { admin }: TestStream): Promise<void> {
  const service = admin.connection.subscribe('core.service', {
    callback: (_, message) => void message.respond('reply'),
  });
  await admin.connection.flush();
  try {
    assert.equal(Buffer.from((await open.request('core.service')).payload).toString(), 'reply');
  } finally {
    service.unsubscribe();
  }
}

/** Waits until the first event is there, and looks that the consumer is gone where that is allowed. */
function waitFor(source: Pick<StreamSource, 'subjects'> & Partial<StreamSource>): Mode['run'] {
  return async (open) => {
    await using reading = await open.read({ start: { from: 'all' }, ...source });
    const { seen } = reading;
    await seen.until(() => seen.messages.length > 0 || seen.failures.length > 0, 'an event or a failure');
    if (seen.failures[0]) throw seen.failures[0];
  };
}

const NOTHING = ['permissions: { publish: { deny: ">" }, subscribe: { deny: ">" } }'];

/** Configuration text for an administrator and these users, each with the lines of a permissions block. */
function usersText(users: Readonly<Record<string, readonly string[]>>): string {
  const entries = Object.entries({ admin: [], ...users }).map(([user, block]) =>
    [
      `  { user: ${JSON.stringify(user)}, password: ${PASSWORD}`,
      // A list without entries would allow everything.
      block.join('\n').replace(/allow: \[\s*(#.*\s*)*\]/g, 'deny: ">"'),
      '  }',
    ].join('\n'),
  );
  return ['authorization { users: [', ...entries, '] }'].join('\n');
}

const GRANT = /^ {4}"/;

/** The block as a user finds it in the log and pastes it, with the one thing filled in that is left to do. */
function printedBlock(error: TaskError): string[] {
  const [heading, ...block] = error.details;
  assert.match(heading!, /^Permissions this step needs, for its user in the NATS server configuration/);
  const hasBlank = block.some((text) => text.includes('<stream>'));
  assert.equal(heading!.includes('with the name of the stream in the place of <stream>'), hasBlank);
  return block.map((text) => text.replace('<stream>', 'CI'));
}

function subjectOf(text: string): string {
  return JSON.parse(text.replace(/ {2}#.*/, '')) as string;
}

function grantsOf(block: readonly string[]): string[] {
  return block
    .filter((text) => GRANT.test(text))
    .map((text) => subjectOf(text) + (text.includes('# optional') ? ' (optional)' : ''));
}
