import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SecretMasker } from '../../../localAgent/secretMasker.ts';
import { environmentName, Variables } from '../../../localAgent/variables.ts';

function variablesOf(values: Record<string, string>): Variables {
  const variables = new Variables(new SecretMasker());
  for (const [name, value] of Object.entries(values)) variables.set(name, value);
  return variables;
}

describe('the variables of a job', () => {
  it('replace macros regardless of case, and leave unknown ones alone', () => {
    const variables = variablesOf({ 'Build.BuildId': '7' });
    assert.equal(
      variables.expand('run $(build.buildid) of $(nothing), $() and $(open'),
      'run 7 of $(nothing), $() and $(open',
    );
  });

  it('are not expanded again inside an expanded value', () => {
    assert.equal(variablesOf({ a: '$(b)', b: 'deep' }).expand('$(a)'), '$(b)');
  });

  it('are expanded recursively before a step, so a hostile value can read any variable', () => {
    const masker = new SecretMasker();
    const variables = new Variables(masker);
    variables.set('token', 'hunter22', { secret: true });
    variables.set('wait.subject', 'orders.$(inner)');
    variables.set('inner', '<$(token)>');
    assert.deepEqual(variables.expandAll(), []);
    assert.equal(variables.get('wait.subject')?.value, 'orders.<hunter22>');
    assert.equal(variables.get('wait.subject')?.secret, true);
    assert.equal(masker.mask('orders.<hunter22>'), '***');
  });

  it('that refer to each other in a circle stay as they are, with a warning', () => {
    const variables = variablesOf({ a: '1$(b)', b: '2$(a)', self: '$(self)', fine: 'x$(c)', c: 'y' });
    assert.match(variables.expandAll().join('\n'), /'a'.*cyclical[^]*'b'.*cyclical[^]*'self'.*cyclical/);
    assert.equal(variables.get('a')?.value, '1$(b)');
    assert.equal(variables.get('fine')?.value, 'xy');
  });

  it('are expanded at most fifty levels deep', () => {
    const chain = (length: number): Variables =>
      variablesOf(
        Object.fromEntries(Array.from({ length }, (_, i) => [`v${i}`, i + 1 < length ? `$(v${i + 1})` : 'end'])),
      );
    const fits = chain(50);
    assert.deepEqual(fits.expandAll(), []);
    assert.equal(fits.get('v0')?.value, 'end');
    const tooDeep = chain(51);
    assert.match(tooDeep.expandAll().join(), /'v0'.*depth/);
    assert.equal(tooDeep.get('v0')?.value, '$(v1)');
  });

  it('stay secret once they were', () => {
    const variables = new Variables(new SecretMasker());
    variables.set('password', 'old', { secret: true });
    variables.set('PASSWORD', 'new');
    assert.equal(variables.get('password')?.secret, true);
    assert.deepEqual(variables.environment(false), {
      VSTS_PUBLIC_VARIABLES: '[]',
      VSTS_SECRET_VARIABLES: '["PASSWORD"]',
    });
  });

  it('have underscores for dots and blanks in the environment, but keep their hyphens', () => {
    assert.equal(environmentName('event.order id-x'), 'EVENT_ORDER_ID-X');
  });
});
