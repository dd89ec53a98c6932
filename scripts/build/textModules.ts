import { build, type BuildOptions, type Metafile, type OnResolveArgs, type Plugin } from 'esbuild';
import path from 'node:path';
import { withEagerModules } from './eagerModules.ts';
import { ROOT } from './manifest.ts';

/** A bundle as one CommonJS file, and esbuild's report on all that is in it. */
export interface Bundle {
  readonly code: string;
  readonly metafile: Metafile;
}

/** Of what `import()` leads to. */
const AS_TEXT = 'text';

/**
 * Bundles a module with all it imports. What it imports by `import()`, with what nothing else needs, is in the bundle as
 * text: V8 reads it in those steps only that use it, and doesn't even look for the ends of its functions in the others.
 *
 * @param around modules that the code around this bundle has, which takes its `require` for them
 */
export async function bundleWithTexts(
  options: BuildOptions,
  entry: string,
  around: ReadonlySet<string> = new Set(),
): Promise<Bundle> {
  const plugins = [...(options.plugins ?? []), takenFrom(around)];
  const common = { ...options, entryPoints: [entry], write: false as const, metafile: true as const };
  const later = new Set<string>();
  const atOnce = await build({ ...common, plugins: [leftOut(later), ...plugins] });
  const known = new Set([...around, ...Object.keys(atOnce.metafile.inputs)]);
  // What two of the texts need would be twice in the process, with two states.
  const needed = new Set<string>();
  for (const module of later) {
    const { metafile } = await build({ ...common, entryPoints: [module], plugins });
    for (const input of Object.keys(metafile.inputs)) (needed.has(input) ? known : needed).add(input);
  }
  const texts = new Map<string, Metafile>();
  const asText: Plugin = {
    name: 'as-text',
    setup(bundle) {
      bundle.onResolve({ filter: /^\./ }, (wanted) =>
        wanted.kind === 'dynamic-import' ? { path: nameOf(wanted), namespace: AS_TEXT } : undefined,
      );
      bundle.onLoad({ filter: /./, namespace: AS_TEXT }, async ({ path: module }) => {
        const { code, metafile } = await bundleWithTexts({ ...options, define: {}, inject: [] }, module, known);
        texts.set(module, metafile);
        return { contents: codeOfText(code, metafile, known), resolveDir: ROOT };
      });
    },
  };
  const { outputFiles, metafile, warnings } = await build({ ...common, plugins: [asText, ...plugins] });
  if (warnings.length > 0) throw new Error(`esbuild warned ${warnings.length} time(s) about ${entry}.`);
  return { code: withEagerModules(outputFiles[0]?.text ?? ''), metafile: withOutputsOf(metafile, texts) };
}

/** Leaves out what is imported by `import()`, and notes it. */
function leftOut(noted: Set<string>): Plugin {
  return {
    name: 'left-out',
    setup(bundle) {
      bundle.onResolve({ filter: /^\./ }, (wanted) => {
        if (wanted.kind !== 'dynamic-import') return undefined;
        noted.add(nameOf(wanted));
        return { external: true };
      });
    },
  };
}

/** Takes modules from the code around a bundle, by their paths. */
function takenFrom(around: ReadonlySet<string>): Plugin {
  return {
    name: 'taken-from-around',
    setup(bundle) {
      bundle.onResolve({ filter: /^[^\0]/ }, async ({ path: name, pluginData, ...wanted }) => {
        if (pluginData === takenFrom || wanted.kind === 'entry-point') return undefined;
        const resolved = await bundle.resolve(name, { ...wanted, pluginData: takenFrom });
        const module = path.relative(ROOT, resolved.path);
        return around.has(module) ? { path: module, external: true } : undefined;
      });
    },
  };
}

function nameOf({ resolveDir, path: name }: OnResolveArgs): string {
  return path.relative(ROOT, path.join(resolveDir, name)).split(path.sep).join('/');
}

/** The code of a CommonJS module that runs a text when it is loaded. */
function codeOfText(text: string, { inputs }: Metafile, known: ReadonlySet<string>): string {
  const imported = Object.values(inputs).flatMap(({ imports }) => imports.map((it) => it.path));
  const taken = new Set(imported.filter((module) => known.has(module)));
  const members = [...taken].sort().map((module) => `'${module}': () => require('./${module}')`);
  return `const around = { ${members.join(', ')} };
    new Function('module', 'exports', 'require', ${JSON.stringify(text)})(
      module, exports, (name) => Object.hasOwn(around, name) ? around[name]() : require(name));`;
}

/** A report that has what the texts in a bundle are made of in place of the texts. */
function withOutputsOf({ inputs, outputs }: Metafile, texts: ReadonlyMap<string, Metafile>): Metafile {
  const merged: Metafile = { inputs: { ...inputs }, outputs: { ...outputs } };
  for (const [module, metafile] of texts) {
    for (const output of Object.values(outputs)) Reflect.deleteProperty(output.inputs, `${AS_TEXT}:${module}`);
    Object.assign(merged.inputs, metafile.inputs);
    for (const [file, output] of Object.entries(metafile.outputs)) {
      const imports = output.imports.filter((it) => !Object.hasOwn(inputs, it.path));
      merged.outputs[`${module}: ${file}`] = { ...output, imports };
    }
  }
  return merged;
}
