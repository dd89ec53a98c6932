import { overlap } from '../../shared/subject.ts';
import { quoted } from '../../shared/text/safeText.ts';
import type { RouteSettings } from '../settings.ts';
import { safeToken } from './grant.ts';
import type { Policy, Rule } from './policy.ts';

type Publisher = RouteSettings['publishers'][number];

/** The publishers that a rule and an event's subject tell apart: where the name stands in `sub` and in a subject. */
const PROVEN = {
  project: { part: 3, placeholder: '{project}' },
  pipeline: { part: 4, placeholder: '{pipeline}' },
} as const;

/**
 * Who besides a route's publishers may publish the events that start its runs, going by the callout's policy: clauses.
 * A placeholder's value is unique to its name (see {@link safeToken}), so a subject with one proves who
 * published on it.
 */
export function strangersIn(policy: Policy, { publishers, subjects }: RouteSettings): string[] {
  const strangers = [...policy.issuers.values()].flatMap(({ rules }) =>
    rules.flatMap((rule) =>
      rule.publish.flatMap((pattern) =>
        subjects
          .filter((subject) => overlap(withoutNames(pattern), subject))
          .filter((subject) => !publishers.some((publisher) => isBound(publisher, rule, pattern, subject)))
          .map((subject) => `${rule.place} lets others publish on ${quoted(pattern)}, and so on ${quoted(subject)}`),
      ),
    ),
  );
  return [...new Set(strangers)];
}

/** A pattern with a wildcard in place of each placeholder. */
function withoutNames(pattern: string): string {
  return pattern.replace(/[^.]*\{\w+\}[^.]*/g, '*');
}

/** Whether the rule lets only this publisher in to publish on the subject. */
function isBound(publisher: Publisher, rule: Rule, pattern: string, subject: string): boolean {
  const isNamed = (what: keyof typeof PROVEN, name: string) => {
    const { part, placeholder } = PROVEN[what];
    if (rule.sub?.split('/')[part] === name) return true;
    const place = pattern.split('.').indexOf(placeholder);
    return place >= 0 && subject.split('.')[place] === safeToken(name);
  };
  // A service connection isn't a pipeline, though its name stands in the same place.
  const isPipeline = publisher.pipeline === '*' || (isOfPipelines(rule) && isNamed('pipeline', publisher.pipeline));
  return isNamed('project', publisher.project) && isPipeline;
}

function isOfPipelines({ sub }: Rule): boolean {
  return sub?.startsWith('p://') === true;
}
