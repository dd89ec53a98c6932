import { utf8Text } from '../../shared/event/cloudEvent.ts';
import { isObject, parseJson } from '../../shared/text/json.ts';
import { textAt, valuesAt, type BodyPath } from './bodyPath.ts';
import { KNOWN_EVENTS, OTHER, type Family } from './families.ts';

/** The body of a service hook, as far as the bridge looks into it. All of it is foreign text. */
export interface Hook {
  readonly kind: 'hook';
  /** 1 to 256 printable ASCII characters; the same for each delivery of one event. */
  readonly id: string;
  /** Azure DevOps' name of the event. */
  readonly eventType: string;
  /** The bridge's name of the event, `build.completed`; undefined where it doesn't know it. */
  readonly name: string | undefined;
  readonly family: Family;
  readonly resource: unknown;
  readonly createdDate: string | undefined;
  /** The project that `resourceContainers` names; undefined where there is none, as with approvals. */
  readonly projectId: string | undefined;
  /** A project that `resource` names, which counts only if nothing else names one. */
  readonly resourceProjectId: string | undefined;
  /** The name of a project in the body; its caller knows the project's id. */
  projectName(id: string): string | undefined;
  /** URLs of the organization; anything but a text is listed, too, and can't be right. */
  readonly organizationUrls: readonly unknown[];
}

/** A post that isn't a hook, and why: a clause about it. */
export interface Unusable {
  readonly kind: 'unusable';
  readonly problem: string;
}

/** What an id of a project may be: it becomes a part of keys and paths. Azure DevOps has GUIDs. */
export const PROJECT_ID = /^[A-Za-z0-9-]{1,64}$/;
const EVENT_ID = /^[\x20-\x7e]{1,256}$/;

/** Reads the body of a post. Never throws, whatever it holds, and takes time linear in its length. */
export function readHook(bytes: Uint8Array): Hook | Unusable {
  if (bytes.length === 0) return unusable('the body is empty');
  const text = utf8Text(bytes);
  if (text === undefined) return unusable("the body isn't UTF-8");
  const parsed = parseJson(text);
  if (parsed === undefined) return unusable("the body isn't JSON");
  const body = parsed.value;
  if (!isObject(body)) return unusable("the body isn't a JSON object");
  const { id, eventType, resource, createdDate } = body;
  if (typeof id !== 'string' || !EVENT_ID.test(id))
    return unusable("its id isn't a string of 1 to 256 printable ASCII characters");
  if (typeof eventType !== 'string' || eventType === '') return unusable('it has no eventType');
  const projectIds = given(body, ['resourceContainers', 'project', 'id']);
  const [projectId] = projectIds;
  if (projectId !== undefined && !(typeof projectId === 'string' && PROJECT_ID.test(projectId)))
    return unusable("its project id isn't a valid id");
  const { name, family } = nameOf(eventType, resource);
  const resourceProjectId = textAt(resource, PROJECT_IDS_OF_RESOURCE);
  return {
    kind: 'hook',
    id,
    eventType,
    name,
    family,
    resource,
    createdDate: typeof createdDate === 'string' ? createdDate : undefined,
    projectId,
    resourceProjectId:
      resourceProjectId !== undefined && PROJECT_ID.test(resourceProjectId) ? resourceProjectId : undefined,
    projectName: (idOfProject) => projectNameIn(resource, idOfProject),
    organizationUrls: ['account', 'collection'].flatMap((container) =>
      given(body, ['resourceContainers', container, 'baseUrl']),
    ),
  };
}

const PROJECTS_OF_RESOURCE: readonly BodyPath[] = [['project'], ['repository', 'project']];
const PROJECT_IDS_OF_RESOURCE: readonly BodyPath[] = [
  ['projectId'],
  ...PROJECTS_OF_RESOURCE.map((path) => [...path, 'id']),
];

function projectNameIn(resource: unknown, id: string): string | undefined {
  for (const path of PROJECTS_OF_RESOURCE) {
    const [project] = valuesAt(resource, path);
    const projectId = textAt(project, [['id']]);
    // A resource may name another project than the one that the event belongs to.
    if (projectId !== undefined && projectId.toLowerCase() !== id.toLowerCase()) continue;
    const name = textAt(project, [['name']]);
    if (name !== undefined) return name;
  }
  return undefined;
}

function nameOf(eventType: string, resource: unknown): Pick<Hook, 'name' | 'family'> {
  const known = KNOWN_EVENTS.get(eventType);
  if (known === undefined) return { name: undefined, family: OTHER };
  if (typeof known.name === 'string') return { name: known.name, family: known.family };
  const state = textAt(resource, [known.name.path]);
  const isKnownState = state !== undefined && Object.hasOwn(known.name.names, state);
  return { name: isKnownState ? known.name.names[state] : undefined, family: known.family };
}

/** What stands at a path; nothing where that is null. */
function given(body: unknown, path: BodyPath): readonly unknown[] {
  return valuesAt(body, path).filter((value) => value !== null);
}

function unusable(problem: string): Unusable {
  return { kind: 'unusable', problem };
}
