import type { WaitRule } from '../settings.ts';
import type { ProvenPlan } from './caller.ts';
import { liesWithin } from './criteria.ts';

/** The verified caller. */
export interface ProvenCaller extends Pick<ProvenPlan, 'pipeline'> {
  /** The name is undefined where the bridge can't know it. */
  readonly project: { readonly id: string; readonly name: string | undefined };
  /** The name of the bearer token. */
  readonly token: string;
}

/** A rule with its place in the configuration. */
export interface PlacedRule extends WaitRule {
  readonly index: number;
}

const ID = /^\d+$/;

/** The rules that let a caller wait at all. */
export function rulesFor(rules: readonly WaitRule[], { project, pipeline, token }: ProvenCaller): PlacedRule[] {
  return rules
    .map((rule, index) => ({ ...rule, index }))
    .filter(
      ({ projects, pipelines, tokens }) =>
        projects.some((one) => one === '*' || same(one, project.id) || same(one, project.name)) &&
        // Anything that looks like an ID is one: a pipeline can have any name.
        pipelines.some(
          (one) => one === '*' || (ID.test(one) ? Number(one) === pipeline.id : same(one, pipeline.name)),
        ) &&
        (tokens.length === 0 || tokens.includes(token)),
    );
}

/** The first of these rules that allows waiting on all the subjects. */
export function ruleOver(rules: readonly PlacedRule[], subjects: readonly string[]): PlacedRule | undefined {
  return rules.find((rule) => liesWithin(subjects, rule.subjects));
}

/** Whether a rule names a project by anything but its ID, so that its name has to be known. */
export function needsProjectName(rules: readonly WaitRule[]): boolean {
  return rules.some(({ projects }) => projects.some((one) => one !== '*' && !GUID.test(one)));
}

const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Azure DevOps tells no two names apart by case. */
function same(one: string, other: string | undefined): boolean {
  return one.toLowerCase() === other?.toLowerCase();
}
