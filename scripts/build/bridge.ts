import { build, type Plugin } from 'esbuild';
import type { AnySchemaObject } from 'ajv';
import standaloneCode from 'ajv/dist/standalone/index.js';
import path from 'node:path';
import { newAjv } from '../../shared/contract/drafts.ts';
import { packageFolders } from './build.ts';
import { BRIDGE_FILE, BRIDGE_FOLDER, BRIDGE_PARTS, readJson, ROOT } from './manifest.ts';

/** Libraries in CommonJS ask for Node's modules, which an ES module has to provide. */
const BANNER = [
  "import { createRequire as bridgeRequire } from 'node:module';",
  'const require = bridgeRequire(import.meta.url);',
].join('\n');

/**
 * Modules that the libraries load but the bridge never calls: a logger for a server that doesn't log, a second way to
 * sign nonces (shared/nats/link/signIn.ts signs them), code that opens a browser for people to sign in, and what HTTP
 * has for browsers and for tests.
 */
const UNUSED: readonly (readonly [file: RegExp, code: string])[] = [
  [
    /abstract-logging\/index\.js$/,
    'const no = () => {}; module.exports = { fatal: no, error: no, warn: no, info: no, debug: no, trace: no };',
  ],
  [/nats\/lib\/nats-base-client\/nkeys\.js$/, ''],
  [/node_modules\/open\/index\.js$/, 'export default undefined;'],
  [/undici\/lib\/web\/cache\/cachestorage\.js$/, 'exports.CacheStorage = class {};'],
  [/undici\/lib\/(web|mock)\/.*\.js$/, ''],
  // What pushes metrics loads Node's HTTP.
  [/prom-client\/lib\/pushgateway\.js$/, ''],
];

const withoutUnused: Plugin = {
  name: 'without-unused',
  setup(bundle) {
    bundle.onLoad({ filter: /node_modules.*\.js$/ }, ({ path: file }) => {
      const code = codeFor(file);
      return code === undefined ? undefined : { contents: code, loader: 'js' };
    });
  },
};

function codeFor(file: string): string | undefined {
  return UNUSED.find(([pattern]) => pattern.test(file.split(path.sep).join('/')))?.[1];
}

/**
 * Node's HTTP by `require`: an import of a module of Node evaluates all that it exports, and in Node 24, HTTP exports web
 * sockets, which nothing here needs.
 */
const requiredHttp: Plugin = {
  name: 'required-http',
  setup(bundle) {
    bundle.onResolve({ filter: /^node:https?$/ }, ({ kind, path: name }) =>
      kind === 'import-statement' ? { path: name, namespace: 'required' } : undefined,
    );
    bundle.onLoad({ filter: /./, namespace: 'required' }, ({ path: name }) => ({
      contents: `module.exports = require('${name}');`,
    }));
  },
};

/** The npm packages (folders relative to the root, sorted) whose code is in each file of the bridge. */
export type BridgeFiles = ReadonlyMap<string, readonly string[]>;

/** The bridge's own schemas, by the modules that compile them, which takes longer than most commands. */
const SCHEMAS: Readonly<Record<string, string>> = {
  'bridge/config/validate.ts': 'bridge/config/config.schema.json',
  'bridge/callout/validate.ts': 'bridge/callout/policy.schema.json',
};

const compiledSchemas: Plugin = {
  name: 'compiled-schemas',
  setup(bundle) {
    bundle.onLoad({ filter: /[\\/]validate\.ts$/ }, ({ path: file }) => {
      const schema = SCHEMAS[path.relative(ROOT, file).split(path.sep).join('/')];
      if (schema === undefined) return undefined;
      const ajv = newAjv('2020-12');
      return { contents: standaloneCode.default(ajv, ajv.compile(readJson(schema) as AnySchemaObject)), loader: 'js' };
    });
  },
};

/**
 * Bundles the bridge with all it imports into ES modules for Node 20 and later. What is imported by `import()` is in files
 * of its own, as is what several of those need.
 *
 * @returns the files, relative to its folder
 * @throws when esbuild warns
 */
export async function bundleBridge(version: string): Promise<BridgeFiles> {
  const { metafile, warnings } = await build({
    absWorkingDir: ROOT,
    entryPoints: { [path.basename(BRIDGE_FILE, '.mjs')]: 'bridge/main.ts' },
    outdir: BRIDGE_FOLDER,
    outExtension: { '.js': '.mjs' },
    chunkNames: `${BRIDGE_PARTS}/[name]-[hash]`,
    splitting: true,
    bundle: true,
    packages: 'bundle',
    platform: 'node',
    target: 'node20',
    format: 'esm',
    minify: true,
    legalComments: 'none',
    banner: { js: BANNER },
    plugins: [withoutUnused, compiledSchemas, requiredHttp],
    define: { BRIDGE_VERSION: JSON.stringify(version) },
    metafile: true,
    logLevel: 'warning',
  });
  if (warnings.length > 0) throw new Error(`esbuild warned ${warnings.length} time(s) about the bridge.`);
  const folder = path.relative(ROOT, BRIDGE_FOLDER);
  return new Map(
    Object.entries(metafile.outputs).map(([file, output]) => [
      path.relative(folder, file).split(path.sep).join('/'),
      packageFolders({ inputs: {}, outputs: { [file]: output } }, (module) => codeFor(module) === undefined),
    ]),
  );
}
