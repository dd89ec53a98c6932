import type { ReceivedMessage } from '../../shared/bus.ts';
import type { Contract } from '../../shared/contract/contract.ts';
import type { ReceivedEvent } from '../../shared/event/receivedEvent.ts';
import { quoted } from '../../shared/text/safeText.ts';
import { Judge, STEP_LIMITS, type Decision, type JudgedEvent } from '../../shared/waiting/judge.ts';
import type { WaitCriteria } from '../../shared/waiting/criteria.ts';
import type { RouteSettings } from '../settings.ts';
import { CALLS, parametersOf } from './parameters.ts';

/** How a route judged an event. */
export type Judgement = {
  readonly event: ReceivedEvent;
  /** The key that signed it, where signatures are checked. */
  readonly signedBy: string | undefined;
  /** Digest of the contract it was held to; undefined if judging ended earlier, or there's no contract. */
  readonly schemaDigest?: string | undefined;
} & (
  | { readonly kind: 'starts'; readonly parameters: Readonly<Record<string, string>> }
  /** It starts nothing. The reason is worked out when it's read. */
  | { readonly kind: 'passes'; readonly decision: 'foreign' | 'expired' | 'notMatching'; readonly reason: string }
  | { readonly kind: 'deadLetter'; readonly decision: DeadDecision; readonly reason: string }
);

export type DeadDecision = 'invalid' | 'untrusted' | 'unsafeValue';

/** For judging one event; no event may keep the others waiting for long. */
const EVENT_MS = 100;

export interface JudgeOptions {
  readonly route: RouteSettings;
  readonly contract: Contract | undefined;
  /** Replays leave it out. */
  readonly checksAge: boolean;
  /** Whether the pipeline gets the event's id. */
  readonly passesEventId: () => boolean;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Called once for each expression that errors on an event. */
  readonly warn: (text: string) => void;
}

/**
 * Judges events by the code of a wait, in a route's order: correlation, age, signature, publisher, contract, match,
 * parameters.
 */
export class RouteJudge {
  /** A wait checks signatures before ages, so with signatures, another judge checks ages first. */
  readonly #early: Judge | undefined;
  readonly #judge: Judge;

  constructor(private readonly options: JudgeOptions) {
    const { route, contract, checksAge } = options;
    const { correlationId, trustedKeys, match } = route.criteria;
    const maxEventAgeMs = checksAge ? route.criteria.maxEventAgeMs : undefined;
    if (trustedKeys !== undefined) this.#early = this.#newJudge({ correlationId, maxEventAgeMs }, undefined);
    this.#judge = this.#newJudge({ correlationId, maxEventAgeMs, trustedKeys, match }, contract);
  }

  /** Judges the first messages, as many as fit a time slice; at least one if there is one. */
  judge(messages: readonly ReceivedMessage[]): readonly Judgement[] {
    const early = this.#early?.assess(messages);
    if (early === undefined) return this.#judge.assess(messages).map((judged) => this.#judgementOf(judged));
    const isLeft = ({ decision }: JudgedEvent) => decision !== 'foreign' && decision !== 'expired';
    const judged = [...this.#judge.assess(early.filter(isLeft).map(({ event }) => event.message))];
    const judgements: Judgement[] = [];
    for (const one of early) {
      const decided = isLeft(one) ? judged.shift() : one;
      if (decided === undefined) break;
      judgements.push(this.#judgementOf(decided));
    }
    return judgements;
  }

  #newJudge(criteria: Partial<WaitCriteria>, contract: Contract | undefined): Judge {
    const { route, now, warn } = this.options;
    const all: WaitCriteria = {
      ...{ subjects: route.subjects, delivery: 'jetStream', onInvalid: 'skip', count: 1, outputs: [] },
      ...{ match: undefined, failWhen: undefined, distinctBy: undefined, expect: undefined, correlationId: undefined },
      ...{ trustedKeys: undefined, maxEventAgeMs: undefined, timeoutMs: Infinity, idleTimeoutMs: undefined },
      ...criteria,
    };
    return new Judge(all, contract, { now, deadline: Infinity }, warn, {
      ...STEP_LIMITS,
      eventMs: EVENT_MS,
      calls: CALLS,
    });
  }

  #judgementOf(judged: JudgedEvent): Judgement {
    const { event, signedBy, decision } = judged;
    const passes = (why: 'foreign' | 'expired' | 'notMatching'): Judgement => ({
      ...{ kind: 'passes', event, signedBy, decision: why },
      get reason() {
        return judged.reason;
      },
    });
    const schemaDigest = this.options.contract?.digest;
    const dead = (why: DeadDecision, reason: string): Judgement => ({
      ...{ kind: 'deadLetter', event, signedBy, decision: why, reason },
      ...(why === 'untrusted' ? {} : { schemaDigest }),
    });
    if (isOneOf(decision, ['foreign', 'expired'])) return passes(decision);
    if (decision === 'untrusted') return dead(decision, judged.reason);
    const stranger = this.#strangerIn(event);
    if (stranger !== undefined) return dead('untrusted', stranger);
    if (decision === 'invalid') return dead(decision, judged.reason);
    if (decision !== 'matched') return passes('notMatching');
    const { route, passesEventId } = this.options;
    const parameters = parametersOf(route, event, passesEventId());
    if ('problem' in parameters) return dead('unsafeValue', parameters.problem);
    return { kind: 'starts', event, signedBy, schemaDigest, parameters: parameters.values };
  }

  /** Why an event's publisher isn't one of the route's: a clause. */
  #strangerIn({ attributes: { azpproject, azppipeline } }: ReceivedEvent): string | undefined {
    const { publishers } = this.options.route;
    const isKnown = publishers.some(
      ({ project, pipeline }) => project === azpproject && (pipeline === '*' || pipeline === azppipeline),
    );
    if (publishers.length === 0 || isKnown) return undefined;
    if (azpproject === undefined) return 'it does not say which pipeline published it';
    return `it was published by ${quoted(`${azpproject}/${azppipeline ?? ''}`)}, which the route's publishers don't list`;
  }
}

function isOneOf<Wanted extends Decision>(decision: Decision, wanted: readonly Wanted[]): decision is Wanted {
  return (wanted as readonly Decision[]).includes(decision);
}
