/**
 * Writes the extension as the only dist/*.vsix and its bill of materials as the only dist/*.cdx.json, and beside them the
 * Event Bridge as dist/bridge, which `npm pack` takes as it is.
 * Usage: npm run package [-- --dev] [--release v1.2.3] [--no-audit]
 *   (--dev: the private channel that can be installed beside the public one; --release: for publishing under this tag,
 *   which is refused while anything is missing that users need: docs/maintaining.md has the list;
 *   --no-audit: for trying and testing, which publish nothing)
 */
import { unzipSync } from 'fflate';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { audited, auditShipped, type Audit } from './release/audit.ts';
import { bundleBridge } from './build/bridge.ts';
import { BUILD_FOLDER, bundleTasks, type BundledFolders } from './build/build.ts';
import { repositoryPage, stampExtension, stampTask, type Channel } from './build/channels.ts';
import { listingOf } from './release/listing.ts';
import {
  BRIDGE_FILE,
  BRIDGE_FOLDER,
  AGENTLESS_TASK,
  readExtension,
  readJson,
  readTask,
  ROOT,
  TASK_NAMES,
  type ExtensionManifest,
  type PackageManifest,
} from './build/manifest.ts';
import { releaseProblems } from './release/release.ts';
import { sbomOf, type BundleContents } from './release/sbom.ts';
import { readThirdParty, thirdPartyNotices } from './release/thirdParty.ts';

const DIST = path.join(ROOT, 'dist');
const STAGE = path.join(DIST, 'stage');
const SIZE_LIMIT = 450_000;
const CODE_LIMIT = 600 * 1024;
const BRIDGE_LIMIT = 3 * 1024 * 1024;
const IMAGES = [
  ...['images/bridge-icon.png', 'images/connection-icon.png', 'images/extension-icon.png', 'images/overview.png'],
  ...readExtension().screenshots.map((screenshot) => screenshot.path),
];
/** Everything in a .vsix; the first three belong to the format. */
const PACKAGED_FILES = [
  ...['[Content_Types].xml', 'extension.vsixmanifest', 'extension.vsomanifest'],
  ...['LICENSE.txt', 'ThirdPartyNotices.txt', 'overview.md', ...IMAGES],
  ...TASK_NAMES.flatMap((task) =>
    ['icon.png', 'index.js', 'package.json', 'task.json'].map((file) => `${task}/${file}`),
  ),
  ...['icon.png', 'task.json'].map((file) => `${AGENTLESS_TASK}/${file}`),
];

const { values } = parseArgs({
  options: {
    dev: { type: 'boolean', default: false },
    release: { type: 'string' },
    'no-audit': { type: 'boolean', default: false },
  },
});
const channel: Channel = values.dev ? 'dev' : 'prod';
const project = readJson('package.json') as PackageManifest & { readonly engines: { readonly node: string } };

removePackages();
const auditing = values['no-audit'] ? undefined : auditShipped();
const bundledFolders = await bundleTasks();
await writeBridge();
const { id, publisher } = stage([...new Set([...bundledFolders.values()].flat())].sort());
const audit: Audit = (await auditing) ?? { result: 'unknown', reason: 'it was left out' };
if (values.release !== undefined) refuseUnfinished(values.release);
const vsix = createVsix(`${publisher}.${id}-${project.version}.vsix`);
checkVsix(vsix);
writeFileSync(vsix.replace(/vsix$/, 'cdx.json'), sbomOf({ ...project, id }, contentsOf(bundledFolders)));
const auditLine = audited(audit);
if (auditLine !== undefined) console.log(auditLine);

/** Fills dist/stage with what the extension is made of; returns its manifest. */
function stage(bundledPackages: string[]): ExtensionManifest {
  rmSync(STAGE, { recursive: true, force: true });
  for (const task of [...TASK_NAMES, AGENTLESS_TASK] as const) {
    writeJson(`${task}/task.json`, stampTask(readTask(task), project, channel));
    copy(`tasks/${task}/icon.png`, `${task}/icon.png`);
  }
  for (const task of TASK_NAMES) {
    copy(codeOf(task), `${task}/index.js`);
    // An agent's folder may lie below one whose package.json says "module", under which Node wouldn't run index.js.
    write(`${task}/package.json`, '{"type":"commonjs"}\n');
  }
  for (const image of IMAGES) copy(image, image);
  const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  write('overview.md', listingOf(readme, repositoryPage(project), PACKAGED_FILES));
  copy('LICENSE', 'LICENSE.txt');
  write('ThirdPartyNotices.txt', thirdPartyNotices(readThirdParty(bundledPackages), 'The tasks contain'));
  const extension = stampExtension(readExtension(), project, channel);
  writeJson('vss-extension.json', extension);
  return extension;
}

/** Fills dist/bridge. */
async function writeBridge(): Promise<void> {
  rmSync(BRIDGE_FOLDER, { recursive: true, force: true });
  const files = await bundleBridge(project.version);
  const packages = readThirdParty([...new Set([...files.values()].flat())].sort());
  const { version, license, engines, homepage, repository, bugs } = project;
  const put = (name: string, text: string) => writeFileSync(path.join(BRIDGE_FOLDER, name), text);
  const copyTo = (name: string, from: string) => copyFileSync(path.join(ROOT, from), path.join(BRIDGE_FOLDER, name));
  const id = 'nats-event-bridge';
  const description =
    'Event Bridge for NATS: turns service hooks into events, and starts pipelines and ends waits on events.';
  put(
    'package.json',
    JSON.stringify(
      { name: id, version, description, license, homepage, repository, bugs, bin: { [id]: BRIDGE_FILE }, engines },
      null,
      2,
    ) + '\n',
  );
  copyTo('README.md', 'bridge/README.md');
  copyTo('config.schema.json', 'bridge/config/config.schema.json');
  copyTo('callout-policy.schema.json', 'bridge/callout/policy.schema.json');
  copyTo('LICENSE', 'LICENSE');
  put('ThirdPartyNotices.txt', thirdPartyNotices(packages, 'The bridge contains'));
  chmodSync(path.join(BRIDGE_FOLDER, BRIDGE_FILE), 0o755);
  const contents = new Map(
    [...files].map(([file, folders]) => [
      file,
      { code: readFileSync(path.join(BRIDGE_FOLDER, file)), packages: readThirdParty(folders) },
    ]),
  );
  const size = [...contents.values()].reduce((sum, { code }) => sum + code.length, 0);
  if (size > BRIDGE_LIMIT) throw new Error(`The code of the bridge has ${size} bytes, over ${BRIDGE_LIMIT}.`);
  put('sbom.cdx.json', sbomOf({ id, version, license }, contents));
  console.log(`${path.relative(ROOT, BRIDGE_FOLDER)}  ${(size / 1024).toFixed(0)} KB`);
}

function refuseUnfinished(tag: string): void {
  const changelog = readFileSync(path.join(ROOT, 'CHANGELOG.md'), 'utf8');
  const listing = readFileSync(path.join(STAGE, 'overview.md'), 'utf8');
  const problems = releaseProblems({ project, tag, changelog, listing, audit });
  if (problems.length > 0) throw new Error(`This can't be released yet:\n- ${problems.join('\n- ')}`);
}

function contentsOf(folders: BundledFolders): Map<string, BundleContents> {
  return new Map(
    [...folders].map(([task, packages]) => [
      `${task}/index.js`,
      { code: readFileSync(path.join(STAGE, task, 'index.js')), packages: readThirdParty(packages) },
    ]),
  );
}

/** Even when packing fails: an older package must not pass for a newer one. */
function removePackages(): void {
  mkdirSync(DIST, { recursive: true });
  for (const file of readdirSync(DIST)) if (/\.(vsix|cdx\.json)$/.test(file)) rmSync(path.join(DIST, file));
}

/** The bundle of a task, relative to the root. Throws when it is too large. */
function codeOf(task: string): string {
  const file = path.relative(ROOT, path.join(BUILD_FOLDER, task, 'index.js'));
  const { size } = statSync(path.join(ROOT, file));
  if (size > CODE_LIMIT) throw new Error(`The code of ${task} has ${size} bytes, over ${CODE_LIMIT}.`);
  return file;
}

/** Runs tfx to pack dist/stage. It reports a faulty task.json as a mere warning, so a warning is a failure here. */
function createVsix(name: string): string {
  const vsix = path.join(DIST, name);
  const tfx = spawnSync(
    process.execPath,
    [
      path.join(ROOT, 'node_modules', 'tfx-cli', '_build', 'tfx-cli.js'),
      ...['extension', 'create', '--no-prompt', '--root', STAGE],
      ...['--manifest-globs', 'vss-extension.json', '--output-path', vsix],
    ],
    { cwd: STAGE, encoding: 'utf8', env: { ...process.env, FORCE_COLOR: '0' } },
  );
  const output = tfx.stdout + tfx.stderr;
  if (tfx.status !== 0 || /^(warning|error): /m.test(output) || !existsSync(vsix)) {
    rmSync(vsix, { force: true });
    const remedy = /\bfile: (command )?not found/.test(output)
      ? 'Install it (apt-get install file), then run this again. '
      : '';
    throw new Error(`tfx could not pack the extension. ${remedy}It said:\n${output}`);
  }
  return vsix;
}

/** Fails when the .vsix holds another file than the listed ones or is too large, else prints its name and size. */
function checkVsix(vsix: string): void {
  const bytes = readFileSync(vsix);
  const found = Object.keys(unzipSync(bytes)).filter((entry) => !entry.endsWith('/'));
  const wrong = [
    ...found.filter((file) => !PACKAGED_FILES.includes(file)).map((file) => `unlisted ${file}`),
    ...PACKAGED_FILES.filter((file) => !found.includes(file)).map((file) => `missing ${file}`),
    ...(bytes.length > SIZE_LIMIT ? [`${bytes.length} bytes, over ${SIZE_LIMIT}`] : []),
  ];
  if (wrong.length > 0) {
    rmSync(vsix);
    throw new Error(`${path.basename(vsix)}: ${wrong.join('; ')}.`);
  }
  console.log(`${path.relative(ROOT, vsix)}  ${(bytes.length / 1024).toFixed(0)} KB`);
}

function copy(from: string, to: string): void {
  const target = path.join(STAGE, to);
  mkdirSync(path.dirname(target), { recursive: true });
  copyFileSync(path.join(ROOT, from), target);
}

function writeJson(to: string, content: unknown): void {
  write(to, JSON.stringify(content, null, 2) + '\n');
}

function write(to: string, text: string): void {
  const target = path.join(STAGE, to);
  mkdirSync(path.dirname(target), { recursive: true });
  writeFileSync(target, text);
}
