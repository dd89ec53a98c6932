import { randomBytes, randomUUID } from 'node:crypto';
import { exportJWK, generateKeyPair, SignJWT, type GenerateKeyPairResult } from 'jose';
import type { Plan } from './plans.ts';
import type { Organization } from './projects.ts';
import { json, type Answer, type RecordedRequest } from './standInServer.ts';

/** The only audience of these tokens. */
const AUDIENCE = 'api://AzureADTokenExchange';

/** A stand-in for `vstoken.dev.azure.com`: issues the ID tokens of jobs, and publishes its key. */
export class PlanIssuer {
  /** The lifetime of tokens it issues from now on; real ones live ten minutes. */
  lifetimeMs = 600_000;
  readonly #kid = randomBytes(8).toString('hex');
  #keys: Promise<GenerateKeyPairResult> | undefined;

  constructor(private readonly place: () => { readonly origin: string; readonly organization: Organization }) {}

  /** The tokens' `iss`. */
  get url(): string {
    const { origin, organization } = this.place();
    return `${origin}/_oidc/${organization.accountId}`;
  }

  /**
   * A token of a job.
   * @param changes claims that replace the real ones
   */
  async issue(plan: Plan, changes: Readonly<Record<string, unknown>> = {}): Promise<string> {
    const { name, accountId } = this.place().organization;
    const now = Math.floor(Date.now() / 1_000);
    const claims = {
      ...{ jti: randomUUID(), iss: this.url, aud: AUDIENCE, iat: now, nbf: now },
      ...{ exp: now + this.lifetimeMs / 1_000, sub: `p://${name}/${plan.project.name}/${plan.definition.name}` },
      // What Azure DevOps adds about the run.
      ...{
        org_id: accountId,
        prj_id: plan.project.id,
        def_id: String(plan.definition.id),
        run_id: String(plan.owner.id),
      },
      ...{ rpo_ref: 'refs/heads/main', rpo_ver: 'a'.repeat(40) },
      ...changes,
    };
    const { privateKey } = await this.#pair();
    return new SignJWT(claims).setProtectedHeader({ typ: 'JWT', alg: 'RS256', kid: this.#kid }).sign(privateKey);
  }

  /** Resolves once it has its key, which takes a second or more on a busy machine: longer than a task may wait. */
  async ready(): Promise<void> {
    await this.#pair();
  }

  /** The two documents, which anyone may read. */
  async answer({ method, path }: RecordedRequest): Promise<Answer> {
    const { pathname } = new URL(this.url);
    if (method !== 'GET') return { status: 405 };
    if (path === `${pathname}/.well-known/openid-configuration`) {
      const supported = { id_token_signing_alg_values_supported: ['RS256'], subject_types_supported: ['public'] };
      return json(200, { issuer: this.url, jwks_uri: `${this.url}/.well-known/jwks`, ...supported });
    }
    if (path === `${pathname}/.well-known/jwks`) {
      const key = { ...(await exportJWK((await this.#pair()).publicKey)), kid: this.#kid, alg: 'RS256', use: 'sig' };
      return json(200, { keys: [key] });
    }
    return { status: 404 };
  }

  /** Made when it's needed: most tests need none. */
  #pair(): Promise<GenerateKeyPairResult> {
    this.#keys ??= generateKeyPair('RS256');
    return this.#keys;
  }
}
