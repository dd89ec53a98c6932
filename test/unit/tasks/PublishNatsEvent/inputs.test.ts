import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readPublish } from '../../../../tasks/PublishNatsEvent/inputs.ts';
import { TaskError } from '../../../../shared/errors.ts';
import { connectedAgent, type FakeAgentOptions } from '../../../support/agent/fakeAgent.ts';
import { createNKey } from '../../../support/nats/natsAccounts.ts';

function warningsOf(inputs: Readonly<Record<string, string>>): readonly string[] {
  const agent = connectedAgent({ subject: 'ci.done.v1', messageId: 'm-1', ...inputs });
  readPublish(agent);
  return agent.warnings;
}

for (const payload of [
  "{ 'image': 'shop' }",
  '{ "image": "shop", }',
  '{ image: shop }',
  '{ "image": "shop"',
  '[1, 2,]',
  `'{ "image": "shop" }'`,
  '"{ "image": "shop" }"',
  `'["shop"]'`,
]) {
  test(`a payload that looks like JSON but doesn't parse is refused with line and column: ${payload}`, () => {
    for (const inputs of [
      { payload },
      { payload, contentType: 'application/json; charset=utf-8' },
      { payload, contentType: 'application/vnd.shop+json' },
      { payload, envelope: 'none', headers: 'Content-Type: application/json' },
    ])
      assert.match(
        problemsOf(inputs, {}),
        /^InvalidInput: payload: looks like JSON but doesn't parse: line 1, column \d+: .*Check its quotes and commas/,
      );
    assert.deepEqual(warningsOf({ payload, contentType: 'text/plain' }), [], 'a deliberate choice was warned of');
    const headers = 'Tenant: shop\ncontent-type: text/x-template';
    assert.deepEqual(warningsOf({ payload, envelope: 'none', headers }), [], 'a deliberate choice was warned of');
  });
}

for (const payload of [
  '{}',
  '{ "image": "shop" }',
  '[1, 2]',
  'text',
  '[INFO] done',
  '42',
  '"{ a }"',
  "'{name}' is done",
  'echo $(date +%s) $HOME',
]) {
  test(`nothing is wrong with the payload ${payload}`, () => {
    assert.deepEqual(warningsOf({ payload }), []);
  });
}

test('in a payload of several lines, the place is that of the mistake', () => {
  assert.match(
    problemsOf({ payload: '{\n  "image": "shop",\n  "tag": v1\n}' }, {}),
    /: line 3, column 10: expected a value\./,
  );
});

test('a payload given the other way than payloadFrom says is asked about', () => {
  for (const [inputs, problem] of [
    [
      { payload: '', payloadFile: 'event.json' },
      'payload: is required with payloadFrom: inline. payloadFile is given: did you mean payloadFrom: file?',
    ],
    [
      { payload: '{}', payloadFrom: 'lines' },
      'payloadFile: is required with payloadFrom: lines, and must not be a directory. payload is given: did you mean payloadFrom: inline?',
    ],
    [{ payload: '' }, 'payload: is required with payloadFrom: inline.'],
  ] as const)
    assert.equal(problemsOf(inputs, {}), `InvalidInput: ${problem}`);
});

test('an unset variable in a payload is reported, with the way to send that text literally', () => {
  assert.equal(
    problemsOf({ payload: '{"image":"$(image)"}' }, {}),
    'InvalidInput: payload: contains "$(image)", most likely a pipeline variable that is not set. Set it, or check its spelling. If the text itself is meant, write the payload to a file and use payloadFrom: file.',
  );
});

for (const input of ['eventType', 'eventSource', 'contentType', 'headers'])
  test(`an unset variable in ${input} is reported`, () => {
    const text = { contentType: '$(type)/x', headers: 'Tenant: $(type)' }[input] ?? '$(type)';
    assert.match(
      problemsOf({ [input]: text }, {}),
      new RegExp(`^InvalidInput: ${input}: .*contains "\\$\\(.*, most likely a pipeline variable that is not set\\.$`),
    );
  });

test('headers given as JSON are refused, showing the right form of the first one', () => {
  for (const [headers, remedy] of [
    ['{"Tenant":"shop", "PlanUrl": "x"}', 'Write each without quotes and braces: Tenant: shop.'],
    ['{\n  "Tries": 3\n}', 'Write each without quotes and braces: Tries: 3.'],
    ['{"Tenant": "shop"', 'Write each without quotes and braces: Name: value.'],
    ['[{"Tenant": "shop"}]', 'Write each without quotes and braces: Name: value.'],
    [`{"Authorization": "Bearer ${API_KEY}"}`, ''],
  ] as const) {
    const told = problemsOf({ headers }, { secrets: { ApiKey: API_KEY } });
    assert.ok(told.includes(`headers: looks like JSON, and takes one header per line.${remedy && ` ${remedy}`}`), told);
    assert.ok(!told.includes(API_KEY));
  }
});

test('several subjects in one are reported without advice about versions', () => {
  const agent = connectedAgent({ subject: 'ci.a, ci.b', payload: '{}', messageId: 'm-1' });
  assert.throws(() => readPublish(agent), {
    message: 'InvalidInput: subject: "ci.a, ci.b" holds several subjects. Use a step for each.',
  });
  assert.deepEqual(agent.warnings, []);
});

for (const [owner, names] of [
  ['full', ['azpproject', 'azprunid', 'azprequester']],
  ['pipeline', ['azpproject', 'azprunid']],
  ['none', []],
] as const)
  test(`owner: ${owner} puts these attributes of the run into the event: ${names.join(', ')}`, () => {
    const variables = { 'System.TeamProject': 'Shop', 'Build.BuildId': '7', 'Build.RequestedFor': 'Ada Lovelace' };
    const agent = connectedAgent({ subject: 'ci.done.v1', payload: '{}', messageId: 'm-1', owner }, { variables });
    assert.deepEqual(Object.keys(readPublish(agent).request.owner), names);
  });

/** What is wrong with a step that is given secrets; empty when nothing is. */
function problemsOf(
  inputs: Readonly<Record<string, string>>,
  options: Pick<FakeAgentOptions, 'secrets' | 'connections'>,
): string {
  const agent = connectedAgent({ subject: 'ci.done.v1', payload: '{}', messageId: 'm-1', ...inputs }, options);
  try {
    readPublish(agent);
    return '';
  } catch (error) {
    assert.ok(error instanceof TaskError);
    assert.equal(error.code, 'InvalidInput');
    return error.message;
  }
}

const API_KEY = 'k3y/of:the shop';

for (const [input, value] of [
  ['payload', `{"key":"${API_KEY}"}`],
  ['payload', JSON.stringify({ key: Buffer.from(API_KEY).toString('base64') })],
  ['headers', `Tenant: shop\nAuthorization: Bearer ${API_KEY}`],
  ['headers', API_KEY],
  ['correlationId', `run-${API_KEY}`],
  ['messageId', API_KEY],
  ['subject', `ci.${encodeURIComponent(API_KEY)}.v1`],
  ['eventType', Buffer.from(API_KEY).toString('base64url')],
  ['eventSource', `https://example.com/?key=${encodeURIComponent(API_KEY)}`],
  ['contentType', `text/plain; key=${API_KEY}`],
  ['stream', Buffer.from(API_KEY).toString('base64url')],
] as const) {
  test(`a secret variable in ${input} is never sent: ${value}`, () => {
    const message = problemsOf({ [input]: value }, { secrets: { ApiKey: API_KEY, Other: 'another-secret' } });
    assert.match(
      message,
      new RegExp(`^InvalidInput: ${input}: holds the value of the secret variable "APIKEY", .*Remove`),
    );
    assert.ok(!message.includes('k3y'), message);
  });
}

test("a password, a signing seed and the job's token are never sent, either", () => {
  const { seed } = createNKey();
  const connections = {
    nats: { url: 'nats://localhost', scheme: 'UsernamePassword', parameters: { username: 'ci', password: 'pa55word' } },
    SYSTEMVSSCONNECTION: { url: 'https://a', scheme: 'OAuth', parameters: { AccessToken: 'job-token-of-it' } },
  };
  const problems = problemsOf(
    {
      payload: 'pa55word',
      headers: `Seed: ${seed}`,
      correlationId: 'job-token-of-it',
      signingKeyVariable: 'SigningSeed',
    },
    { secrets: { SigningSeed: seed }, connections },
  );
  assert.match(problems, /^InvalidInput: 3 problems/);
  assert.match(problems, /payload: holds the value of the password of the service connection,/);
  assert.match(problems, /headers: holds the value of the secret variable "SIGNINGSEED",/);
  assert.match(problems, /correlationId: holds the value of the token of the job,/);
});

test("secrets below 8 characters, or in inputs that aren't sent, are fine", () => {
  const secrets = { Flag: 'true', Short: '1234567', ApiKey: API_KEY };
  assert.equal(problemsOf({ payload: '{"a":true,"b":"1234567"}' }, { secrets }), '');
  assert.equal(problemsOf({ envelope: 'none', contentType: `text/plain; a=${API_KEY}` }, { secrets }), '');
});

test('problems with headers and a version part are sentences with one full stop each', () => {
  assert.deepEqual(
    problemsOf(
      {
        subject: 'ci.built',
        payload: '{}',
        headers: 'no colon\nTenant=shop\nBad Name: x\nce-id: x\nContent-Type: a/b',
        envelope: 'structured',
        subjectVersion: 'require',
      },
      {},
    ).split(/ (?=\(\d\) )/),
    [
      'InvalidInput: 6 problems with the inputs of this step.',
      '(1) subject: "ci.built" has no version part such as v1. With one, a contract can change without breaking its readers: "ci.built.v1".',
      '(2) headers: "no colon" is not of the form "Name: value".',
      '(3) headers: "Tenant=shop" is not of the form "Name: value". Write Tenant: shop.',
      '(4) headers: "Bad Name" is not a header name (printable ASCII without spaces).',
      '(5) headers: "ce-id" is reserved: this task sets it.',
      '(6) headers: "Content-Type" is set by envelope: structured. Use the input contentType for the type of the payload.',
    ],
  );
});
