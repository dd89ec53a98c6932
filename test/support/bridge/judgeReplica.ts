import { setTimeout as delay } from 'node:timers/promises';
import type { Contract } from '../../../shared/contract/contract.ts';
import { openServiceBus, type ServiceBus } from '../../../shared/nats/serviceBus.ts';
import type { KeyValue, StreamLookup } from '../../../shared/bus.ts';
import { JetStream } from '../../../bridge/jetStream/api.ts';
import { OpenWaits } from '../../../bridge/waits/openWaits.ts';
import { StreamJudges } from '../../../bridge/waits/streamJudges.ts';
import { bucketKey, type WaitKey, type Waiting, type WaitState } from '../../../bridge/waits/record.ts';
import { WaitStore } from '../../../bridge/waits/waitStore.ts';
import { settingsFor } from '../nats/openBus.ts';
import { JOB_TOKEN, SEALING_KEY, WAIT_KEY } from './waitsReceiver.ts';

export const BUCKET = 'BRIDGE_WAITS';
const SEALING_KEYS = [{ label: 'waits.sealingKeyFiles[0]', value: SEALING_KEY }];
/** As short as a loaded machine allows. */
const PAUSES = { checkpointMs: 50, retryMs: 50, renewMs: 100, staleMs: 600, idleMs: 500 };

/** What a test delays, or is notified of. */
export interface Hooks {
  readonly beforeLookup?: (from: number) => Promise<void> | void;
  readonly afterLookup?: (from: number) => Promise<void> | void;
  readonly beforeUpdate?: (key: string) => Promise<void> | void;
  /** Milliseconds since the epoch; leases last for a minute then. */
  readonly now?: () => number;
}

/** The part of one replica that judges waits. */
export class JudgeReplica implements AsyncDisposable {
  readonly troubles: unknown[] = [];
  unreadable = 0;
  readonly leads = new Set<string>();
  /** Projects with a reader of their own. */
  readonly apart = new Set<string>();
  readonly waits: OpenWaits;
  readonly store: WaitStore;
  readonly #judges: StreamJudges;
  readonly #stop = new AbortController();
  readonly #following: Promise<void>;

  private constructor(
    private readonly nats: ServiceBus,
    holder: string,
    hooks: Hooks,
    contracts: Readonly<Record<string, Contract>>,
  ) {
    const jetStream = new JetStream(nats, undefined, 5_000);
    const bucket = hookedBucket(nats.keyValue(BUCKET), hooks);
    this.store = new WaitStore(bucket, SEALING_KEYS);
    const pause = async (ms: number, signal: AbortSignal) => {
      await delay(ms, undefined, { signal }).catch(() => {});
    };
    const onTrouble = (error: unknown) => this.troubles.push(error);
    this.waits = new OpenWaits({
      ...{ nats, jetStream, bucket: BUCKET, store: this.store, pause, retryMs: PAUSES.retryMs, onTrouble },
      now: () => Date.now(),
      onUnreadable: () => this.unreadable++,
    });
    const lookup: Pick<StreamLookup, 'next' | 'holdings'> = {
      next: async (stream, from, pattern) => {
        if (stream === 'CI') await hooks.beforeLookup?.(from);
        const found = await nats.lookup.next(stream, from, pattern);
        if (stream === 'CI') await hooks.afterLookup?.(from);
        return found;
      },
      holdings: (...of) => nats.lookup.holdings(...of),
    };
    this.#judges = new StreamJudges({
      ...{ ...PAUSES, jetStream, bucket, store: this.store, waits: this.waits, holder, pause, onTrouble, contracts },
      nats: { readStream: (...of: Parameters<ServiceBus['readStream']>) => nats.readStream(...of), lookup },
      ...(hooks.now === undefined ? {} : { staleMs: 60_000 }),
      now: hooks.now ?? (() => Date.now()),
      warn: () => {},
      mayRead: (_, subject) => !subject.startsWith('CI.secret'),
      onDecided: () => {},
      onApart: (_, project, isApart) => {
        if (isApart) this.apart.add(project);
        else this.apart.delete(project);
      },
      onLeading: (stream, isLeading) => {
        if (isLeading) this.leads.add(stream);
        else this.leads.delete(stream);
      },
    });
    this.#following = this.waits.follow(this.#stop.signal);
  }

  static async start(
    url: string,
    holder = 'one',
    hooks: Hooks = {},
    contracts: Readonly<Record<string, Contract>> = {},
  ): Promise<JudgeReplica> {
    const log = { info: () => {}, warning: () => {}, debug: () => {} };
    const settings = settingsFor([url]);
    const nats = await openServiceBus(() => settings, new AbortController().signal, log);
    return new JudgeReplica(nats, holder, hooks, contracts);
  }

  /** Dies: it hands nothing over, and is silent from then on. */
  async kill(): Promise<void> {
    await this.nats.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#judges.stop();
    await this.#following;
    await this.nats.close();
  }
}

function hookedBucket(bucket: KeyValue, { beforeUpdate }: Hooks): KeyValue {
  return {
    get: (key) => bucket.get(key),
    create: (key, value) => bucket.create(key, value),
    update: async (key, value, revision) => {
      await beforeUpdate?.(key);
      return bucket.update(key, value, revision);
    },
    delete: (key, revision) => bucket.delete(key, revision),
  };
}

/** Waits from this number on belong to another project. */
export const OTHERS = 1_000;

/** The key of the wait with this number. */
export function keyOf(number: number): WaitKey {
  const project = number < OTHERS ? WAIT_KEY.project : '0b1e5f0c-8a55-4c1d-9f0a-3d6c2b9e7a10';
  return { ...WAIT_KEY, project, instance: `9c939e41-62c2-5605-5e05-${String(number).padStart(12, '0')}` };
}

/** A wait as accept stores it. */
export function waiting(inputs: Readonly<Record<string, string>>, others: Partial<Waiting> = {}): Waiting {
  const acceptedAt = Date.now();
  return {
    state: 'waiting',
    call: {
      planUrl: 'https://dev.azure.com/contoso/',
      timeline: WAIT_KEY.plan,
      token: JOB_TOKEN,
      inputs: { subject: 'CI.done', ...inputs },
      digest: 'd',
      owner: { project: WAIT_KEY.project, pipeline: 'web', rule: 0 },
      planVersion: 13,
    },
    start: { stream: 'CI', after: 0 },
    acceptedAt,
    deadline: acceptedAt + 60_000,
    ...others,
  };
}

/** The bucket, as other parts of the bridge write and read it. */
export class Records {
  readonly store: WaitStore;

  constructor(readonly bucket: KeyValue) {
    this.store = new WaitStore(bucket, SEALING_KEYS);
  }

  async add(number: number, state: WaitState): Promise<void> {
    const planUrl = 'https://dev.azure.com/contoso/';
    if ((await this.store.create({ key: keyOf(number), planUrl, state })) === undefined)
      throw new Error(`There is a wait ${bucketKey(keyOf(number))} already.`);
  }

  async state(number: number): Promise<WaitState | undefined> {
    return (await this.store.get(keyOf(number)))?.record.state;
  }

  /** Overwrites the state, whatever it is by then. */
  async change(number: number, change: (state: WaitState) => WaitState): Promise<void> {
    for (;;) {
      const stored = await this.store.get(keyOf(number));
      if (stored === undefined) throw new Error('There is no such wait.');
      if ((await this.store.update(stored, change(stored.record.state))) !== undefined) return;
    }
  }
}
