import type { KeyValue } from '../../shared/bus.ts';
import { reasonOf } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { parseObject } from '../../shared/text/json.ts';
import { quoted, safeText } from '../../shared/text/safeText.ts';
import { subjectToken, type EventProject } from './hookEvent.ts';

export interface ProjectsOptions {
  /** The bucket `BRIDGE_PROJECTS`. */
  readonly bucket: KeyValue;
  /**
   * Asks Azure DevOps for a project's name (`GET _apis/projects/<id>`). Undefined where it knows none; rejects where it can't
   * be asked.
   */
  readonly askName: (projectId: string, signal: AbortSignal) => Promise<string | undefined>;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** A project whose subject token belongs to another project. */
export interface Clash {
  readonly kind: 'clash';
  readonly name: string;
  readonly token: string;
  /** The id of the project that had it first. */
  readonly owner: string;
}

/** The result of looking up a project. */
interface Found {
  readonly project: EventProject | Clash;
  /** When to look it up again, in milliseconds since the epoch. */
  readonly until: number;
}

/** How long Azure DevOps may take to return a name while a hook waits for it. */
const ASK_MS = 1_000;
/** Projects are renamed. */
const FOUND_MS = 600_000;
/** Without a name, or with one that clashes: someone may fix that. */
const DOUBTFUL_MS = 30_000;
const MOST_FOUND = 10_000;
/** Azure DevOps allows 64 characters. */
const MAX_NAME = 256;

/**
 * Gives each project its part of the subjects. That is the project's name when it is first seen, and stays with the
 * project's id for good: a consumer that reads `azdo.contoso.Shop.>` must not read a project that is later called the same.
 */
export class Projects {
  readonly #found = new Map<string, Found>();
  readonly #looking = new Map<string, Promise<EventProject | Clash>>();

  constructor(private readonly options: ProjectsOptions) {}

  /** The cached result for a project; see {@link resolve}. */
  known(id: string, name: string | undefined): EventProject | Clash | undefined {
    const found = this.#found.get(id.toLowerCase());
    if (found === undefined || this.options.now() >= found.until) return undefined;
    return name === undefined || name === found.project.name ? found.project : undefined;
  }

  /**
   * @param name the project's name in the body of a hook, if it has one
   * @throws TaskError where the bucket can't be read
   */
  async resolve(id: string, name: string | undefined): Promise<EventProject | Clash> {
    const known = this.known(id, name);
    if (known !== undefined) return known;
    const key = id.toLowerCase();
    const question = `${key} ${name ?? ''}`;
    const looking = this.#looking.get(question) ?? this.#look(id, key, name);
    this.#looking.set(question, looking);
    try {
      return await looking;
    } finally {
      this.#looking.delete(question);
    }
  }

  async #look(id: string, key: string, name: string | undefined): Promise<EventProject | Clash> {
    const pin = await this.#pin(key);
    const told = name ?? (await this.#askName(id));
    if (pin !== undefined) return this.#remember(key, { id, name: told ?? pin.name, token: pin.token }, FOUND_MS);
    // A project pinned to its id for lack of a name would keep that for good.
    if (told === undefined) return this.#remember(key, { id, name: id, token: subjectToken(id) }, DOUBTFUL_MS);
    const claimed = await this.#claim(key, told);
    return 'owner' in claimed
      ? this.#remember(key, claimed, DOUBTFUL_MS)
      : this.#remember(key, { id, name: told, token: claimed.token }, FOUND_MS);
  }

  #remember(key: string, project: EventProject | Clash, forMs: number): EventProject | Clash {
    const [oldest] = this.#found.keys();
    if (this.#found.size >= MOST_FOUND && oldest !== undefined) this.#found.delete(oldest);
    this.#found.set(key, { project, until: this.options.now() + forMs });
    return project;
  }

  async #askName(id: string): Promise<string | undefined> {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), ASK_MS);
    const late = new Promise<never>((_, reject) => {
      limit.signal.addEventListener('abort', () => reject(new Error(`no answer within ${ASK_MS} ms`)));
    });
    try {
      const name = await Promise.race([this.options.askName(id, limit.signal), late]);
      return name?.slice(0, MAX_NAME) || undefined;
    } catch (error) {
      this.options.log.warning(
        `Azure DevOps did not return the name of the project ${id}: ${safeText(reasonOf(error))}`,
      );
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  async #pin(key: string): Promise<Pin | undefined> {
    const entry = await this.options.bucket.get(`project.${key}`);
    return entry === undefined ? undefined : pinIn(entry.value);
  }

  /** Claims the part and then pins it, so that a crash in between is made good next time. */
  async #claim(key: string, name: string): Promise<Clash | Pin> {
    const { bucket, log } = this.options;
    const token = subjectToken(name);
    const claim = `token.${token}`;
    if ((await bucket.create(claim, Buffer.from(key))) === undefined) {
      const owner = Buffer.from((await bucket.get(claim))?.value ?? []).toString();
      if (owner !== key) {
        log.warning(
          `The project ${quoted(name)} (${key}) would have the same subject part "${token}" as the project ${quoted(owner)}, which was there first, so its hooks become dead letters. Rename the project ${quoted(name)} in Azure DevOps, and replay them.`,
        );
        return { kind: 'clash', name, token, owner };
      }
    }
    const pin = { token, name };
    if ((await bucket.create(`project.${key}`, Buffer.from(JSON.stringify(pin)))) !== undefined) return pin;
    // Another replica was faster, and may have seen another name.
    return (await this.#pin(key)) ?? pin;
  }
}

/** How a project is pinned, as the bucket keeps it. */
interface Pin {
  readonly token: string;
  readonly name: string;
}

function pinIn(value: Uint8Array): Pin | undefined {
  const { token, name } = parseObject(Buffer.from(value).toString()) ?? {};
  return typeof token === 'string' && subjectToken(token) === token
    ? { token, name: typeof name === 'string' ? name : token }
    : undefined;
}
