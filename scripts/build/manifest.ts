import { readFileSync } from 'node:fs';
import path from 'node:path';

/** The repository's root folder. */
export const ROOT = path.resolve(import.meta.dirname, '../..');

/** The bridge's folder, written by `npm run package`, ready for `npm pack`. */
export const BRIDGE_FOLDER = path.join(ROOT, 'dist', 'bridge');

/** The file of it that runs; it loads the parts of the code that a command needs. */
export const BRIDGE_FILE = 'nats-event-bridge.mjs';

/** Where those parts are. */
export const BRIDGE_PARTS = 'code';

/** The tasks that agents run; each name is also the task's folder under tasks/ and in the .vsix. */
export const TASK_NAMES = ['PublishNatsEvent', 'WaitForNatsEvent'] as const;
/** The task that Azure DevOps runs itself. It has no code of its own: the bridge does its work. */
export const AGENTLESS_TASK = 'WaitForNatsEventAgentless';

export type TaskName = (typeof TASK_NAMES)[number];

/** An input of a task, as far as the repository's own scripts and tests read it. */
export interface TaskInput {
  name: string;
  type: string;
  label: string;
  required?: boolean;
  defaultValue?: string;
  options?: Record<string, string>;
  groupName?: string;
  visibleRule?: string;
  properties?: { rows?: string };
  helpMarkDown: string;
}

/** A task.json. */
export interface TaskManifest {
  id: string;
  name: string;
  friendlyName: string;
  description: string;
  /** Both are stamped in when it is packed. */
  helpUrl?: string;
  helpMarkDown?: string;
  category: string;
  /** Of the tasks that agents run only. */
  minimumAgentVersion?: string;
  instanceNameFormat: string;
  version: { Major: number; Minor: number; Patch: number };
  groups: { name: string; displayName: string; isExpanded?: boolean }[];
  inputs: TaskInput[];
  outputVariables: { name: string; description: string }[];
  /** Of the tasks that agents run only. */
  restrictions?: { commands: { mode: string }; settableVariables: { allowed: string[] } };
  execution: Record<string, unknown>;
}

/** A field of the form on which a service connection is made. */
export interface InputDescriptor {
  id: string;
  name: string;
  description: string;
  inputMode: string;
  isConfidential: boolean;
  validation: { isRequired: boolean; dataType: string; maxLength?: number };
}

/** The properties of the contribution that declares the service connection's type. */
export interface ConnectionType {
  name: string;
  displayName: string;
  isVerifiable?: boolean;
  icon: string;
  helpMarkDown: string;
  url: { displayName: string; helpText: string };
  inputDescriptors: InputDescriptor[];
  dataSources?: { name: string; endpointUrl: string }[];
  authenticationSchemes: {
    type: string;
    displayName: string;
    headers?: { name: string; value: string }[];
    inputDescriptors: InputDescriptor[];
  }[];
}

/** vss-extension.json. */
export interface ExtensionManifest {
  id: string;
  publisher?: string;
  version: string;
  name: string;
  description: string;
  public: boolean;
  categories: string[];
  screenshots: { path: string }[];
  scopes?: string[];
  icons: { default: string };
  content: Record<string, { path: string }>;
  links?: Record<string, { uri: string }>;
  repository?: { type: string; uri: string };
  files: { path: string; addressable?: boolean }[];
  contributions: { id: string; type: string; targets: string[]; properties: { name: string } }[];
}

/** What the scripts read of package.json. An address that does not exist yet is absent, and nothing refers to it. */
export interface PackageManifest {
  version: string;
  license: string;
  publisher: string;
  /** The documentation. */
  homepage?: string;
  /** The public repository, as npm writes it: `git+https://github.com/owner/name.git`. */
  repository?: { type: string; url: string };
  /** Where problems are reported; security problems too, see SECURITY.md. */
  bugs?: { url?: string; email?: string };
  /** A page on what is done with personal data. */
  privacyPolicy?: string;
}

/** Reads a JSON file of the repository; `file` is relative to the root. */
export function readJson(file: string): unknown {
  return JSON.parse(readFileSync(path.join(ROOT, file), 'utf8'));
}

/** Reads a task's task.json as it is in the source: version 0.0.0, not stamped. */
export function readTask(name: TaskName | typeof AGENTLESS_TASK): TaskManifest {
  return readJson(`tasks/${name}/task.json`) as TaskManifest;
}

/** Reads vss-extension.json as it is in the source: the prod channel, version 0.0.0. */
export function readExtension(): ExtensionManifest {
  return readJson('vss-extension.json') as ExtensionManifest;
}

/** The types of service connections that the extension contributes: to a NATS server, and to a bridge. */
export function connectionTypesOf(
  extension: ExtensionManifest,
): readonly [nats: ConnectionType, bridge: ConnectionType] {
  const types = extension.contributions.filter(({ type }) => type === 'ms.vss-endpoint.service-endpoint-type');
  const [nats, bridge, ...others] = types.map(({ properties }) => properties as ConnectionType);
  if (nats === undefined || bridge === undefined || others.length > 0)
    throw new Error('vss-extension.json does not contribute two types of service connections.');
  return [nats, bridge];
}
