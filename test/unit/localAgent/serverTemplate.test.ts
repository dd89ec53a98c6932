import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { renderCall, renderTemplate } from '../../../localAgent/serverTemplate.ts';

const VARIABLES: Readonly<Record<string, string>> = { 'system.planid': 'the-plan', 'build.buildid': '42' };
const SCOPE = {
  inputs: new Map([
    ['subject', 'ci.>'],
    ['match', `a == '$(subject)' {{endpoint.apitoken}} "`],
  ]),
  variable: (name: string) => VARIABLES[name.toLowerCase()],
  endpoint: { url: 'https://bridge', apitoken: `<a&"b'>` },
};

describe('a template of a server task', () => {
  for (const [template, rendered] of [
    ['$(subject) of $(System.PlanId) at $(endpoint.url)', 'ci.> of the-plan at https://bridge'],
    ['$(Subject)', 'ci.>'],
    // What was put in is not looked at again, and nothing is escaped.
    ['[$(match)]', `[a == '$(subject)' {{endpoint.apitoken}} "]`],
    ['$(other) $(system.Other) $(Build.BuildId) $() $', '$(other) $(system.Other) $(Build.BuildId) $() $'],
    ['{{{endpoint.apitoken}}}', `<a&"b'>`],
    ['{{ endpoint.apitoken }}', '&lt;a&amp;&quot;b&#39;&gt;'],
    ['[{{endpoint.other}}{{other}}]', '[]'],
    ['{"a": {"b": 1}}', '{"a": {"b": 1}}'],
  ] as const)
    it(`${template} becomes ${rendered}`, () => {
      assert.equal(renderTemplate(template, SCOPE), rendered);
    });

  it('is refused if it has Mustache blocks, which would be dropped silently', () => {
    for (const block of ['{{#if a}}', '{{/if}}', '{{{#base64}}}'])
      assert.throws(() => renderTemplate(block, SCOPE), /blocks of Mustache/);
  });

  it('parses its headers as JSON after filling in the values, so a quote in a value breaks them', () => {
    const call = { EndpointUrl: '$(endpoint.url)/v1', Method: 'POST', Headers: '{"X-Subject": "$(subject)"}' };
    assert.deepEqual(renderCall(call, SCOPE), {
      ...{ url: 'https://bridge/v1', method: 'POST', headers: { 'X-Subject': 'ci.>' }, body: '' },
    });
    for (const Headers of ['{"X-Match": "$(match)"}', '{"X": 1}', '"x"'])
      assert.throws(
        () => renderCall({ ...call, Headers }, SCOPE),
        ({ message }: Error) =>
          message.startsWith('The headers of the request are no JSON') && !message.includes('a =='),
      );
  });
});
