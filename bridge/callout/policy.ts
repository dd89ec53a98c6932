import { parseJson } from '../../shared/text/json.ts';
import { quoted } from '../../shared/text/safeText.ts';
import { jsonSyntaxProblem } from '../../shared/text/jsonSyntax.ts';
import { placeholdersFor } from './placeholders.ts';
import { schemaProblems, unfilledPlaceholder, unknownPlaceholder } from './policyProblems.ts';
import { validate } from './validate.ts';

/** Who may sign in, and what they may do then. */
export interface Policy {
  /** By their `iss`. */
  readonly issuers: ReadonlyMap<string, IssuerPolicy>;
}

/** A policy that is read again when its file changes. What it was before stays in use while the file is bad. */
export interface PolicyFile {
  readonly current: Policy;
}

export interface IssuerPolicy {
  readonly issuer: string;
  readonly audience: string;
  /** The tenant and version that Microsoft Entra's tokens must have; undefined for other issuers. */
  readonly tenant: { readonly id: string; readonly version: '1.0' | '2.0' } | undefined;
  /** The first that matches decides. */
  readonly rules: readonly Rule[];
}

export interface Rule {
  /** How people find it: `issuers[0].rules[2]`. */
  readonly place: string;
  readonly sub: string | undefined;
  /** All of them have to be there. */
  readonly roles: readonly string[];
  readonly groups: readonly string[];
  readonly account: string;
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  readonly maxLifetimeSeconds: number | undefined;
}

interface Content {
  readonly issuers: readonly {
    readonly issuer: string;
    readonly audience: string;
    readonly rules: readonly (Partial<Omit<Rule, 'place' | 'maxLifetimeSeconds'>> &
      Pick<Rule, 'account' | 'publish' | 'subscribe'> & { readonly maxLifetime?: number })[];
  }[];
}

const GUID = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';
const TENANT = new RegExp(`/(${GUID})(/v2\\.0|/)$`, 'i');

/**
 * Reads the text of a policy file.
 *
 * @param accounts the names that rules may name; undefined: any
 * @returns what is wrong, all of it: clauses with the place in front
 */
export function readPolicy(
  text: string,
  accounts: readonly string[] | undefined,
): { readonly policy: Policy } | { readonly problems: readonly string[] } {
  const json = parseJson(text);
  if (json === undefined) return { problems: [`it is not JSON: ${jsonSyntaxProblem(text)}`] };
  if (!validate(json.value)) return { problems: schemaProblems(validate.errors ?? [], json.value) };
  const { issuers } = json.value as unknown as Content;
  const problems: string[] = [];
  const read = new Map<string, IssuerPolicy>();
  for (const [index, { issuer, audience, rules: given }] of issuers.entries()) {
    const place = `issuers[${index}]`;
    if (read.has(issuer)) problems.push(`${place}.issuer: ${quoted(issuer)} is listed twice`);
    const rules = given.map((rule, number) => ruleOf(rule, `${place}.rules[${number}]`));
    const tenant = tenantOf(issuer);
    problems.push(
      ...rules.flatMap((rule) => [
        ...ruleProblems(rule, accounts),
        ...unfilledPlaceholders(rule, tenant !== undefined),
      ]),
    );
    read.set(issuer, { issuer, audience, tenant, rules });
  }
  return problems.length > 0 ? { problems } : { policy: { issuers: read } };
}

function ruleOf(rule: Content['issuers'][number]['rules'][number], place: string): Rule {
  const { sub, roles = [], groups = [], account, publish, subscribe, maxLifetime } = rule;
  return { place, sub, roles, groups, account, publish, subscribe, maxLifetimeSeconds: maxLifetime };
}

/** Microsoft Entra marks tokens of version 2.0 by the end of their issuer, and those of version 1.0 by a closing slash. */
function tenantOf(issuer: string): IssuerPolicy['tenant'] {
  const [, id, end] = TENANT.exec(issuer) ?? [];
  return id === undefined ? undefined : { id: id.toLowerCase(), version: end === '/' ? '1.0' : '2.0' };
}

function ruleProblems({ place, sub, roles, groups, account }: Rule, accounts: readonly string[] | undefined): string[] {
  const problems: string[] = [];
  const parts = (sub ?? '*').split('/');
  const isAnybodys = parts.every((part) => ['*', '', 'sc:', 'p:'].includes(part));
  if (isAnybodys && roles.length + groups.length === 0)
    problems.push(`${place}.sub: ${quoted(sub ?? '')} matches everybody: it must name at least an organization`);
  const isPlaceholder = /^\{\w+\}$/.test(account);
  if (!isPlaceholder && /[{}]/.test(account))
    problems.push(`${place}.account: ${quoted(account)} is neither a name nor one placeholder`);
  const unknown = isPlaceholder ? unknownPlaceholder(account) : undefined;
  if (unknown !== undefined) problems.push(`${place}.account: ${quoted(account)}: ${unknown}`);
  if (!isPlaceholder && accounts !== undefined && !accounts.includes(account))
    problems.push(`${place}.account: ${quoted(account)} is not one of callout.accounts`);
  return problems;
}

/** A placeholder that no matching token has a value for would refuse every sign-in that the rule is for. */
function unfilledPlaceholders({ place, sub, account, publish, subscribe }: Rule, isTenant: boolean): string[] {
  const source = placeholdersFor(isTenant, sub);
  const texts = [
    ['account', account] as const,
    ...publish.map((subject, index) => [`publish[${index}]`, subject] as const),
    ...subscribe.map((subject, index) => [`subscribe[${index}]`, subject] as const),
  ];
  return texts.flatMap(([field, text]) => {
    const problem = unfilledPlaceholder(text, source);
    return problem === undefined ? [] : [`${place}.${field}: ${quoted(text)}: ${problem}`];
  });
}
