import { apiError } from './apiError.ts';
import type { StartedRun } from './builds.ts';
import type { Answer } from './standInServer.ts';

/** The query for a list of builds. */
export interface BuildQuery {
  /** Ids of pipelines; undefined: all. */
  readonly definitions: readonly number[] | undefined;
  readonly top: number;
  /** Whether a build's time is within `minTime` and `maxTime`. */
  isWithin(run: StartedRun): boolean;
  compare(one: StartedRun, other: StartedRun): number;
  /** Whether it comes after the pages that the caller already has. */
  isAfterToken(run: StartedRun): boolean;
  /** The token for the builds after this one. */
  tokenAfter(run: StartedRun): string;
}

/** Builds - List page: parameters that this stand-in refuses, since it doesn't implement them. */
const NOT_HERE = [
  ...['queues', 'buildNumber', 'requestedFor', 'reasonFilter', 'statusFilter', 'resultFilter', 'tagFilters'],
  ...['properties', 'maxBuildsPerDefinition', 'deletedFilter', 'branchName', 'buildIds', 'repositoryId'],
  'repositoryType',
];
const ORDER = /^(finish|start|queue)Time(A|De)scending$/i;

/**
 * Reads a query by the Builds - List page and azure-devops-node-api's BuildApi: `minTime` and `maxTime` are about the time
 * that `queryOrder` orders by, so an unfinished build didn't "finish after this date". The default order
 * isn't documented; here it's by finish time.
 * @returns an error response if the query is invalid
 */
export function readBuildQuery(query: URLSearchParams): BuildQuery | Answer {
  const unknown = NOT_HERE.find((name) => query.has(name));
  if (unknown !== undefined) throw new Error(`The stand-in's list of builds doesn't know ${unknown}.`);
  const order = query.get('queryOrder') ?? 'finishTimeDescending';
  const [, by, direction] = ORDER.exec(order) ?? [];
  if (by === undefined) return refuse('queryOrder', order);
  const definitions = query.get('definitions')?.split(',').map(Number);
  if (definitions?.some((id) => !Number.isInteger(id)) === true) return refuse('definitions', query.get('definitions'));
  const top = Number(query.get('$top') ?? Infinity);
  if (!(top >= 1)) return refuse('$top', query.get('$top'));
  const [minTime, maxTime] = ['minTime', 'maxTime'].map((name) => Date.parse(query.get(name) ?? 'none'));
  for (const [name, time] of [['minTime', minTime] as const, ['maxTime', maxTime] as const]) {
    if (query.has(name) && Number.isNaN(time)) return refuse(name, query.get(name));
  }
  const token = query.get('continuationToken');
  const start = token === null ? undefined : readToken(token);
  if (token !== null && start?.order !== order.toLowerCase()) return refuse('continuationToken', token);

  const sign = direction!.toLowerCase() === 'a' ? 1 : -1;
  const timeOf = (run: StartedRun) => (by.toLowerCase() === 'finish' ? run.finishedAt : run.queuedAt) ?? Infinity;
  const compareWith = (time: number, id: number, run: StartedRun) =>
    sign * (time === timeOf(run) ? id - run.id : time < timeOf(run) ? -1 : 1);
  return {
    ...{ definitions, top },
    isWithin: (run) => {
      const time = timeOf(run);
      if (!query.has('minTime') && !query.has('maxTime')) return true;
      return time !== Infinity && !(time < minTime!) && !(time > maxTime!);
    },
    compare: (one, other) => compareWith(timeOf(one), one.id, other),
    isAfterToken: (run) => start === undefined || compareWith(start.time ?? Infinity, start.id, run) < 0,
    tokenAfter: (run) => {
      const next: Token = { order: order.toLowerCase(), time: timeOf(run), id: run.id };
      return Buffer.from(JSON.stringify(next)).toString('base64url');
    },
  };
}

interface Token {
  readonly order: string;
  /** Null, as JSON writes infinity: it hasn't finished yet. */
  readonly time: number | null;
  readonly id: number;
}

function readToken(token: string): Token | undefined {
  try {
    return JSON.parse(Buffer.from(token, 'base64url').toString()) as Token;
  } catch {
    return undefined;
  }
}

/** Only the status is certain: a parameter of the wrong type is a bad request. */
function refuse(name: string, value: string | null): Answer {
  const message = `The value '${value}' is not valid.\r\nParameter name: ${name}`;
  return apiError(400, 'InvalidArgumentValueException', message, { space: 'Microsoft.TeamFoundation.Build.WebApi' });
}
