import { isoTime } from './isoTime.ts';
import type { Organization, Project } from './projects.ts';
import { Random } from './random.ts';

/** What Azure DevOps posts to a web hook. The sender adds `subscriptionId` and `notificationId`. */
export interface HookBody {
  readonly id: string;
  readonly eventType: string;
  readonly publisherId: string;
  readonly scope: 'all';
  readonly message: unknown;
  readonly detailedMessage: unknown;
  readonly resource: Readonly<Record<string, unknown>>;
  readonly resourceVersion: string;
  readonly resourceContainers: Readonly<Record<string, { readonly id: string; readonly baseUrl: string }>>;
  /** With seven decimals, as .NET writes it. */
  readonly createdDate: string;
}

export interface HookWorldOptions {
  /** Same seed, same ids. */
  readonly seed?: number;
  /** Where it happens; default `contoso` at dev.azure.com. A stand-in's `organization` fits. */
  readonly organization?: Organization;
  /** The project it happens in; default the organization's first. */
  readonly project?: Project;
  /** Default `web-ci`. A stand-in's fits. */
  readonly pipeline?: HookPipeline;
  /** What time it is. */
  readonly now?: () => Date;
}

export interface HookPipeline {
  readonly id: number;
  readonly name: string;
  readonly folder: string;
  readonly revision: number;
}

export interface Person {
  readonly id: string;
  readonly displayName: string;
  readonly uniqueName: string;
}

/** The parts of an event; the other hook files assemble them. */
export interface Happening {
  readonly publisher: 'tfs' | 'pipelines' | 'rm';
  readonly eventType: string;
  readonly resourceVersion: string;
  readonly text: string;
  readonly resource: Readonly<Record<string, unknown>>;
  /** Some events don't name their project in their containers. */
  readonly withoutProject?: boolean;
}

/** The organization, project, repository, pipeline and people for hook bodies, generated from a seed. */
export class HookWorld {
  readonly random: Random;
  readonly organization: Organization;
  readonly project: Project;
  readonly repository: { readonly id: string; readonly name: string };
  readonly pipeline: HookPipeline;
  readonly ada: Person;
  readonly bob: Person;
  readonly #now: () => Date;

  constructor({ seed = 1, organization, project, pipeline, now = () => new Date() }: HookWorldOptions) {
    this.random = new Random(seed);
    this.organization = organization ?? {
      ...{ name: 'contoso', url: 'https://dev.azure.com/contoso/' },
      ...{ accountId: this.random.guid(), collectionId: this.random.guid() },
      projects: [{ id: this.random.guid(), name: 'Shop' }],
    };
    this.project = project ?? this.organization.projects[0]!;
    this.repository = { id: this.random.guid(), name: 'web' };
    this.pipeline = pipeline ?? { id: 139, name: 'web-ci', folder: '\\', revision: 3 };
    this.ada = this.#person('Ada Example');
    this.bob = this.#person('Bob Example');
    this.#now = now;
  }

  /** A moment, some seconds before now. */
  ago(seconds = 0): string {
    return isoTime(this.#now().getTime() - seconds * 1_000);
  }

  /** The web address of a project's page. */
  page(path: string): string {
    return `${this.organization.url}${encodeURIComponent(this.project.name)}/${path}`;
  }

  /** The address of a REST resource of the project. */
  api(path: string): string {
    return `${this.organization.url}${this.project.id}/_apis/${path}`;
  }

  /** A person as most bodies spell one. */
  identity(person: Person): Record<string, unknown> {
    return {
      ...person,
      url: `${this.organization.url}_apis/Identities/${person.id}`,
      imageUrl: `${this.organization.url}_api/_common/identityImage?id=${person.id}`,
      descriptor: `aad.${Buffer.from(person.id).toString('base64url')}`,
    };
  }

  envelope({ publisher, eventType, resourceVersion, text, resource, withoutProject = false }: Happening): HookBody {
    const { accountId, collectionId, url: baseUrl } = this.organization;
    const texts = { text, html: text, markdown: text };
    return {
      ...{ id: this.random.guid(), eventType, publisherId: publisher, scope: 'all', message: texts },
      ...{ detailedMessage: texts, resource, resourceVersion },
      resourceContainers: {
        collection: { id: collectionId, baseUrl },
        account: { id: accountId, baseUrl },
        ...(!withoutProject && { project: { id: this.project.id, baseUrl } }),
      },
      createdDate: this.ago(),
    };
  }

  #person(displayName: string): Person {
    const uniqueName = `${displayName.toLowerCase().replace(' ', '.')}@contoso.example`;
    return { id: this.random.guid(), displayName, uniqueName };
  }
}
