import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { it } from 'node:test';
import type { StoredMsg } from 'nats';
import fc from 'fast-check';
import { AzureDevOps as Client } from '../../bridge/azureDevOps/client.ts';
import { DeadLetters } from '../../bridge/audit/deadLetters.ts';
import { Decisions } from '../../bridge/audit/decisions.ts';
import { EventLog } from '../../bridge/log.ts';
import { Metrics } from '../../bridge/metrics.ts';
import { Gate } from '../../bridge/azureDevOps/gate.ts';
import { Intents } from '../../bridge/runs/intents.ts';
import { LoopGuard } from '../../bridge/runs/loopGuard.ts';
import { Pipelines } from '../../bridge/runs/pipelines.ts';
import { decisionOn, letterOf, RouteEvents } from '../../bridge/runs/route.ts';
import { TIMING } from '../../bridge/timing.ts';
import { knownSecrets } from '../../shared/text/masker.ts';
import { startsRun } from '../support/azureDevOps/kinds.ts';
import { AzureDevOps } from '../support/azureDevOps/azureDevOps.ts';
import { BridgeProcess, runBridge } from '../support/bridge/bridgeProcess.ts';
import { setUp } from '../support/bridge/commandsHere.ts';
import { startFakeServer } from '../support/bridge/fakeServer.ts';
import { MemoryBucket, MemoryPublisher } from '../support/bridge/memoryNats.ts';
import { criteria, parameter, routeOf } from '../support/bridge/routes.ts';
import { messageOf, named } from '../support/event.ts';
import { assertPlain } from '../support/hostile/harmless.ts';
import { cases, SEED } from '../support/hostile/hostile.ts';
import { hostileAnswer, type HostileAnswer } from '../support/hostile/hostileAnswers.ts';
import { hostileEvent, publishRaw } from '../support/hostile/hostileEvents.ts';
import { hostileTexts, hostileText } from '../support/hostile/hostileText.ts';
import { startNatsServer } from '../support/nats/natsServer.ts';
import { Admin } from '../support/nats/testStream.ts';

const EVENTS = cases({ short: 200, long: 10_000 });
const ANSWERS = cases({ short: 200, long: 10_000 });
const THROUGH_BUNDLE = 48;

const [PAT, PASSWORD] = ['pat-', 'password-'].map((prefix) => prefix + randomBytes(24).toString('hex')) as [
  string,
  string,
];
const AUTHORIZATION = Buffer.from(`:${PAT}`).toString('base64');
const SECRETS = [PAT, AUTHORIZATION, PASSWORD];
knownSecrets.add(PAT, 'pat');
knownSecrets.add(PASSWORD, 'password');

const PATTERN = /^[\w.:/@+=,-]{0,512}$/u;

/** Asserts that a line that people see has no effect on a terminal or agent, and no secret. */
function assertShowable(line: string, place: string): void {
  assertPlain(line.replaceAll('\t', ' '), place);
  for (const secret of SECRETS) assert.ok(!line.includes(secret), `${place}: ${line.slice(0, 2_000)}`);
}

function newLog(): { log: EventLog; check: () => void } {
  const lines: string[] = [];
  const check = () => {
    for (const line of lines.splice(0)) {
      assert.ok(line.endsWith('\n'));
      assert.equal(typeof (JSON.parse(line) as { event: unknown }).event, 'string');
      assertShowable(line.slice(0, -1), 'the log');
    }
  };
  return { log: new EventLog((line) => lines.push(line), Date.now), check };
}

it(`${EVENTS} events: values fit their patterns; log, audit and headers of dead letters are safe to show`, async () => {
  const { log, check } = newLog();
  const publisher = new MemoryPublisher();
  let now = Date.now();
  const common = { publisher, now: () => now, log: log.texts('audit') };
  const decisions = new Decisions({
    ...common,
    ...{
      subjectPrefix: 'bridge.decisions',
      stream: 'BRIDGE_AUDIT',
      version: '1',
      replica: 'r',
      signingKey: () => undefined,
    },
  });
  const metrics = { deadLetter: () => {} };
  const letters = new DeadLetters({ ...common, subjectPrefix: 'bridge.dead', stream: 'BRIDGE_DEAD', metrics });
  const paths = [
    'data.text',
    'data.list[0]',
    'data',
    'event.id',
    'event.source',
    'message.subject',
    'data.*',
    'to_string(@)',
  ];
  const warn = (text: string) => log.warning('route', { text });
  const events = new RouteEvents({
    route: routeOf({
      parameters: paths.map((path, index) => parameter(`p${index}`, path, index < 4 ? PATTERN : /^[^\0]*$/su)),
      criteria: criteria({ match: named("!contains(to_string(data), 'never')") }),
    }),
    ...{ contract: undefined, isFindable: () => true, isHook: () => false, now: () => now, warn },
    loops: new LoopGuard(new Intents(new MemoryBucket()), () => now),
    streamCreated: () => Promise.resolve('created'),
  });
  const texts = fc.sample(
    fc.array(fc.oneof(hostileText, fc.constantFrom(PAT, PASSWORD, '__proto__', 'web:1', 'e-1', '17')), {
      minLength: 6,
      maxLength: 6,
    }),
    {
      seed: SEED,
      numRuns: EVENTS,
    },
  );
  const kinds = new Set<string>();
  for (const [index, six] of texts.entries()) {
    now += 1_000;
    const { headers, payload, subject } = hostileEvent('ci', six, index);
    const message = messageOf(payload, headersIn(headers), {
      subject,
      place: { stream: 'CI', sequence: index + 1 },
      receivedAt: now,
      storedAt: now,
    });
    const [verdict] = await events.judge([message]);
    assert.ok(verdict);
    kinds.add(verdict.kind);
    const { judgement } = verdict;
    if (verdict.kind === 'starts')
      for (const [name, value] of Object.entries(verdict.work.parameters))
        assert.match(value, /^p[4-7]$/.test(name) ? /^[^\0]*$/su : PATTERN, name);
    const reason = verdict.kind === 'deadLetter' ? verdict.reason : '';
    log.warning('deadLetter', { route: 'deploy', reason, subject });
    await decisions.note(decisionOn('deploy', judgement, verdict.kind, { reason }));
    if (verdict.kind === 'deadLetter')
      await letters.write(
        letterOf('deploy', judgement.event, await events.keyOf(judgement.event), verdict.decision, reason, 'deploy'),
        1_000,
      );
    for (const stored of publisher.stored.splice(0)) {
      const isLetter = stored.subject.startsWith('bridge.dead');
      if (!isLetter) assertShowable(Buffer.from(stored.payload).toString(), 'the audit');
      for (const [name, value] of stored.headers) {
        assert.doesNotMatch(value, /[\r\n]/, name);
        if (!isLetter || (name.startsWith('Bridge-') && !name.startsWith('Bridge-Original-')))
          assertShowable(value, name);
      }
    }
    check();
  }
  assert.ok(kinds.has('starts') && kinds.has('deadLetter'), [...kinds].join());
});

/** The headers of a block, as the server would pass them on. */
function headersIn(block: Buffer | string): Record<string, string[]> {
  const headers: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
  for (const line of Buffer.from(block).toString().split('\r\n').slice(1)) {
    const at = line.indexOf(':');
    if (at > 0) (headers[line.slice(0, at).toLowerCase()] ??= []).push(line.slice(at + 1).trim());
  }
  return headers;
}

it(`${ANSWERS} responses of Azure DevOps each become a run with an id, or a reason that is safe to show`, async (t) => {
  const { log, check } = newLog();
  const answers = fc.sample(hostileAnswer(SECRETS), { seed: SEED, numRuns: ANSWERS });
  let current: HostileAnswer | undefined;
  const { port } = await startFakeServer(t, (_, response) => {
    if (current === undefined) response.destroy();
    else response.writeHead(current.status, current.headers).end(current.body);
  });
  const client = new Client({
    settings: {
      organization: `http://127.0.0.1:${port}/contoso/`,
      organizationName: 'contoso',
      identity: { kind: 'pat', pat: { label: 'pat', value: PAT } },
      proxy: '',
      ca: undefined,
    },
    timing: { ...TIMING, azureDevOps: 5_000 },
    ...{ metrics: new Metrics(), version: '1', now: Date.now },
  });
  t.after(() => client.close());
  const pipeline = { project: 'Shop', id: 42, branch: 'refs/heads/main' };
  const kinds = new Map<string, number>();
  for (const [index, answer] of answers.entries()) {
    current = answer;
    const gate = new Gate({
      firstPause: 1_000,
      longestPause: 60_000,
      now: Date.now,
      onOpen: () => {},
      onRecovery: () => {},
      onPause: (reason, pauseMs) => {
        assert.ok(Number.isFinite(pauseMs) && pauseMs >= 0 && pauseMs <= 3_600_000, String(pauseMs));
        log.warning('azureDevOpsPaused', { reason, pauseMs });
      },
    });
    const pipelines = new Pipelines({ azureDevOps: client, gate, now: Date.now });
    // Listing pauses for 100 ms after a redirect or a sign-in page.
    const outcome =
      index % 8 === 0
        ? await pipelines.find(pipeline, 'e-1', { image: 'x' }, 0)
        : await pipelines.start(pipeline, { image: 'x' });
    gate.close();
    kinds.set(outcome.kind, (kinds.get(outcome.kind) ?? 0) + 1);
    const runs = outcome.kind === 'list' ? outcome.runs : outcome.kind === 'started' ? [outcome.run] : [];
    for (const { id, url } of runs) {
      assert.ok(Number.isSafeInteger(id) && id > 0, String(id));
      assert.ok(url.length <= 2_000);
      log.info('runStarted', { runId: id, url });
    }
    if ('message' in outcome) {
      assertShowable(outcome.message, `the message of ${outcome.kind}`);
      log.error('runFailed', { detail: outcome.message });
    }
    check();
  }
  for (const kind of ['started', 'refused', 'postponed', 'open', 'list']) assert.ok(kinds.has(kind), `none is ${kind}`);
});

it(`${THROUGH_BUNDLE} events and responses neither stop the bundle, nor leave control characters or secrets anywhere`, async () => {
  // Raw connections send no credentials.
  const config = `no_auth_user: admin
  authorization { users: [ { user: admin, password: pw }, { user: bridge, password: "${PASSWORD}" } ] }`;
  await using server = await startNatsServer({ config });
  await using azure = await AzureDevOps.start();
  await using admin = await Admin.connect([server.url], { user: 'admin', pass: 'pw' });
  const named = ['natsEventId', 'text', 'route'].map((name) => ({ name, type: 'string', default: '' }) as const);
  const pipeline = azure.pipelines.declare({ parameters: named });
  const stream = await admin.stream('ci');
  const secrets = [azure.pat, Buffer.from(`:${azure.pat}`).toString('base64'), PASSWORD];
  const yaml = `nats: { servers: ["${server.url}"], user: bridge, passwordEnv: PASSWORD }
azureDevOps: { organization: "${azure.url}", identity: { kind: pat, patEnv: PAT } }
http: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }
timing: { scale: 0.02, azureDevOps: 2s, takeover: 3s, drain: 5s, jetStream: 5s, connect: 10s }
runs:
  - name: deploy
    subject: ci.>
    stream: ci
    maxDeliver: 2
    pauseAfter: 1000
    maxPerMinute: 10000
    pipeline: { project: ${pipeline.project.name}, id: ${pipeline.id}, branch: refs/heads/main }
    parameters: { natsEventId: event.id, text: { value: "data.text || 'none'", pattern: '^[a-z0-9:-]{0,100}$' } }
`;
  const env = { PAT: azure.pat, PASSWORD };
  await setUp(yaml, { env });
  const answers = fc.sample(hostileAnswer(secrets, { pausesLong: false }), { seed: SEED, numRuns: THROUGH_BUNDLE });
  azure.feel(
    async (_, answer) => {
      const hostile = answers.shift();
      if (hostile === undefined) return answer();
      return { status: hostile.status, headers: hostile.headers, body: hostile.body };
    },
    { when: startsRun },
  );
  await using bridge = await BridgeProcess.start(yaml, { env });
  await bridge.ready(200);
  const texts = hostileTexts(6 * THROUGH_BUNDLE, 'bundle');
  const hostile = Array.from({ length: THROUGH_BUNDLE }, (_, index) =>
    hostileEvent('ci', texts.slice(6 * index, 6 * index + 6), index),
  );
  for (const [index, event] of hostile.entries())
    if (index % 2 === 0) await stream.publish('fits', JSON.stringify({ text: `web:${index}` }));
    else await publishRaw(server.port, [event]);
  await bridge.until('end of the events', async () => {
    const { num_pending: waiting, num_ack_pending: held } = await admin.manager.consumers.info('ci', 'bridge-deploy');
    return waiting + held === 0 ? true : undefined;
  });
  const dead = await runBridge(['deadLetters', 'list'], yaml, { env });
  assert.equal(dead.status, 0, dead.stderr);
  const places = {
    'the log': bridge.text.split('\n'),
    'the metrics': (await bridge.admin('/metrics')).text.split('\n'),
    'the status page': (await bridge.admin('/')).text.split('\n'),
    'the list of dead letters': dead.stdout.split('\n'),
    'the audit': await storedIn(admin, 'BRIDGE_AUDIT', ({ data }) => [Buffer.from(data).toString()]),
    'the dead letters': await storedIn(admin, 'BRIDGE_DEAD', ({ header }) =>
      [...header]
        .filter(([name]) => /^Bridge-(?!Original-)/.test(name))
        .flatMap(([name, values]) => [`${name}: ${values.join()}`]),
    ),
  };
  for (const [place, lines] of Object.entries(places)) {
    assert.ok(lines.length > 0, place);
    for (const line of lines) {
      assertPlain(line.replaceAll('\t', ' '), place);
      for (const secret of secrets) assert.ok(!line.includes(secret), `${place}: ${line.slice(0, 2_000)}`);
    }
  }
  assert.ok(answers.length < THROUGH_BUNDLE / 2, `${answers.length} answers were not asked for`);
  for (const { parameters } of azure.runs) {
    assert.match(parameters['text'] ?? '', /^[a-z0-9:-]{0,100}$/u);
    assert.match(parameters['natsEventId'] ?? '', PATTERN);
  }
  bridge.signal('SIGTERM');
  assert.equal(await bridge.ended, 0, bridge.text);
});

async function storedIn(admin: Admin, stream: string, read: (message: StoredMsg) => string[]): Promise<string[]> {
  return (await admin.stored(stream)).flatMap(read);
}
