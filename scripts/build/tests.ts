import { build, type Plugin } from 'esbuild';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from './manifest.ts';

/** What a module may ask about its own place: it gets the place of its source, not of the bundle. */
const PLACE = {
  'import.meta.url': 'SOURCE_URL',
  'import.meta.dirname': 'SOURCE_FOLDER',
  'import.meta.filename': 'SOURCE_FILE',
};

const placeOfSource: Plugin = {
  name: 'place-of-source',
  setup(bundle) {
    bundle.onLoad({ filter: /\.m?ts$/ }, ({ path: file }) => {
      const places = { SOURCE_URL: pathToFileURL(file).href, SOURCE_FOLDER: path.dirname(file), SOURCE_FILE: file };
      const constants = Object.entries(places).map(([name, place]) => `const ${name} = ${JSON.stringify(place)};`);
      // On the first line, so that the source map counts lines as the source does.
      return { contents: `${constants.join(' ')} ${readFileSync(file, 'utf8')}`, loader: 'ts' };
    });
  },
};

/** JSON files of packages: Node imports them only with an attribute. */
const jsonOfPackages: Plugin = {
  name: 'json-of-packages',
  setup(bundle) {
    bundle.onResolve({ filter: /^[^./].*\.json$/ }, ({ path: name, importer }) => ({
      path: createRequire(importer).resolve(name),
    }));
  },
};

/**
 * Bundles test files into a folder below the root, with what they share in chunks: loaded so, a test file starts in half
 * the time that a loader of TypeScript takes. Packages stay outside.
 * @param processes the files that run in one process, for each process
 * @returns the bundles, one for each process
 */
export async function bundleTests(processes: readonly (readonly string[])[], folder: string): Promise<string[]> {
  const entries = processes.map((files, index) => {
    const [first, ...others] = files;
    if (first !== undefined && others.length === 0) return first;
    const all = path.join(folder, `together-${index}.ts`);
    writeFileSync(all, files.map((file) => `import ${JSON.stringify(file)};\n`).join(''));
    return all;
  });
  await build({
    absWorkingDir: ROOT,
    entryPoints: entries,
    outdir: folder,
    outbase: ROOT,
    bundle: true,
    splitting: true,
    format: 'esm',
    outExtension: { '.js': '.mjs' },
    platform: 'node',
    packages: 'external',
    target: 'node20',
    define: PLACE,
    plugins: [placeOfSource, jsonOfPackages],
    sourcemap: 'linked',
    sourcesContent: false,
    logLevel: 'warning',
  });
  return entries.map((file) => path.join(folder, path.relative(ROOT, file).replace(/\.ts$/, '.mjs')));
}
