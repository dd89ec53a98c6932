import { build, type BuildOptions, type Metafile, type Plugin } from 'esbuild';
import { readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT, TASK_NAMES, type TaskName } from './manifest.ts';
import { bundleWithTexts } from './textModules.ts';
import { namesIn, withUsedFunctions } from './usedFunctions.ts';

/** Where the bundles (`<task>/index.js`) and esbuild's reports on them (`<task>/meta.json`) are written. */
export const BUILD_FOLDER = path.join(ROOT, 'dist', 'build');

/** The same for debuggers and profilers (`<task>/index.js`): not minified, with source maps. */
export const READABLE_FOLDER = path.join(ROOT, 'dist', 'readable');

/**
 * The task library's messages in English only, as the tasks' own are: its nine translations are a tenth of a bundle. Without
 * those of modules that no task uses.
 */
const englishMessages: Plugin = {
  name: 'english-messages',
  setup(bundle) {
    bundle.onLoad({ filter: /azure-pipelines-task-lib[\\/]lib-resource\.js$/ }, ({ path: file }) => {
      const { messages } = createRequire(import.meta.url)(file) as { messages: Record<string, string> };
      const users = ['task', 'internal', 'vault', 'taskcommand'].map((name) =>
        path.join(path.dirname(file), `${name}.js`),
      );
      const code = users.map((user) => readFileSync(user, 'utf8')).join('\n');
      const used = Object.fromEntries(Object.entries(messages).filter(([key]) => code.includes(key)));
      return { contents: JSON.stringify({ messages: used, localizedMessages: {} }), loader: 'json' };
    });
  },
};

/**
 * Modules that the libraries load when they are loaded, and that no task ever calls: half of what they weigh. JetStream is
 * spoken in its JSON (shared/nats/jetStreamApi.ts), nonces are signed by node:crypto (shared/nkey.ts), and the URIs of
 * linked schemas need no library (shared/contract/drafts.ts).
 */
const UNUSED = [
  /nats\/lib\/jetstream\/\w+\.js$/,
  /nats\/lib\/nats-base-client\/(bench|nkeys|service|serviceclient|typedsub)\.js$/,
  /azure-pipelines-task-lib\/(externaloutput|toolrunner)\.js$/,
  /node_modules\/minimatch\/\w+\.js$/,
  /ajv\/dist\/refs\/data\.json$/,
  /ajv\/dist\/vocabularies\/discriminator\/\w+\.js$/,
  /ajv-formats\/dist\/limit\.js$/,
  /fast-uri\/.*\.js$/,
];

/** The task library's functions that a task calls, and those that they need in turn. */
const usedOfTaskLibrary: Plugin = {
  name: 'used-of-task-library',
  setup(bundle) {
    const agent = readFileSync(path.join(ROOT, 'tasks/agent/azureAgent.ts'), 'utf8');
    const called = [...agent.matchAll(/\btl\.(\w+)/g)].map(([, name = '']) => name);
    bundle.onLoad({ filter: /azure-pipelines-task-lib[\\/](task|internal)\.js$/ }, ({ path: file }) => {
      const task = withUsedFunctions(readFileSync(path.join(path.dirname(file), 'task.js'), 'utf8'), called);
      if (file.endsWith('task.js')) return { contents: task };
      return { contents: withUsedFunctions(readFileSync(file, 'utf8'), namesIn(task)) };
    });
  },
};

/** The task library uses it only to check whether Node is older than 4.2. */
const SEMVER = /[\\/]semver[\\/]semver\.js$/;

const withoutUnused: Plugin = {
  name: 'without-unused',
  setup(bundle) {
    // Node's own module for child processes takes 9 ms to load; only toolrunner.js would use it.
    bundle.onResolve({ filter: /^child_process$/ }, ({ importer }) =>
      importer.includes('azure-pipelines-task-lib') ? { path: 'child_process', namespace: 'unused' } : undefined,
    );
    bundle.onLoad({ filter: /./, namespace: 'unused' }, () => ({ contents: '' }));
    bundle.onLoad({ filter: SEMVER }, () => ({ contents: 'exports.lt = () => false;' }));
    bundle.onLoad({ filter: /node_modules.*\.js(on)?$/ }, ({ path: file }) =>
      isUnused(file) ? { contents: '', loader: 'js' } : undefined,
    );
  },
};

function isUnused(file: string): boolean {
  return UNUSED.some((pattern) => pattern.test(file.split(path.sep).join('/')));
}

/** Modules of Node that the NATS library loads at its start, and uses for encrypted links and host names only: 3 ms. */
const LOADED_WHEN_USED = /^(?:node:)?(tls|dns)$/;

const loadedWhenUsed: Plugin = {
  name: 'loaded-when-used',
  setup(bundle) {
    bundle.onResolve({ filter: LOADED_WHEN_USED }, ({ path: name, namespace }) =>
      namespace === 'when-used' ? { path: name, external: true } : { path: name, namespace: 'when-used' },
    );
    bundle.onLoad({ filter: /./, namespace: 'when-used' }, ({ path: name }) => ({
      contents: `module.exports = new Proxy({}, { get: (_, member) => require('${name}')[member] });`,
    }));
  },
};

/** The meta-schemas of JSON Schema as text, which takes V8 less time to read than code. */
const metaSchemasAsText: Plugin = {
  name: 'meta-schemas-as-text',
  setup(bundle) {
    bundle.onLoad({ filter: /ajv[\\/]dist[\\/]refs[\\/].*\.json$/ }, ({ path: file }) => ({
      contents: `module.exports = JSON.parse(${JSON.stringify(JSON.stringify(JSON.parse(readFileSync(file, 'utf8'))))});`,
    }));
  },
};

const BUNDLE: BuildOptions = {
  absWorkingDir: ROOT,
  bundle: true,
  packages: 'bundle',
  platform: 'node',
  target: 'node20',
  // One file; what is imported by import() is in it, and runs only in the steps that need it.
  format: 'cjs',
  minify: true,
  legalComments: 'none', // the licences are in ThirdPartyNotices.txt, see scripts/release/thirdParty.ts
  // The NATS library asks at its start whether Node has these, which makes Node load them: 2 ms each.
  define: { 'globalThis.ReadableStream': 'true', 'globalThis.crypto': 'randomness' },
  inject: ['scripts/build/randomness.ts'],
  plugins: [englishMessages, usedOfTaskLibrary, withoutUnused, loadedWhenUsed, metaSchemasAsText],
  logLevel: 'warning',
};

/**
 * Bundles a module with all it imports into one CommonJS file for Node 20 and later that has its name. The same source
 * gives the same bytes.
 * @throws when esbuild warns
 */
export async function bundleModule(module: string, folder: string): Promise<Metafile> {
  const { code, metafile } = await bundleWithTexts(BUNDLE, module);
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, `${path.basename(module, '.ts')}.js`), code);
  await markAsCommonJs(folder);
  return metafile;
}

/** The repository's own package.json says "module"; without this, a bundle could not be run in place. */
async function markAsCommonJs(folder: string): Promise<void> {
  await writeFile(path.join(folder, 'package.json'), '{ "type": "commonjs" }\n');
}

/** The folders (relative to the root, sorted) of the npm packages whose code is in each task's bundle. */
export type BundledFolders = ReadonlyMap<TaskName, readonly string[]>;

/**
 * Bundles the tasks.
 * @throws when a bundle holds two copies of one package
 */
export async function bundleTasks(): Promise<BundledFolders> {
  for (const folder of [BUILD_FOLDER, READABLE_FOLDER]) await rm(folder, { recursive: true, force: true });
  const folders = new Map<TaskName, readonly string[]>();
  for (const task of TASK_NAMES) {
    const folder = path.join(BUILD_FOLDER, task);
    const metafile = await bundleModule(`tasks/${task}/index.ts`, folder);
    const bundled = taskPackageFolders(metafile);
    refuseSecondCopies(task, bundled);
    folders.set(task, bundled);
    await writeFile(path.join(folder, 'meta.json'), JSON.stringify(metafile));
    const readable = path.join(READABLE_FOLDER, task);
    // Sources are found from wherever the bundle is copied to.
    const sourceRoot = pathToFileURL(readable + path.sep).href;
    await build({
      ...{ ...BUNDLE, minify: false, sourcemap: 'linked', sourceRoot },
      ...{ entryPoints: [`tasks/${task}/index.ts`], outdir: readable },
    });
    await markAsCommonJs(readable);
  }
  return folders;
}

/** The packages that have code in a task's bundle: neither what was read but shaken out nor what the plugins empty or replace. */
function taskPackageFolders(metafile: Metafile): string[] {
  return packageFolders(metafile, (file) => !isUnused(file) && !SEMVER.test(file));
}

/**
 * The folders (relative to the root, sorted) of the packages that have code in a bundle.
 * @param isTheirs whether the code of a file is the package's own
 */
export function packageFolders(metafile: Metafile, isTheirs: (file: string) => boolean = () => true): string[] {
  const inputs = Object.values(metafile.outputs).flatMap((output) =>
    Object.entries(output.inputs).flatMap(([file, { bytesInOutput }]) => (bytesInOutput > 0 ? [file] : [])),
  );
  const folders = inputs
    .filter(isTheirs)
    .map((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0])
    .filter((folder) => folder !== undefined);
  return [...new Set(folders)].sort();
}

/** Two copies of a package are two sets of its state: two copies of task-lib would split its secret vault. */
function refuseSecondCopies(task: string, folders: string[]): void {
  const names = folders.map((folder) => folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length));
  const twice = names.filter((name, index) => names.indexOf(name) !== index);
  if (twice.length > 0) throw new Error(`The bundle of ${task} holds two copies of ${twice.join(', ')}.`);
}
