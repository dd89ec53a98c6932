import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import ts from 'typescript';
import vm from 'node:vm';
import { ROOT } from '../../../../scripts/build/manifest.ts';
import { bundleWithTexts } from '../../../../scripts/build/textModules.ts';
import { temporaryFolder } from '../../../../localAgent/index.ts';

const MODULES = {
  'main.ts': `import { seen } from './common.ts';
    seen.push('main');
    export const run = async () => { await (await import('./rare.ts')).act(); (await import('./other.ts')).act(); return seen; };`,
  'common.ts': `export const seen: string[] = [];`,
  'rare.ts': `import { seen } from './common.ts'; import { name } from './beside.ts'; import { count } from './both.ts';
    export const act = async () => { count(); seen.push(name); (await import('./rarer.ts')).act(); };`,
  'other.ts': `import { count } from './both.ts'; import { seen } from './common.ts';
    export const act = () => seen.push(String(count()));`,
  'both.ts': `let counted = 0; export const count = () => ++counted;`,
  'beside.ts': `export const name = 'rare "1"';`,
  'rarer.ts': `import { seen } from './common.ts'; import { name } from './beside.ts';
    export const act = () => seen.push(\`rarer, beside \${name}\`);`,
};

test("a bundle holds dynamically imported modules as text, and they share the bundle's other modules", async () => {
  const folder = temporaryFolder('modules-');
  for (const [name, code] of Object.entries(MODULES)) writeFileSync(path.join(folder, name), code);
  const options = { absWorkingDir: ROOT, bundle: true, platform: 'node', format: 'cjs', minify: true } as const;
  const { code, metafile } = await bundleWithTexts(options, path.join(folder, 'main.ts'));
  const module = { exports: {} as { run: () => Promise<string[]> } };
  const wrapper = vm.runInThisContext(`(function (module, exports, require) {${code}})`) as (
    ...args: unknown[]
  ) => void;
  wrapper(module, module.exports, (name: string) => assert.fail(name));
  assert.deepEqual(await module.exports.run(), ['main', 'rare "1"', 'rarer, beside rare "1"', '2']);

  const statements = ts.createSourceFile('main.js', code, ts.ScriptTarget.Latest, true).statements;
  const texts: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteralLike(node)) texts.push(node.text);
    else ts.forEachChild(node, visit);
  };
  statements.forEach(visit);
  assert.equal(texts.filter((text) => text.includes('rarer')).length, 1, 'the rarer text is not in exactly one module');
  const holders = Object.values(metafile.outputs).flatMap(({ inputs }) => Object.keys(inputs));
  const names = holders.map((holder) => path.basename(holder)).sort();
  assert.deepEqual(
    names,
    ['beside.ts', 'both.ts', 'common.ts', 'main.ts', 'other.ts', 'rare.ts', 'rarer.ts'],
    'a module is missing from the report, or is there twice',
  );
});
