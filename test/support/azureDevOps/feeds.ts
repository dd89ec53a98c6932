import { randomUUID } from 'node:crypto';
import { apiError } from './apiError.ts';
import { findProject, type Organization, type Project } from './projects.ts';
import type { ApiRequest, ApiRoute } from './routes.ts';
import { json, type Answer, type RecordedRequest } from './standInServer.ts';

const WEB_API = 'Microsoft.VisualStudio.Services.Feed.WebApi';
/** Get Package Changes page: the default and maximum page size. */
const PAGE = 1_000;
const MOST_PAGE = 2_000;

/** A change of one version of a package, as `packagechanges` returns it. */
export interface PackageChange {
  readonly package: { readonly id: string; readonly name: string; readonly [member: string]: unknown };
  readonly packageVersionChange: {
    readonly changeType: 'addOrUpdate' | 'delete';
    readonly continuationToken: number;
    readonly packageVersion: { readonly id: string; readonly version: string; readonly [member: string]: unknown };
  };
}

/** A feed of Azure Artifacts. */
export class Feed {
  readonly id = randomUUID();
  #token = 0;
  /** The newest change of each version, by version id: the real one returns no others, either. */
  readonly #changes = new Map<string, PackageChange>();
  readonly #packages = new Map<string, string>();
  /** Names of the people and services who may not read it. */
  readonly closedTo = new Set<string>();

  constructor(
    readonly name: string,
    /** Undefined: it's the organization's. */
    readonly project: Project | undefined,
  ) {}

  /** The changes that can still be requested, oldest first. */
  get changes(): readonly PackageChange[] {
    return [...this.#changes.values()].sort(
      (one, other) => one.packageVersionChange.continuationToken - other.packageVersionChange.continuationToken,
    );
  }

  /** A version is pushed. @param more members of the version */
  push(name: string, version: string, more: Readonly<Record<string, unknown>> = {}): PackageChange {
    const published = { publishDate: new Date().toISOString(), isListed: true, ...more };
    return this.#change('addOrUpdate', name, { id: randomUUID(), version, normalizedVersion: version, ...published });
  }

  /** A version that was pushed is promoted, unlisted or the like. */
  update({ package: { name }, packageVersionChange: { packageVersion } }: PackageChange): PackageChange {
    return this.#change('addOrUpdate', name, { ...packageVersion, isListed: false });
  }

  delete({ package: { name }, packageVersionChange: { packageVersion } }: PackageChange): PackageChange {
    return this.#change('delete', name, { ...packageVersion, deletedDate: new Date().toISOString() });
  }

  #change(
    changeType: 'addOrUpdate' | 'delete',
    name: string,
    packageVersion: PackageChange['packageVersionChange']['packageVersion'],
  ): PackageChange {
    const id = this.#packages.get(name) ?? randomUUID();
    this.#packages.set(name, id);
    // Some numbers are missing, like those of changes that newer ones replaced.
    this.#token += this.#token % 3 === 2 ? 5 : 1;
    const change: PackageChange = {
      package: { id, name, normalizedName: name.toLowerCase(), protocolType: 'Npm' },
      packageVersionChange: { packageVersion, changeType, continuationToken: this.#token },
    };
    this.#changes.set(packageVersion.id, change);
    return change;
  }
}

/** The Azure Artifacts area for feeds and their changes. */
export class Feeds {
  readonly #feeds: Feed[] = [];

  /** @param project undefined: a feed of the organization */
  add(name: string, project?: Project): Feed {
    const feed = new Feed(name, project);
    this.#feeds.push(feed);
    return feed;
  }

  remove(feed: Feed): void {
    this.#feeds.splice(this.#feeds.indexOf(feed), 1);
  }

  routes(organization: () => Organization): ApiRoute[] {
    const inScopes = (path: string, answer: (feed: Feed, request: ApiRequest) => Answer): ApiRoute[] =>
      ['', '{project}/'].map((scope) => ({
        method: 'GET',
        path: `${scope}_apis/packaging/feeds/{feed}${path}`,
        answer: (request) => {
          const found = this.#find(request, organization());
          return found instanceof Feed ? answer(found, request) : found;
        },
      }));
    return [
      ...inScopes('', ({ id, name, project }) =>
        json(200, { id, name, ...(project === undefined ? {} : { project }), upstreamEnabled: true, _links: {} }),
      ),
      ...inScopes('/packagechanges', changesAfter),
    ];
  }

  #find(request: ApiRequest, organization: Organization): Feed | Answer {
    const project = request.parameters['project'] === undefined ? undefined : findProject(request, organization);
    if (project !== undefined && 'status' in project) return project;
    const asked = request.parameters['feed']!;
    const found = this.#feeds.find(
      ({ id, name, project: of }) => of?.id === project?.id && [id, name.toLowerCase()].includes(asked.toLowerCase()),
    );
    if (found === undefined) {
      const message = `The feed with ID '${asked}' doesn't exist.`;
      return apiError(404, 'FeedIdNotFoundException', message, { space: WEB_API });
    }
    if (found.closedTo.has(request.identity.name)) {
      const message = `User '${request.identity.id}' lacks permission to complete this action. You need to have 'ReadPackages'.`;
      return apiError(403, 'FeedNeedsPermissionsException', message, { space: WEB_API });
    }
    return found;
  }
}

function changesAfter(feed: Feed, { query }: ApiRequest): Answer {
  const [after, size] = [query.get('continuationToken') ?? '0', query.get('batchSize') ?? String(PAGE)];
  if (!/^\d+$/.test(after) || !/^[1-9]\d*$/.test(size)) {
    return apiError(400, 'InvalidUserInputException', 'The value of a parameter is not valid.', { space: WEB_API });
  }
  const packageChanges = feed.changes
    .filter(({ packageVersionChange: { continuationToken } }) => continuationToken > Number(after))
    .slice(0, Math.min(MOST_PAGE, Number(size)));
  const last = packageChanges.at(-1)?.packageVersionChange.continuationToken ?? Number(after);
  // The real one omits zeros.
  const next = last === 0 ? {} : { nextPackageContinuationToken: last };
  return json(200, { count: packageChanges.length, packageChanges, ...next, _links: {} });
}

/** Whether a request is for a feed's changes; for moods and for counting. */
export function readsChanges({ method, path }: RecordedRequest): boolean {
  return method === 'GET' && /\/_apis\/packaging\/feeds\/[^/]+\/packagechanges$/i.test(path);
}
