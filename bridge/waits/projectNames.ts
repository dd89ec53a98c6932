import { isObject } from '../../shared/text/json.ts';
import type { AzureDevOps } from '../azureDevOps/client.ts';
import { organizationKey } from '../hooks/organization.ts';
import { Unavailable } from './refusal.ts';

/** A project may be renamed: a rule with its old name keeps working at most this long. */
const KEPT_MS = 10 * 60_000;
const MOST_KEPT = 10_000;

export interface ProjectNamesOptions {
  readonly azureDevOps: Pick<AzureDevOps, 'ask'>;
  /** The one that the bridge's identity belongs to. */
  readonly organization: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Names of projects, which rules use and plans don't contain. */
export class ProjectNames {
  readonly #known = new Map<string, { readonly name: string | undefined; readonly at: number }>();
  readonly #own: string | undefined;

  constructor(private readonly options: ProjectNamesOptions) {
    this.#own = organizationKey(options.organization);
  }

  /**
   * A project's name; undefined in an organization other than the bridge's own, and where its identity may not see the project.
   *
   * @param organization as {@link organizationKey} has it
   * @param project a GUID
   * @throws Unavailable
   */
  async nameOf(organization: string, project: string, signal: AbortSignal): Promise<string | undefined> {
    if (organization !== this.#own) return undefined;
    const now = this.options.now();
    const known = this.#known.get(project);
    if (known !== undefined && Math.abs(now - known.at) < KEPT_MS) return known.name;
    const name = await this.#ask(project, signal);
    if (this.#known.size >= MOST_KEPT) this.#known.clear();
    this.#known.set(project, { name, at: now });
    return name;
  }

  async #ask(project: string, signal: AbortSignal): Promise<string | undefined> {
    const outcome = await this.options.azureDevOps.ask(`_apis/projects/${project}?api-version=7.1`, signal);
    if (outcome.kind === 'refused' && outcome.status === 404) return undefined;
    if (outcome.kind !== 'ok')
      throw new Unavailable(`Azure DevOps did not return the project's name: ${outcome.message}`);
    const name = isObject(outcome.body) ? outcome.body['name'] : undefined;
    return typeof name === 'string' ? name : undefined;
  }
}
