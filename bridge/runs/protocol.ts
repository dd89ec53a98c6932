import { reasonOf } from '../../shared/errors.ts';
import { shortened } from '../../shared/text/safeText.ts';
import type { Done, Intent, Intents, Posting, Run, StoredIntent } from './intents.ts';

/** How one request for a run ended. Texts are neutralised. */
export type StartOutcome =
  | { readonly kind: 'started'; readonly run: Run }
  /** Azure DevOps refuses, and will refuse again. */
  | { readonly kind: 'refused'; readonly message: string }
  /** It had no effect, and trying again later may help. */
  | { readonly kind: 'postponed'; readonly message: string }
  /** A run may have been started. */
  | {
      readonly kind: 'open';
      readonly message: string;
      /** It asked for a pause, so it doesn't count as an attempt. */ readonly isFree: boolean;
    };

/** How a look at the list of runs ended. */
export type FindOutcome =
  | {
      readonly kind: 'list';
      /** Those with the event's id and nothing that contradicts its parameters, oldest first. */ readonly runs: readonly Run[];
    }
  | { readonly kind: 'refused' | 'postponed' | 'open'; readonly message: string };

/** What the protocol works with. Calls of NATS may fail; those of Azure DevOps don't. */
export interface ProtocolPorts {
  readonly intents: Intents;
  /** Asks for the run once. */
  start(work: Work): Promise<StartOutcome>;
  /** Looks for runs that the work may have started since a time, in milliseconds since the epoch. */
  find(work: Work, since: number): Promise<FindOutcome>;
  /** Resolves once a run may be asked for; rejects when the bridge stops. */
  turn(): Promise<void>;
  /** Resolves once Azure DevOps may be called; rejects when the bridge stops. */
  open(): Promise<void>;
  /** Keeps the dead letter of what failed for good. */
  bury(failure: Failure, work: Work): Promise<void>;
  /** Rejects when the bridge stops. */
  sleep(ms: number): Promise<void>;
  /** Milliseconds since the epoch. */
  now(): number;
  warn(text: string): void;
}

export interface ProtocolSettings {
  /** Identifies this process, even against its own predecessor. */
  readonly replica: string;
  readonly maxDeliver: number;
  /** Whether the pipeline has the parameter that identifies a run. */
  readonly isFindable: () => boolean;
  /** A failed intent is forgotten, so that the event can be ordered again. */
  readonly forgetsFailures?: boolean;
  readonly timing: ProtocolTiming;
}

/** Milliseconds; see TIMING. */
export interface ProtocolTiming {
  readonly takeover: number;
  readonly firstLook: number;
  readonly secondLook: number;
  readonly thirdLook: number;
  readonly clockTolerance: number;
  readonly natsRetry: number;
}

/** An event that is to start a run. */
export interface Work {
  /** Of the intent. */
  readonly key: string;
  readonly intent: Omit<Intent, 'createdAt' | 'posting' | 'done'>;
  readonly parameters: Readonly<Record<string, string>>;
}

export interface Failure {
  /** `refused`: by Azure DevOps; `attempts`: too many; `unknown`: nobody can say whether there is a run. */
  readonly reason: 'refused' | 'attempts' | 'unknown';
  /** A clause. */
  readonly detail: string;
}

export type Result =
  | { readonly kind: 'started'; readonly run: Run; /** It was found in the list of runs. */ readonly isFound: boolean }
  | { readonly kind: 'duplicate'; readonly done: Done }
  /** Another replica is working on it; ask again after this time, in milliseconds. */
  | { readonly kind: 'elsewhere'; readonly forMs: number }
  | ({ readonly kind: 'failed' } & Failure);

const MOST_NATS_PAUSES = 5;
/** Characters of a message that are kept in an intent. */
const MOST_MESSAGE = 500;
/** A request is sent within this fraction (1/6) of the time until a takeover. */
const MOST_DELAY = 6;

/**
 * Starts one run for one event, no matter how often and to how many replicas the event is delivered, or where one of
 * them dies. What is about to be requested from Azure DevOps is stored in the bucket first. A replica that finds it
 * there without an outcome looks for the run before asking again.
 */
export class Protocol {
  constructor(
    private readonly ports: ProtocolPorts,
    private readonly settings: ProtocolSettings,
  ) {}

  /** Never run two of these for one key in one process. Rejects when the bridge stops. */
  async run(work: Work): Promise<Result> {
    for (;;) {
      const claimed = await this.#claim(work);
      if ('kind' in claimed) return claimed;
      const result = await this.#pursue(work, claimed);
      // Somebody else has written meanwhile.
      if (result !== undefined) return result;
    }
  }

  async #claim({ key, intent }: Work): Promise<StoredIntent | Result> {
    const { ports } = this;
    const fresh: Intent = { ...intent, createdAt: ports.now() };
    const revision = await this.#insist(() => ports.intents.create(key, fresh));
    if (revision !== undefined) return { intent: fresh, revision };
    const stored = await this.#insist(() => ports.intents.get(key));
    // It was forgotten between the two.
    if (stored === undefined) return { kind: 'elsewhere', forMs: this.settings.timing.natsRetry };
    const { done, posting } = stored.intent;
    if (done !== undefined) return { kind: 'duplicate', done };
    const left = posting === undefined || this.#isOurs(posting) ? 0 : this.#takeoverAt(posting) - ports.now();
    return left > 0 ? { kind: 'elsewhere', forMs: left } : stored;
  }

  #isOurs({ replica }: Posting): boolean {
    return replica === this.settings.replica;
  }

  #takeoverAt({ time }: Posting): number {
    return time + this.settings.timing.takeover;
  }

  /** Undefined when someone else has written meanwhile. */
  async #pursue(work: Work, { intent, revision }: StoredIntent): Promise<Result | undefined> {
    const { ports, settings } = this;
    const left = intent.posting;
    if (left !== undefined) {
      // A replica that takes over has waited longer than its predecessor's checks would have taken.
      const found = await this.#look(work, intent, this.#isOurs(left) ? this.#looks : [0]);
      if (found !== undefined) return this.#end(work, { intent, revision }, found);
    }
    let attempt = left === undefined ? 1 : left.attempt + 1;
    let lastMessage = 'the replica that asked for it is gone';
    let hasFailed = left !== undefined;
    for (;;) {
      if (attempt > settings.maxDeliver)
        return this.#fail(
          work,
          { intent, revision },
          {
            reason: 'attempts',
            detail: `${settings.maxDeliver} attempts failed; the last one: ${lastMessage}`,
          },
        );
      const posted = await this.#announce(work.key, intent, revision, attempt, hasFailed ? lastMessage : undefined);
      if (posted === undefined) return undefined;
      ({ intent, revision } = posted);
      const outcome = await ports.start(work);
      if (outcome.kind === 'refused') return this.#fail(work, posted, { reason: 'refused', detail: outcome.message });
      hasFailed = true;
      if (outcome.kind === 'postponed') {
        lastMessage = outcome.message;
        const told = await this.#tellPause(work.key, posted, lastMessage);
        if (told === undefined) return undefined;
        ({ intent, revision } = told);
        continue;
      }
      if (outcome.kind === 'started' && !(await this.#isTaken(work, outcome.run, intent)))
        return this.#end(work, posted, { kind: 'started', run: outcome.run, isFound: false });
      lastMessage =
        outcome.kind === 'open' ? outcome.message : `the run ${outcome.run.id} was mistaken for another event's`;
      const found = await this.#look(work, intent, this.#looks);
      if (found !== undefined) return this.#end(work, posted, found);
      if (outcome.kind !== 'open' || !outcome.isFree) attempt++;
    }
  }

  /** Writes that a run is about to be requested; undefined when someone else has written meanwhile. */
  async #announce(
    key: string,
    intent: Intent,
    revision: number,
    attempt: number,
    after: string | undefined,
  ): Promise<StoredIntent | undefined> {
    const { ports, settings } = this;
    let stored: StoredIntent = { intent, revision };
    for (;;) {
      await ports.turn();
      const posting = {
        ...{ replica: settings.replica, attempt, time: ports.now() },
        ...(after === undefined ? {} : { after: shortened(after, MOST_MESSAGE) }),
      };
      const announced: Intent = { ...intent, posting };
      const next = await this.#update(key, announced, stored.revision);
      if (next === undefined) return undefined;
      stored = { intent: announced, revision: next };
      // A request that starts late would still be under way when another replica takes over.
      if (ports.now() - posting.time <= settings.timing.takeover / MOST_DELAY) return stored;
    }
  }

  /** Writes why nothing is requested during the pause that follows; undefined when someone else has written meanwhile. */
  async #tellPause(key: string, stored: StoredIntent, message: string): Promise<StoredIntent | undefined> {
    const { posting } = stored.intent;
    const after = shortened(message, MOST_MESSAGE);
    if (posting === undefined || posting.after === after) return stored;
    const intent: Intent = { ...stored.intent, posting: { ...posting, after } };
    const revision = await this.#update(key, intent, stored.revision);
    return revision === undefined ? undefined : { intent, revision };
  }

  get #looks(): readonly number[] {
    const { firstLook, secondLook, thirdLook } = this.settings.timing;
    return [firstLook, secondLook, thirdLook];
  }

  /** Looks for a run that was started without our knowing: once after each pause. */
  async #look(
    work: Work,
    intent: Intent,
    pauses: readonly number[],
  ): Promise<Extract<Result, { kind: 'started' | 'failed' }> | undefined> {
    const { ports, settings } = this;
    for (const pause of pauses) {
      await ports.sleep(pause);
      if (!settings.isFindable()) continue;
      const runs = await this.#list(work, intent);
      if ('reason' in runs) return { kind: 'failed', ...runs };
      for (const run of runs) if (await this.#isFree(work, run)) return { kind: 'started', run, isFound: true };
    }
    return undefined;
  }

  /** The runs that may be the event's, or why they're unknown: requesting a run then might make two. */
  async #list(work: Work, { createdAt }: Intent): Promise<readonly Run[] | Failure> {
    const { ports, settings } = this;
    const { clockTolerance, thirdLook } = settings.timing;
    for (let failures = 0; ;) {
      await ports.open();
      const outcome = await ports.find(work, createdAt - clockTolerance);
      if (outcome.kind === 'list') return outcome.runs;
      const detail = `can't find out whether a run was started: ${outcome.message}`;
      if (outcome.kind === 'refused') return { reason: 'unknown', detail };
      if (outcome.kind === 'open' && ++failures >= settings.maxDeliver) return { reason: 'unknown', detail };
      if (outcome.kind === 'open') await ports.sleep(thirdLook);
    }
  }

  /** Whether a run that was found belongs to no other event; from now on, it's this one's. */
  async #isFree(work: Work, { id }: Run): Promise<boolean> {
    const { intents } = this.ports;
    const record = this.#recordOf(work, true);
    return this.#insist(async () => {
      if (await intents.createRun(id, record)) return true;
      return (await intents.run(id))?.intent === work.key;
    });
  }

  /**
   * Whether another replica that lost an answer has claimed our run, which must have happened while we waited for ours. Any
   * other record of a run with this id is older than the run.
   */
  async #isTaken(work: Work, { id }: Run, { posting }: Intent): Promise<boolean> {
    const { intents } = this.ports;
    const record = this.#recordOf(work, false);
    return this.#insist(async () => {
      if (await intents.createRun(id, record)) return false;
      const other = await intents.run(id);
      if (other === undefined) throw new Error(`the record of the run ${id} is gone`);
      if (other.intent === work.key) return false;
      if (other.isFound && other.time >= (posting?.time ?? 0)) return true;
      if (await intents.updateRun(id, record, other.revision)) return false;
      throw new Error(`the record of the run ${id} keeps changing`);
    });
  }

  #recordOf({ key, intent }: Work, isFound: boolean) {
    return { intent: key, route: intent.route, hops: intent.hops, time: this.ports.now(), isFound };
  }

  async #end(
    work: Work,
    stored: StoredIntent,
    ending: Extract<Result, { kind: 'started' | 'failed' }>,
  ): Promise<Result> {
    if (ending.kind === 'failed') return this.#fail(work, stored, ending);
    await this.#close(work, stored, { run: ending.run });
    return ending;
  }

  async #fail(work: Work, stored: StoredIntent, { reason, detail }: Failure): Promise<Result> {
    const failure: Failure = { reason, detail };
    // First the letter: once the intent is done, the event counts as a duplicate everywhere.
    await this.#insist(() => this.ports.bury(failure, work));
    if (this.settings.forgetsFailures === true) await this.#insist(() => this.ports.intents.delete(work.key));
    else await this.#close(work, stored, { deadLetter: reason });
    return { kind: 'failed', ...failure };
  }

  /** Writes how it ended, overwriting anything from a replica that took over. */
  async #close({ key }: Work, last: StoredIntent, done: Done): Promise<void> {
    const { ports } = this;
    for (let stored: StoredIntent | undefined = last; stored !== undefined;) {
      const { intent, revision } = stored;
      if (intent.done !== undefined) {
        const [before, now] = [intent.done, done].map((one) => JSON.stringify(one));
        if (before !== now)
          ports.warn(`The event ${intent.eventId} of ${intent.route} has ended twice: ${before}, ${now}`);
        return;
      }
      if ((await this.#update(key, { ...intent, done }, revision)) !== undefined) return;
      stored = await this.#insist(() => ports.intents.get(key));
    }
  }

  /**
   * As {@link Intents.update}. If the answer to a stored write is lost, it looks as if someone else has written:
   * then the intent is read again and turns out to be ours.
   */
  #update(key: string, intent: Intent, revision: number): Promise<number | undefined> {
    return this.#insist(() => this.ports.intents.update(key, intent, revision));
  }

  /** Does something with NATS until it works; rejects when the bridge stops. */
  async #insist<Value>(call: () => Promise<Value>): Promise<Value> {
    const { ports, settings } = this;
    for (let failures = 0; ; failures++) {
      try {
        return await call();
      } catch (error) {
        if (failures === 0) ports.warn(`Trying again: ${reasonOf(error)}`);
        await ports.sleep(settings.timing.natsRetry * 2 ** Math.min(failures, MOST_NATS_PAUSES));
      }
    }
  }
}
