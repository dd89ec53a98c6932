import type { Contract } from '../../shared/contract/contract.ts';
import { describeOwner } from '../../shared/event/owner.ts';
import type { ReceivedEvent } from '../../shared/event/receivedEvent.ts';
import type { ReceivedMessage } from '../../shared/bus.ts';
import type { DeadLetter } from '../audit/deadLetters.ts';
import type { Decision } from '../audit/decisions.ts';
import type { RouteSettings } from '../settings.ts';
import { EVENT_ID_PARAMETER } from '../config/runs.ts';
import { intentKey } from './intents.ts';
import { RouteJudge, type Judgement } from './judgeEvents.ts';
import { MOST_HOPS, type LoopGuard } from './loopGuard.ts';
import { eventIdOf } from './parameters.ts';
import type { Work } from './protocol.ts';

export interface RouteOptions {
  readonly route: RouteSettings;
  readonly contract: Contract | undefined;
  /** Whether the pipeline has the parameter `natsEventId`. */
  readonly isFindable: () => boolean;
  /** Whether an event comes from Azure DevOps' service hooks. */
  readonly isHook: (event: ReceivedEvent) => boolean;
  readonly loops: Pick<LoopGuard, 'hopsOf'>;
  /** When a stream was created. Fails where it isn't known. */
  readonly streamCreated: (stream: string) => Promise<string>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly warn: (text: string) => void;
}

/** What is to be done about an event. */
export type Verdict =
  | { readonly kind: 'starts'; readonly judgement: Judgement; readonly hops: number; readonly work: Work }
  | { readonly kind: 'passes'; readonly judgement: Judgement; readonly decision: string }
  | {
      readonly kind: 'deadLetter';
      readonly judgement: Judgement;
      readonly decision: string;
      /** A clause. */
      readonly reason: string;
    };

/** Judges the events of one route: by computation and by lookups. */
export class RouteEvents {
  readonly #judge: RouteJudge;
  readonly #ageless: RouteJudge;

  constructor(private readonly options: RouteOptions) {
    const { route, contract, isFindable, now, warn } = options;
    const common = { route, contract, passesEventId: isFindable, now, warn };
    this.#judge = new RouteJudge({ ...common, checksAge: true });
    this.#ageless = new RouteJudge({ ...common, checksAge: false });
  }

  /**
   * Judges the first of some messages, as many as fit a slice of time. Fails as the bucket does.
   *
   * @param checksAge false for what a person orders again
   */
  async judge(messages: readonly ReceivedMessage[], checksAge = true): Promise<readonly Verdict[]> {
    const judgements = (checksAge ? this.#judge : this.#ageless).judge(messages);
    return Promise.all(judgements.map((judgement) => this.#verdictOf(judgement)));
  }

  async #verdictOf(judgement: Judgement): Promise<Verdict> {
    const { route, isHook } = this.options;
    const { event } = judgement;
    if (!route.allowHooks && isHook(event)) return { kind: 'passes', judgement, decision: 'hooksNotAllowed' };
    const hops = await this.options.loops.hopsOf(event.attributes);
    if (hops > MOST_HOPS) {
      const reason = `more than ${MOST_HOPS} runs of this bridge led to it, each starting the next`;
      return { kind: 'deadLetter', judgement, decision: 'loop', reason };
    }
    switch (judgement.kind) {
      case 'passes':
        return { kind: 'passes', judgement, decision: judgement.decision };
      case 'deadLetter':
        return { kind: 'deadLetter', judgement, decision: judgement.decision, reason: judgement.reason };
      case 'starts':
        return { kind: 'starts', judgement, hops, work: await this.#workOf(judgement, hops) };
    }
  }

  async #workOf({ event, parameters }: Extract<Judgement, { kind: 'starts' }>, hops: number): Promise<Work> {
    const { route, isFindable } = this.options;
    const eventId = eventIdOf(event);
    return {
      key: await this.keyOf(event),
      intent: {
        ...{ route: route.name, eventId, source: event.attributes.source, hops },
        ...{ stream: event.place?.stream, sequence: event.place?.sequence },
      },
      parameters: isFindable() ? { ...parameters, [EVENT_ID_PARAMETER]: eventId } : parameters,
    };
  }

  /** The key of an event's intent. Fails where it takes a stream that doesn't answer. */
  async keyOf(event: ReceivedEvent): Promise<string> {
    const { source, id } = event.attributes;
    const isKnown = source !== undefined && id !== undefined;
    const created = isKnown || event.place === undefined ? '' : await this.options.streamCreated(event.place.stream);
    return intentKey(this.options.route.name, event, created);
  }
}

/** The entry in the audit stream for a decision on an event. */
export function decisionOn(
  route: string,
  { event, signedBy, schemaDigest }: Pick<Judgement, 'event' | 'signedBy' | 'schemaDigest'>,
  decision: string,
  others: Partial<Decision> = {},
): Decision {
  const { attributes, place, subject, message } = event;
  const owner = describeOwner(attributes);
  return {
    function: 'runs',
    name: route,
    decision,
    event: {
      id: eventIdOf(event),
      subject,
      ...(attributes.source === undefined ? {} : { source: attributes.source }),
      ...(place === undefined ? {} : { place }),
      ...(owner === '' ? {} : { owner }),
      ...(signedBy === undefined ? {} : { signer: signedBy }),
    },
    ...(schemaDigest === undefined ? {} : { schemaDigest }),
    receivedAt: message.receivedAt,
    ...others,
  };
}

/** An event as a dead letter of a route. */
export function letterOf(
  route: string,
  event: ReceivedEvent,
  key: string | undefined,
  reason: string,
  detail: string,
  source: string,
): DeadLetter {
  const { message, place, subject } = event;
  return {
    ...{ function: 'runs', name: route, reason, detail, source, route, payload: message.payload },
    headers: [...message.headers].flatMap(([name, values]) => values.map((value) => [name, value] as const)),
    ...(place === undefined ? {} : { place }),
    ...(key === undefined ? {} : { messageId: key }),
    notes: {
      Subject: subject,
      ...(message.storedAt === undefined ? {} : { Time: new Date(message.storedAt).toISOString() }),
    },
  };
}
