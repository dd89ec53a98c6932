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

/** The streams for these steps, each as `NAME subject subject`. */
function streamsFor(...steps: NatsStep[]): string[] {
  return ownStreams(steps).map(({ name, subjects }) => [name, ...subjects].join(' '));
}

describe('the streams of a server for one run', () => {
  it('capture everything below the first token of each subject', () => {
    assert.deepEqual(streamsFor(step('ci.a.v1 ci.*.v2'), step('ci.b'), step('my-shop.>'), step('ci')), [
      'CI ci ci.>',
      'MY-SHOP my-shop.>',
    ]);
    assert.deepEqual(streamsFor(step('a$b.c'), step('x.$(later).y')), ['A_B a$b.>', 'X x.>']);
  });

  it('have the name that a step gives; first tokens that differ only by case share a stream', () => {
    assert.deepEqual(streamsFor(step('ci.a'), step('ci.b', { stream: 'EVENTS' }), step('qa.c', { stream: 'EVENTS' })), [
      'EVENTS ci.> qa.>',
    ]);
    assert.deepEqual(streamsFor(step('ci.a'), step('Ci.a')), ['CI ci.> Ci.>']);
  });

  it("capture a misspelt first token of a wait together with the published one that it's close to", () => {
    const publish = step('shop.done.v1', { isPublisher: true });
    assert.deepEqual(streamsFor(step('shob.done.v1'), publish), ['SHOP shob.> shop.>']);
    assert.deepEqual(streamsFor({ ...publish, stream: 'EVENTS' }, step('shob.a')), ['EVENTS shop.> shob.>']);
    const others = [step('depot.a'), step('shob.a', { stream: 'SHOB' }), step('sho.a', { isPublisher: true })];
    assert.deepEqual(streamsFor(publish, ...others), ['SHOP shop.>', 'DEPOT depot.>', 'SHOB shob.>', 'SHO sho.>']);
  });

  it('capture only the subjects themselves if there is a request, which a stream would answer', () => {
    const request = step('ci.ask', { delivery: 'request' });
    assert.deepEqual(streamsFor(step('ci.a.v1 ci.b.*'), step('ci.b.c'), request), ['CI ci.a.v1 ci.b.*']);
    assert.deepEqual(streamsFor(request, step('ci.a', { delivery: 'core' })), []);
  });

  it('are not created for an invalid subject, which its step reports', () => {
    assert.deepEqual(streamsFor(step('.a'), step('$SYS.a')), []);
  });

  for (const [what, steps, problem] of [
    ['a leading wildcard', [step('*.a')], /"\*\.a" begins with a wildcard/],
    ['a wildcard alone', [step('>')], /">" begins with a wildcard/],
    ['a leading variable', [step('$(a).b')], /"\$\(a\)\.b" begins with a wildcard or holds a variable/],
    ['a variable next to a request', [step('a.$(b)'), step('a.ask', { delivery: 'request' })], /"a\.\$\(b\)"/],
    ['two stream names', [step('a.b', { stream: 'A' }), step('a.c', { stream: 'B' })], /steps name A and B for a\.>/],
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
