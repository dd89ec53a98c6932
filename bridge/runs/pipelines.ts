import { isObject } from '../../shared/text/json.ts';
import type { AzureDevOps, Outcome } from '../azureDevOps/client.ts';
import { EVENT_ID_PARAMETER } from '../config/runs.ts';
import type { PipelineSettings } from '../settings.ts';
import type { Gate } from '../azureDevOps/gate.ts';
import type { Run } from './intents.ts';
import type { FindOutcome, StartOutcome } from './protocol.ts';

/** Most pages of a list of runs; nobody starts that many in the time in question. */
const MOST_PAGES = 1_000;
const MOST_URL = 2_000;

export type Parameters = Readonly<Record<string, string>>;

export interface PipelinesOptions {
  readonly azureDevOps: Pick<AzureDevOps, 'call' | 'ask'>;
  /** Told how calls end. */
  readonly gate: Pick<Gate, 'trouble' | 'success'>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** How long a request for a run took. */
  readonly onRequest?: (seconds: number) => void;
}

/** Azure DevOps' pipelines, each call made once. None rejects. */
export class Pipelines {
  constructor(private readonly options: PipelinesOptions) {}

  async start(pipeline: PipelineSettings, parameters: Parameters): Promise<StartOutcome> {
    const { azureDevOps, now, onRequest } = this.options;
    const beganAt = now();
    const outcome = await azureDevOps.call({
      method: 'POST',
      path: runsPath(pipeline),
      body: bodyOf(pipeline, parameters),
    });
    onRequest?.((now() - beganAt) / 1_000);
    const passing = this.#passing(outcome, beganAt);
    if (passing !== undefined) return passing;
    if (outcome.kind === 'refused') return { kind: 'refused', message: describe(outcome) };
    const run = outcome.kind === 'ok' ? runIn(outcome.body) : undefined;
    if (run !== undefined) return { kind: 'started', run };
    return { kind: 'open', message: 'Azure DevOps answered without a run id', isFree: false };
  }

  /**
   * Finds runs with an event's id since a time in milliseconds since the epoch. Another route may start the same pipeline
   * for the same event: its parameters distinguish its runs from ours.
   */
  async find(
    { project, id }: PipelineSettings,
    eventId: string,
    parameters: Parameters,
    since: number,
  ): Promise<FindOutcome> {
    const { azureDevOps, now } = this.options;
    const list = `${encodeURIComponent(project)}/_apis/build/builds?definitions=${id}&minTime=${new Date(since).toISOString()}&queryOrder=queueTimeAscending&api-version=7.1`;
    const runs: Run[] = [];
    let token: string | undefined;
    for (let page = 0; page < MOST_PAGES; page++) {
      const beganAt = now();
      const outcome = await azureDevOps.ask(
        token === undefined ? list : `${list}&continuationToken=${encodeURIComponent(token)}`,
      );
      const passing = this.#passing(outcome, beganAt);
      if (passing !== undefined) return passing;
      if (outcome.kind !== 'ok') return { kind: 'refused', message: describe(outcome) };
      const builds = isObject(outcome.body) ? outcome.body['value'] : undefined;
      if (!Array.isArray(builds)) return { kind: 'open', message: "the answer isn't a list of runs" };
      runs.push(...builds.filter((build) => isOf(build, eventId, parameters)).flatMap((build) => runIn(build) ?? []));
      token = outcome.continuationToken;
      if (token === undefined) return { kind: 'list', runs };
    }
    return { kind: 'open', message: `the list of runs has more than ${MOST_PAGES} pages` };
  }

  /** Whether Azure DevOps would accept these parameters. Starts nothing. */
  async preview(pipeline: PipelineSettings, parameters: Parameters): Promise<PreviewOutcome> {
    const { azureDevOps, now } = this.options;
    const beganAt = now();
    const body = { ...bodyOf(pipeline, parameters), previewRun: true };
    const outcome = await azureDevOps.call({ method: 'POST', path: runsPath(pipeline), body });
    const passing = this.#passing(outcome, beganAt);
    if (passing !== undefined) return { kind: 'postponed', message: passing.message };
    return outcome.kind === 'refused'
      ? { kind: 'refused', status: outcome.status, message: describe(outcome) }
      : { kind: 'ok', yaml: yamlIn(outcome) };
  }

  /** Why the call may end differently next time; undefined when Azure DevOps has answered. Informs the gate either way. */
  #passing(
    outcome: Outcome,
    beganAt: number,
  ): { readonly kind: 'postponed' | 'open'; readonly message: string; readonly isFree: boolean } | undefined {
    const { gate } = this.options;
    switch (outcome.kind) {
      case 'ok':
        gate.success(outcome.retryAfterMs);
        return undefined;
      case 'refused':
        if (outcome.status === TIMED_OUT) return { kind: 'open', message: describe(outcome), isFree: false };
        gate.success();
        return undefined;
      case 'throttled':
        gate.trouble(outcome.message, beganAt, outcome.retryAfterMs);
        return { kind: 'postponed', message: outcome.message, isFree: true };
      case 'signIn':
      case 'unreachable':
        gate.trouble(outcome.message, beganAt);
        return { kind: 'postponed', message: outcome.message, isFree: true };
      case 'open':
        if (outcome.retryAfterMs !== undefined) gate.trouble(outcome.message, beganAt, outcome.retryAfterMs);
        return { kind: 'open', message: outcome.message, isFree: outcome.retryAfterMs !== undefined };
    }
  }
}

export type PreviewOutcome =
  | { readonly kind: 'ok'; /** The pipeline with its templates expanded; foreign text. */ readonly yaml?: string }
  | { readonly kind: 'refused'; readonly status: number; readonly message: string }
  | { readonly kind: 'postponed'; readonly message: string };

const TIMED_OUT = 408;

function yamlIn(outcome: Outcome): string {
  const yaml = outcome.kind === 'ok' && isObject(outcome.body) ? outcome.body['finalYaml'] : undefined;
  return typeof yaml === 'string' ? yaml : '';
}

function runsPath({ project, id }: PipelineSettings): string {
  return `${encodeURIComponent(project)}/_apis/pipelines/${id}/runs?api-version=7.1`;
}

function bodyOf({ branch }: PipelineSettings, templateParameters: Parameters): Readonly<Record<string, unknown>> {
  const resources = branch === undefined ? {} : { resources: { repositories: { self: { refName: branch } } } };
  return { ...resources, templateParameters };
}

function runIn(body: unknown): Run | undefined {
  if (!isObject(body)) return undefined;
  const { id, url, _links: links } = body;
  if (typeof id !== 'number' || !Number.isSafeInteger(id) || id <= 0) return undefined;
  const web = isObject(links) && isObject(links['web']) ? links['web']['href'] : undefined;
  return { id, url: [web, url].find((text): text is string => typeof text === 'string')?.slice(0, MOST_URL) ?? '' };
}

function isOf(build: unknown, eventId: string, asked: Parameters): boolean {
  const given = isObject(build) ? build['templateParameters'] : undefined;
  if (!isObject(given) || given[EVENT_ID_PARAMETER] !== eventId) return false;
  return Object.entries(asked).every(([name, text]) => !contradicts(given[name], text));
}

/**
 * Whether a build was given a different value. Objects, lists and missing values never contradict: Azure DevOps may write
 * them in its own way, and missing our run is worse than checking one too many.
 */
function contradicts(given: unknown, asked: string): boolean {
  if (typeof given !== 'string' || [given, asked].some((text) => /^\s*[[{]/.test(text))) return false;
  return given !== asked && given.toLowerCase() !== asked.toLowerCase() && Number(given) !== Number(asked);
}

function describe(outcome: Outcome): string {
  return outcome.kind === 'refused' ? `${outcome.message} (status ${outcome.status})` : outcome.kind;
}
