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

test('a rule names projects by name or ID, in any case', () => {
  assert.ok(
    allows({ projects: ['shop'] }) && allows({ projects: ['x', PROJECT.toUpperCase()] }) && allows({ projects: ['*'] }),
  );
  assert.ok(!allows({ projects: ['Shops'] }) && !allows({ projects: ['Sho*'] }));
  assert.ok(!allows({ projects: ['Shop'] }, { project: { id: PROJECT, name: undefined } }));
  assert.ok(!allows({ projects: ['undefined'] }, { project: { id: PROJECT, name: undefined } }));
});

test('a rule names pipelines by name or ID, and a number is always an ID', () => {
  assert.ok(allows({ pipelines: ['Web'] }) && allows({ pipelines: ['42'] }) && allows({ pipelines: ['*'] }));
  assert.ok(!allows({ pipelines: ['api', '43'] }));
  assert.ok(!allows({ pipelines: ['7'] }, { pipeline: { id: 42, name: '7' } }));
});

test('a rule with tokens requires one of them', () => {
  assert.ok(allows({ tokens: ['waits-token'] }) && !allows({ tokens: ['token-2'] }));
});

test('the first rule that covers all subjects counts, by its index among all rules', () => {
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
