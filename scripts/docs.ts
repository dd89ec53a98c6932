/**
 * Writes the parts of the documents that repeat the code: the versions that are tested in README.md; each task's inputs and outputs,
 * from its task.json, in its page; the blocks of permissions, from the grants that the errors print, in docs/permissions.md;
 * and in docs/bridge the bridge's permissions, settings and events.
 * Usage: npm run docs [-- --check]    (--check: change nothing, fail when a document is stale)
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import {
  corePublishGrants,
  coreWaitGrants,
  permissionsBlock,
  requestGrants,
  streamPublishGrants,
  streamWaitGrants,
  type Grants,
} from '../shared/nats/permissions.ts';
import { KNOWN_EVENTS } from '../bridge/hooks/families.ts';
import { grantNeeds } from '../bridge/jetStream/needs.ts';
import type { BridgeSettings, HooksSettings, RouteSettings, WaitsSettings } from '../bridge/settings.ts';
import { TIMING } from '../bridge/timing.ts';
import type { ConnectionSettings } from '../shared/connection/settings.ts';
import {
  AGENTLESS_TASK,
  readJson,
  readTask,
  ROOT,
  TASK_NAMES,
  type PackageManifest,
  type TaskName,
} from './build/manifest.ts';
import { replaceSection } from './docs/section.ts';

const API = '$JS.API';
const INBOX = '_INBOX';
const SUBJECT = 'ci.shop.image-ready.v1';

/** What each kind of step needs, by the name of its section in docs/permissions.md. */
const GRANTS: Readonly<Record<string, Grants>> = {
  publishAndWait: both(streamPublishGrants(SUBJECT, API, INBOX), streamWaitGrants(API, 'CI', false, SUBJECT, INBOX)),
  publishToStream: streamPublishGrants(SUBJECT, API, INBOX),
  publishCore: corePublishGrants(SUBJECT),
  request: requestGrants(SUBJECT, INBOX),
  waitNamed: streamWaitGrants(API, 'CI', true, SUBJECT, INBOX),
  waitFound: streamWaitGrants(API, 'CI', false, SUBJECT, INBOX),
  waitSeveral: streamWaitGrants(API, 'CI', false, undefined, INBOX),
  waitCore: coreWaitGrants([SUBJECT]),
};

/** How Windows is tested, for the table of versions. */
const WINDOWS =
  'the long tests run the packed tasks with Node.js for Windows under Wine; not tested on a real Windows machine';

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });

update('README.md', withVersions);
update('docs/publish.md', (text) => withTables(text, 'PublishNatsEvent'));
update('docs/wait.md', (text) => withTables(text, 'WaitForNatsEvent'));
update('docs/permissions.md', (text) => Object.entries(GRANTS).reduce(withPermissions, text));
update('docs/bridge/README.md', (text) =>
  replaceSection(
    withPermissions(withPermissions(text, ['bridge', hooksGrants()]), ['runs', runsGrants()]),
    'families',
    'hooks',
    tableOf(hookEvents()),
  ),
);
update('docs/bridge/waits.md', (text) => withPermissions(withTables(text, AGENTLESS_TASK), ['waits', waitsGrants()]));
update('docs/bridge/configuration.md', (text) => replaceSection(text, 'settings', 'bridge', tableOf(bridgeSettings())));

function update(file: string, write: (text: string) => string): void {
  const current = readFileSync(path.join(ROOT, file), 'utf8');
  const fresh = write(current);
  if (!values.check) writeFileSync(path.join(ROOT, file), fresh);
  else if (fresh !== current) {
    console.error(`${file} is stale: it is not what the code says. Run: npm run docs`);
    process.exitCode = 1;
  }
}

function withTables(text: string, name: TaskName | typeof AGENTLESS_TASK): string {
  const task = readTask(name);
  const inputs = [['Input', 'Meaning'], ...task.inputs.map((input) => [`\`${input.name}\``, input.helpMarkDown])];
  const outputs = [
    ['Output', 'Value'],
    ...task.outputVariables.map((output) => [`\`${output.name}\``, output.description]),
    ...(task.inputs.some((input) => input.name === 'outputs')
      ? [['`event.<name>`', 'The values that the input `outputs` asks for.']]
      : []),
  ];
  return replaceSection(replaceSection(text, 'inputs', name, tableOf(inputs)), 'outputs', name, tableOf(outputs));
}

function withPermissions(text: string, [mode, grants]: [string, Grants]): string {
  return replaceSection(text, 'permissions', mode, ['```text', ...permissionsBlock(grants), '```'].join('\n'));
}

/** Of a bridge with hooks and default names. */
function hooksGrants(): Grants {
  return bridgeGrants({ hooks: { stream: 'AZDO', subjectPrefix: 'azdo' } as HooksSettings, runs: [] });
}

/** Of a bridge with the route of its page. */
function runsGrants(): Grants {
  const route = { name: 'deploy-web', mode: 'on', stream: 'CI', subjects: ['ci.shop.image-ready.v1'] };
  return bridgeGrants({ hooks: undefined, runs: [{ ...route, startFrom: 'new' } as unknown as RouteSettings] });
}

/** Of a bridge that only waits. */
function waitsGrants(): Grants {
  return bridgeGrants({ hooks: undefined, runs: [], waits: {} as WaitsSettings });
}

function bridgeGrants(functions: Partial<Pick<BridgeSettings, 'hooks' | 'runs' | 'waits'>>): Grants {
  const streams = { replicas: 1, maxAgeMs: { AZDO: 0, BRIDGE_AUDIT: 0, BRIDGE_DEAD: 0 } };
  const nats = () => ({ inboxPrefix: INBOX }) as ConnectionSettings;
  return grantNeeds({ instance: '', streams, nats, timing: TIMING, ...functions } as BridgeSettings);
}

/** A row per event of Azure DevOps that the bridge knows. */
function hookEvents(): string[][] {
  const rows = [...KNOWN_EVENTS].map(([type, { name }]) => {
    const names = typeof name === 'string' ? [name] : Object.values(name.names);
    return [`\`${type}\``, names.map((one) => `\`${one}\``).join(', ')];
  });
  return [['Event of Azure DevOps', 'Family and event in the subject'], ...rows];
}

interface SettingSchema {
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, SettingSchema>>;
  readonly items?: SettingSchema;
  readonly $ref?: string;
}

/** A row per setting of the bridge's configuration. */
function bridgeSettings(): string[][] {
  const schema = readJson('bridge/config/config.schema.json') as SettingSchema & {
    readonly $defs: Readonly<Record<string, SettingSchema>>;
  };
  const described = new Set<string>();
  const rows = (of: SettingSchema, prefix: string): string[][] => {
    if (described.has(of.$ref ?? '')) return [[`\`${prefix}\``, textOf(of)]];
    const named = of.$ref === undefined ? undefined : schema.$defs[of.$ref.replace('#/$defs/', '')];
    const { properties, items } = { ...named, ...of };
    if (of.$ref === '#/$defs/identity') described.add(of.$ref);
    const children = items?.properties ?? properties;
    const path = items?.properties === undefined ? prefix : `${prefix}[]`;
    const own = prefix === '' ? [] : [[`\`${prefix}\``, textOf(of)]];
    const nested = Object.entries(children ?? {}).flatMap(([name, child]) => {
      // Only tests of the bridge itself set it.
      if (name === 'timing') return [];
      return rows(child, path === '' ? name : `${path}.${name}`);
    });
    return [...own, ...nested];
  };
  const textOf = ({ description = '', default: value, enum: options }: SettingSchema): string =>
    [
      description,
      options && `One of ${options.map((option) => `\`${String(option)}\``).join(', ')}.`,
      isWorthSaying(value) && `Default: \`${typeof value === 'string' ? value : JSON.stringify(value)}\`.`,
    ]
      .filter(Boolean)
      .join(' ');
  return [['Setting', 'Meaning'], ...rows(schema, '')];
}

function isWorthSaying(value: unknown): boolean {
  return value !== undefined && !['""', '[]', '{}'].includes(JSON.stringify(value));
}

function both(one: Grants, other: Grants): Grants {
  const publish = [...new Set([...one.publish, ...other.publish])];
  return {
    publish,
    subscribe: [...new Set([...one.subscribe, ...other.subscribe])],
    optional: [one, other].flatMap(({ optional = [] }) => optional).filter(({ subject }) => !publish.includes(subject)),
  };
}

function withVersions(text: string): string {
  const project = readJson('package.json') as PackageManifest & { optionalDependencies: Record<string, string> };
  const node = (major: string): string =>
    /@([\d.]+)$/.exec(project.optionalDependencies[`node-${major}-linux-x64`] ?? '')?.[1] ?? notFound(`Node ${major}`);
  return replaceSection(
    text,
    'versions',
    'tested',
    tableOf([
      ['Part', 'Version'],
      ['Extension, tasks and bridge', project.version],
      ['Node.js', `${node('20')} and ${node('24')}`],
      ['nats-server', natsServerLines().join(', ')],
      ['Agents on Linux x64', 'all tests'],
      ['Agents on Windows', WINDOWS],
      ['Agents on macOS', 'not tested'],
      ['Agent', `${minimumAgentVersion()} or newer, with its own Node.js 20 or 24; tested with a stand-in`],
      ['Azure DevOps Services', 'tested with a stand-in'],
      ['Azure DevOps Server', 'not tested; no OIDC there'],
    ]),
  );
}

/** The lines of nats-server that scripts/nats-servers.sh fetches for the tests. */
function natsServerLines(): string[] {
  const wanted = /^WANTED=\((.*)\)$/m.exec(readFileSync(path.join(ROOT, 'scripts/nats-servers.sh'), 'utf8'))?.[1] ?? '';
  const lines = [...wanted.matchAll(/'(\S+) \S+'/g)].map(([, line = '']) => line);
  return lines.length > 0 ? lines : notFound('line of nats-server');
}

function minimumAgentVersion(): string {
  const versions = new Set(TASK_NAMES.map((task) => readTask(task).minimumAgentVersion));
  if (versions.size > 1) throw new Error('The tasks ask for different agents.');
  return [...versions].join();
}

function notFound(what: string): never {
  throw new Error(`No ${what} is found among what the tests run on.`);
}

/** A table, whose first row is the heading. Prettier would pad every row to the longest one. */
function tableOf(rows: string[][]): string {
  const lines = rows.map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`);
  lines.splice(1, 0, `|${' --- |'.repeat(rows[0]?.length ?? 0)}`);
  return ['<!-- prettier-ignore-start -->', ...lines, '<!-- prettier-ignore-end -->'].join('\n');
}
