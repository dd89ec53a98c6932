import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, randomUUID, sign, type KeyObject } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createLocalJWKSet, type JWK } from 'jose';
import { decide } from '../../bridge/callout/decide.ts';
import { readPolicy, type Policy } from '../../bridge/callout/policy.ts';
import { Refusal } from '../../bridge/callout/refusal.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { assertPlain } from '../support/hostile/harmless.ts';
import { cases, parameters } from '../support/hostile/hostile.ts';
import { anyCharacter, hostileText } from '../support/hostile/hostileText.ts';

const TOKENS = cases({ short: 1_000, long: 10_000 });
const POLICIES = cases({ short: 300, long: 10_000 });

const NOW = Date.UTC(2026, 10, 29, 12);
const SECONDS = NOW / 1_000;
const TENANT = '11111111-1111-4111-8111-111111111111';
const CLIENT = '22222222-2222-4222-8222-222222222222';
const ISSUERS = {
  azureDevOps: 'https://vstoken.example/33333333-3333-4333-8333-333333333333',
  entraV1: `https://sts.example/${TENANT}/`,
  entraV2: `https://login.example/${TENANT}/v2.0`,
};
type Kind = keyof typeof ISSUERS;
const KINDS = Object.keys(ISSUERS) as Kind[];
const AUDIENCE = 'api://nats';

const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 });
const otherRsa = generateKeyPairSync('rsa', { modulusLength: 2_048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });

/** The issuer's published keys. */
const PUBLISHED: readonly JWK[] = [
  { ...rsa.publicKey.export({ format: 'jwk' }), kid: 'rsa', use: 'sig' },
  { ...ec.publicKey.export({ format: 'jwk' }), kid: 'ec', use: 'sig', alg: 'ES256' },
];
const find = createLocalJWKSet({ keys: PUBLISHED as JWK[] });
const keys = {
  keyFor: (_: string, header: object) =>
    find(header as never).catch(() => {
      throw new Refusal('noKeys', 'the issuer has no key that fits the token');
    }),
};

const OF_SUBJECTS = [
  { sub: 'sc://contoso/*/nats', account: 'CI', publish: ['ci.{project}.>'], subscribe: ['_INBOX.{project}.>'] },
  { sub: 'p://contoso/shop/*', account: 'CI', publish: ['p.{pipeline}'], subscribe: [] },
];
const ofRoles = (inbox: string) => [
  { roles: ['nats.publish.ci'], account: 'CI', publish: ['ci.>'], subscribe: [`_INBOX.${inbox}.>`] },
  { groups: ['deployers'], roles: ['nats.deploy'], account: 'CI', publish: ['deploy.>'], subscribe: [] },
];
const POLICY = policyOf({
  issuers: KINDS.map((kind) => ({
    issuer: ISSUERS[kind],
    audience: AUDIENCE,
    rules: kind === 'azureDevOps' ? [...OF_SUBJECTS, ...ofRoles('app')] : ofRoles('{client}'),
  })),
});

function policyOf(content: object): Policy {
  const read = readPolicy(JSON.stringify(content), undefined);
  if ('problems' in read) throw new Error(read.problems.join('\n'));
  return read.policy;
}

/** Ways to sign a token; only the first two are valid. */
const SIGNERS: Readonly<Record<string, (text: string) => Buffer>> = {
  RS256: (text) => sign('sha256', Buffer.from(text), rsa.privateKey),
  ES256: (text) => sign('sha256', Buffer.from(text), { key: ec.privateKey, dsaEncoding: 'ieee-p1363' }),
  stranger: (text) => sign('sha256', Buffer.from(text), otherRsa.privateKey),
  HS256: (text) => createHmac('sha256', pem(rsa.publicKey)).update(text).digest(),
  der: (text) => sign('sha256', Buffer.from(text), ec.privateKey),
  none: () => Buffer.alloc(0),
  zeros: () => Buffer.alloc(64),
};

function pem(key: KeyObject): string {
  return key.export({ format: 'pem', type: 'spki' }).toString();
}

/** Mostly one of the good values, sometimes one of the bad ones. */
function mostly(good: readonly unknown[], ...bad: readonly fc.Arbitrary<unknown>[]): fc.Arbitrary<unknown> {
  return fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...good) },
    ...bad.map((arbitrary) => ({ weight: 1, arbitrary })),
  );
}

const anything = fc.oneof(
  hostileText,
  fc.constantFrom<unknown>(null, true, 0, -1, 1e308, '', [], {}, [[]], ['x'.repeat(3_000)], undefined),
  fc.jsonValue(),
);
const seconds = (...good: readonly number[]) =>
  mostly(
    good.map((by) => SECONDS + by),
    fc.constantFrom<unknown>(SECONDS, SECONDS - 1, SECONDS + 31, `${SECONDS + 60}`, 1e308, NaN),
    anything,
  );

const claims = fc.constantFrom(...KINDS).chain((kind) =>
  fc.record({
    iss: mostly(
      [ISSUERS[kind]],
      fc.constantFrom(...Object.values(ISSUERS), `${ISSUERS[kind]}/`, ISSUERS[kind].toUpperCase()),
      anything,
    ),
    aud: mostly(
      [AUDIENCE],
      fc.constantFrom<unknown>([AUDIENCE], ['x', AUDIENCE], 'api://NATS', [[AUDIENCE]], ['x']),
      anything,
    ),
    exp: seconds(1, 600, 1e6),
    nbf: seconds(-600, 0, 29),
    sub: mostly(
      kind === 'azureDevOps'
        ? ['sc://contoso/shop/nats', 'sc://contoso/my shop/nats', 'p://contoso/shop/build']
        : [randomUUID()],
      fc.constantFrom(
        'sc://contoso/*/nats',
        'sc://contoso/>/nats',
        'sc://contoso//nats',
        'sc://contoso/a/b/nats',
        'SC://contoso/shop/nats',
        'sc://contoso/shop/nats/',
        'sc://fabrikam/shop/nats',
      ),
      hostileText.map((text) => `sc://contoso/${text}/nats`),
      anything,
    ),
    tid: mostly(
      [TENANT, TENANT, TENANT, CLIENT],
      fc.constantFrom(CLIENT, TENANT.toUpperCase(), `${TENANT} `),
      anything,
    ),
    ver: mostly([kind === 'entraV1' ? '1.0' : '2.0'], fc.constantFrom('1.0', '2.0'), anything),
    oid: mostly([CLIENT], anything),
    [kind === 'entraV1' ? 'appid' : 'azp']: mostly([CLIENT], hostileText, anything),
    roles: mostly(
      [['nats.publish.ci'], ['nats.deploy'], []],
      fc.constantFrom<unknown>([['nats.publish.ci']], 'nats.publish.ci', ['NATS.PUBLISH.CI'], { 0: 'nats.publish.ci' }),
      anything,
    ),
    groups: mostly(
      [['deployers'], [], ['a', 'deployers']],
      fc.constantFrom<unknown>([['deployers']], 'deployers'),
      anything,
    ),
    ...{
      hasgroups: mostly([undefined], fc.constant(true)),
      _claim_names: mostly([undefined], fc.constant({ groups: 'src1' }), anything),
    },
    name: mostly([undefined, 'Zoë'], anything),
  }),
);

/** A token with its parts. Its members may have duplicates. */
const token = fc
  .record({
    claims,
    twice: fc.oneof(
      { weight: 8, arbitrary: fc.constant([]) },
      {
        weight: 1,
        arbitrary: fc.array(fc.tuple(fc.constantFrom('iss', 'aud', 'exp', 'sub', 'roles', 'tid'), anything), {
          maxLength: 2,
        }),
      },
    ),
    alg: mostly(['RS256', 'ES256'], fc.constantFrom('HS256', 'none', 'None', 'RS512', 'EdDSA', 'PS256', ''), anything),
    signer: fc.oneof(
      { weight: 8, arbitrary: fc.constant('as named') },
      { weight: 1, arbitrary: fc.constantFrom(...Object.keys(SIGNERS)) },
    ),
    kid: mostly(['as named'], fc.constantFrom<unknown>('rsa', 'ec', undefined, '', '../rsa'), anything),
    typ: mostly(['JWT', undefined, 'at+jwt'], fc.constantFrom('logout+jwt', 'dpop+jwt', 'jwt '), anything),
    header: mostly(
      [{}],
      fc.constantFrom<unknown>(
        { crit: ['exp'] },
        { crit: ['x'], x: 1 },
        { b64: false, crit: ['b64'] },
        { jku: 'https://evil.example' },
        { jwk: PUBLISHED[0] },
        { x5u: 'https://evil.example' },
      ),
    ),
    spoilt: fc.oneof(
      { weight: 12, arbitrary: fc.constant('') },
      { weight: 1, arbitrary: fc.constantFrom('cut', 'longer', 'dots', 'spaces', 'flip') },
    ),
  })
  .map(({ claims: given, twice, alg, signer, kid, typ, header, spoilt }) => {
    const named = kid === 'as named' ? (alg === 'ES256' ? 'ec' : 'rsa') : kid;
    const members = [...Object.entries(given), ...twice].filter(([, value]) => value !== undefined);
    const json = `{${members.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join()}}`;
    const head = JSON.stringify({
      alg,
      ...(named === undefined ? {} : { kid: named }),
      ...(typ === undefined ? {} : { typ }),
      ...(header as object),
    });
    const signed = [head, json].map((part) => Buffer.from(part.toWellFormed()).toString('base64url')).join('.');
    const by = signer === 'as named' ? String(alg) : signer;
    const whole = `${signed}.${(Object.hasOwn(SIGNERS, by) ? SIGNERS[by]! : SIGNERS['none']!)(signed).toString('base64url')}`;
    return { text: spoiltBy(spoilt, whole), head, json: json.toWellFormed(), by, isWhole: spoilt === '' };
  });

function spoiltBy(how: string, text: string): string {
  switch (how) {
    case 'cut':
      return text.slice(0, -3);
    case 'longer':
      return `${text}AAAA`;
    case 'dots':
      return `${text}.${text}`;
    case 'spaces':
      return ` ${text}\n`;
    case 'flip':
      return text.replace(/\.(.)/, (_, character: string) => `.${character === 'e' ? 'f' : 'e'}`);
    default:
      return text;
  }
}

/** The most that a token may get, by a second, independent implementation of the rules. */
function mostOf(
  head: string,
  json: string,
  by: string,
  isWhole: boolean,
): { readonly publish: RegExp; readonly exp: number } | undefined {
  const header = JSON.parse(head) as Record<string, unknown>;
  const said = JSON.parse(json) as Record<string, unknown>;
  const kid = { RS256: 'rsa', ES256: 'ec' }[by];
  if (!isWhole || kid === undefined || header['alg'] !== by || (header['kid'] !== undefined && header['kid'] !== kid))
    return undefined;
  const type = header['typ'] === undefined ? '"jwt"' : JSON.stringify(header['typ']).toLowerCase();
  if (type !== '"jwt"' && type !== '"at+jwt"') return undefined;
  const kind = KINDS.find((one) => ISSUERS[one] === said['iss']);
  const { aud, exp, nbf, sub } = said;
  if (kind === undefined || !(aud === AUDIENCE || (Array.isArray(aud) && aud.includes(AUDIENCE)))) return undefined;
  if (typeof exp !== 'number' || exp <= SECONDS || (nbf !== undefined && !(Number(nbf) <= SECONDS + 30)))
    return undefined;
  const has = (claim: string, value: string) => Array.isArray(said[claim]) && said[claim].includes(value);
  if (kind !== 'azureDevOps') {
    const client = said[kind === 'entraV1' ? 'appid' : 'azp'];
    if (
      String(said['tid']).toLowerCase() !== TENANT ||
      said['ver'] !== (kind === 'entraV1' ? '1.0' : '2.0') ||
      client !== CLIENT
    )
      return undefined;
  }
  if (kind === 'azureDevOps' && typeof sub === 'string') {
    const [scheme, , organization, project = '', last = '', ...more] = sub.split('/');
    if (organization === 'contoso' && more.length === 0 && project !== '' && last !== '') {
      if (scheme === 'sc:' && last === 'nats') return { publish: onlyOf(project, 'ci', '.>'), exp };
      if (scheme === 'p:' && project === 'shop') return { publish: onlyOf(last, 'p', ''), exp };
    }
  }
  if (has('roles', 'nats.publish.ci')) return { publish: /^ci\.>$/, exp };
  const isTold = said['hasgroups'] !== true && !Object.hasOwn(Object(said['_claim_names'] ?? {}) as object, 'groups');
  if (has('roles', 'nats.deploy') && has('groups', 'deployers') && isTold) return { publish: /^deploy\.>$/, exp };
  return undefined;
}

/** Matches a subject with this name in one token: as it is, or shortened with a digest. */
function onlyOf(name: string, before: string, after: string): RegExp {
  const own = /^[\w-]{1,64}$/.test(name) ? name : '[\\w-]{0,40}~[0-9a-f]{24}';
  return new RegExp(`^${before}\\.${own}${after.replaceAll('.', '\\.')}$`);
}

describe('A client', () => {
  it('gets no more than its token is worth', async (t) => {
    const counts = { granted: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(token, async ({ text, head, json, by, isWhole }) => {
        const decision = await decide(text, {
          policy: POLICY,
          keys,
          maxSessionMs: 3_600_000,
          accounts: undefined,
          now: NOW,
        });
        if (decision.kind === 'refused') {
          counts.refused++;
          assert.doesNotMatch(decision.refusal.message, /can not be judged/);
          for (const part of text.split('.')) assert.ok(part.length < 9 || !decision.refusal.message.includes(part));
          assertPlain(safeText(decision.refusal.message), 'a reason');
          return;
        }
        counts.granted++;
        const most = mostOf(head, json, by, isWhole);
        assert.ok(most, 'a token was granted that deserves nothing');
        const { publish, subscribe, expiresAt, user } = decision.grant;
        assert.ok(
          publish.every((subject) => most.publish.test(subject)),
          publish.join(' '),
        );
        assert.ok(
          subscribe.every((subject) => /^_INBOX\.[\w~-]+\.>$/.test(subject)),
          subscribe.join(' '),
        );
        assert.ok(expiresAt > SECONDS && expiresAt <= Math.min(most.exp, SECONDS + 3_600));
        assertPlain(user, 'the name of the user');
      }),
      parameters(TOKENS),
    );
    t.diagnostic(`${counts.granted} granted, ${counts.refused} refused`);
    assert.ok(counts.granted > TOKENS / 50 && counts.refused > TOKENS / 5, JSON.stringify(counts));
  });

  it('gets nothing for bytes that are not a token', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(hostileText, fc.string({ unit: anyCharacter }), fc.constant('.'.repeat(40_000))),
        async (text) => {
          const decision = await decide(text, {
            policy: POLICY,
            keys,
            maxSessionMs: 1_000,
            accounts: undefined,
            now: NOW,
          });
          assert.equal(decision.kind, 'refused');
        },
      ),
      parameters(POLICIES),
    );
  });
});

const text = fc.oneof(
  hostileText,
  fc.constantFrom(
    'sc://contoso/*/nats',
    'sc://*/*/*',
    '*',
    '>',
    'ci.{project}.>',
    'ci.x{project}',
    '{project}',
    '{__proto__}',
    'CI',
    '',
  ),
);
const list = (good: readonly string[]) => mostly([[], good], fc.array(text, { maxLength: 3 }), anything);
const policy = fc.record(
  {
    issuer: mostly(Object.values(ISSUERS), text, anything),
    audience: mostly([AUDIENCE], text, anything),
    rules: fc.array(
      fc.record(
        {
          sub: mostly(['sc://contoso/*/nats'], text, anything),
          roles: mostly([['nats.publish.ci']], fc.array(text, { maxLength: 3 }), anything),
          groups: mostly([['deployers']], fc.array(text, { maxLength: 3 }), anything),
          account: mostly(['CI', '{project}'], text, anything),
          publish: list(['ci.{project}.>', '$JS.API.STREAM.INFO.CI_{project}']),
          subscribe: list(['_INBOX.app.>', '_INBOX.{client}.>']),
          maxLifetime: mostly([1, 3_600], anything),
        },
        { requiredKeys: ['account', 'publish', 'subscribe'] },
      ),
      { maxLength: 2 },
    ),
  },
  { requiredKeys: ['issuer', 'audience', 'rules'] },
);

describe('Any policy', () => {
  it('is accepted with every rule tied to an identity, or its problems are reported', (t) => {
    let taken = 0;
    fc.assert(
      fc.property(
        fc.array(policy, { minLength: 1, maxLength: 2 }),
        fc.constantFrom('', ' ', '\n', ','),
        (issuers, noise) => {
          const read = readPolicy(`${JSON.stringify({ issuers })}${noise}`, undefined);
          if ('problems' in read) {
            assert.ok(read.problems.length > 0);
            for (const problem of read.problems) assertPlain(safeText(problem), 'a problem');
            return;
          }
          taken++;
          for (const { rules } of read.policy.issuers.values())
            for (const { sub, roles, groups, publish } of rules) {
              assert.ok(roles.length + groups.length > 0 || /[^/*]/.test((sub ?? '').replace(/^(sc|p):/, '')));
              for (const subject of publish) assert.match(subject, /^[^\s.]+(\.[^\s.]+)*$/u);
            }
        },
      ),
      parameters(POLICIES),
    );
    t.diagnostic(`${taken} of ${POLICIES} were taken.`);
    assert.ok(taken > POLICIES / 20 && taken < POLICIES * 0.9);
  });
});
