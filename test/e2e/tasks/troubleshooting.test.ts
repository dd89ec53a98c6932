import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DiscardPolicy, RetentionPolicy } from 'nats';
import { ROOT } from '../../../scripts/build/manifest.ts';
import { ERROR_CODES } from '../../../shared/errors.ts';
import { createAuthority, saveCertificate } from '../../support/nats/certificates.ts';
import { quotedIn, readMarkdown, VERDICTS } from '../../support/documents/documents.ts';
import { temporaryFolder } from '../../../localAgent/index.ts';
import type { Connection, LocalAgent, LocalAgentOptions, StepRun } from '../../../localAgent/index.ts';
import { startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';
import {
  beginWait,
  natsHeaders,
  publish,
  Scenario,
  sourcesWith,
  wait,
  type HeaderFields,
} from '../../support/agent/scenario.ts';

const PASSWORD = 'pass-of-everybody';
const LINES = quotedIn(readMarkdown(ROOT, 'docs/troubleshooting.md'), 'Log line');

const CONFIG = `accounts {
  CI { jetstream: enabled, users: [
    { user: everything, password: ${PASSWORD} }
    { user: nothing, password: ${PASSWORD}, permissions: { publish: { deny: ">" } } }
  ] }
  BARE { users: [{ user: bare, password: ${PASSWORD} }] }
}`;

describe('docs/troubleshooting.md', { concurrency: 4 }, () => {
  const scene = Scenario.shared({ config: CONFIG, maxPayload: 65_536 }, { user: 'everything', pass: PASSWORD });
  let secured: NatsServer;

  before(async () => {
    const authority = await createAuthority();
    const tls = saveCertificate(
      temporaryFolder('certificates-'),
      'server',
      await authority.server({ names: ['localhost'] }),
    );
    secured = await startNatsServer({ tls });
    for (const config of [
      { name: 'CI', subjects: ['ci.>'] },
      { name: 'OTHER', subjects: ['other.>'] },
      { name: 'FULL', subjects: ['full.v1'], max_msgs: 1, discard: DiscardPolicy.New },
      { name: 'SMALL', subjects: ['small.*'], max_msgs: 1, discard: DiscardPolicy.New },
      { name: 'MUTE', subjects: ['mute.>'], no_ack: true },
      { name: 'WORK', subjects: ['work.>'], retention: RetentionPolicy.Workqueue },
    ])
      await scene.manager.streams.add(config);
  });
  after(() => secured.stop());

  function agent(
    { user = 'everything', ...connection }: Partial<Connection> & { readonly user?: string } = {},
    options: LocalAgentOptions = {},
  ): LocalAgent {
    const parameters = { username: user, password: PASSWORD };
    return scene.agent({ ...options, connection: { scheme: 'UsernamePassword', parameters, ...connection } });
  }

  async function put(subject: string, payload: unknown, headers: HeaderFields = {}): Promise<void> {
    const options = { headers: natsHeaders(headers) };
    await scene.client.jetstream().publish(subject, JSON.stringify(payload), options);
  }

  describe('quotes the log', { concurrency: 4 }, () => {
    const event = { subject: 'ci.v1', payload: '{}' };
    const schemas = { 'number.json': { type: 'number' }, 'wrong.json': { type: 'nonsense' } };
    const withFiles = (files: Readonly<Record<string, unknown>> = schemas) =>
      agent({}, { sources: sourcesWith(files) });
    const brief = { timeout: '4s' };

    /** Each brings about the lines of the page that are beside it. */
    const RUNS: readonly [quoted: readonly string[], run: () => Promise<StepRun>][] = [
      [['InvalidInput: … is required'], () => publish(agent(), { payload: '{}' })],
      [
        ["InvalidInput: natsConnection: the connection's URL"],
        () => publish(agent({ url: 'nats.example.com:4222' }), event),
      ],
      [['InvalidInput: match:'], () => wait(agent(), { subject: 'ci.>', match: "data.region = 'eu'" })],
      [['InvalidSchema:'], () => publish(withFiles(), { ...event, schemaFile: 'wrong.json' })],
      [['ContractViolation: The payload'], () => publish(withFiles(), { ...event, schemaFile: 'number.json' })],
      [
        ['ContractViolation: The event', 'verdict="contractViolation"'],
        async () => {
          await put('ci.invalid.v1', {});
          const start = { startFrom: 'all', schemaFile: 'number.json', onInvalid: 'fail' };
          return wait(withFiles(), { subject: 'ci.invalid.v1', ...start });
        },
      ],
      [
        ['ContractViolation: outputs:', 'verdict="error"'],
        async () => {
          await put('ci.macro.v1', { image: '$(secret)' });
          return wait(agent(), { subject: 'ci.macro.v1', startFrom: 'all', outputs: 'image=data.image' });
        },
      ],
      [
        ['Unreachable:', 'verdict="error"'],
        () => wait(agent({ url: 'nats://127.0.0.1:1' }), { subject: 'ci.>', timeout: '5s' }),
      ],
      [
        ['TlsFailure: … failed the TLS handshake'],
        () => publish(agent({ url: `tls://localhost:${secured.port}` }), event),
      ],
      [['TlsFailure: … offers no TLS'], () => publish(agent({ url: `tls://127.0.0.1:${scene.server.port}` }), event)],
      [['Denied: Cannot connect to NATS:'], () => publish(agent({ user: 'stranger' }), event)],
      [
        ['Denied: The NATS server does not let', 'verdict="denied"'],
        () => wait(agent({ user: 'nothing' }), { subject: 'ci.>' }),
      ],
      [['Denied: subject:'], () => publish(agent({ data: { publishSubjects: 'qa.>' } }), event)],
      [['NoStream: No stream captures'], () => publish(agent(), { ...event, subject: 'nowhere.v1' })],
      [['NoStream: The subjects are not all'], () => wait(agent(), { subject: 'ci.>\nother.>' })],
      [['NoStream: JetStream is not enabled'], () => wait(agent({ user: 'bare' }), { subject: 'ci.>' })],
      [['NoResponders:'], () => publish(agent(), { ...event, subject: 'service.gone.v1', delivery: 'request' })],
      [
        ['TooLarge:'],
        () =>
          publish(withFiles({ large: 'x'.repeat(70_000) }), {
            ...event,
            payload: '',
            payloadFrom: 'file',
            payloadFile: 'large',
          }),
      ],
      [['Conflict:'], () => publish(agent(), { ...event, stream: 'OTHER' })],
      [
        ['StreamRefused:'],
        async () => {
          await put('full.v1', {});
          return publish(agent(), { ...event, subject: 'full.v1' });
        },
      ],
      [
        ['Incomplete:'],
        () =>
          publish(withFiles({ lines: '{}\n{}\n{}\n' }), {
            subject: 'small.v1',
            payloadFrom: 'lines',
            payloadFile: 'lines',
          }),
      ],
      [
        ['Timeout: … No event came at all', 'verdict="timedOut"'],
        () => wait(agent(), { subject: 'ci.silent.v1', ...brief }),
      ],
      [
        ['Timeout: … not matching'],
        async () => {
          await put('ci.other-region.v1', { region: 'us' });
          return wait(agent(), {
            subject: 'ci.other-region.v1',
            startFrom: 'all',
            match: "data.region == 'eu'",
            ...brief,
          });
        },
      ],
      [
        ['Timeout: … with another correlation id'],
        async () => {
          await put('ci.other-run.v1', {}, { 'Correlation-Id': '41' });
          return wait(agent(), { subject: 'ci.other-run.v1', startFrom: 'all', correlationId: '42', ...brief });
        },
      ],
      [
        ['Timeout: Not all of'],
        async () => {
          await put('ci.one-region.v1', { region: 'eu' });
          const regions = { distinctBy: 'data.region', expect: 'eu\nus' };
          return wait(agent(), { subject: 'ci.one-region.v1', startFrom: 'all', ...regions, ...brief });
        },
      ],
      [['Timeout: The wait was idle'], () => wait(agent(), { subject: 'ci.silent.v1', idleTimeout: '300ms' })],
      [['Timeout: No acknowledgement came'], () => publish(agent(), { ...event, subject: 'mute.v1' })],
      [
        ['Timeout: No reply'],
        async () => {
          scene.client.subscribe('service.silent.v1', { callback: () => {} });
          await scene.client.flush();
          return publish(agent(), { ...event, subject: 'service.silent.v1', delivery: 'request', ...brief });
        },
      ],
      [
        ['ConnectionLost:', 'verdict="connectionLost"'],
        async () => {
          await using own = await startNatsServer();
          const waiting = agent({ url: own.url, scheme: 'None', parameters: {} });
          const { ended } = await beginWait(waiting, { subject: 'ci.>', delivery: 'core', timeout: '5s' });
          await own.stop();
          return await ended;
        },
      ],
      [
        ['Negative:', 'verdict="negative"'],
        async () => {
          await put('ci.failed.v1', { ok: false });
          return wait(agent(), { subject: 'ci.failed.v1', startFrom: 'all', failWhen: '!(data.ok)' });
        },
      ],
      [['Unsupported:'], () => wait(agent(), { subject: 'work.>' })],
      [
        ['Cancelled:', 'verdict="cancelled"'],
        async () => {
          const controller = new AbortController();
          const waiting = agent({}, { signal: controller.signal, debug: true });
          const { ended } = await beginWait(waiting, { subject: 'ci.silent.v1' });
          controller.abort();
          return ended;
        },
      ],
    ];
    const covered = new Set<string>();

    for (const [quoted, run] of RUNS) {
      it(quoted.join(', '), async () => {
        const step = await run();
        for (const begin of quoted) {
          const line = LINES.filter((candidate) => inLog(begin).test(candidate));
          assert.equal(line.length, 1, `${line.length} rows of the page have "${begin}"`);
          assert.match(step.logText, inLog(line[0] ?? ''));
          covered.add(line[0] ?? '');
        }
      });
    }

    after(() => {
      assert.deepEqual(
        // Whatever was known to end as Internal was mended.
        LINES.filter((line) => !covered.has(line) && !['verdict="matched"', 'Internal: …'].includes(line)),
        [],
        'no run produced these rows',
      );
    });
  });

  it('has a row for every verdict and every error code', () => {
    const codes = new Set(LINES.flatMap((line) => /^(\w+): /.exec(line)?.[1] ?? []));
    assert.deepEqual([...codes].sort(), [...ERROR_CODES].sort());
    const verdicts = LINES.flatMap((line) => /^verdict="(\w+)"$/.exec(line)?.[1] ?? []);
    assert.deepEqual(verdicts.sort(), [...VERDICTS].sort());
  });
});

/** A quoted line, where `…` stands for anything. */
function inLog(line: string): RegExp {
  return new RegExp(
    line
      .split('…')
      .map((part) => part.replace(/[^\w\s]/g, '\\$&'))
      .join('.*'),
  );
}
