import { setTimeout as delay } from 'node:timers/promises';
import { describeMs, roundedMs } from '../../../shared/text/duration.ts';
import { TaskError, type ErrorCode } from '../../../shared/errors.ts';
import { isObject } from '../../../shared/text/json.ts';
import type { AzureDevOps, Call, Outcome } from '../../azureDevOps/client.ts';
import type { Timing } from '../../timing.ts';

const MOST_TRIES = 4;
const MOST_PAGES = 1_000;
/** Before a call is made again with a new token. */
const NEW_TOKEN_PAUSE_MS = 100;

const RIGHTS =
  'Give the identity the permissions View Subscriptions and Edit Subscriptions on service hooks, which administrators of a project have; a personal access token needs the scopes that its events are read with, such as Build (Read) and Code (Read).';
const IDENTITY =
  'Check hooks.identity or, without one, azureDevOps.identity, and that it is a user of the organization.';

const NETWORK =
  'Check azureDevOps.organization, and whether this machine reaches it: its network, azureDevOps.proxy and azureDevOps.caFile.';
const AUTHORITY =
  'Check whether this machine reaches the place that issues its tokens: its network, azureDevOps.proxy and azureDevOps.identity.';

type Failure = Exclude<Outcome, { kind: 'ok' }>;

/** A call that Azure DevOps didn't carry out, or where nobody knows whether it did. */
export class CallError extends TaskError {
  constructor(
    readonly failure: Failure,
    what: string,
  ) {
    // A refused sign-in says so itself.
    const hasStatus = failure.kind !== 'signIn' && 'status' in failure && failure.status !== undefined;
    const status = hasStatus ? ` (status ${failure.status})` : '';
    const [code, remedy] = judged(failure);
    super(code, `${what} failed${status}: ${wordsOf(failure).replace(/\.$/, '')}`, remedy);
  }

  /** Whether further calls would fail in the same way. */
  get isOfAll(): boolean {
    return this.failure.kind !== 'refused';
  }

  /** Whether it's gone, or out of sight. */
  get isMissing(): boolean {
    return this.failure.kind === 'refused' && this.failure.status === 404;
  }
}

function judged(failure: Failure): readonly [code: ErrorCode, remedy: string] {
  switch (failure.kind) {
    case 'signIn':
      return ['Denied', IDENTITY];
    case 'refused':
      return [403, 404].includes(failure.status)
        ? ['Denied', RIGHTS]
        : ['InvalidInput', 'Check hooks in the configuration.'];
    case 'throttled':
      return ['Timeout', 'Run the command again later: it goes on where it stopped.'];
    case 'unreachable':
      return ['Unreachable', failure.isTokenSource === true ? AUTHORITY : NETWORK];
    case 'open':
      return ['ConnectionLost', 'Run the command again: it finds out what was done.'];
  }
}

/** What the network says doesn't name whom it was about. */
function wordsOf(failure: Failure): string {
  const isBare = failure.kind === 'unreachable' && failure.isTokenSource !== true;
  return isBare ? `Azure DevOps can't be reached: ${failure.message}` : failure.message;
}

export interface CallsOptions {
  readonly azureDevOps: Pick<AzureDevOps, 'call'>;
  readonly timing: Pick<Timing, 'firstPause' | 'longestPause'>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Called before a pause, in milliseconds. */
  readonly onPause: (ms: number, why: string) => void;
}

/**
 * Makes one call to Azure DevOps at a time, waits when it asks for that, and retries calls that can't have taken effect or may be
 * repeated.
 */
export class Calls {
  #notBefore = 0;

  constructor(private readonly options: CallsOptions) {}

  /**
   * @param what says what the call is for: `Listing the projects`
   * @returns the JSON of the answer
   * @throws CallError
   */
  async call(call: Call, what: string): Promise<unknown> {
    return (await this.#call(call, what)).body;
  }

  /**
   * All members of a list, page after page.
   *
   * @param pageSize the value of `$top`; absent: the list has no such parameter
   * @throws CallError; TaskError when the answer isn't a list
   */
  async list(path: string, what: string, pageSize?: number): Promise<Record<string, unknown>[]> {
    const found: Record<string, unknown>[] = [];
    const top = pageSize === undefined ? '' : `&$top=${pageSize}`;
    for (let page = 0, from = ''; page < MOST_PAGES; page++) {
      const answer = await this.#call({ method: 'GET', path: `${path}${top}${from}` }, what);
      const members = isObject(answer.body) ? answer.body['value'] : undefined;
      if (!Array.isArray(members)) throw new TaskError('Internal', `${what} failed: the answer isn't a list`);
      found.push(...members.filter(isObject));
      const { continuationToken } = answer;
      if (continuationToken !== undefined) from = `&continuationToken=${encodeURIComponent(continuationToken)}`;
      // A full page without a token may still not be the last one.
      else if (members.length === pageSize) from = `&$skip=${found.length}`;
      else return found;
    }
    throw new TaskError('Internal', `${what} failed: the list has more than ${MOST_PAGES} pages`);
  }

  async #call(call: Call, what: string): Promise<Extract<Outcome, { kind: 'ok' }>> {
    const { azureDevOps, now, timing } = this.options;
    for (let tries = 1; ; tries++) {
      const wait = this.#notBefore - now();
      if (wait > 0) await this.#pause(wait, 'Azure DevOps asks for it');
      const outcome = await azureDevOps.call(call);
      if (outcome.kind === 'ok') {
        this.#notBefore = now() + Math.min(outcome.retryAfterMs ?? 0, timing.longestPause);
        return outcome;
      }
      const pause = this.#pauseAfter(outcome, call, tries);
      if (pause === undefined || tries === MOST_TRIES) throw new CallError(outcome, what);
      await this.#pause(pause, wordsOf(outcome));
    }
  }

  /** How long to wait before the call is made again, in milliseconds; undefined: it isn't. */
  #pauseAfter(failure: Failure, { method }: Call, tries: number): number | undefined {
    const { firstPause, longestPause } = this.options.timing;
    const growing = Math.min(firstPause * 2 ** (tries - 1), longestPause);
    const asked = 'retryAfterMs' in failure ? (failure.retryAfterMs ?? growing) : growing;
    switch (failure.kind) {
      case 'refused':
        return undefined;
      case 'signIn':
        return tries === 1 ? NEW_TOKEN_PAUSE_MS : undefined;
      case 'unreachable':
      case 'throttled':
        return asked > longestPause ? undefined : asked;
      case 'open':
        // The subscription may have been created.
        return method === 'POST' || asked > longestPause ? undefined : asked;
    }
  }

  async #pause(ms: number, why: string): Promise<void> {
    this.options.onPause(ms, why);
    await delay(ms);
  }
}

/** A pause as a sentence. */
export function describePause(ms: number, why: string): string {
  return `Waiting ${describeMs(Math.max(1, roundedMs(ms)))}: ${why.replace(/\.$/, '')}.`;
}
