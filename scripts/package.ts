/**
 * Writes the extension as the only dist/*.vsix.
 * Usage: npm run package [-- --dev]    (--dev: the private channel that can be installed beside the public one)
 */
import { unzipSync } from 'fflate';
import { spawnSync } from 'node:child_process';
import {
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
import { BUILD_FOLDER, bundleTasks } from './build.ts';
import { stampExtension, stampTask, type Channel } from './channels.ts';
import { readExtension, readJson, readTask, ROOT, TASK_NAMES, type PackageManifest } from './manifest.ts';

const DIST = path.join(ROOT, 'dist');
const STAGE = path.join(DIST, 'stage');
const SIZE_LIMIT = 400 * 1024;
const CODE_LIMIT = 600 * 1024;
const IMAGES = [
  ...['images/connection-icon.png', 'images/extension-icon.png'],
  ...readExtension().screenshots.map((screenshot) => screenshot.path),
];
/** Everything a .vsix holds; the first three are the format's own. */
const PACKAGED_FILES = [
  ...['[Content_Types].xml', 'extension.vsixmanifest', 'extension.vsomanifest'],
  ...['LICENSE.txt', 'overview.md', ...IMAGES],
  ...TASK_NAMES.flatMap((task) => ['icon.png', 'index.js', 'task.json'].map((file) => `${task}/${file}`)),
];

const { values } = parseArgs({ options: { dev: { type: 'boolean', default: false } } });
const channel: Channel = values.dev ? 'dev' : 'prod';

const vsix = createVsix(stage(await bundleTasks()));
checkVsix(vsix);

/** Fills dist/stage with what the extension is made of; returns the .vsix file's name. */
function stage(bundledPackages: string[]): string {
  rmSync(STAGE, { recursive: true, force: true });
  const project = readJson('package.json') as PackageManifest;
  for (const task of TASK_NAMES) {
    writeJson(`${task}/task.json`, stampTask(readTask(task), project, channel));
    copy(`tasks/${task}/icon.png`, `${task}/icon.png`);
    copy(codeOf(task), `${task}/index.js`);
  }
  for (const image of IMAGES) copy(image, image);
  copy('README.md', 'overview.md');
  writeFileSync(path.join(STAGE, 'LICENSE.txt'), licences(bundledPackages));
  const extension = stampExtension(readExtension(), project, channel);
  writeJson('vss-extension.json', extension);
  return `${project.publisher}.${extension.id}-${extension.version}.vsix`;
}

/** The bundle of a task, relative to the root. Throws when it is too large. */
function codeOf(task: string): string {
  const file = path.relative(ROOT, path.join(BUILD_FOLDER, task, 'index.js'));
  const { size } = statSync(path.join(ROOT, file));
  if (size > CODE_LIMIT) throw new Error(`The code of ${task} has ${size} bytes, over ${CODE_LIMIT}.`);
  return file;
}

/** Our licence, then those of the packages whose code is in the bundles. */
function licences(bundledPackages: string[]): string {
  const theirs = bundledPackages.map((folder) => {
    const { name, version, license } = readJson(`${folder}/package.json`) as Record<string, string>;
    const files = readdirSync(path.join(ROOT, folder)).filter((file) => /^(licen[cs]e|notice)/i.test(file));
    const texts = files.map((file) => readFileSync(path.join(ROOT, folder, file), 'utf8').trim());
    return `${name} ${version} (${license})\n\n${texts.join('\n\n')}`.trim();
  });
  const ours = readFileSync(path.join(ROOT, 'LICENSE'), 'utf8').trim();
  const heading =
    'The tasks contain code of the following packages.\nThe source code of each is published on npm under its name and version.';
  return [ours, heading, ...theirs].join(`\n\n${'-'.repeat(80)}\n\n`) + '\n';
}

/** Has tfx pack dist/stage. It reports a faulty task.json as a mere warning, so a warning is a failure here. */
function createVsix(name: string): string {
  for (const file of readdirSync(DIST)) if (file.endsWith('.vsix')) rmSync(path.join(DIST, file));
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
    throw new Error(`tfx could not pack the extension:\n${output}`);
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
  const target = path.join(STAGE, to);
  mkdirSync(path.dirname(target), { recursive: true });
  writeFileSync(target, JSON.stringify(content, null, 2) + '\n');
}
