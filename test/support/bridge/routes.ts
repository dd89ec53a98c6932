import type { RouteSettings } from '../../../bridge/settings.ts';
import { named } from '../event.ts';

/** A minimal route. */
export function routeOf(others: Partial<RouteSettings> = {}): RouteSettings {
  return {
    name: 'deploy',
    mode: 'on',
    subjects: ['ci.>'],
    stream: 'CI',
    contract: undefined,
    criteria: criteria({}),
    publishers: [],
    pipeline: { project: 'Shop', id: 42, branch: 'refs/heads/main' },
    parameters: [],
    eventId: { isMapped: true, pattern: /^[\w.:/@+=,-]{0,512}$/u },
    concurrency: 4,
    maxPerMinute: 60,
    pauseAfter: 10,
    maxDeliver: 8,
    startFrom: 'new',
    allowHooks: false,
    ...others,
  };
}

/** What a route judges. */
export function criteria(others: Partial<RouteSettings['criteria']>): RouteSettings['criteria'] {
  return { match: undefined, correlationId: undefined, trustedKeys: undefined, maxEventAgeMs: 3_600_000, ...others };
}

/** A parameter from an expression. */
export function parameter(name: string, expression: string, pattern = /^[\w.:/@+=,-]{0,512}$/u) {
  return { name, expression: named(expression), pattern };
}
