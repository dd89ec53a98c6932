import { subjectProblem } from '../../shared/subject.ts';
import { isObject } from '../../shared/text/json.ts';
import { probablyMeant } from '../../shared/text/nearest.ts';
import { quoted } from '../../shared/text/safeText.ts';
import { shown } from '../config/shown.ts';
import { PLACEHOLDERS } from './placeholders.ts';
import type { validate } from './validate.ts';

/** What the schema finds wrong with a policy: clauses with the place in front. */
export function schemaProblems(
  { keyword, instancePath, params, message = '' }: NonNullable<typeof validate.errors>[number],
  policy: unknown,
): string[] {
  const steps = instancePath.split('/').slice(1);
  const place = steps
    .map((step) => (/^\d+$/.test(step) ? `[${step}]` : `.${step}`))
    .join('')
    .replace(/^\./, '');
  const at = (problem: string) => [`${place || 'the policy'}: ${problem}`];
  switch (keyword) {
    case 'additionalProperties':
      return at(`${quoted(String(params['additionalProperty']))} is not a field that the bridge knows`);
    case 'anyOf':
      return at('has none of sub, roles and groups, so it would match everybody');
    case 'required':
      // Problems of anyOf are reported together.
      return ['sub', 'roles', 'groups'].includes(String(params['missingProperty'])) ? [] : at(message);
    case 'pattern':
      return at(patternProblem(String(steps.reduce(memberOf, policy)), steps.at(-1)));
    default:
      return at(message);
  }
}

function memberOf(value: unknown, step: string): unknown {
  return isObject(value) || Array.isArray(value) ? (value as Record<string, unknown>)[step] : undefined;
}

/** What is wrong with a text that doesn't fit its pattern, which says little to people. */
function patternProblem(text: string, field: string | undefined): string {
  switch (field) {
    case 'issuer':
      return `${shown(text)} is not an https:// URL without user, query and fragment`;
    case 'sub':
      return text.split('/')[0]?.includes('*') === true
        ? `${quoted(text)}: its first part can't be *, or it would match too many`
        : `${quoted(text)}: * stands for a whole part between slashes, not for a piece of one`;
    default: {
      // The only other ones are subjects.
      const unknown = unknownPlaceholder(text);
      if (unknown !== undefined) return `${quoted(text)}: ${unknown}`;
      if (/[{}]/.test(text))
        return `${quoted(text)}: a placeholder is a whole part between dots, or ends one after an underscore, as in CI_{project}`;
      return `${quoted(text)} ${subjectProblem(text, 'pattern') ?? 'has a * or > that is not a whole part between dots'}`;
    }
  }
}

/** The first placeholder in a text that stands for nothing: a clause with what to write instead. */
export function unknownPlaceholder(text: string): string | undefined {
  const names = [...text.matchAll(/\{([^{}]*)\}/g)].map(([, name = '']) => name);
  const unknown = names.find((name) => !PLACEHOLDERS.some((known) => known === name));
  if (unknown === undefined) return undefined;
  const meant = probablyMeant(unknown, PLACEHOLDERS, 3);
  const instead =
    meant === undefined ? `there are ${PLACEHOLDERS.map((name) => `{${name}}`).join(', ')}` : `write {${meant}}`;
  return `{${unknown}} is not a placeholder; ${instead}`;
}
