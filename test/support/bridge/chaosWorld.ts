import { setTimeout as delay } from 'node:timers/promises';
import { headers } from 'nats';
import { AzureDevOps } from '../azureDevOps/azureDevOps.ts';
import { Entra, type EntraApp } from '../azureDevOps/entra.ts';
import { listsBuilds, startsRun } from '../azureDevOps/kinds.ts';
import * as moods from '../azureDevOps/moods.ts';
import type { StartedRun } from '../azureDevOps/builds.ts';
import type { Pipeline } from '../azureDevOps/pipelines.ts';
import type { Mood, RecordedRequest } from '../azureDevOps/standInServer.ts';
import { natsServerBinary, startNatsCluster, startNatsServer, type NatsServer } from '../nats/natsServer.ts';
import { Admin } from '../nats/testStream.ts';
import { BridgeProcess } from './bridgeProcess.ts';
import { setUp } from './commandsHere.ts';
import { ChaosFaults, type Seat } from './chaosFaults.ts';
import type { ChaosPlan, Kind, PlannedEvent } from './chaosPlan.ts';

const TAKEOVER_MS = 3_000;
/** Short enough for the faults, and long enough for a busy machine. */
const TIMING = `scale: 0.02, azureDevOps: 2s, takeover: ${TAKEOVER_MS / 1_000}s, ackWait: 1500ms, working: 400ms, firstLook: 150ms, secondLook: 300ms, thirdLook: 600ms, drain: 10s, jetStream: 5s, connect: 10s`;
const REPLICAS = 2;
const ENDS_MS = 90_000;
const PUBLISHED_MS = 30_000;

/** Two routes for one pipeline and one for another. */
export const ROUTES = ['one', 'two', 'three'] as const;
export type Route = (typeof ROUTES)[number];

const CONTRACT = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  required: ['region', 'image', 'size'],
  properties: { image: { type: 'string' } },
};

const DATA: Readonly<Record<Kind, string>> = {
  big: JSON.stringify({ region: 'eu', image: 'web:1', size: 'big' }),
  small: JSON.stringify({ region: 'eu', image: 'web:1', size: 'small' }),
  other: JSON.stringify({ region: 'us', image: 'web:1', size: 'big' }),
  invalid: JSON.stringify({ image: 'web:1' }),
  garbage: '{"region": "eu',
  unsafe: JSON.stringify({ region: 'eu', image: 'web 1; rm -rf /', size: 'big' }),
  refused: JSON.stringify({ region: 'eu', image: 'gone:1', size: 'big' }),
  foreign: JSON.stringify({ region: 'eu', image: 'web:1', size: 'big' }),
  plain: JSON.stringify({ region: 'eu', image: 'web:1', size: 'big' }),
};

/** What each kind of event leads to: a run, a dead letter with this reason, or nothing. */
export type Fate = 'run' | 'invalid' | 'unsafeValue' | 'refused' | undefined;

const SAME = { other: undefined, unsafe: 'unsafeValue', refused: 'refused' } as const;
/** `one` and `two` have a contract and a correlation id, and `two` matches only big events. */
export const FATES: Readonly<Record<Route, Readonly<Record<Kind, Fate>>>> = {
  one: {
    ...SAME,
    big: 'run',
    small: 'run',
    invalid: 'invalid',
    garbage: 'invalid',
    foreign: undefined,
    plain: undefined,
  },
  two: {
    ...SAME,
    big: 'run',
    small: undefined,
    invalid: 'invalid',
    garbage: 'invalid',
    foreign: undefined,
    plain: undefined,
  },
  three: { ...SAME, big: 'run', small: 'run', invalid: undefined, garbage: undefined, foreign: 'run', plain: 'run' },
};

/** When a replica was paused, in milliseconds since 1970. */
export interface Freeze {
  readonly identity: string;
  readonly from: number;
  to: number;
}

/** Replicas of the bridge, NATS and a moody Azure DevOps, with a plan's faults. */
export class ChaosWorld implements AsyncDisposable {
  readonly freezes: Freeze[] = [];
  /** What happened, to find out why a seed fails. */
  readonly story: string[] = [];
  readonly #beganAt = Date.now();
  readonly #seats: Seat[] = [];
  readonly #faults: ChaosFaults;

  private constructor(
    readonly plan: ChaosPlan,
    readonly servers: readonly NatsServer[],
    readonly azure: AzureDevOps,
    readonly entra: Entra | undefined,
    readonly admin: Admin,
    readonly pipelines: readonly [Pipeline, Pipeline],
  ) {
    this.#faults = new ChaosFaults({ seats: this.#seats, servers, admin, tell: (text) => this.tell(text) });
  }

  static async open(plan: ChaosPlan): Promise<ChaosWorld> {
    const entra = plan.tokensExpire ? await Entra.start() : undefined;
    const azure = await AzureDevOps.start(entra === undefined ? {} : { entra });
    // In a 2.9 cluster, two writes to the same revision of a key may both succeed.
    const cluster = () => startNatsCluster({ binary: natsServerBinary('2.10') });
    const servers = plan.isCluster ? (await cluster()).servers : [await startNatsServer()];
    const admin = await Admin.connect(servers.map(({ url }) => url));
    const parameters = ['natsEventId', 'image', 'route'].map(
      (name) => ({ name, type: 'string', default: '' }) as const,
    );
    const pipelines = [azure.pipelines.declare({ parameters }), azure.pipelines.declare({ parameters })] as const;
    const world = new ChaosWorld(plan, servers, azure, entra, admin, pipelines);
    try {
      await admin.stream('ci', { num_replicas: servers.length });
      await world.#begin();
      return world;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #begin(): Promise<void> {
    const { entra, azure } = this;
    if (entra !== undefined) entra.lifetimeMs = 3_000;
    const files = { 'contract.json': JSON.stringify(CONTRACT) };
    for (let index = 0; index < REPLICAS; index++) {
      const app = entra?.register(`replica-${index}`);
      const pat = azure.signIn.addPat({ name: `Replica ${index}` });
      const yaml = this.#configuration(app);
      const env = {
        ...{ PAT: pat, SECRET: app?.secret ?? '' },
        ...(entra === undefined ? {} : { NODE_EXTRA_CA_CERTS: entra.caFile }),
      };
      if (index === 0) {
        await setUp(yaml, { files, env });
      }
      const bridge = await BridgeProcess.start(yaml, { files, env });
      const identity = app?.objectId ?? azure.signIn.identify(`Basic ${Buffer.from(`:${pat}`).toString('base64')}`);
      const { id } = typeof identity === 'string' ? { id: identity } : identity;
      const restart = () => BridgeProcess.start(yaml, { files, env });
      this.#seats.push({ bridge, restart, onFreeze: () => this.#freeze(id), isStruck: false });
    }
    this.#putIntoMoods();
  }

  #configuration(app: EntraApp | undefined): string {
    const { azure, entra, servers, pipelines } = this;
    const identity =
      app === undefined
        ? 'kind: pat, patEnv: PAT'
        : `kind: clientSecret, tenantId: ${entra?.tenantId}, clientId: ${app.clientId}, clientSecretEnv: SECRET, authorityHost: "${entra?.authorityHost}"`;
    const route = (name: Route, [pipeline, ...lines]: readonly [Pipeline, ...string[]]) =>
      [
        `name: ${name}`,
        'subject: [ci.a, ci.b]',
        'stream: ci',
        `pipeline: { project: ${pipeline.project.name}, id: ${pipeline.id}, branch: refs/heads/main }`,
        `parameters: { natsEventId: event.id, image: data.image, route: "'${name}'" }`,
        'maxPerMinute: 10000',
        'pauseAfter: 1000',
        // High enough that no event is given up: the check is for exactly one run.
        'maxDeliver: 20',
        ...lines,
      ].join('\n    ');
    const strict = ['contract: image', 'correlationId: chaos'];
    const [first, second] = pipelines;
    return `nats: { servers: ${JSON.stringify(servers.map(({ url }) => url))} }
azureDevOps: { organization: "${azure.url}", identity: { ${identity} } }
http: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }
timing: { ${TIMING} }
streams: { replicas: ${servers.length} }
contracts: { image: contract.json }
runs:
  - ${route('one', [first, ...strict, "match: data.region == 'eu'"])}
  - ${route('two', [first, ...strict, "match: data.region == 'eu' && data.size == 'big'"])}
  - ${route('three', [second, "match: data.region == 'eu'"])}
`;
  }

  #putIntoMoods(): void {
    const { azure, plan } = this;
    const hasGone = ({ body }: RecordedRequest) => body.includes('gone:1');
    azure.feel(moods.parametersRefused('pipeline', 'The image is gone.'), {
      when: (request) => startsRun(request) && hasGone(request),
    });
    azure.builds.listingLagMs = 200;
    let seed = plan.seed;
    const feel = (mood: Mood, chance: number, when: (request: RecordedRequest) => boolean) =>
      void azure.feel(mood, { chance, when, seed: ++seed });
    const isBrief = { retryAfter: 0.3 };
    for (const when of [startsRun, listsBuilds]) {
      const isPost = when === startsRun;
      feel(moods.reset({ done: isPost }), 0.04, when);
      feel(moods.reset(), 0.02, when);
      feel(moods.cut(), 0.02, when);
      feel(moods.throttled(isBrief), 0.01, when);
      feel(moods.retryAfterOnSuccess(isBrief), 0.01, when);
      feel(moods.unavailable(503), 0.03, when);
      feel(moods.broken({ done: isPost }), 0.03, when);
      feel(moods.slow(1_000), 0.02, when);
      feel(moods.slow(2_500), 0.01, when);
      // It's carried out before its caller gives up, as the 40 s limit of a call ensures.
      feel(moods.slow(1_000, { done: 'after' }), 0.02, when);
      for (const form of ['page', 'redirect', 'unauthorized'] as const) feel(moods.signInAsked(form), 0.005, when);
      feel(moods.htmlWithSuccess(), 0.005, when);
    }
  }

  tell(text: string): void {
    this.story.push(`${this.timeOf(Date.now())} ${text}`);
  }

  /** Seconds since it began. */
  timeOf(at: number): string {
    return ((at - this.#beganAt) / 1_000).toFixed(3);
  }

  /** Plays the plan, repairs everything, and lets the replicas finish their work. */
  async play(): Promise<void> {
    for (const { events, ms, faults } of this.plan.steps) {
      for (const event of events) await this.#publish(event);
      for (const fault of faults) this.#faults.strike(fault);
      await delay(ms);
    }
    await this.#faults.over();
    this.tell('all faults are over');
    await this.#settled();
    for (const { bridge } of this.#seats) bridge.signal('SIGTERM');
    for (const { bridge } of this.#seats) {
      const status = await bridge.ended;
      if (status !== 0) throw new Error(`A replica ended with ${status}:\n${bridge.text}`);
    }
  }

  /** Publishes until the stream has acked, as publishers do. The event may then be stored twice, like a resent one. */
  async #publish({ kind, id, subject }: PlannedEvent): Promise<void> {
    const given = headers();
    given.set('Chaos-Kind', kind);
    const attributes = {
      specversion: '1.0',
      id,
      source: '/chaos',
      type: 'image-ready',
      datacontenttype: 'application/json',
    };
    if (kind !== 'plain') {
      for (const [name, value] of Object.entries(attributes)) given.set(`ce-${name}`, value);
      given.set('ce-correlationid', kind === 'foreign' ? 'another' : 'chaos');
    }
    for (const deadline = Date.now() + PUBLISHED_MS; ;) {
      try {
        await this.admin.connection.jetstream().publish(subject, DATA[kind], { headers: given, timeout: 1_000 });
        return;
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await delay(50);
      }
    }
  }

  /** @returns a function that records when it resumes */
  #freeze(identity: string): () => void {
    const freeze = { identity, from: Date.now(), to: Infinity };
    this.freezes.push(freeze);
    return () => (freeze.to = Date.now());
  }

  async #settled(): Promise<void> {
    let left = '';
    for (const deadline = Date.now() + ENDS_MS; Date.now() < deadline;) {
      const consumers = ROUTES.map((route) => this.admin.manager.consumers.info('ci', `bridge-${route}`));
      const infos = await Promise.all(consumers).catch(() => []);
      const counts = infos.map(({ num_pending: waiting, num_ack_pending: held }) => waiting + held);
      if (counts.length > 0) left = counts.join();
      if (counts.length > 0 && counts.every((count) => count === 0)) return;
      await delay(100);
    }
    throw new Error(
      `The routes never come to an end; they have left: ${left}\n${this.#seats.map(({ bridge }) => bridge.text.slice(-4_000)).join('\n')}`,
    );
  }

  /**
   * Whether a replica requested a run after a pause, so late that another one could look for the run before it was
   * listed. A request leaves within a sixth of the takeover time, or when its replica resumes.
   */
  cameLate({ identity, receivedAt, queuedAt }: StartedRun): boolean {
    const listedAt = queuedAt + this.azure.builds.listingLagMs;
    return this.freezes.some(
      ({ identity: frozen, from, to }) =>
        frozen === identity.id &&
        receivedAt >= to &&
        receivedAt <= to + 1_000 &&
        listedAt >= from + (TAKEOVER_MS * 5) / 6,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#faults.end();
    await this.admin[Symbol.asyncDispose]();
    await this.azure[Symbol.asyncDispose]();
    await this.entra?.[Symbol.asyncDispose]();
    for (const server of this.servers) await server.stop();
  }
}
