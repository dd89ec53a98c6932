import { setTimeout as delay } from 'node:timers/promises';
import type { QueuedMessage, WorkQueue, WorkQueueEvents } from '../../shared/bus.ts';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import { subjectTest } from '../../shared/subject.ts';
import type { Audit } from '../audit/audit.ts';
import type { Decision } from '../audit/decisions.ts';
import type { EventLog } from '../log.ts';
import type { RouteSettings } from '../settings.ts';
import type { Timing } from '../timing.ts';
import type { EventIdSupport } from './eventId.ts';
import type { Gate } from '../azureDevOps/gate.ts';
import type { Intents } from './intents.ts';
import type { Judgement } from './judgeEvents.ts';
import { KeyedLock } from './keyedLock.ts';
import { Pace } from './pace.ts';
import type { RoutePauses } from './pauses.ts';
import type { Pipelines } from './pipelines.ts';
import { Protocol, type Failure, type Result, type Work } from './protocol.ts';
import { decisionOn, letterOf, type RouteEvents, type Verdict } from './route.ts';
import { Summaries } from './summaries.ts';

/** An event delivered more often than this is given up before anything is done about it. */
const MOST_DELIVERIES = 20;
/** How many events may arrive at a time while none of them starts a run; doubled while that lasts. */
const FIRST_WINDOW = 32;
const LAST_WINDOW = 500;
const LETTER_MS = 5_000;

export interface RunnerMetrics {
  event(outcome: string): void;
  started(eventToRunSeconds: number | undefined): void;
  paused(isPaused: boolean): void;
  up(isUp: boolean): void;
}

export interface RunnerOptions {
  readonly route: RouteSettings;
  readonly events: RouteEvents;
  readonly intents: Intents;
  readonly pipelines: Pipelines;
  readonly gate: Gate;
  readonly pauses: RoutePauses;
  readonly audit: Audit;
  readonly metrics: RunnerMetrics;
  readonly log: EventLog;
  readonly timing: Timing;
  readonly replica: string;
  /** Checks again whether the pipeline has the parameter `natsEventId`. */
  readonly learn: () => Promise<EventIdSupport>;
  readonly isFindable: () => boolean;
  /** Why there is no durable consumer: sentences. Undefined where there is one. */
  readonly consumerProblem: () => Promise<string | undefined>;
  readonly openQueue: (events: WorkQueueEvents) => WorkQueue;
  /** Called when the stream may have been replaced. */
  readonly onQueueLost: () => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** A route at work in one replica. */
export class RouteRunner {
  readonly #stopping = new AbortController();
  readonly #held = new Set<QueuedMessage>();
  readonly #isWanted: (subject: string) => boolean;
  readonly #lock = new KeyedLock();
  readonly #pace: Pace;
  readonly #summaries: Summaries;
  readonly #timers: NodeJS.Timeout[] = [];
  /** Arrived but not judged yet. */
  #inbox: QueuedMessage[] = [];
  /** To start a run, in the order they came. */
  readonly #starts: { readonly message: QueuedMessage; readonly verdict: Extract<Verdict, { kind: 'starts' }> }[] = [];
  #active = 0;
  #isJudging = false;
  #window = FIRST_WINDOW;
  #hasLearned = false;
  #downReason: string | undefined;
  #isPaused = false;
  #failures = 0;
  /** Numbers of dead letters whose decision is still to be noted, by the key of the intent. */
  readonly #letters = new Map<string, number | null>();
  #queue: WorkQueue | undefined;

  constructor(private readonly options: RunnerOptions) {
    const { route, timing, now, audit } = options;
    const tests = route.subjects.map(subjectTest);
    this.#isWanted = (subject) => tests.some((test) => test(subject));
    this.#pace = new Pace(route.maxPerMinute, timing.minute, now);
    this.#summaries = new Summaries(route.name, audit.decisions, timing.minute);
  }

  start(): void {
    const { timing } = this.options;
    this.#timers.push(setInterval(() => this.#showLife(), timing.working));
    this.#timers.push(setInterval(() => void this.#lookForPause(), timing.routePause));
    void this.#begin();
  }

  /** Takes nothing new, ends what is under way until the signal aborts, and hands back the rest. Never rejects. */
  async stop(drained: AbortSignal): Promise<void> {
    this.#queue?.want(0);
    this.#stopping.abort(new TaskError('Cancelled', 'The bridge stops'));
    for (const { message } of this.#starts.splice(0)) this.#handBack(message);
    for (const message of this.#inbox.splice(0)) this.#handBack(message);
    while (this.#held.size > 0 && !drained.aborted) await delay(STOP_LOOK_MS);
    for (const timer of this.#timers) clearInterval(timer);
    this.#queue?.stop();
    await this.#summaries.close();
  }

  /** Something that held the route up has changed. */
  refresh(): void {
    // A changed configuration may not have this route any more.
    if (!this.#isStopping()) this.options.metrics.paused(this.#isBlocked);
    this.#want();
  }

  get name(): string {
    return this.options.route.name;
  }

  /** Why it gets no events: foreign text; undefined while it does. */
  get downReason(): string | undefined {
    return this.#downReason;
  }

  get #isBlocked(): boolean {
    return this.#isPaused || !this.options.gate.isOpen;
  }

  get #signal(): AbortSignal {
    return this.#stopping.signal;
  }

  #isStopping(): boolean {
    return this.#signal.aborted;
  }

  async #begin(): Promise<void> {
    const { route, openQueue, onQueueLost } = this.options;
    await this.#lookForPause();
    await this.#untilThere();
    if (route.mode === 'on') await this.#learn();
    if (this.#isStopping()) return;
    this.#hasLearned = true;
    this.#queue = openQueue({
      arrived: (message) => this.#arrived(message),
      down: (problem) => {
        onQueueLost();
        this.#noteDown(reasonOf(problem));
      },
      up: () => this.#noteDown(undefined),
    });
    this.refresh();
  }

  /** Waits for a missing consumer, and says so: some servers don't answer requests for its messages. */
  async #untilThere(): Promise<void> {
    const { timing, consumerProblem } = this.options;
    while (!this.#isStopping()) {
      const reason = await consumerProblem();
      if (reason !== this.#downReason) this.#noteDown(reason);
      if (reason === undefined) {
        this.#showUp();
        break;
      }
      await this.#sleep(timing.routePause).catch(() => undefined);
    }
  }

  #noteDown(reason: string | undefined): void {
    const { route, log } = this.options;
    this.#downReason = reason;
    this.#showUp();
    if (reason !== undefined) log.error('routeDown', { route: route.name, reason });
    else if (!this.#isStopping()) log.info('routeUp', { route: route.name });
  }

  #showUp(): void {
    if (!this.#isStopping()) this.options.metrics.up(this.#downReason === undefined);
  }

  /** Whether a run can be found again has to be known before the first one is asked for. */
  async #learn(): Promise<void> {
    const { route, log, gate, learn } = this.options;
    try {
      for (;;) {
        await gate.open(this.#signal);
        const support = await learn();
        if (support.kind === 'postponed') continue;
        if (support.kind === 'declared') return;
        const reason =
          support.kind === 'unknown'
            ? `can't find out whether the pipeline has the parameter natsEventId: ${support.message}`
            : 'the pipeline has no parameter natsEventId, so an event can start it twice';
        log.warning('routeStarts', { route: route.name, pipeline: route.pipeline.id, reason });
        return;
      }
    } catch (error) {
      if (!this.#isStopping()) throw error;
    }
  }

  #arrived(message: QueuedMessage): void {
    if (this.#isStopping()) {
      message.retry(this.options.timing.natsRetry);
      return;
    }
    this.#held.add(message);
    // Servers that don't know several filters deliver everything.
    if (!this.#isWanted(message.message.subject)) {
      this.#settle(message, () => message.ack());
      return;
    }
    this.#inbox.push(message);
    this.#judgeSoon();
  }

  #judgeSoon(): void {
    if (this.#isJudging) return;
    this.#isJudging = true;
    setImmediate(() => void this.#judgeInbox());
  }

  async #judgeInbox(): Promise<void> {
    const { events, log, route, timing } = this.options;
    while (this.#inbox.length > 0 && !this.#isStopping()) {
      const taken = this.#inbox;
      this.#inbox = [];
      const fresh = taken.filter((message) => {
        if (message.deliveries <= MOST_DELIVERIES) return true;
        void this.#giveUp(message);
        return false;
      });
      try {
        const verdicts = await events.judge(fresh.map(({ message }) => message));
        this.#inbox = [...fresh.slice(verdicts.length), ...this.#inbox];
        for (const [index, verdict] of verdicts.entries()) {
          const message = fresh[index];
          if (message !== undefined) this.#act(message, verdict);
        }
        const startsSome = verdicts.some(({ kind }) => kind === 'starts');
        this.#window = startsSome ? FIRST_WINDOW : Math.min(LAST_WINDOW, this.#window * 2);
      } catch (error) {
        log.warning('routeWaits', { route: route.name, reason: reasonOf(error) });
        this.#inbox = [...fresh, ...this.#inbox];
        await this.#sleep(timing.natsRetry).catch(() => undefined);
      }
      this.#want();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#isJudging = false;
    if (this.#isStopping()) for (const message of this.#inbox.splice(0)) this.#handBack(message);
    else if (this.#inbox.length > 0) this.#judgeSoon();
  }

  /** How many may arrive: enough to have the next ones ready while these are started, many if none starts anything. */
  #want(): void {
    const { concurrency } = this.options.route;
    const isBusy = this.#active + this.#starts.length > 0;
    const most = isBusy ? 2 * concurrency : this.#window;
    const isBlocked = this.#isBlocked || !this.#hasLearned || this.#isStopping();
    this.#queue?.want(isBlocked ? 0 : Math.max(0, most - this.#held.size));
  }

  #act(message: QueuedMessage, verdict: Verdict): void {
    const { route, metrics } = this.options;
    const { judgement } = verdict;
    switch (verdict.kind) {
      case 'passes':
        if (verdict.decision === 'expired' && message.deliveries > 1) {
          void this.#unlessBegun(message, judgement);
          return;
        }
        this.#pass(message, verdict.decision);
        return;
      case 'deadLetter':
        void this.#deadLetter(message, judgement, verdict.decision, verdict.reason);
        return;
      case 'starts':
        if (route.mode === 'preview') {
          metrics.event('preview');
          void this.#guarded(message, async () => {
            await this.#record(verdict.work.key, judgement, decisionOn(route.name, judgement, 'preview'));
            const { eventId } = verdict.work.intent;
            this.options.log.info('runPreviewed', { route: route.name, eventId, ...judgement.event.place });
            this.#settle(message, () => message.ack());
          });
          return;
        }
        this.#starts.push({ message, verdict });
        this.#startNext();
    }
  }

  #pass(message: QueuedMessage, decision: string): void {
    this.options.metrics.event(decision);
    this.#summaries.add(decision, message.message.place);
    this.#settle(message, () => message.ack());
  }

  /** An event ages while its run is being requested; what has begun is finished. */
  async #unlessBegun(message: QueuedMessage, { event }: Judgement): Promise<void> {
    const { events, intents } = this.options;
    await this.#guarded(message, async () => {
      const begun = await intents.get(await events.keyOf(event));
      const [verdict] =
        begun === undefined || begun.intent.done !== undefined ? [] : await events.judge([message.message], false);
      if (verdict === undefined) this.#pass(message, 'expired');
      else this.#act(message, verdict);
    });
  }

  #startNext(): void {
    while (this.#active < this.options.route.concurrency && !this.#isStopping()) {
      const next = this.#starts.shift();
      if (next === undefined) return;
      this.#active++;
      void this.#guarded(next.message, () => this.#start(next.message, next.verdict)).finally(() => {
        this.#active--;
        this.#startNext();
        this.#want();
      });
    }
  }

  async #start(message: QueuedMessage, { work, judgement }: Extract<Verdict, { kind: 'starts' }>): Promise<void> {
    const result = await this.#lock.run(work.key, () => this.#protocolFor(judgement).run(work));
    await this.#conclude(message, judgement, work, result);
  }

  #protocolFor({ event }: Judgement): Protocol {
    const { route, intents, pipelines, gate, timing, replica, isFindable, now, log } = this.options;
    const { name, pipeline, maxDeliver } = route;
    return new Protocol(
      {
        intents,
        start: (work) => pipelines.start(pipeline, work.parameters),
        find: ({ intent, parameters }, since) => pipelines.find(pipeline, intent.eventId, parameters, since),
        turn: () => this.#turn(),
        open: () => gate.open(this.#signal),
        bury: async ({ reason, detail }, { key }) => {
          this.#letters.set(key, await this.#write(letterOf(name, event, key, reason, detail, `${name} failed`)));
        },
        sleep: (ms) => this.#sleep(ms),
        now,
        warn: (text) => log.warning('run', { route: name, text }),
      },
      { replica, maxDeliver, isFindable, timing },
    );
  }

  async #conclude(message: QueuedMessage, judgement: Judgement, work: Work, result: Result): Promise<void> {
    const { route, metrics, log, now, timing } = this.options;
    const { event } = judgement;
    const facts = { route: route.name, eventId: work.intent.eventId, ...event.place };
    switch (result.kind) {
      case 'elsewhere': {
        const grown = (timing.takeover / 60) * 2 ** Math.min(message.deliveries - 1, 6);
        this.#settle(message, () => message.retry(Math.max(1, Math.min(result.forMs, grown))));
        return;
      }
      case 'duplicate': {
        const followed = 'run' in result.done ? { run: result.done.run.id, url: result.done.run.url } : {};
        metrics.event('duplicate');
        await this.#record(work.key, judgement, decisionOn(route.name, judgement, 'duplicate', { followed }));
        this.#settle(message, () => message.ack());
        return;
      }
      case 'started': {
        const { run, isFound } = result;
        this.#failures = 0;
        metrics.event('started');
        const { storedAt } = event.message;
        metrics.started(storedAt === undefined ? undefined : Math.max(0, now() - storedAt) / 1_000);
        log.info('runStarted', { ...facts, runId: run.id, url: run.url, ...(isFound ? { found: true } : {}) });
        const followed = { run: run.id, url: run.url, intent: work.key };
        await this.#record(work.key, judgement, decisionOn(route.name, judgement, 'started', { followed }));
        this.#settle(message, () => message.ack());
        return;
      }
      case 'failed': {
        metrics.event('deadLetter');
        log.error('runFailed', { ...facts, reason: result.reason, detail: result.detail });
        await this.#recordLetter(work.key, judgement, result, this.#letters.get(work.key) ?? null);
        this.#letters.delete(work.key);
        this.#settle(message, () => message.term());
        await this.#countFailure(result);
      }
    }
  }

  async #recordLetter(
    key: string,
    judgement: Judgement,
    { reason, detail }: { reason: string; detail: string },
    letter: number | null,
  ): Promise<void> {
    const decision = decisionOn(this.options.route.name, judgement, 'deadLetter', {
      reason: `${reason}: ${detail}`,
      ...(letter === null ? {} : { followed: { deadLetter: letter } }),
    });
    await this.#record(key, judgement, decision);
  }

  /**
   * Stores a decision in the audit stream before its event is acknowledged: afterwards it would be forgotten. An event
   * that is delivered again keeps its first decision, within the stream's duplicate window.
   */
  async #record(key: string, { event }: Judgement, decision: Decision): Promise<void> {
    const { message, place } = event;
    const id = [key, place?.sequence ?? '', message.storedAt ?? ''].join('.');
    await this.#insist(() => this.options.audit.decisions.order(decision, id));
  }

  async #countFailure({ detail }: Failure): Promise<void> {
    const { route, pauses, audit, replica, log } = this.options;
    if (++this.#failures < route.pauseAfter) return;
    this.#failures = 0;
    const reason = `${route.pauseAfter} runs in a row could not be started; the last one: ${detail}`;
    await this.#insist(() => pauses.pause(route.name, replica, reason));
    log.error('routePaused', { route: route.name, reason });
    await audit.decisions.note({ function: 'runs', name: route.name, decision: 'paused', reason });
    await this.#lookForPause();
  }

  async #giveUp(message: QueuedMessage): Promise<void> {
    const { events } = this.options;
    // The judgement doesn't matter any more, except for who published it.
    await this.#guarded(message, async () => {
      const [verdict] = await events.judge([message.message], false);
      if (verdict === undefined) return;
      const detail = `it was delivered more than ${MOST_DELIVERIES} times`;
      await this.#bury(verdict.judgement, 'deliveries', detail);
      this.#settle(message, () => message.term());
    });
  }

  async #deadLetter(message: QueuedMessage, judgement: Judgement, reason: string, detail: string): Promise<void> {
    await this.#guarded(message, async () => {
      await this.#bury(judgement, reason, detail);
      this.#settle(message, () => message.ack());
    });
  }

  async #bury(judgement: Judgement, reason: string, detail: string): Promise<void> {
    const { route, events, metrics, log } = this.options;
    const { event } = judgement;
    const key = await this.#insist(() => events.keyOf(event));
    const letter = await this.#insist(() => this.#write(letterOf(route.name, event, key, reason, detail, route.name)));
    metrics.event('deadLetter');
    log.warning('deadLetter', { route: route.name, ...event.place, reason, detail });
    await this.#recordLetter(key, judgement, { reason, detail }, letter);
  }

  /** Returns the letter's number; null where there were too many to keep it. */
  #write(letter: Parameters<Audit['deadLetters']['write']>[0]): Promise<number | null> {
    return this.options.audit.deadLetters.write(letter, LETTER_MS);
  }

  /** Resolves when a run may be asked for. */
  async #turn(): Promise<void> {
    const { gate, timing } = this.options;
    for (;;) {
      this.#signal.throwIfAborted();
      await gate.open(this.#signal);
      if (this.#isPaused) {
        await this.#sleep(timing.routePause);
        continue;
      }
      const waitMs = this.#pace.take();
      if (waitMs === 0) return;
      await this.#sleep(waitMs);
    }
  }

  async #lookForPause(): Promise<void> {
    const { route, pauses, log } = this.options;
    try {
      const pause = await pauses.get(route.name);
      const was = this.#isPaused;
      this.#isPaused = pause !== undefined;
      if (was === this.#isPaused) return;
      if (pause !== undefined) log.warning('routeIsPaused', { route: route.name, by: pause.by, reason: pause.reason });
      else log.info('routeResumed', { route: route.name });
    } catch {
      // The caller that needs the bucket's answer logs why there is none.
    } finally {
      if (!this.#isStopping()) this.refresh();
    }
  }

  /** Handles a message. An unforeseen failure is retried by the next delivery. */
  async #guarded(message: QueuedMessage, work: () => Promise<void>): Promise<void> {
    const { log, route, timing } = this.options;
    try {
      await work();
    } catch (error) {
      if (this.#isStopping()) {
        this.#handBack(message);
        return;
      }
      log.error('routeFailed', { route: route.name, ...message.message.place, reason: reasonOf(error) });
      this.#settle(message, () => message.retry(timing.ackWait));
    }
  }

  #handBack(message: QueuedMessage): void {
    this.#settle(message, () => message.retry(this.options.timing.natsRetry));
  }

  #settle(message: QueuedMessage, answer: () => void): void {
    if (!this.#held.delete(message)) return;
    answer();
    if (!this.#isJudging) this.#want();
  }

  #showLife(): void {
    for (const message of this.#held) message.working();
  }

  async #insist<Value>(call: () => Promise<Value>): Promise<Value> {
    const { log, route, timing } = this.options;
    for (let failures = 0; ; failures++) {
      try {
        return await call();
      } catch (error) {
        if (failures === 0) log.warning('routeWaits', { route: route.name, reason: reasonOf(error) });
        await this.#sleep(timing.natsRetry * 2 ** Math.min(failures, 5));
      }
    }
  }

  async #sleep(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#signal }).catch(() => this.#signal.throwIfAborted());
  }
}

const STOP_LOOK_MS = 10;
