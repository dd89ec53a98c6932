import assert from 'node:assert/strict';
import { test } from 'node:test';
import vm from 'node:vm';
import { transformSync } from 'esbuild';
import { withEagerModules } from '../../../../scripts/build/eagerModules.ts';

/** As esbuild writes a bundle, with modules that are called when others ask for them. */
const BUNDLE = `
  var wrap = (cb, mod) => () => (mod || cb((mod = { exports: {} }).exports, mod), mod.exports);
  var one = wrap((exports, module) => { module.exports = { sum: (a, b) => a + b, nested: wrap((exports) => { exports.x = 1; }) }; });
  var two = wrap((exports) => { exports.three = one().sum(1, 2); }), none = wrap(() => {});
  var later = wrap(async () => { await 0; }), other = [1, 2].map((item) => item * 2), text = 'wrap((a) => { b; })';
  result = { ...two(), none: none(), other, text, later: later.length };
`;

test('every module of a bundle is a function in parentheses, and still works', () => {
  const { code } = transformSync(BUNDLE, { minify: true });
  const eager = withEagerModules(code);
  assert.equal(eager.match(/\(\(function\((\w+(,\w+)?)?\)\{/g)?.length, 3, eager);
  const resultOf = (script: string): unknown => {
    const context = vm.createContext({ result: undefined as unknown });
    vm.runInContext(script, context);
    return JSON.parse(JSON.stringify(context['result']));
  };
  assert.deepEqual(resultOf(eager), { three: 3, none: {}, other: [2, 4], text: 'wrap((a) => { b; })', later: 0 });
  assert.deepEqual(resultOf(eager), resultOf(code));
});
