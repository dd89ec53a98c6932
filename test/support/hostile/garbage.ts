import { writeFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { type Connection, temporaryFolder } from '../../../localAgent/index.ts';
import { anyCharacter, hostileText } from './hostileText.ts';

/** An input's value, and whether a step must refuse it. `any`: it may or may not. */
interface Value {
  readonly text: string;
  readonly is: 'good' | 'bad' | 'any';
}
type Values = Readonly<Record<string, fc.Arbitrary<Value>>>;

/** A step's inputs, and the names that its error must contain. */
export interface Given {
  readonly inputs: Readonly<Record<string, string>>;
  readonly connection: Connection;
  readonly variables: Readonly<Record<string, string>>;
  readonly wrong: readonly string[];
}

/** A folder with the files that valid paths point to. */
export const FILES = temporaryFolder('garbage-');
writeFileSync(path.join(FILES, 'event.json'), '{"a":1}');
writeFileSync(path.join(FILES, 'events.jsonl'), '{"a":1}\n{"a":2}\n');
writeFileSync(path.join(FILES, 'any.schema.json'), '{}');
mkdirSync(path.join(FILES, 'folder'));

const anything = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: anyCharacter, maxLength: 40 }) },
  { weight: 3, arbitrary: hostileText },
  { weight: 2, arbitrary: fc.oneof(fc.integer(), fc.double(), fc.bigInt()).map(String) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.constantFrom('x', '(', '[', 'a.', '!', '$', '\u{1f4a3}', ' \n', '"', 'é', '{', '`', '*.'),
        fc.constantFrom(100, 300, 5_000),
      )
      .map(([unit, count]) => unit.repeat(count / unit.length)),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...[
        '',
        ' ',
        '\n',
        'null',
        'undefined',
        'NaN',
        '-0',
        '1e999',
        '__proto__',
        'constructor',
        '../../..',
        '/',
        '~',
        '%00',
      ],
    ),
  },
);

function value(
  good: readonly string[],
  bad: fc.Arbitrary<string> | readonly string[],
  any: fc.Arbitrary<string> = anything,
): fc.Arbitrary<Value> {
  const wrong = Array.isArray(bad) ? fc.constantFrom(...(bad as string[])) : (bad as fc.Arbitrary<string>);
  return fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom('', ...good).map((text) => ({ text, is: 'good' as const })) },
    { weight: 3, arbitrary: wrong.map((text) => ({ text, is: 'bad' as const })) },
    { weight: 2, arbitrary: any.map((text) => ({ text, is: 'any' as const })) },
  );
}

/** Any non-empty text that doesn't match this pattern. */
function unlike(pattern: RegExp): fc.Arbitrary<string> {
  return anything.filter((text) => text.trim() !== '' && !pattern.test(text.trim()));
}

const option = (...options: readonly string[]) => value(options, unlike(new RegExp(`^(?:${options.join('|')})$`)));
const duration = (...good: readonly string[]) =>
  value(good, fc.oneof(unlike(/^[\dhms]+$/), fc.constantFrom('0s', '481h', '5')));
const file = (name: string) =>
  value(
    [name],
    ['nowhere.json', `${name}/below`, 'x'.repeat(300), `${'d/'.repeat(2_500)}x`, 'nul\0l', '\ud800', name.repeat(600)],
  );
const expression = value(
  ['data.a', "subject == 'x'", 'length(@) > `0`'],
  [
    ...['data.a ==', 'lenght(data)', 'data[', "'open", '`{`', 'a = b', '&', 'abs('],
    ...['(', '!', 'a.'].map((part) => part.repeat(1_500)),
  ],
);
const id = value(['id-1'], fc.oneof(unlike(/^[ -~]{1,256}$/), fc.constantFrom('x'.repeat(257), 'id-$(x)')));
const streamName = value([], ['C I', 'a.b', '*', '>', 'a/b', 'a\u0000b', 'a\u200bb']);
const variableName = value([], fc.oneof(unlike(/^[A-Za-z_][\w.-]*$/), fc.constantFrom('not.there')));
const SUBJECTS = [
  ...['a b', 'a..b', '.a', 'a.', '$JS.API.x', '_INBOX.x', 'a\tb', 'a.$(b)', 'a\u0085b'],
  ...['x'.repeat(1_025), '\u{1f4a3}'.repeat(300)],
];

const PUBLISH: Values = {
  payloadFrom: option('inline', 'file', 'lines'),
  payloadFile: file('events.jsonl'),
  schemaFile: file('any.schema.json'),
  replySchemaFile: file('any.schema.json'),
  delivery: option('jetStream', 'core'),
  subjectVersion: option('warn', 'off'),
  envelope: option('binary', 'structured', 'none'),
  eventType: value(['a.type'], ['a type', 'a\u0000b', 'a\ud800', 'a\u202eb']),
  eventSource: value(['/source'], ['a source', 'a\nb']),
  owner: option('full', 'pipeline', 'none'),
  contentType: value(['text/plain'], ['json', 'text/é', ' /x', 'a b/c']),
  headers: value(
    ['X-A: 1', 'X-A: 1\nX-B:'],
    ['no colon', 'Nats-Msg-Id: 1', 'ce-id: 1', 'Bad Name: 1', ': x', 'X: a\u0000b', 'é: 1', '\ud800:'],
  ),
  correlationId: id,
  messageId: id,
  stream: streamName,
  timeout: duration('5s'),
  signingKeyVariable: variableName,
  credentialsVariable: variableName,
};

const WAIT: Values = {
  delivery: option('jetStream', 'core'),
  timeout: duration('1s'),
  stream: streamName,
  startFrom: option('runStart', 'now', 'all', 'lastPerSubject'),
  startSequence: value([], ['-1', '1.5', 'x', '9'.repeat(30)], fc.constant('')),
  startTime: value([], ['yesterday', '2026-02-30T00:00:00Z', '2026-01-01', '999999-01-01T00:00:00Z'], fc.constant('')),
  schemaFile: file('any.schema.json'),
  onInvalid: option('skip', 'fail'),
  match: expression,
  failWhen: expression,
  correlationId: anything.map((text) => ({ text, is: 'any' as const })),
  count: value(['1', '2'], fc.oneof(unlike(/^\d+$/), fc.constantFrom('0', '10001', '9'.repeat(400)))),
  distinctBy: expression,
  expect: anything.map((text) => ({ text, is: 'any' as const })),
  trustedKeys: value([], ['UABC', 'not a key', `U${'A'.repeat(55)}`, '\u0000']),
  maxEventAge: duration('1h'),
  idleTimeout: duration('1s'),
  onTimeout: option('fail', 'warn', 'succeed'),
  outputs: value(['a=data.a'], ['no-equals', 'a=', '=x', '1a=x', 'b=data..b', 'c=a\nC=b', 'PATH=\u0000', 'é=x']),
  credentialsVariable: variableName,
};

/** The inputs of each task that get garbage; the others come with the connection, the subject and the payload. */
export const GARBLED = {
  PublishNatsEvent: [...Object.keys(PUBLISH), 'natsConnection', 'subject', 'payload'],
  WaitForNatsEvent: [...Object.keys(WAIT), 'natsConnection', 'subject'],
};

/** A field of the service connection, whose problems are reported under the input `natsConnection`. */
const CONNECTION: Values = {
  url: value(
    [],
    [
      ...['', 'host:4222', 'ws://h', 'foo://h', 'nats://u:p@h', 'nats://a,b', 'nats://h/p', 'nats://h:0'],
      ...['nats://h:99999', 'nats://', 'nats://[::', 'nats://h\u0000'],
    ],
  ),
  scheme: option('None'),
  credentials: value(
    [],
    fc.oneof(fc.constantFrom('SUABC', '-----BEGIN NATS USER JWT-----', 'eyJ.eyJ.x'), unlike(/^(?:S|eyJ|-)/)),
  ),
  servers: value([], ['ws://x', 'foo://x', 'nats://u@h', 'h/p', 'h:0', '[', 'a\u0000b']),
  caCertificate: value(
    [],
    fc.oneof(
      unlike(/BEGIN|^[\w+/=\s]+$/),
      fc.constantFrom('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'),
    ),
  ),
  tlsFirst: value(['false'], unlike(/^(?:true|false)$/i), fc.constant('false')),
  oidc: value(['false'], unlike(/^(?:true|false)$/i), fc.constant('false')),
  // Without oidc, any value is wrong.
  entraTenantId: value([], ['contoso.example', 'common', 'a b', '$(tenant)', '\u0000']),
  entraClientId: value([], ['8e1d4c1a-0d6e-4a8e-9f0e-2f3f6c1d7a11', 'pipelines', '\ud800']),
  entraScope: value([], ['api://nats/.default', 'api://nats', 'a b', '##vso[task.complete]']),
  entraAuthority: value([], ['https://login.microsoftonline.us', 'http://login.example', 'https://a:b@login.example']),
  inboxPrefix: value(['_INBOX_ci'], ['a b', 'a.*', '>', 'a..b', '$x', 'a\u0000']),
  jetStreamDomain: value([], ['a b', '*', 'a.', '$x', '\ud800']),
};

const VARIABLES = [
  ...['System.CollectionUri', 'System.TeamProject', 'System.DefinitionId', 'System.StageName', 'System.PlanId'],
  ...['System.JobId', 'System.JobAttempt', 'System.TaskInstanceId', 'System.TaskDisplayName', 'TRACEPARENT'],
  ...['Build.DefinitionName', 'Build.BuildId', 'Build.RequestedFor', 'Build.SourceVersion'],
] as const;

function given(
  fields: Values,
  subject: fc.Arbitrary<Value>,
  mayAllBeWrong: fc.Arbitrary<boolean>,
): fc.Arbitrary<Given> {
  return fc
    .record({
      inputs: fc.record({ ...fields, subject }),
      connection: fc.record({ ...CONNECTION }),
      variables: fc.record(Object.fromEntries(VARIABLES.map((name) => [name, fc.oneof(fc.constant(''), anything)]))),
      isWrong: fc.record({ inputs: mayAllBeWrong, connection: mayAllBeWrong }),
      payload: value(['1', '{}', 'text'], ['x'.repeat(30_001)]),
    })
    .map(({ inputs, connection, variables, isWrong, payload }) => {
      const chosen = (values: Readonly<Record<string, Value>>, wanted: boolean): Record<string, Value> =>
        Object.fromEntries(Object.entries(values).filter(([, { is }]) => wanted || is === 'good'));
      const of = { ...chosen(inputs, isWrong.inputs) };
      const choice = (name: string): string => of[name]?.text.trim() ?? '';
      const isInline = !['file', 'lines'].includes(choice('payloadFrom'));
      if ('payloadFrom' in fields && isInline) of['payload'] = payload;
      const parts = chosen(connection, isWrong.connection);
      const text = (name: string): string => parts[name]?.text ?? '';
      const bad = Object.entries(of).flatMap(([name, { is }]) => (is === 'bad' ? [name] : []));
      // Inputs that don't apply are ignored; no delivery here is a request.
      const unseen = [
        'replySchemaFile',
        ...(choice('delivery') === 'core' ? ['stream'] : []),
        ...(isInline ? ['payloadFile'] : []),
        ...(choice('envelope') === 'none' ? ['eventType', 'eventSource', 'owner', 'contentType'] : []),
      ];
      return {
        inputs: Object.fromEntries(Object.entries(of).map(([name, it]) => [name, it.text])),
        connection: {
          url: text('url') || (parts['url']?.is === 'bad' ? '' : 'nats://127.0.0.1:4222'),
          scheme: text('scheme') || 'None',
          parameters: { credentials: text('credentials') },
          data: Object.fromEntries(
            Object.keys(CONNECTION)
              .slice(3)
              .map((name) => [name, text(name)]),
          ),
        },
        variables: {
          ...variables,
          'System.PipelineStartTime': '2026-01-01 00:00:00+00:00',
          'System.DefaultWorkingDirectory': FILES,
        },
        wrong: [
          ...bad.filter((name) => !unseen.includes(name)),
          ...(Object.entries(parts).some(([name, { is }]) => is === 'bad' && name !== 'credentials')
            ? ['natsConnection']
            : []),
        ],
      };
    });
}

/** A publishing step's inputs; `mayBeWrong`: whether any may be invalid. */
export function givenToPublish(
  subject: string,
  mayBeWrong: fc.Arbitrary<boolean> = fc.constant(true),
): fc.Arbitrary<Given> {
  return given(
    PUBLISH,
    value([subject], ['a.*', ...SUBJECTS]).map((it) => (it.text === '' ? { ...it, text: subject } : it)),
    mayBeWrong,
  );
}

/** A waiting step's inputs. */
export function givenToWait(
  subject: string,
  mayBeWrong: fc.Arbitrary<boolean> = fc.constant(true),
): fc.Arbitrary<Given> {
  return given(
    WAIT,
    value([subject], ['a.>.b', ...SUBJECTS]).map((it) => (it.text === '' ? { ...it, text: subject } : it)),
    mayBeWrong,
  );
}
