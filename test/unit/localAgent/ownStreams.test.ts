import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type NatsStep, ownStreams } from '../../../localAgent/ownStreams.ts';

function step(subject: string, more: Partial<NatsStep> = {}): NatsStep {
  return {
    entry: {},
    subjects: subject.split(' '),
    delivery: 'jetStream',
    isPublisher: false,
    stream: undefined,
    ...more,
  };
}

/** As `NAME subject subject`. */
function streamsFor(...steps: NatsStep[]): string[] {
  return ownStreams(steps).map(({ name, subjects }) => [name, ...subjects].join(' '));
}

describe('the streams of a server for one run', () => {
  it('take all below the first part of each subject', () => {
    assert.deepEqual(streamsFor(step('ci.a.v1 ci.*.v2'), step('ci.b'), step('my-shop.>'), step('ci')), [
      'CI ci ci.>',
      'MY-SHOP my-shop.>',
    ]);
    assert.deepEqual(streamsFor(step('a$b.c'), step('x.$(later).y')), ['A_B a$b.>', 'X x.>']);
  });

  it('have the name that a step gives, and first parts in another case are one stream', () => {
    assert.deepEqual(streamsFor(step('ci.a'), step('ci.b', { stream: 'EVENTS' }), step('qa.c', { stream: 'EVENTS' })), [
      'EVENTS ci.> qa.>',
    ]);
    assert.deepEqual(streamsFor(step('ci.a'), step('Ci.a')), ['CI ci.> Ci.>']);
  });

  it('take a first part that only waits have together with the published one that is nearly the same', () => {
    const publish = step('shop.done.v1', { isPublisher: true });
    assert.deepEqual(streamsFor(step('shob.done.v1'), publish), ['SHOP shob.> shop.>']);
    assert.deepEqual(streamsFor({ ...publish, stream: 'EVENTS' }, step('shob.a')), ['EVENTS shop.> shob.>']);
    const others = [step('depot.a'), step('shob.a', { stream: 'SHOB' }), step('sho.a', { isPublisher: true })];
    assert.deepEqual(streamsFor(publish, ...others), ['SHOP shop.>', 'DEPOT depot.>', 'SHOB shob.>', 'SHO sho.>']);
  });

  it('take no more than the subjects themselves beside a request, which a stream would answer', () => {
    const request = step('ci.ask', { delivery: 'request' });
    assert.deepEqual(streamsFor(step('ci.a.v1 ci.b.*'), step('ci.b.c'), request), ['CI ci.a.v1 ci.b.*']);
    assert.deepEqual(streamsFor(request, step('ci.a', { delivery: 'core' })), []);
  });

  it('are not created for an invalid subject: its step says why', () => {
    assert.deepEqual(streamsFor(step('.a'), step('$SYS.a')), []);
  });

  for (const [what, steps, problem] of [
    ['a wildcard at first', [step('*.a')], /"\*\.a" begins with a wildcard/],
    ['a wildcard alone', [step('>')], /">" begins with a wildcard/],
    ['a variable at first', [step('$(a).b')], /"\$\(a\)\.b" begins with a wildcard or holds a variable/],
    ['a variable beside a request', [step('a.$(b)'), step('a.ask', { delivery: 'request' })], /"a\.\$\(b\)"/],
    ['two names', [step('a.b', { stream: 'A' }), step('a.c', { stream: 'B' })], /steps name A and B for a\.>/],
  ] as const) {
    it(`can't be determined with ${what}`, () => {
      assert.throws(
        () => ownStreams(steps),
        ({ message }: Error) =>
          (problem.test(message) && /--nats can't tell .* Name it: --stream 'NAME=/.test(message)) ||
          assert.fail(message),
      );
    });
  }
});
