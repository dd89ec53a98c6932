import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { readConfiguration, type Configuration } from '../../../bridge/config/configuration.ts';
import { ConfigurationError } from '../../../bridge/config/configurationError.ts';

/** The minimal configuration. */
export const LEAST = `nats:
  servers: [nats://127.0.0.1:4222]
azureDevOps:
  organization: https://dev.azure.com/contoso/
  identity: { kind: managedIdentity }
`;

export interface Given {
  /** Contents of files next to the configuration, by name. */
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly now?: () => number;
  readonly isOffline?: boolean;
  readonly onFileTrouble?: (label: string, problem: { problem: string } | undefined) => void;
}

/** Writes a configuration and the files it names; returns its path. */
export function configurationFile(yaml: string, files: Given['files'] = {}): string {
  const folder = temporaryFolder('bridge-');
  for (const [name, text] of Object.entries({ ...files, 'bridge.yml': yaml })) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), text);
  }
  return path.join(folder, 'bridge.yml');
}

/** Reads a file as the bridge does. */
export function readFile(
  file: string,
  { env = {}, now = Date.now, onFileTrouble = () => {}, isOffline = false }: Given = {},
): Configuration {
  return readConfiguration(file, { env, now, onFileTrouble, isOffline });
}

/** Reads a text as the bridge reads its configuration. */
export function read(yaml: string, given: Given = {}): Configuration {
  return readFile(configurationFile(yaml, given.files), given);
}

/** The problems of a configuration, each as `line:column: …`. */
export function problemsOf(yaml: string, given: Given = {}): string[] {
  const file = configurationFile(yaml, given.files);
  try {
    readFile(file, given);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return error.problems.map((problem) => problem.replace(`${file}:`, '').replaceAll(path.dirname(file), '<folder>'));
  }
}
