import { Decisions } from '../../../bridge/audit/decisions.ts';
import type { HttpAnswer, HttpRequest, Route } from '../../../bridge/http/route.ts';
import type { Answer, StreamInfo } from '../../../bridge/jetStream/api.ts';
import type { WaitRule, WaitsSettings } from '../../../bridge/settings.ts';
import { acceptRoute, type AcceptOptions, type WaitCounts } from '../../../bridge/waits/accept.ts';
import { Answering } from '../../../bridge/waits/answering.ts';
import { cancelRoute } from '../../../bridge/waits/cancel.ts';
import type { Asked, PlanCall, ProvenPlan, ProvesCaller } from '../../../bridge/waits/caller.ts';
import { bucketKey, type WaitKey, type WaitState } from '../../../bridge/waits/record.ts';
import { WaitStore } from '../../../bridge/waits/waitStore.ts';
import { whoamiRoute } from '../../../bridge/waits/whoami.ts';
import { MemoryBucket, MemoryLog, MemoryPublisher, textOf } from './memoryNats.ts';

export const BEARER = 'the-bearer-token-of-the-connection';
/** Must not appear anywhere in clear text. */
export const JOB_TOKEN = 'eyJhbGciOi.the-canary-among-job-tokens.c2lnbmF0dXJl';
export const SEALING_KEY = Buffer.alloc(32, 7);

export const PROJECT = '6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c';
export const PLAN = '0d6b5d2c-9a4b-4b34-8c53-bd9c3f0d1a11';
const JOB = '12f1170f-54f2-53f3-20dd-22fc7dff55f9';
const TIMELINE = '7b2e6a0f-3f7e-4bb8-9d57-0c0e9f1c7a22';
const INSTANCE = '9c939e41-62c2-5605-5e05-fc3554afc9f5';
/** The key of the wait of {@link taskHeaders}. */
export const WAIT_KEY: WaitKey = {
  ...{ organization: 'https://dev.azure.com/contoso', hub: 'build', project: PROJECT, plan: PLAN },
  ...{ job: JOB, instance: INSTANCE },
};
export const STORED_KEY = bucketKey(WAIT_KEY);

/** The headers of a task, with some replaced; undefined leaves one out. */
export function taskHeaders(others: Readonly<Record<string, string | undefined>> = {}): HttpRequest['headers'] {
  const headers: Readonly<Record<string, string | undefined>> = {
    authorization: `Bearer ${BEARER}`,
    'x-plan-url': 'https://dev.azure.com/contoso/',
    'x-project-id': PROJECT,
    'x-hub-name': 'Build',
    'x-plan-id': PLAN,
    'x-job-id': JOB,
    'x-timeline-id': TIMELINE,
    'x-task-instance-id': INSTANCE,
    'x-run-start': '2026-11-28 09:00:00.1234567+00:00',
    'x-job-token': JOB_TOKEN,
    ...others,
  };
  return Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined));
}

/** The body of a task with these inputs, as its template renders them. */
export function taskBody(inputs: Readonly<Record<string, string>>, lineEnd = '\n', plan = PLAN): Buffer {
  const blocks = Object.entries(inputs).map(([name, value]) => `--${plan} ${name}${lineEnd}${value}${lineEnd}`);
  return Buffer.from(`${blocks.join('')}--${plan} end${lineEnd}`);
}

export const RULE: WaitRule = {
  ...{ projects: ['Shop'], pipelines: ['*'], subjects: ['ci.shop.>'], tokens: [] },
  ...{ proof: 'plan', maxOpen: 200 },
};

/** The routes of waits with an in-memory NATS and an Azure DevOps that knows a single plan. */
export class WaitsReceiver {
  now = Date.parse('2026-11-28T10:00:00Z');
  readonly bucket = new MemoryBucket();
  readonly publisher = new MemoryPublisher();
  readonly log = new MemoryLog();
  readonly counted: string[] = [];
  unreadable = 0;
  readonly asked: PlanCall[] = [];
  plan: () => Asked<ProvenPlan> | Promise<Asked<ProvenPlan>> = () => ({
    kind: 'ok',
    value: { project: PROJECT, pipeline: { id: 42, name: 'web' }, version: 13, run: 4242 },
  });
  idToken: () => Asked<string> = () => ({ kind: 'ok', value: 'id-token' });
  /** Why the ID token proves nothing; undefined: it does. */
  idProblem: string | undefined;
  projectName: (organization: string) => string | undefined = (organization) =>
    organization === WAIT_KEY.organization ? 'Shop' : undefined;
  /** Streams by name. */
  streams: Record<string, { subjects: string[]; last: number; retention?: string }> = {
    CI: { subjects: ['ci.>'], last: 41 },
  };
  /** Delays JetStream's answer about a stream. */
  beforeStream: () => Promise<void> = () => Promise.resolve();
  counts: WaitCounts = { openOf: () => 0, uncorrelated: () => 0, isFree: () => false };
  readonly store: WaitStore;
  readonly #routes: readonly Route[];

  constructor({ rules = [RULE], answerMs }: { rules?: readonly WaitRule[]; answerMs?: number } = {}) {
    const now = () => this.now;
    const settings: WaitsSettings = {
      organizations: ['https://dev.azure.com/contoso/'],
      tokens: [
        { name: 'waits-token', label: 'waits.tokenFiles[0]', value: BEARER },
        { name: 'token-2', label: 'waits.tokenFiles[1]', value: 'another-token' },
      ],
      sealingKeys: [{ label: 'waits.sealingKeyFiles[0]', value: SEALING_KEY }],
      issuers: [],
      rules,
      maxWaitMs: 24 * 3_600_000,
    };
    const answering = new Answering({
      decisions: new Decisions({
        ...{ publisher: this.publisher, subjectPrefix: 'bridge.decisions', stream: 'BRIDGE_AUDIT', version: '1.2.3' },
        ...{ replica: 'r1', signingKey: () => undefined, now, log: this.log },
      }),
      log: this.log,
      count: (outcome) => this.counted.push(outcome),
      unreadable: () => this.unreadable++,
      now,
      ...(answerMs === undefined ? {} : { answerMs }),
    });
    const caller: ProvesCaller = {
      plan: async (call) => {
        this.asked.push(call);
        return this.plan();
      },
      idToken: async () => this.idToken(),
    };
    this.store = new WaitStore(this.bucket, settings.sealingKeys);
    const options: AcceptOptions = {
      ...{ settings, answering, caller, store: this.store, now },
      contracts: ['image-ready.v1'],
      ownStreams: ['BRIDGE_AUDIT', 'BRIDGE_DEAD', 'KV_BRIDGE_WAITS'],
      jetStream: {
        stream: async (name) => {
          await this.beforeStream();
          return this.#streamInfo(name);
        },
        streamNames: async (subject) => ({ kind: 'ok', value: this.#namesOf(subject) }),
      },
      verifyIdToken: async () => this.idProblem,
      allowPlanUrl: (text) =>
        text === 'https://dev.azure.com/contoso/'
          ? { url: text }
          : { problem: `"${text}" is not one of an organization that may wait` },
      projectName: async (organization) => this.projectName(organization),
      counts: {
        openOf: (rule) => this.counts.openOf(rule),
        uncorrelated: (...of) => this.counts.uncorrelated(...of),
        isFree: (place) => this.counts.isFree(place),
      },
    };
    this.#routes = [acceptRoute(options), cancelRoute(options), whoamiRoute(settings, '1.2.3', answering)];
  }

  execute(inputs: Readonly<Record<string, string>> = {}, headers = taskHeaders()): Promise<HttpAnswer> {
    return this.call('/v1/waits', headers, taskBody({ subject: 'ci.shop.done.v1', ...inputs }));
  }

  cancel(headers = taskHeaders()): Promise<HttpAnswer> {
    return this.call('/v1/waits/cancel', headers);
  }

  async call(path: string, headers: HttpRequest['headers'], body: Uint8Array = Buffer.alloc(0)): Promise<HttpAnswer> {
    const route = this.#routes.find((one) => one.path === path)!;
    return route.authenticate(headers) ?? route.handle({ headers, body, signal: new AbortController().signal });
  }

  /** The state of the only wait. */
  async state(): Promise<WaitState | undefined> {
    return (await this.store.get(WAIT_KEY))?.record.state;
  }

  /** Changes the wait's state, as other parts of the bridge do. */
  async put(change: (state: WaitState) => WaitState): Promise<void> {
    const stored = (await this.store.get(WAIT_KEY))!;
    await this.store.update(stored, change(stored.record.state));
  }

  /** Decisions as `name decision`, with their details. */
  get decisions(): {
    readonly name: string;
    readonly decision: string;
    readonly reason?: string;
    readonly followed?: Record<string, string | number>;
  }[] {
    return this.publisher.on('bridge.decisions.waits.').map((message) => JSON.parse(textOf(message)));
  }

  /** All that was written anywhere. */
  get written(): string {
    return [...this.log.lines, ...this.publisher.stored.map(textOf), ...Object.values(this.bucket.texts)].join('\n');
  }

  #namesOf(subject: string): string[] {
    const first = subject.split('.')[0]!;
    const isIn = (subjects: readonly string[]) => subjects.some((own) => own.startsWith(`${first}.`));
    return Object.keys(this.streams).filter((name) => isIn(this.streams[name]!.subjects));
  }

  #streamInfo(name: string): Answer<StreamInfo> {
    const stream = this.streams[name];
    if (stream === undefined) return { kind: 'error', code: 404, errorCode: 10059, description: 'stream not found' };
    const { subjects, last, retention = 'limits' } = stream;
    const state = { messages: last, first_seq: 1, last_seq: last, last_ts: '' };
    return { kind: 'ok', value: { created: '', config: { name, subjects, retention }, state } };
  }
}

/** The message of a refusal. */
export function messageIn({ body }: HttpAnswer): string {
  return (body as { error: { message: string } }).error.message;
}
