import type { PubAck } from '../../../shared/bus.ts';
import { reasonOf, TaskError } from '../../../shared/errors.ts';
import { isObject } from '../../../shared/text/json.ts';
import { quoted } from '../../../shared/text/safeText.ts';
import type { DeadLetters } from '../../audit/deadLetters.ts';
import type { AzureDevOps, Outcome } from '../../azureDevOps/client.ts';
import type { Lease } from '../../jetStream/lease.ts';
import type { EventLog } from '../../log.ts';
import { Gate } from '../../azureDevOps/gate.ts';
import type { FeedSettings } from '../../settings.ts';
import type { Timing } from '../../timing.ts';
import { hookEvent, type EventProject } from '../hookEvent.ts';
import { PROJECT_ID } from '../hook.ts';
import { NO_PROJECT, type JudgeOptions } from '../judgeHook.ts';
import { feedName, type Cursor, type Cursors, type StoredCursor } from './cursor.ts';
import { PACKAGE_CHANGED, packageEvent, readPage } from './packageChanges.ts';
import { changesPath, feedPath, feedProblem } from './requests.ts';

/** What became of a change. */
export type ChangeOutcome = 'stored' | 'duplicate' | 'deadLetter' | 'skipped';

export interface FeedReaderOptions extends Pick<
  JudgeOptions,
  'hooks' | 'organization' | 'organizationName' | 'publisher' | 'projects' | 'signingKey' | 'now'
> {
  readonly feed: FeedSettings;
  readonly azureDevOps: Pick<AzureDevOps, 'ask'>;
  readonly lease: Lease;
  readonly cursors: Cursors;
  readonly deadLetters: Pick<DeadLetters, 'write'>;
  readonly log: EventLog;
  readonly timing: Timing;
  /** Waits this many milliseconds, or until the signal aborts. Never rejects. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly metrics: {
    changed(outcome: ChangeOutcome, count: number): void;
    read(seconds: number): void;
    trouble(isThere: boolean): void;
  };
}

/** The state of a feed at this replica. */
export interface FeedState {
  /** A kind of state; the log has a line for each change. */
  readonly kind: string;
  /** A clause. Foreign text. */
  readonly text: string;
  readonly isGood: boolean;
}

/** What has to be known about a feed before its changes become events. */
interface Known {
  readonly project: EventProject;
  /** Undefined when Azure DevOps doesn't say. */
  readonly feedId: string | undefined;
  /** Milliseconds since the epoch. */
  readonly learnedAt: number;
}

/** What keeps a feed from being read for now. */
class FeedTrouble extends Error {
  constructor(
    readonly kind: string,
    problem: string,
    /** What to do about it, in sentences. */
    readonly remedy = '',
    /** The least pause, in milliseconds. */
    readonly pauseMs = 0,
  ) {
    super(problem);
  }
}

const MOST_AT_ONCE = 500;
const PUBLISH_MS = 5_000;
const WAITING: FeedState = { kind: 'waiting', text: 'waits for its turn', isGood: true };
const READING: FeedState = { kind: 'reading', text: 'is read here', isGood: true };
const SKIPPING: FeedState = { kind: 'skipping', text: 'skips changes from before the bridge', isGood: true };

/**
 * Turns a feed's changes into events while it holds the feed's lease. A page's changes are stored one after the other; then
 * the cursor moves past them, unless another replica has moved it meanwhile. A change that is read again is published with
 * the same id.
 */
export class FeedReader {
  readonly #gate: Gate;
  #state = WAITING;
  #atOnce = MOST_AT_ONCE;
  #lastReadAt: number | undefined;

  constructor(private readonly options: FeedReaderOptions) {
    const { timing, now } = options;
    const { firstPause, longestPause } = timing;
    this.#gate = new Gate({ firstPause, longestPause, now, onPause: () => {}, onOpen: () => {}, onRecovery: () => {} });
    options.metrics.trouble(false);
  }

  get state(): FeedState {
    const { holder } = this.options.lease;
    const isOthers = this.#state === WAITING && holder !== '';
    return isOthers ? { ...WAITING, text: `is read by ${holder}` } : this.#state;
  }

  /** When this replica has last read it to its end, in milliseconds since the epoch. */
  get lastReadAt(): number | undefined {
    return this.#lastReadAt;
  }

  /** Reads until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.options.lease.run(signal, (held) => this.#read(held, signal));
    } finally {
      this.#gate.close();
    }
  }

  /** The lease can't be read, or can be again. */
  leaseTrouble(error: unknown): void {
    if (error === undefined) {
      if (this.#state.kind === 'lease') this.#enter(WAITING);
    } else if (!this.options.lease.isHeld) {
      this.#enter({ kind: 'lease', text: `its lease can't be read: ${reasonOf(error)}`, isGood: false });
    }
  }

  async #read(held: AbortSignal, stopping: AbortSignal): Promise<void> {
    const { feed, pause, timing, now } = this.options;
    let known: Known | undefined;
    const goesOn = () => !held.aborted && this.options.lease.isHeld;
    while (goesOn()) {
      await this.#gate.open(held).catch(() => undefined);
      if (!goesOn()) break;
      const beganAt = now();
      try {
        if (known === undefined || beganAt - known.learnedAt >= timing.feedLookup) known = await this.#learn(held);
        if (await this.#readPage(known, held, goesOn)) continue;
        await pause(feed.everyMs, held);
      } catch (error) {
        if (!goesOn()) break;
        if (error instanceof FeedTrouble) known = undefined;
        this.#trouble(error, beganAt);
      }
    }
    if (!stopping.aborted) this.#enter(WAITING);
  }

  /** Handles the changes after the cursor. Returns whether there may be more. */
  async #readPage(known: Known, held: AbortSignal, goesOn: () => boolean): Promise<boolean> {
    const { feed, cursors, metrics, timing, now } = this.options;
    const cursor = await this.#cursor(known);
    if (cursor === undefined) return true;
    const asked = this.#atOnce;
    const outcome = await this.#ask(changesPath(feed, cursor.token, asked), held);
    if (outcome.kind === 'open' && outcome.isTooLarge === true && asked > 1) {
      this.#atOnce = Math.ceil(asked / 2);
      return true;
    }
    const page = readPage(this.#bodyOf(outcome), cursor.token);
    if (typeof page === 'string') {
      throw new FeedTrouble('unreadable', page, 'If this persists, ask Azure DevOps support.', timing.feedRefused);
    }
    this.#atOnce = Math.min(MOST_AT_ONCE, asked * 2);
    const isEnd = page.changes.length === 0;
    if (cursor.isPastOld) {
      for (const change of page.changes) {
        if (!goesOn()) return false;
        metrics.changed(await this.#store(change, cursor, known), 1);
      }
    } else metrics.changed('skipped', page.changes.length);
    const isPastOld = cursor.isPastOld || isEnd;
    if (!isEnd || isPastOld !== cursor.isPastOld) {
      const next = { feedId: cursor.feedId || (known.feedId ?? ''), token: page.next, isPastOld };
      if (!goesOn() || !(await cursors.put(next, cursor.revision))) return true;
    }
    this.#enter(isPastOld ? READING : SKIPPING);
    if (isEnd) {
      this.#lastReadAt = now();
      metrics.read(Math.floor(now() / 1_000));
    }
    return !isEnd;
  }

  /** Where to continue; undefined when another replica has just decided that. */
  async #cursor({ feedId }: Known): Promise<StoredCursor | undefined> {
    const { feed, cursors, log } = this.options;
    const stored = await cursors.get();
    if (stored !== undefined && (feedId === undefined || stored.feedId === '' || stored.feedId === feedId))
      return stored;
    // Everything in a feed that replaced another one is new.
    const first: Cursor = { feedId: feedId ?? '', token: 0, isPastOld: stored !== undefined };
    const isOurs = await cursors.put(first, stored?.revision);
    if (isOurs && stored !== undefined)
      log.warning('feedReplaced', {
        feed: feedName(feed),
        text: 'Another feed has its name now and is read from its first change.',
      });
    return undefined;
  }

  async #store(change: unknown, { feedId }: Cursor, { project }: Known): Promise<ChangeOutcome> {
    const { feed, hooks, organization, organizationName, publisher, signingKey, now } = this.options;
    let body = Buffer.alloc(0);
    let id: string | undefined;
    try {
      body = Buffer.from(JSON.stringify(change));
      const parts = packageEvent(change, [organization, feedId === '' ? feedName(feed) : feedId]);
      if (parts === undefined) return await this.#keep('unusable', 'The change has no continuation token', body, id);
      ({ id } = parts);
      const key = signingKey();
      const signing = key === undefined ? undefined : { key, now: new Date(now()) };
      const settings = { ...hooks, organization, organizationName };
      const ack: PubAck = await publisher.publish(hookEvent(parts, body, project, settings, signing), PUBLISH_MS);
      return ack.duplicate ? 'duplicate' : 'stored';
    } catch (error) {
      if (error instanceof TaskError && error.code === 'TooLarge')
        return this.#keep('tooLarge', error.problem, body, id);
      if (error instanceof RangeError) return this.#keep('unusable', 'The change is nested too deeply', body, id);
      throw error;
    }
  }

  async #keep(reason: string, detail: string, payload: Uint8Array, id: string | undefined): Promise<'deadLetter'> {
    const name = feedName(this.options.feed);
    const notes = { Event: PACKAGE_CHANGED, Feed: name, ...(id === undefined ? {} : { 'Event-Id': id }) };
    const letter = { function: 'hooks' as const, name: reason, reason, detail, source: `feed ${name}` };
    const kept = { ...letter, headers: [], payload, notes, ...(id === undefined ? {} : { messageId: id }) };
    await this.options.deadLetters.write(kept, PUBLISH_MS);
    return 'deadLetter';
  }

  async #learn(held: AbortSignal): Promise<Known> {
    const { feed, now } = this.options;
    const project = await this.#project(held);
    const outcome = await this.#ask(feedPath(feed), held);
    // An identity that may read the changes may still be refused here.
    const body = outcome.kind === 'refused' ? undefined : this.#bodyOf(outcome);
    const id = isObject(body) ? body['id'] : undefined;
    return { project, feedId: typeof id === 'string' && PROJECT_ID.test(id) ? id : undefined, learnedAt: now() };
  }

  async #project(held: AbortSignal): Promise<EventProject> {
    const { feed, azureDevOps, projects, timing } = this.options;
    if (feed.project === '') return NO_PROJECT;
    const outcome = await azureDevOps.ask(`_apis/projects/${encodeURIComponent(feed.project)}?api-version=7.1`, held);
    const body = outcome.kind === 'refused' ? undefined : this.#bodyOf(outcome);
    const { id, name } = isObject(body) ? body : {};
    if (typeof id !== 'string' || !PROJECT_ID.test(id) || typeof name !== 'string') {
      const problem = `there is no project ${quoted(feed.project)}, or the bridge's identity may not see it`;
      const remedy = 'Correct the name, or make the identity a reader of the project.';
      throw new FeedTrouble('noProject', problem, remedy, timing.feedRefused);
    }
    const found = await projects.resolve(id, name);
    if (!('kind' in found)) return found;
    const problem = `the project ${quoted(name)} would have the same subject part "${found.token}" as the project ${found.owner}, which was there first`;
    throw new FeedTrouble(
      'projectClash',
      problem,
      `Rename the project ${quoted(name)} in Azure DevOps.`,
      timing.feedRefused,
    );
  }

  #ask(path: string, held: AbortSignal): Promise<Outcome> {
    return this.options.azureDevOps.ask(path, held, 'feeds');
  }

  /** @throws FeedTrouble when the call failed */
  #bodyOf(outcome: Outcome): unknown {
    const { feed, timing } = this.options;
    if (outcome.kind === 'ok') {
      this.#gate.success(outcome.retryAfterMs);
      return outcome.body;
    }
    const { problem, remedy } = feedProblem(feed, outcome);
    const asked = 'retryAfterMs' in outcome ? outcome.retryAfterMs : undefined;
    const isTooLarge = outcome.kind === 'open' && outcome.isTooLarge === true;
    const slow = outcome.kind === 'refused' || isTooLarge ? timing.feedRefused : 0;
    const kind = outcome.kind === 'refused' ? `refused ${outcome.status}` : outcome.kind;
    throw new FeedTrouble(kind, problem, remedy, asked ?? slow);
  }

  #trouble(error: unknown, beganAt: number): void {
    // Bounded by the gate; even an unforeseen error mustn't end the reading.
    const { kind, message, remedy, pauseMs } =
      error instanceof FeedTrouble
        ? error
        : new FeedTrouble('storing', error instanceof TaskError ? error.problem : reasonOf(error));
    this.#gate.trouble(message, beganAt, pauseMs);
    this.#enter({ kind, text: message, isGood: false }, remedy);
  }

  #enter(state: FeedState, remedy = ''): void {
    const { feed, log, metrics } = this.options;
    const before = this.#state;
    this.#state = state;
    if (before.kind === state.kind) return;
    metrics.trouble(!state.isGood);
    const fields = { feed: feedName(feed), state: state.kind, text: state.text };
    if (state.isGood) log.info('feed', fields);
    else log.warning('feed', { ...fields, remedy });
  }
}
