import { TaskError } from '../../shared/errors.ts';
import { error, type Finding } from '../finding.ts';
import type { Nats } from '../nats.ts';
import type { NatsCheck } from './check.ts';

const AWAY = error(
  'NATS',
  "it can't be reached, so nothing else about it was checked",
  'The log says why, in its lines "nats". The check runs again once it\'s back.',
);

/** What self-checks find about NATS. While it can't be looked at, what they found before stays. */
export class NatsFindings {
  #last: readonly Finding[] = [];
  #isAway = false;

  /** @param breaks how often the link broke or couldn't be made so far */
  constructor(
    private readonly nats: Pick<Nats, 'isLinkUp'>,
    private readonly breaks: () => number,
  ) {}

  /** Whether there was no link during the last check, or a part of it. */
  get isAway(): boolean {
    return this.#isAway;
  }

  /** Checks, and believes the findings only if the link held. */
  async look(check: NatsCheck): Promise<readonly Finding[]> {
    const before = this.breaks();
    const found = this.nats.isLinkUp ? await check.findings(false).catch(orUndefined) : undefined;
    this.#isAway = found === undefined || !this.nats.isLinkUp || this.breaks() !== before;
    if (found === undefined || this.#isAway) return [AWAY, ...this.#last];
    if (check.isUnanswered) return [...found, ...this.#last];
    this.#last = found;
    return found;
  }
}

/** A link that breaks meanwhile lets some of the questions fail. */
function orUndefined(thrown: unknown): undefined {
  if (!(thrown instanceof TaskError)) throw thrown;
}
