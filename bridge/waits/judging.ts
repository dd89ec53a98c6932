import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { KeyValue } from '../../shared/bus.ts';
import { reasonOf } from '../../shared/errors.ts';
import { safeText } from '../../shared/text/safeText.ts';
import type { Audit } from '../audit/audit.ts';
import type { Decision } from '../audit/decisions.ts';
import type { Parts, WaitsStatus } from '../functions.ts';
import type { JetStream } from '../jetStream/api.ts';
import { Lease } from '../jetStream/lease.ts';
import { BRIDGE_WAITS, namesOf } from '../names.ts';
import { liesWithin } from './criteria.ts';
import { OpenWaits } from './openWaits.ts';
import { Outbox, type Decided, type Tells } from './outbox.ts';
import { bucketKey } from './record.ts';
import { StreamJudges } from './streamJudges.ts';
import type { WaitStore } from './waitStore.ts';

export interface JudgingParts {
  readonly bucket: KeyValue;
  readonly store: WaitStore;
  readonly tells: Tells;
  readonly jetStream: JetStream;
  readonly audit: Audit;
}

/** Waits under judgement. */
export interface Judging {
  readonly waits: OpenWaits;
  status(): WaitsStatus;
  /** Hands all leases back. Never rejects. */
  stop(): Promise<void>;
}

const OUTBOX = 'outbox';
/** Between two searches for finished records. */
const SWEEP_MINUTES = 1;

/** Follows all waits, judges those on streams that this replica leads, and reports the decisions. */
export function startJudging(parts: Parts, { bucket, store, tells, jetStream, audit }: JudgingParts): Judging {
  const { settings, contracts, nats, metrics, log } = parts;
  const { timing } = settings;
  const stopping = new AbortController();
  const now = () => parts.now();
  const pause = async (ms: number, signal: AbortSignal) => {
    await delay(ms, undefined, { signal }).catch(() => {});
  };
  const onTrouble = (error: unknown) => {
    if (!stopping.signal.aborted) log.warning('waitsTrouble', { reason: reasonOf(error) });
  };
  const common = { now, pause, onTrouble, store, retryMs: timing.natsRetry };
  const waits = new OpenWaits({
    ...{ ...common, nats, jetStream, bucket: namesOf(settings.instance).of(BRIDGE_WAITS) },
    onUnreadable: (place) => {
      metrics.waitsUnreadable.inc();
      log.warning('waitUnreadable', { key: place });
    },
  });
  const noted = ({ key, call, ending }: Decided, decision: string, reason: string): [Decision, string] => {
    const { event } = ending;
    const place = bucketKey(key);
    const said: Decision = {
      ...{ function: 'waits', name: `rule-${call.owner.rule}`, decision, reason },
      ...(event === undefined
        ? {}
        : {
            event: {
              ...{ id: event.id, source: event.source, subject: event.subject },
              place: { stream: event.stream, sequence: event.sequence },
              ...(event.signedBy === undefined ? {} : { signer: event.signedBy }),
            },
          }),
      followed: { key: place, plan: key.plan },
    };
    return [said, `${place}.${decision}`];
  };
  // A restarted process is a new candidate.
  const holder = `${audit.replica}-${randomBytes(3).toString('hex')}`;
  const leads = new Set<string>();
  const judges = new StreamJudges({
    ...{ ...common, nats, jetStream, bucket, waits, contracts, holder, idleMs: timing.idleStream },
    ...{ checkpointMs: timing.checkpoint, renewMs: timing.leaseRenewal, staleMs: timing.leaseStale },
    warn: (text) => log.warning('waits', { text }),
    mayRead: ({ rule, common }, subject) =>
      liesWithin([...common.subjects, subject], settings.waits?.rules[rule]?.subjects ?? []),
    onDecided: ({ known }, ending, storedAt) => {
      if (storedAt !== undefined) metrics.waitDecisionLag.observe(Math.max(0, now() - storedAt) / 1_000);
      log.info('waitDecided', { key: known.place, verdict: ending.verdict });
    },
    onApart: (stream, project, isApart) =>
      isApart ? log.info('waitsApart', { stream, project }) : log.info('waitsTogether', { stream, project }),
    onLeading: (stream, isLeading) => {
      metrics.leader.set({ stream }, isLeading ? 1 : 0);
      if (isLeading) leads.add(stream);
      else leads.delete(stream);
      log.info(isLeading ? 'leading' : 'notLeading', { stream });
    },
  });
  const lease = new Lease({
    ...{ bucket, key: OUTBOX, holder, renewMs: timing.leaseRenewal, staleMs: timing.leaseStale, now, pause },
    onTrouble: (error) => {
      if (error !== undefined) onTrouble(error);
    },
  });
  const telling = lease.run(stopping.signal, (held) =>
    new Outbox(
      {
        ...{ ...common, waits, tells, random: Math.random, sweepMs: SWEEP_MINUTES * timing.minute },
        ...{ firstPause: timing.firstPause, longestPause: timing.longestPause },
        // Retried until noted: otherwise there'd be no record of how the wait ended.
        onTold: (decided, problem) =>
          audit.decisions.order(...noted(decided, decided.ending.verdict, problem ?? decided.ending.reason)),
        onAbandoned: (decided, reason) => {
          log.error('abandoned', { key: bucketKey(decided.key), reason });
          void audit.decisions.note(...noted(decided, 'abandoned', reason));
        },
        onLater: ({ key }, reason, ms) =>
          log.warning('waitNotTold', { key: bucketKey(key), reason: safeText(reason), pauseMs: Math.round(ms) }),
      },
      held,
    ).run(),
  );
  const following = waits.follow(stopping.signal);
  const counting = setInterval(() => {
    for (const state of ['waiting', 'decided', 'ended', 'tombstone'] as const)
      metrics.waits.set({ state }, waits.count(state));
  }, timing.checkpoint);
  return {
    waits,
    status: () => ({
      ...{ areKnown: waits.isUpToDate, leads: [...leads].sort() },
      ...{ waiting: waits.count('waiting'), decided: waits.count('decided'), ended: waits.count('ended') },
    }),
    stop: async () => {
      clearInterval(counting);
      stopping.abort();
      await Promise.all([judges.stop(), telling, following]);
    },
  };
}
