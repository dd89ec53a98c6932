import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsProjectName, ruleOver, rulesFor } from '../../../../bridge/waits/rules.ts';
import { PROJECT, RULE } from '../../../support/bridge/waitsReceiver.ts';

const CALLER = { project: { id: PROJECT, name: 'Shop' }, pipeline: { id: 42, name: 'web' }, token: 'waits-token' };

function allows(
  rule: Partial<typeof RULE>,
  caller: Partial<typeof CALLER> | { project: { id: string; name: undefined } } = {},
): boolean {
  return rulesFor([{ ...RULE, ...rule }], { ...CALLER, ...caller }).length === 1;
}

test('a rule knows projects by name and ID, in any case', () => {
  assert.ok(
    allows({ projects: ['shop'] }) && allows({ projects: ['x', PROJECT.toUpperCase()] }) && allows({ projects: ['*'] }),
  );
  assert.ok(!allows({ projects: ['Shops'] }) && !allows({ projects: ['Sho*'] }));
  assert.ok(!allows({ projects: ['Shop'] }, { project: { id: PROJECT, name: undefined } }));
  assert.ok(!allows({ projects: ['undefined'] }, { project: { id: PROJECT, name: undefined } }));
});

test('a rule knows pipelines by name and ID, and anything that looks like an ID is only an ID', () => {
  assert.ok(allows({ pipelines: ['Web'] }) && allows({ pipelines: ['42'] }) && allows({ pipelines: ['*'] }));
  assert.ok(!allows({ pipelines: ['api', '43'] }));
  assert.ok(!allows({ pipelines: ['7'] }, { pipeline: { id: 42, name: '7' } }));
});

test('a rule wants one of its tokens', () => {
  assert.ok(allows({ tokens: ['waits-token'] }) && !allows({ tokens: ['token-2'] }));
});

test('the first rule over all subjects counts, with its place among all rules', () => {
  const rules = rulesFor(
    [
      { ...RULE, projects: ['Other'] },
      { ...RULE, subjects: ['ci.a'] },
      { ...RULE, subjects: ['ci.>'] },
    ],
    CALLER,
  );
  assert.equal(ruleOver(rules, ['ci.a'])?.index, 1);
  assert.equal(ruleOver(rules, ['ci.a', 'ci.b'])?.index, 2);
  assert.equal(ruleOver(rules, ['cd.b']), undefined);
});

test("a project's name is looked up only if a rule has one", () => {
  assert.ok(needsProjectName([{ ...RULE, projects: ['*'] }, RULE]));
  assert.ok(!needsProjectName([{ ...RULE, projects: ['*', PROJECT] }]));
});
