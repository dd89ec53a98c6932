import { overlap } from '../../shared/subject.ts';
import { quoted } from '../../shared/text/safeText.ts';
import type { RouteSettings } from '../settings.ts';
import { safeToken } from './grant.ts';
import type { Policy, Rule } from './policy.ts';

type Publisher = RouteSettings['publishers'][number];

/** Whom a rule and the subject of an event prove, apart from the rest: where the name stands in `sub` and in a subject. */
const PROVEN = {
  project: { part: 3, placeholder: '{project}' },
  pipeline: { part: 4, placeholder: '{pipeline}' },
} as const;

/**
 * Who else than the publishers of a route may publish what it starts runs for, as a policy of the callout has it: clauses.
 * Placeholders stand for names that no other name can become (see {@link safeToken}), so a subject with one proves who
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

/** A pattern with a wildcard in the place of each name that a token fills in. */
function withoutNames(pattern: string): string {
  return pattern.replace(/[^.]*\{\w+\}[^.]*/g, '*');
}

/** Whether only this publisher gets in by the rule and may publish on the subject. */
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
