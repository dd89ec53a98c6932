import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createUser } from 'nkeys.js';
import { LEAST, problemsOf, read } from '../../../support/bridge/configurationFile.ts';

const KEY = createUser().getPublicKey();
const SCHEMA_FILE = { 'image.json': '{}' };

/** A configuration with one minimal route and these lines. */
function withRoute(...lines: readonly string[]): string {
  const least = ['name: deploy', 'subject: ci.v1', 'stream: CI', 'pipeline: { project: Shop, id: 42 }'];
  const given = lines.map((line) => line.split(':')[0]);
  const all = [...least.filter((line) => !given.includes(line.split(':')[0])), ...lines];
  return `${LEAST}runs:\n  - ${all.join('\n    ')}\n`;
}

function routeOf(yaml: string) {
  const { settings, warnings } = read(yaml, { files: SCHEMA_FILE });
  return { route: settings.runs[0]!, warnings };
}

describe('A route', () => {
  test('has the documented defaults', () => {
    const { route, warnings } = routeOf(withRoute());
    assert.deepEqual(warnings, []);
    assert.deepEqual(route, {
      ...{ name: 'deploy', mode: 'on', subjects: ['ci.v1'], stream: 'CI', contract: undefined },
      criteria: { match: undefined, correlationId: undefined, trustedKeys: undefined, maxEventAgeMs: 3_600_000 },
      publishers: [],
      pipeline: { project: 'Shop', id: 42, branch: undefined },
      parameters: [],
      eventId: { isMapped: false, pattern: /^[\w.:/@+=,-]{0,512}$/u },
      ...{ concurrency: 4, maxPerMinute: 60, pauseAfter: 10, maxDeliver: 8, startFrom: 'new', allowHooks: false },
    });
    assert.deepEqual(read(LEAST).settings.runs, []);
  });

  test('has every key that the documentation shows', () => {
    const { route } = routeOf(
      withRoute(
        'mode: preview',
        'subject: [ci.shop.a.v1, ci.shop.*.v1]',
        'contract: image',
        `trustedKeys: [${KEY} ci.shop.>]`,
        'publishers: [{ project: Shop, pipeline: web }]',
        "match: data.region == 'eu'",
        'maxEventAge: 7d',
        'pipeline: { project: Shop, id: 42, branch: refs/heads/main }',
        'parameters:',
        "  image: { value: data.image, pattern: '^[a-z0-9./:@-]+$' }",
        '  region: data.region',
        '  natsEventId: event.id',
        'startFrom: 2026-11-28T09:00:00Z',
        'allowHooks: true',
      ) + 'contracts: { image: image.json }\n',
    );
    assert.deepEqual(route.subjects, ['ci.shop.*.v1']);
    assert.deepEqual(
      route.criteria.trustedKeys?.map(({ publicKey, subjects }) => [publicKey, subjects]),
      [[KEY, 'ci.shop.>']],
    );
    assert.equal(route.criteria.match?.text, "data.region == 'eu'");
    assert.deepEqual(
      route.parameters.map(({ name, expression, pattern }) => [name, expression.text, String(pattern)]),
      [
        ['image', 'data.image', '/^[a-z0-9./:@-]+$/u'],
        ['region', 'data.region', '/^[\\w.:/@+=,-]{0,512}$/u'],
      ],
    );
    assert.equal(route.eventId.isMapped, true);
    assert.equal(route.startFrom, Date.parse('2026-11-28T09:00:00Z'));
    assert.deepEqual([route.mode, route.contract, route.pipeline.branch], ['preview', 'image', 'refs/heads/main']);
  });
});

describe('Problems of a route are reported with their place and fix', () => {
  const cases: Readonly<Record<string, [lines: readonly string[], problem: string]>> = {
    'an unknown key': [
      ['matches: data.ok'],
      '11:5: runs[0].matches: is not a key that the bridge knows. The nearest one is "match".',
    ],
    'an expression': [
      ["match: data.region = 'eu'"],
      '11:12: runs[0].match: "data.region = \'eu\'" is not a JMESPath expression: ',
    ],
    'a subject': [['subject: ci..v1'], '10:14: runs[0].subject: "ci..v1" has an empty part'],
    'one of several subjects': [['subject: [ok.v1, a b]'], 'runs[0].subject[1]: "a b" contains white space'],
    'an unknown contract': [
      ['contract: image'],
      '11:15: runs[0].contract: "image" is not one of contracts. There are none: add it to contracts.',
    ],
    'an event age above a week': [
      ['maxEventAge: 8d'],
      '11:18: runs[0].maxEventAge: "8d" is not a duration above 0 and up to 7 days.',
    ],
    'a key': [['trustedKeys: [UABC]'], '11:19: runs[0].trustedKeys[0]: "UABC" can\'t be used: '],
    'a parameter': [
      ['parameters: { image: "data.image[" }'],
      '11:26: runs[0].parameters.image: "data.image[" is not a JMESPath expression',
    ],
    "a parameter's value in the long form": [
      ['parameters: { image: { value: "nope(", pattern: "^(" } }'],
      'runs[0].parameters.image.value: "nope(" is not a JMESPath expression',
    ],
    'a pattern': [
      ['parameters: { image: { value: data.image, pattern: "^(" } }'],
      'runs[0].parameters.image.pattern: "^(" is not a regular expression: Unterminated group. Put a backslash before a bracket or brace that stands for itself.',
    ],
    'an unknown key of a parameter': [
      ['parameters: { image: { value: data.image, patern: x } }'],
      'runs[0].parameters.image.patern: is not a key that the bridge knows. The nearest one is "pattern".',
    ],
    "a natsEventId that isn't event.id": [
      ['parameters: { natsEventId: data.id }'],
      'runs[0].parameters.natsEventId: is not event.id, by which the bridge finds a run again. Write natsEventId: event.id.',
    ],
    "a natsEventId that isn't event.id, in the long form": [
      ['parameters: { natsEventId: { value: data.id } }'],
      'runs[0].parameters.natsEventId.value: is not event.id',
    ],
    'a branch': [['pipeline: { project: Shop, id: 1, branch: main }'], 'is not a full name of a branch'],
    'a start': [['startFrom: 2026-13-01T00:00:00Z'], '"2026-13-01T00:00:00Z" is not a time'],
    'too many runs per minute': [['maxPerMinute: 20000'], 'runs[0].maxPerMinute: is 20000, not at most 10000'],
    "the bridge's own stream": [['stream: BRIDGE_AUDIT'], '"BRIDGE_AUDIT" is written by the bridge itself'],
    'a mode': [['mode: dry'], 'runs[0].mode: is "dry", not one of on, preview, off'],
    'no pipeline': [['pipeline: {}'], 'runs[0].pipeline.id: is required'],
  };
  for (const [name, [lines, problem]] of Object.entries(cases)) {
    test(name, () => {
      const problems = problemsOf(withRoute(...lines));
      assert.ok(
        problems.some((line) => line.includes(problem)),
        `${problems.join('\n')}\nlacks\n${problem}`,
      );
    });
  }

  test('two routes with the same name', () => {
    const route = '{ name: deploy, subject: a.v1, stream: A, pipeline: { project: Shop, id: 1 } }';
    assert.deepEqual(problemsOf(`${LEAST}runs:\n  - ${route}\n  - ${route}\n`), [
      "8:13: runs[1].name: is the name of runs[0] (line 7), too. Rename the newer of the two: a route's consumer, pauses and history go by its name.",
    ]);
  });
});

describe('A warning is given for', () => {
  const warned = (...lines: readonly string[]) => routeOf(withRoute(...lines)).warnings.join('\n');
  test('a pattern without anchors', () => {
    const text = warned("parameters: { image: { value: data.image, pattern: '[a-z]+' } }");
    assert.match(text, /pattern: "\[a-z\]\+" also fits what only holds such a text somewhere\. Anchor it/);
  });
  test('publishers without proof', () => {
    assert.match(warned('publishers: [{ project: Shop }]'), /publishers: is what events say of themselves/);
    assert.equal(warned('publishers: [{ project: Shop }]', `trustedKeys: [${KEY}]`), '');
  });
  test('a string in double quotes, which name a field', () => {
    assert.match(
      warned(`match: 'data.list[?state == "in-progress"]'`),
      /runs\[0\]\.match: "in-progress" is read as the name of a field: strings go in single quotes, as in 'in-progress'/,
    );
  });
});
