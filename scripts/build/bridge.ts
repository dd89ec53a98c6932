import { build, type Plugin } from 'esbuild';
import path from 'node:path';
import { packageFolders } from './build.ts';
import { ROOT } from './manifest.ts';

/** The bridge's folder, written by `npm run package`, ready for `npm pack`. */
export const BRIDGE_FOLDER = path.join(ROOT, 'dist', 'bridge');

/** The bridge's one bundle. */
export const BRIDGE_FILE = 'nats-event-bridge.mjs';

/** Libraries in CommonJS ask for Node's modules, which an ES module has to provide. */
const BANNER = [
  '#!/usr/bin/env node',
  "import { createRequire as bridgeRequire } from 'node:module';",
  'const require = bridgeRequire(import.meta.url);',
].join('\n');

/**
 * Modules that the libraries load but the bridge never calls: a logger for a server that doesn't log, a second way to
 * sign nonces (shared/nats/link/signIn.ts signs them), and code that opens a browser for people to sign in.
 */
const UNUSED: readonly (readonly [file: RegExp, code: string])[] = [
  [
    /abstract-logging\/index\.js$/,
    'const no = () => {}; module.exports = { fatal: no, error: no, warn: no, info: no, debug: no, trace: no };',
  ],
  [/nats\/lib\/nats-base-client\/nkeys\.js$/, ''],
  [/node_modules\/open\/index\.js$/, 'export default undefined;'],
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
 * Bundles the bridge with all it imports into one ES module for Node 20 and later.
 *
 * @returns the folders (relative to the root, sorted) of the npm packages whose code is in it
 * @throws when esbuild warns
 */
export async function bundleBridge(version: string): Promise<string[]> {
  const { metafile, warnings } = await build({
    absWorkingDir: ROOT,
    entryPoints: ['bridge/main.ts'],
    outfile: path.join(BRIDGE_FOLDER, BRIDGE_FILE),
    bundle: true,
    packages: 'bundle',
    platform: 'node',
    target: 'node20',
    format: 'esm',
    minify: true,
    legalComments: 'none',
    banner: { js: BANNER },
    plugins: [withoutUnused],
    define: { BRIDGE_VERSION: JSON.stringify(version) },
    metafile: true,
    logLevel: 'warning',
  });
  if (warnings.length > 0) throw new Error(`esbuild warned ${warnings.length} time(s) about the bridge.`);
  return packageFolders(metafile, (file) => codeFor(file) === undefined);
}
