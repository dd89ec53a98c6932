import type { SecretMasker } from './secretMasker.ts';

export interface Variable {
  readonly name: string;
  readonly value: string;
  readonly secret: boolean;
  readonly readOnly: boolean;
}

/** Nesting at which the agent gives up on a variable. */
const MAX_DEPTH = 50;

/** A name as the agent spells it in the environment: `Build.BuildId` → `BUILD_BUILDID`. Hyphens remain. */
export function environmentName(name: string): string {
  return name.replace(/[. ]/g, '_').toUpperCase();
}

/**
 * Replaces each `$(name)` that `lookUp` knows, from left to right; unknown ones stay as they are. A value that was put in is
 * not looked at again (the agent's `VarUtil.ExpandValues`).
 */
export function expandMacros(text: string, lookUp: (name: string) => string | undefined): string {
  let expanded = text;
  let from = 0;
  for (;;) {
    const start = expanded.indexOf('$(', from);
    const end = start < 0 ? -1 : expanded.indexOf(')', start + 2);
    if (end < 0) return expanded;
    const name = expanded.slice(start + 2, end);
    const value = name ? lookUp(name) : undefined;
    if (value === undefined) {
      from = start + 1;
    } else {
      expanded = expanded.slice(0, start) + value + expanded.slice(end + 1);
      from = start + value.length;
    }
  }
}

class ExpansionProblem extends Error {}

/** The variables of a job (the agent's `Variables`): names without case, values that may name each other as `$(name)`. */
export class Variables {
  readonly #masker: SecretMasker;
  readonly #stored = new Map<string, Variable>();
  #expanded = new Map<string, Variable>();

  constructor(masker: SecretMasker) {
    this.#masker = masker;
  }

  /** Stores a value as it is; macros in it take effect at the next {@link expandAll}. Once secret, a name stays secret. */
  set(name: string, value: string, { secret = false, readOnly = false } = {}): void {
    const key = name.toLowerCase();
    const isSecret = secret || (this.#expanded.get(key)?.secret ?? false);
    if (isSecret) this.#masker.add(value);
    const variable = { name, value, secret: isSecret, readOnly };
    this.#stored.set(key, variable);
    this.#expanded.set(key, variable);
  }

  get(name: string): Variable | undefined {
    return this.#expanded.get(name.toLowerCase());
  }

  names(): string[] {
    return [...this.#expanded.values()].map(({ name }) => name);
  }

  expand(text: string): string {
    return expandMacros(text, (name) => this.get(name)?.value);
  }

  /**
   * Expands the macros inside all values, recursively. The agent does this before each step, which is what makes a value from
   * outside that holds `$(name)` dangerous. What contains a secret becomes one.
   * @returns warnings about variables left as they are: cycles, and nesting deeper than 50
   */
  expandAll(): string[] {
    const warnings: string[] = [];
    this.#expanded = new Map(this.#stored);
    for (const [key, variable] of this.#stored) {
      let secret = variable.secret;
      const expandOne = (current: string, path: readonly string[]): string =>
        expandMacros(this.#stored.get(current)?.value ?? '', (name) => {
          const nested = name.toLowerCase();
          const found = this.#stored.get(nested);
          if (!found) return undefined;
          if (path.length === MAX_DEPTH) {
            throw new ExpansionProblem(
              `Unable to expand variable '${variable.name}'. The max expansion depth (${MAX_DEPTH}) was exceeded.`,
            );
          }
          if (path.includes(nested)) {
            throw new ExpansionProblem(
              `Unable to expand variable '${variable.name}'. A cyclical reference was detected.`,
            );
          }
          secret ||= found.secret;
          return expandOne(nested, [...path, nested]);
        });
      try {
        const value = expandOne(key, [key]);
        if (value === variable.value) continue;
        if (secret) this.#masker.add(value);
        this.#expanded.set(key, { ...variable, value, secret });
      } catch (error) {
        if (!(error instanceof ExpansionProblem)) throw error;
        warnings.push(error.message);
      }
    }
    return warnings;
  }

  /** The environment by which a step sees the variables. */
  environment(withSecrets: boolean): Record<string, string> {
    const all = [...this.#expanded.values()];
    const env: Record<string, string> = {
      VSTS_PUBLIC_VARIABLES: JSON.stringify(all.filter(({ secret }) => !secret).map(({ name }) => name)),
      VSTS_SECRET_VARIABLES: JSON.stringify(all.filter(({ secret }) => secret).map(({ name }) => name)),
    };
    for (const { name, value, secret } of all) {
      if (!secret) env[environmentName(name)] = value;
      else if (withSecrets) env[`SECRET_${environmentName(name)}`] = value;
      // The agent also adds this one as it is spelled.
      if (name.toLowerCase() === 'agent.jobstatus') env['agent.jobstatus'] = value;
    }
    return env;
  }
}
