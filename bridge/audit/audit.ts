import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Parts } from '../functions.ts';
import { BRIDGE_AUDIT, BRIDGE_DEAD, namesOf } from '../names.ts';
import type { BridgeSettings } from '../settings.ts';
import { RotatingKey } from '../signingKey.ts';
import { DeadLetters } from './deadLetters.ts';
import { Decisions } from './decisions.ts';

/** Identifies this process among replicas. */
const REPLICA = `${hostname()}-${randomBytes(3).toString('hex')}`;

/** What the bridge's functions record besides doing their work. */
export interface Audit {
  /** Identifies this process among replicas. */
  readonly replica: string;
  readonly decisions: Decisions;
  readonly deadLetters: DeadLetters;
}

/** @param version the bridge's own */
export function auditOf(parts: Omit<Parts, 'contracts'>, version: string): Audit {
  const { settings, nats, metrics, log } = parts;
  const names = namesOf(settings.instance);
  const texts = log.texts('audit');
  const common = { publisher: nats.publisher, now: () => parts.now(), log: texts };
  return {
    replica: REPLICA,
    decisions: new Decisions({
      ...common,
      subjectPrefix: names.subject('bridge.decisions'),
      stream: names.of(BRIDGE_AUDIT),
      version,
      replica: REPLICA,
      signingKey: signingKeyOf(settings),
    }),
    deadLetters: new DeadLetters({
      ...common,
      ...deadLetterPlaces(settings),
      metrics: { deadLetter: (of, reason) => metrics.deadLetters.inc({ function: of, reason }) },
    }),
  };
}

/** Where dead letters are kept. */
export function deadLetterPlaces({ instance }: Pick<BridgeSettings, 'instance'>): {
  readonly stream: string;
  readonly subjectPrefix: string;
} {
  const names = namesOf(instance);
  return { stream: names.of(BRIDGE_DEAD), subjectPrefix: names.subject('bridge.dead') };
}

/** The key that signs what the bridge publishes, as it is now. */
export function signingKeyOf({ signingKey }: BridgeSettings): () => ReturnType<RotatingKey['current']> {
  const key = new RotatingKey();
  return () => key.current(signingKey);
}
