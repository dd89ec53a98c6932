import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ReceivedEvent } from '../../../../shared/event/receivedEvent.ts';
import { eventIdSupport } from '../../../../bridge/runs/eventId.ts';
import { intentKey, Intents } from '../../../../bridge/runs/intents.ts';
import { LoopGuard } from '../../../../bridge/runs/loopGuard.ts';
import { RoutePauses } from '../../../../bridge/runs/pauses.ts';
import type { Parameters, PreviewOutcome } from '../../../../bridge/runs/pipelines.ts';
import { MemoryBucket } from '../../../support/bridge/memoryNats.ts';
import { parameter, routeOf } from '../../../support/bridge/routes.ts';
import { parameterProblems, type ParameterDeclaration } from '../../../support/azureDevOps/templateParameters.ts';
import { cloudEvent, messageOf } from '../../../support/event.ts';

const DAY_MS = 86_400_000;
const EVENT_ID: ParameterDeclaration = { name: 'natsEventId', type: 'string', default: '' };

test('the intent is the same for the same source and id, wherever the event is stored', () => {
  const keyOf = (attributes: Record<string, string>, sequence = 1, route = 'deploy') =>
    intentKey(
      route,
      new ReceivedEvent(messageOf('{}', cloudEvent(attributes), { place: { stream: 'CI', sequence } })),
      'created',
    );
  assert.equal(keyOf({}, 1), keyOf({}, 2));
  assert.match(keyOf({}), /^deploy\.[0-9a-f]{64}$/);
  const others = [keyOf({}), keyOf({ id: 'e-2' }), keyOf({ source: '/b' }), keyOf({}, 1, 'other')];
  assert.equal(new Set(others).size, 4);
});

test('the intent for a message that is not a CloudEvent belongs to its place in this stream', () => {
  const keyOf = (sequence: number, created: string) =>
    intentKey('deploy', new ReceivedEvent(messageOf('x', {}, { place: { stream: 'CI', sequence } })), created);
  assert.equal(new Set([keyOf(1, 'a'), keyOf(2, 'a'), keyOf(1, 'b'), keyOf(1, 'a')]).size, 3);
});

describe('The loop guard', () => {
  test('counts one more hop than the run that published the event, and looks that up once', async () => {
    const bucket = new MemoryBucket();
    const record = { intent: 'k', route: 'deploy', hops: 2, time: 0, isFound: false };
    await new Intents(bucket).createRun(17, record);
    const guard = new LoopGuard(new Intents(bucket), () => 0);
    bucket.calls = 0;
    assert.deepEqual([await guard.hopsOf({ azprunid: '17' }), await guard.hopsOf({ azprunid: '17' })], [3, 3]);
    assert.equal(bucket.calls, 1);
  });

  test('ignores what is not the id of a run', async () => {
    const guard = new LoopGuard(new Intents(new MemoryBucket()), () => 0);
    for (const azprunid of ['', '0', '-1', '1e3', '17 ', 'a.b', '9'.repeat(30)])
      assert.equal(await guard.hopsOf({ azprunid }), 0);
  });
});

test("a route's pause outlives the week after which the bucket drops entries", async () => {
  let now = Date.UTC(2026, 4, 31);
  const bucket = new MemoryBucket();
  const pauses = new RoutePauses(bucket, () => now);
  assert.equal(await pauses.pause('deploy', 'ann', 'a freeze'), true);
  assert.equal(await pauses.pause('deploy', 'bob', 'another'), false);
  const revision = () => bucket.values.get('pause.deploy')?.revision;
  const before = revision();
  now += DAY_MS - 1;
  assert.equal((await pauses.get('deploy'))?.by, 'ann');
  assert.equal(revision(), before);
  now += 1;
  await pauses.get('deploy');
  assert.notEqual(revision(), before);
  const { by, reason, time } = (await pauses.get('deploy'))!;
  assert.deepEqual([by, reason, time], ['ann', 'a freeze', '2026-05-31T00:00:00.000Z']);
  await pauses.resume('deploy');
  assert.equal(await pauses.get('deploy'), undefined);
});

describe('Whether a pipeline declares natsEventId', () => {
  /** @param takes whether the pipeline accepts parameters with these names and values */
  const support = (takes: (names: readonly string[], given: Parameters) => boolean | PreviewOutcome) =>
    eventIdSupport(routeOf({ parameters: [parameter('image', 'data.image'), parameter('other', 'data.other')] }), {
      preview: async (_: unknown, given: Parameters): Promise<PreviewOutcome> => {
        const outcome = takes(Object.keys(given), given);
        if (typeof outcome === 'object') return outcome;
        return outcome ? { kind: 'ok' } : { kind: 'refused', status: 400, message: 'no' };
      },
    });

  test('is found by previews', async () => {
    assert.equal((await support(() => true)).kind, 'declared');
    assert.equal((await support((names) => !names.includes('natsEventId'))).kind, 'undeclared');
    assert.equal((await support((names) => names.includes('natsEventId'))).kind, 'declared');
  });

  test('is found even if another parameter is required', async () => {
    assert.equal((await support((names) => names.includes('image'))).kind, 'declared');
    const without = (names: readonly string[]) => names.includes('image') && !names.includes('natsEventId');
    assert.equal((await support(without)).kind, 'undeclared');
  });

  test('is found even if the other one is a number', async () => {
    const isNumber = (_: readonly string[], { image }: Parameters) => Number.isFinite(Number(image ?? 'absent'));
    assert.equal((await support(isNumber)).kind, 'declared');
  });

  /** Judges parameters as the stand-in for Azure DevOps does. */
  const declares = (...declared: readonly ParameterDeclaration[]) =>
    support((_, given) => {
      const problems = parameterProblems([EVENT_ID, ...declared], given);
      const message = problems.map((one) => one.message).join('\\n');
      return problems.length === 0 ? true : { kind: 'refused', status: 400, message };
    });
  const others = (type: 'string' | 'boolean', values?: readonly string[]) =>
    declares({ name: 'image', type: 'string' }, { name: 'other', type, ...(values === undefined ? {} : { values }) });

  test('is found even if the other one is a boolean or has a list of values', async () => {
    assert.equal((await others('boolean')).kind, 'declared');
    assert.equal((await others('string', ['eu', 'us'])).kind, 'declared');
  });

  test('is found even if Azure DevOps does not name the missing parameter', async () => {
    const outcome = await support((names, given) => {
      const problems = parameterProblems(
        [EVENT_ID, { name: 'image', type: 'string' }, { name: 'other', type: 'string', values: ['eu'] }],
        given,
      );
      if (problems.length === 0) return true;
      const message = names.includes('image') ? problems.map((one) => one.message).join() : 'there were errors';
      return { kind: 'refused', status: 400, message };
    });
    assert.equal(outcome.kind, 'declared');
  });

  test("may depend on an event's values, which is not the pipeline's fault", async () => {
    const isColour = (_: readonly string[], { image }: Parameters): boolean | PreviewOutcome =>
      image === 'red' || { kind: 'refused', status: 400, message: "The 'image' parameter is not a colour." };
    const unknown = await support(isColour);
    assert.deepEqual(unknown, { kind: 'unknown', message: "The 'image' parameter is not a colour.", isOfValues: true });
    const strange = await declares({ name: 'region', type: 'string' });
    assert.equal(strange.kind === 'unknown' && strange.isOfValues, false);
  });

  test('is unknown if every preview is refused or postponed', async () => {
    assert.deepEqual(await support(() => false), { kind: 'unknown', message: 'no', isOfValues: false });
    const later: PreviewOutcome = { kind: 'postponed', message: '429' };
    assert.deepEqual(await support(() => later), later);
  });
});
