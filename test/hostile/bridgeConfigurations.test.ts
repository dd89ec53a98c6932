import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { ConfigurationError } from '../../bridge/config/configurationError.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { runBridgeOn } from '../support/bridge/bridgeProcess.ts';
import { configurationFile, readFile } from '../support/bridge/configurationFile.ts';
import { assertPlain, forAll } from '../support/hostile/harmless.ts';
import { cases, parameters, SEED } from '../support/hostile/hostile.ts';
import { hostileText } from '../support/hostile/hostileText.ts';

const RUNS = cases({ short: 150, long: 10_000 });
const COMMANDS = cases({ short: 5, long: 60 });
/** The longest time to read a configuration, in milliseconds. */
const LIMIT_MS = 2_000;

/** The secrets in files, variables and addresses. */
const SECRETS = ['S3cr3t-in-a-file', 'S3cr3t-in-a-variable', 'S3cr3t-in-an-address'] as const;
const [IN_FILE, IN_VARIABLE, IN_ADDRESS] = SECRETS;
const ENV = { VARIABLE: IN_VARIABLE, EMPTY: '' };
const FILES = { secret: IN_FILE, empty: '', 'schema.json': '{}', 'folder/file': IN_FILE };

/** A configuration with every key. */
const WHOLE = {
  instance: 'blue',
  nats: {
    servers: ['nats://127.0.0.1:1', 'nats://127.0.0.1:2'],
    user: 'bridge',
    passwordFile: 'secret',
    tlsFirst: false,
    jetStreamDomain: 'hub',
    inboxPrefix: '_INBOX.bridge',
  },
  azureDevOps: {
    organization: 'https://dev.azure.com/contoso/',
    identity: { kind: 'clientSecret', tenantId: 't', clientId: 'c', clientSecretEnv: 'VARIABLE' },
    proxy: 'http://127.0.0.1:3128',
  },
  http: { listen: '127.0.0.1:0', admin: '127.0.0.1:0', publicUrl: 'https://bridge.example.com/' },
  contracts: { 'image-ready.v1': 'schema.json' },
  streams: { replicas: 1, AZDO: { maxAge: '30d' }, BRIDGE_AUDIT: { maxAge: '1d12h' } },
  hooks: {
    stream: 'AZDO',
    subjectPrefix: 'azdo',
    user: 'hooks',
    passwordFiles: ['secret'],
    passwordEnvs: ['VARIABLE'],
    sharedSecret: false,
    silenceAlarm: '24h',
    identity: { kind: 'pat', patFile: 'secret' },
    events: [{ event: 'build.complete', project: 'Shop', inputs: { definitionName: 'web' } }],
  },
  timing: { scale: 0.5, readiness: '10ms' },
};

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

const KEYS = [...new Set(JSON.stringify(WHOLE).match(/(?<=")\w+(?=":)/g))];
const key = fc.oneof(
  fc.constantFrom(
    ...KEYS,
    'caFile',
    'credentialsFile',
    'certificateFile',
    'privateKeyEnv',
    'tokenEnv',
    'authorityHost',
  ),
  fc.constantFrom('__proto__', 'constructor', 'toString', '%', '%zz', '~1', '<<', '/', ' ', '0'),
  hostileText,
);
const value: fc.Arbitrary<Json> = fc.oneof(
  hostileText,
  fc.constantFrom<Json>(null, true, 0, -1, 1e308, -0, '', [], {}, [[]], [null], 'x'.repeat(5_000)),
  // Bad files, including endless ones.
  fc.constantFrom('secret', 'empty', 'folder', 'gone', '/dev/zero', '/dev/stdin', '/proc/self/mem', '\0', '..', '~'),
  fc.constantFrom('VARIABLE', 'EMPTY', 'GONE'),
  fc.constantFrom(
    'https://',
    'https://[',
    'http://10.0.0.1/c',
    'tls://a:99999',
    'ws://a',
    '*',
    '>',
    'a b.c',
    '999999999d',
  ),
  fc
    .tuple(fc.constantFrom('', 'nats://', 'tls://', 'https://', 'http://'), fc.constantFrom('', 'user:', ':'))
    .map(([scheme, user]) => `${scheme}${user}${IN_ADDRESS}@example.com:1/contoso`),
  fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>,
);

function placesIn(body: Json): (readonly [parent: object, name: string])[] {
  if (typeof body !== 'object' || body === null) return [];
  return Object.entries(body).flatMap(([name, member]) => [[body, name] as const, ...placesIn(member)]);
}

/** A good configuration with some values changed, removed or added. */
const garbled = fc
  .array(fc.tuple(fc.nat(), fc.constantFrom('change', 'change', 'drop', 'add'), key, value), { maxLength: 4 })
  .map((changes) => {
    const whole = structuredClone(WHOLE) as Json;
    for (const [at, change, name, other] of changes) {
      const places = placesIn(whole);
      const [parent, member] = places[at % places.length] ?? [];
      if (parent === undefined || member === undefined) continue;
      if (change === 'drop') Reflect.deleteProperty(parent, member);
      else
        Object.defineProperty(parent, change === 'add' ? name : member, {
          value: structuredClone(other),
          enumerable: true,
          writable: true,
          configurable: true,
        });
    }
    return stringify(whole, { aliasDuplicateObjects: false });
  });

/** Such a configuration's text, with pieces of YAML in the wrong places. */
const mangled = fc
  .tuple(
    garbled,
    fc.array(
      fc.tuple(
        fc.nat(),
        fc.nat({ max: 30 }),
        fc.oneof(
          fc.constantFrom(
            '\t',
            '{',
            '[',
            '"',
            "'",
            '&a ',
            '*a',
            '!vault ',
            '---\n',
            '...\n',
            '%YAML 1.1\n',
            '? ',
            ': ',
            '- ',
            '|',
            '>',
            '\0',
            '\r',
          ),
          fc.constantFrom(
            '<<: *a\n',
            '!!binary x',
            '!!set {a}',
            '&a [*a]',
            '\ufeff',
            '# ',
            '!!js/function x',
            '!!timestamp 2026-01-01',
          ),
          hostileText,
        ),
      ),
      { minLength: 1, maxLength: 3 },
    ),
  )
  .map(([text, edits]) =>
    edits.reduce((given, [at, length, piece]) => {
      const start = at % (given.length + 1);
      return given.slice(0, start) + piece + given.slice(start + length);
    }, text),
  );

const bombs = fc.oneof(
  fc.integer({ min: 100, max: 3_000 }).map((depth) => `${'['.repeat(depth)}${']'.repeat(depth)}`),
  fc.integer({ min: 100, max: 3_000 }).map((depth) => `nats: ${'{a: '.repeat(depth)}`),
  fc.integer({ min: 2, max: 12 }).map((levels) => {
    const lines = Array.from(
      { length: levels },
      (_, level) => `a${level + 1}: &a${level + 1} [${`*a${level}, `.repeat(9)}]`,
    );
    return ['a0: &a0 [x]', ...lines].join('\n');
  }),
);

const configuration = fc.oneof(
  { weight: 10, arbitrary: garbled },
  { weight: 6, arbitrary: mangled },
  { weight: 1, arbitrary: hostileText },
  { weight: 1, arbitrary: bombs },
);

const folder = path.dirname(configurationFile('', FILES));

/** Asserts that a problem names an existing place, and shows no secret. */
function assertProblem(problem: string, file: string, text: string): void {
  const place = new RegExp(`^${file}:(\\d+):(\\d+): .`, 's').exec(problem);
  assert.ok(place, problem);
  const lines = text.split('\n');
  const [line, column] = [Number(place[1]), Number(place[2])];
  assert.ok(line >= 1 && line <= lines.length && column >= 1 && column <= (lines[line - 1] ?? '').length + 1, problem);
  assertTellsNothing(problem, text);
}

/** @param given a configuration; the secret in an address that has lost its `@` can't be recognised */
function assertTellsNothing(told: string, given: string): void {
  const isAddressWhole = !given.replaceAll(`${IN_ADDRESS}@`, '').includes(IN_ADDRESS);
  for (const secret of isAddressWhole ? SECRETS : [IN_FILE, IN_VARIABLE]) assert.ok(!told.includes(secret), told);
}

describe('Any configuration of the bridge', () => {
  it('is accepted, or its problems are reported with their places and without secrets', (t) => {
    const file = path.join(folder, 'bridge.yml');
    let taken = 0;
    fc.assert(
      fc.property(configuration, (text) => {
        writeFileSync(file, text);
        const began = performance.now();
        try {
          const { warnings } = readFile(file, { env: ENV });
          for (const warning of warnings) assertProblem(warning, file, text);
          taken++;
        } catch (error) {
          assert.ok(error instanceof ConfigurationError, (error as Error).stack);

          assert.ok(error.problems.length > 0);
          assert.equal(new Set(error.problems).size, error.problems.length);
          for (const problem of error.problems) {
            assertProblem(problem, file, text);
            assertPlain(safeText(problem), 'what the bridge prints');
          }
        }
        assert.ok(performance.now() - began < LIMIT_MS, text);
      }),
      parameters(RUNS),
    );
    t.diagnostic(`${taken} of ${RUNS} were taken.`);
    assert.ok(taken > RUNS / 50 && taken < RUNS / 2);
  });

  it('makes check print each problem on its own line', async () => {
    await forAll(fc.sample(configuration, { seed: SEED, numRuns: COMMANDS }), async (text) => {
      const file = configurationFile(text, FILES);
      const { status, stdout, stderr } = await runBridgeOn(file, ['check', '--offline'], { env: ENV });
      const lines = stdout.split('\n').filter(Boolean);
      const errors = lines.filter((line) => !line.startsWith('warning: '));
      assert.equal(status, errors.length === 0 ? 0 : 1, stdout + stderr);
      for (const line of lines) {
        assert.match(line, /^(error|warning): /);
        assertPlain(line, 'a line of check');
      }
      assert.match(stderr, /^(No problems|\d+ problems?)(, \d+ warnings?)?\.\n$/);
      assertTellsNothing(stdout + stderr, text);
    });
  });
});
