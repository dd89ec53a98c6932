/** The rules by which the classic editor shows and hides the inputs of a task. */
import type { TaskInput } from '../build/manifest.ts';

/** One comparison of a rule: what the input holds, with a value. */
export interface Condition {
  readonly input: string;
  readonly operator: '=' | '!=';
  readonly value: string;
}

/** Conditions that must all hold, or one of which must. A rule can't mix the two, and has no parentheses. */
export interface VisibleRule {
  readonly joinedBy: '&&' | '||';
  readonly conditions: readonly Condition[];
}

/**
 * Letters and digits only, since the service's own parser breaks on others; `""` for an empty value. The service has more
 * operators, which no form of ours needs.
 */
const CONDITION = /^(\w+) (=|!=) (""|[A-Za-z0-9]+)$/;

/** Parses a `visibleRule`. Throws when the service wouldn't understand it. */
export function parseRule(rule: string): VisibleRule {
  const joinedBy = rule.includes('||') ? '||' : '&&';
  const conditions = rule.split(joinedBy).map((text): Condition => {
    const [, input, operator, value] = CONDITION.exec(text.trim()) ?? [];
    if (input === undefined || operator === undefined || value === undefined)
      throw new Error(`"${text.trim()}" isn't a condition, or && and || are mixed.`);
    return { input, operator: operator as Condition['operator'], value: value === '""' ? '' : value };
  });
  return { joinedBy, conditions };
}

/**
 * Whether the form of a task shows an input.
 * @param values what the inputs hold; the default, or nothing, where absent
 */
export function isShown(
  { visibleRule }: TaskInput,
  inputs: readonly TaskInput[],
  values: Readonly<Record<string, string>>,
): boolean {
  if (visibleRule === undefined) return true;
  const { joinedBy, conditions } = parseRule(visibleRule);
  const holds = ({ input, operator, value }: Condition): boolean => {
    const held = values[input] ?? inputs.find(({ name }) => name === input)?.defaultValue ?? '';
    return (held === value) === (operator === '=');
  };
  return joinedBy === '&&' ? conditions.every(holds) : conditions.some(holds);
}

/** The names of the inputs that the form of a task shows, in its order. */
export function shownInputs(inputs: readonly TaskInput[], values: Readonly<Record<string, string>>): string[] {
  return inputs.filter((input) => isShown(input, inputs, values)).map(({ name }) => name);
}
