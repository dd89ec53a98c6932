import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../../shared/errors.ts';
import type { Audit } from '../audit/audit.ts';
import { PublicDocuments } from '../azureDevOps/publicDocuments.ts';
import type { Functions, Parts } from '../functions.ts';
import type { CalloutSettings } from '../settings.ts';
import { KeySets, type KnownKeys } from './keySets.ts';
import { SignInRecord } from './record.ts';
import { Responder } from './responder.ts';
import { REQUEST_SUBJECT } from './subject.ts';

/** The queue group: of its replicas, one gets each request. */
const QUEUE = 'nats-event-bridge';

/**
 * Answers sign-ins until it is stopped.
 *
 * @param knownKeys keys of issuers, which outlive this
 */
export function startCallout(settings: CalloutSettings, parts: Parts, audit: Audit, knownKeys: KnownKeys): Functions {
  const { nats, metrics, log, settings: all } = parts;
  const { timing } = all;
  const now = () => parts.now();
  const documents = new PublicDocuments(settings.connection, timing.keysAnswer);
  const keys = new KeySets(
    {
      documents,
      timing,
      now,
      onChange: ({ issuer, fetchedAt, trouble, count }) => {
        metrics.calloutKeysTrouble.set({ issuer }, trouble === undefined ? 0 : 1);
        if (fetchedAt !== undefined) metrics.calloutKeysFetched.set({ issuer }, fetchedAt / 1_000);
        if (trouble === undefined) log.info('issuerKeys', { issuer, keys: count });
        else log.error('issuerKeys', { issuer, reason: trouble, keys: count });
      },
    },
    knownKeys,
  );
  const record = new SignInRecord(audit.decisions, log, now);
  const responder = new Responder({ settings, keys, record, metrics, log, now });
  const stopping = new AbortController();
  repeat(timing.keysLook, () => keys.refresh(settings.policy.current.issuers.keys()));
  repeat(timing.minute, () => record.summarise());
  const service = nats.serve(REQUEST_SUBJECT, QUEUE, (request) => responder.answer(request), {
    up: () => log.info('callout', { text: `It answers sign-ins on ${REQUEST_SUBJECT}` }),
    down: (reason) => log.warning('callout', { text: `It answers no sign-ins: ${reason}` }),
    denied: (problem) => log.error('callout', { text: `It can't answer sign-ins: ${reasonOf(problem)}` }),
  });
  return {
    routes: [],
    callout: () => ({
      issuers: [...settings.policy.current.issuers.keys()].map((issuer) => keys.state(issuer)),
    }),
    stop: async (drained) => {
      stopping.abort();
      await service.stop(drained);
      record.summarise();
      await documents.close();
    },
  };

  function repeat(everyMs: number, work: () => Promise<void> | void): void {
    const { signal } = stopping;
    const loop = async () => {
      while (!signal.aborted) {
        await work();
        await delay(everyMs, undefined, { signal }).catch(() => undefined);
      }
    };
    void loop();
  }
}
