import assert from 'node:assert/strict';
import { test } from 'node:test';
import vm from 'node:vm';
import { withUsedFunctions } from '../../../../scripts/build/usedFunctions.ts';

const MODULE = `"use strict";
exports.sum = exports.other = exports.Kind = exports.helped = void 0;
var lib = require("lib");
var Kind;
(function (Kind) { Kind[Kind["One"] = 1] = "One"; })(Kind = exports.Kind || (exports.Kind = {}));
function sum(a, b) { return helper(a) + b; }
exports.sum = sum;
function helper(a) { return new Counter().of(a); }
var Counter = /** @class */ (function () { function Counter() {} Counter.prototype.of = function (a) { return a; }; return Counter; }());
var unusedValue = function () { return other(); };
function other() { return unusedValue(); }
exports.other = other;
exports.helped = lib.helped;
exports.count = start();
function start() { return 7; }
`;

/** What the code exports when it runs. */
function exportsOf(code: string): Record<string, unknown> {
  const exported: Record<string, unknown> = {};
  const wrapper = vm.runInThisContext(`(function (exports, require) {${code}})`) as (...args: unknown[]) => void;
  wrapper(exported, () => ({ helped: 'by lib' }));
  return exported;
}

test('a module keeps what its used exports need, and its side effects', () => {
  const code = withUsedFunctions(MODULE, ['sum']);
  assert.doesNotMatch(code, /unusedValue|function other|lib\.helped/);
  const { sum, Kind, count, helped } = exportsOf(code);
  assert.equal((sum as (a: number, b: number) => number)(1, 2), 3);
  assert.deepEqual([Kind, count, helped], [{ 1: 'One', One: 1 }, 7, undefined]);
});

test('a module keeps everything if all its exports are used', () => {
  assert.equal(withUsedFunctions(MODULE, ['sum', 'other', 'helped']), MODULE.trimEnd());
});
