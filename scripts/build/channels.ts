import {
  connectionTypesOf,
  readExtension,
  type ExtensionManifest,
  type PackageManifest,
  type TaskManifest,
} from './manifest.ts';

/** `prod` is what the source says; `dev` is private and can be installed beside it. */
export type Channel = 'prod' | 'dev';

/** Everything specific to the dev channel. The prod channel's ids are in task.json and vss-extension.json. */
const DEV = {
  /** A separate publisher, since anyone who may publish for it may publish all of its extensions. */
  publisherSuffix: '-dev',
  extensionSuffix: '-dev',
  nameSuffix: ' (Dev)',
  connectionSuffix: 'Dev',
  taskIds: {
    PublishNatsEvent: '25605479-5adb-49e5-8fdd-fc67afdea7f0',
    WaitForNatsEvent: '82f840c4-4a91-4865-821d-aaa59f04da5e',
    WaitForNatsEventAgentless: '1802cba7-f9b9-4a50-840c-78accf435a56',
  } as Readonly<Record<string, string>>,
};

/** A publisher of this name is nobody: package.json has it until there is one. */
export const NO_PUBLISHER = 'your-publisher-id';

/** Whether a file is a package of the dev channel, by its name. */
export function isDevPackage(vsix: string): boolean {
  return vsix.includes(`${DEV.extensionSuffix}-`);
}
/** What users write after the task's name: `PublishNatsEvent@1`. */
const TASK_MAJOR = 1;

/**
 * The tasks' version, which is the package's own: there is one number for the extension, its tasks and the bridge.
 * @throws when it isn't three numbers, or when its major isn't the one that users write
 */
export function taskVersion(packageVersion: string): TaskManifest['version'] {
  const numbers = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$/.exec(packageVersion)?.slice(1).map(Number);
  const [Major, Minor, Patch] = numbers ?? [];
  if (Major !== TASK_MAJOR || Minor === undefined || Patch === undefined)
    throw new Error(
      `package.json: the version "${packageVersion}" isn't ${TASK_MAJOR}.y.z, as the tasks are @${TASK_MAJOR}.`,
    );
  return { Major, Minor, Patch };
}

/**
 * A task.json as it is shipped: version, the channel's ids, and the link that the task's form and the head of each log
 * show as help.
 */
export function stampTask(source: TaskManifest, project: PackageManifest, channel: Channel): TaskManifest {
  const task = structuredClone(source);
  task.version = taskVersion(project.version);
  const help = helpPage(project, channel);
  if (help !== undefined) {
    task.helpUrl = help;
    task.helpMarkDown = `[Learn more about this task](${help})`;
  }
  if (channel === 'prod') return task;
  const id = DEV.taskIds[task.name];
  if (id === undefined) throw new Error(`The task ${task.name} has no id in the dev channel.`);
  task.id = id;
  task.friendlyName += DEV.nameSuffix;
  for (const input of task.inputs) {
    if (input.type.startsWith('connectedService:')) input.type += DEV.connectionSuffix;
  }
  return task;
}

/**
 * Where a task is explained: the documentation, or the extension's page in the Marketplace, whose address follows from the
 * ids, so that there is a page as soon as there is a publisher; undefined until then.
 */
function helpPage({ homepage, publisher }: PackageManifest, channel: Channel): string | undefined {
  if (homepage) return homepage;
  if (publisher === NO_PUBLISHER) return undefined;
  const { id } = readExtension();
  const item =
    channel === 'prod' ? `${publisher}.${id}` : `${publisher}${DEV.publisherSuffix}.${id}${DEV.extensionSuffix}`;
  return `https://marketplace.visualstudio.com/items?itemName=${item}`;
}

/** The public repository as a web page, without a slash at the end; undefined while there is none. */
export function repositoryPage({ repository }: PackageManifest): string | undefined {
  return repository?.url.replace(/^git\+/, '').replace(/(\.git)?\/*$/, '');
}

/** vss-extension.json as it is shipped: version, publisher, the channel's ids, and the links that package.json has. */
export function stampExtension(
  source: ExtensionManifest,
  project: PackageManifest,
  channel: Channel,
): ExtensionManifest {
  const extension = structuredClone(source);
  extension.version = project.version;
  extension.publisher = project.publisher;
  const links = linksOf(project);
  if (Object.keys(links).length > 0) extension.links = links;
  const repository = repositoryPage(project);
  if (repository !== undefined) extension.repository = { type: 'git', uri: repository };
  if (channel === 'prod') return extension;
  extension.publisher += DEV.publisherSuffix;
  extension.id += DEV.extensionSuffix;
  extension.name += DEV.nameSuffix;
  extension.public = false;
  for (const connection of connectionTypesOf(extension)) {
    connection.name += DEV.connectionSuffix;
    connection.displayName += DEV.nameSuffix;
  }
  return extension;
}

function linksOf({ homepage, bugs, privacyPolicy }: PackageManifest): Record<string, { uri: string }> {
  const addresses = { learn: homepage, support: bugs?.url, issues: bugs?.url, privacypolicy: privacyPolicy };
  return Object.fromEntries(
    Object.entries(addresses).flatMap(([link, uri]) => (uri === undefined ? [] : [[link, { uri }]])),
  );
}
