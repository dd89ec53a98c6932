import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TaskError } from '../../../../shared/errors.ts';
import type { WaitEnding, Waiting, WaitState } from '../../../../bridge/waits/record.ts';
import {
  BEARER,
  JOB_TOKEN,
  messageIn,
  PLAN,
  PROJECT,
  RULE,
  STORED_KEY,
  taskBody,
  taskHeaders,
  WAIT_KEY,
  WaitsReceiver,
} from '../../../support/bridge/waitsReceiver.ts';

const OTHER_ID = '00000000-0000-4000-8000-000000000000';
const TAKEN = { status: 200, body: { key: STORED_KEY } };
const ENDING = { verdict: 'matched', reason: '', outputs: {} } as unknown as WaitEnding;

/** The ended state of a wait, without what isn't kept of its call. */
function endedFrom(state: WaitState): WaitState {
  if (state.state !== 'waiting') throw new Error('it waits no more');
  const { token, ...call } = state.call;
  assert.notEqual(token, '');
  return { state: 'ended', call, endedAt: 1, ending: ENDING, sent: true };
}

/** Asserts that the call is refused, and stores nothing. */
async function refused(
  receiver: WaitsReceiver,
  status: number,
  message: RegExp,
  inputs: Readonly<Record<string, string>> = {},
  headers = taskHeaders(),
): Promise<void> {
  const answer = await receiver.execute(inputs, headers);
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  assert.match(messageIn(answer), message);
  assert.equal(receiver.bucket.values.size, 0);
}

describe('POST /v1/waits', () => {
  test('stores a wait, and answers with its key', async () => {
    const receiver = new WaitsReceiver();
    assert.deepEqual(await receiver.execute(), TAKEN);
    const state = await receiver.state();
    assert.ok(state?.state === 'waiting');
    const { digest, ...call } = state.call;
    assert.match(digest, /^[0-9a-f]{64}$/);
    assert.deepEqual(
      { ...state, call },
      {
        state: 'waiting',
        call: {
          planUrl: 'https://dev.azure.com/contoso/',
          timeline: '7b2e6a0f-3f7e-4bb8-9d57-0c0e9f1c7a22',
          token: JOB_TOKEN,
          inputs: { subject: 'ci.shop.done.v1' },
          owner: { project: PROJECT, pipeline: 'web', rule: 0 },
          planVersion: 13,
        },
        start: { stream: 'CI', after: 0, at: Date.parse('2026-11-28T09:00:00.123Z') },
        acceptedAt: receiver.now,
        deadline: receiver.now + 1_800_000,
      },
    );
    const { job, hub } = WAIT_KEY;
    const call2 = {
      planUrl: 'https://dev.azure.com/contoso/',
      hub,
      project: PROJECT,
      plan: PLAN,
      job,
      token: JOB_TOKEN,
    };
    assert.deepEqual(receiver.asked, [call2]);
    assert.deepEqual(receiver.counted, ['accepted']);
    const { instance, organization } = WAIT_KEY;
    const followed = {
      ...{ wait: STORED_KEY, organization, project: PROJECT, plan: PLAN, job, instance },
      ...{ pipeline: 'web', pipelineId: 42, callerRun: 4242 },
    };
    const [decision] = receiver.decisions;
    assert.deepEqual([decision!.name, decision!.decision, decision!.followed], ['rule-0', 'accepted', followed]);
  });

  test('starts where the inputs say, in the named stream or the one that captures the subject', async () => {
    const starts: [Record<string, string>, object][] = [
      [{ startFrom: 'now' }, { stream: 'CI', after: 41 }],
      [
        { startFrom: 'all', stream: 'CI' },
        { stream: 'CI', after: 0 },
      ],
      [
        { startFrom: 'sequence', startSequence: '40' },
        { stream: 'CI', after: 40 },
      ],
      [
        { startFrom: 'time', startTime: '2026-11-28T08:00Z' },
        { stream: 'CI', after: 0, at: Date.parse('2026-11-28T08:00Z') },
      ],
    ];
    for (const [inputs, start] of starts) {
      const receiver = new WaitsReceiver();
      assert.equal((await receiver.execute(inputs)).status, 200);
      const state = await receiver.state();
      assert.deepEqual(state?.state === 'waiting' && state.start, start);
    }
  });

  test('returns warnings', async () => {
    const answer = await new WaitsReceiver().execute({ match: 'data.list[?a == "b-c"]' });
    const { key, warnings } = answer.body as { key: string; warnings: string[] };
    assert.deepEqual([answer.status, key, warnings.length], [200, STORED_KEY, 1]);
  });

  test('never shows the job token, whatever the outcome', async () => {
    const receiver = new WaitsReceiver();
    const reason = `TF400813: ${JOB_TOKEN} isn't authorized`;
    receiver.plan = () => ({ kind: 'refused', reason });
    const answers = [await receiver.execute()];
    receiver.plan = () => ({ kind: 'unavailable', reason });
    answers.push(await receiver.execute());
    receiver.plan = new WaitsReceiver().plan;
    answers.push(
      await receiver.execute({ match: JOB_TOKEN }),
      await receiver.execute({ match: `a == '${JOB_TOKEN}'` }),
    );
    answers.push(await receiver.execute({}, taskHeaders({ 'x-job-token': `${JOB_TOKEN} x` })));
    receiver.bucket.failure = new Error(`broken by ${JOB_TOKEN}`);
    answers.push(await receiver.execute());
    receiver.bucket.failure = undefined;
    answers.push(await receiver.execute(), await receiver.execute(), await receiver.cancel());
    assert.deepEqual(
      answers.map(({ status }) => status),
      [403, 503, 400, 400, 400, 503, 200, 200, 200],
    );
    assert.ok(receiver.bucket.values.size === 1 && receiver.decisions.length > 5);
    const all = `${receiver.written}${JSON.stringify(answers)}`;
    assert.ok(!all.includes('canary') && !all.includes(Buffer.from('the-canary').toString('base64').slice(0, 10)));
    assert.ok(!all.includes(BEARER));
  });
});

describe('A wait unknown to this replica', () => {
  const isFree = () => true;

  test('is stored without reading the bucket first', async () => {
    const receiver = new WaitsReceiver();
    receiver.counts = { ...receiver.counts, isFree };
    assert.deepEqual(await receiver.execute(), TAKEN);
    assert.equal(receiver.bucket.calls, 1);
  });

  test('counts as repeated if another replica has just stored it, even if its rule is full now', async () => {
    const receiver = new WaitsReceiver();
    await receiver.execute();
    receiver.counts = { ...receiver.counts, isFree };
    assert.deepEqual(await receiver.execute({}, taskHeaders({ 'x-job-token': 'newer' })), TAKEN);
    receiver.counts = { ...receiver.counts, openOf: () => 200 };
    assert.deepEqual(await receiver.execute({}, taskHeaders({ 'x-job-token': 'newest' })), TAKEN);
    const state = await receiver.state();
    assert.ok(state?.state === 'waiting');
    assert.deepEqual([state.call.token, receiver.counted], ['newest', ['accepted', 'repeated', 'repeated']]);
    assert.equal((await receiver.execute({ match: 'data.ok' })).status, 409);
  });

  test('is refused for its problems', async () => {
    const receiver = new WaitsReceiver();
    receiver.counts = { ...receiver.counts, isFree };
    await refused(receiver, 400, /^timeout: /, { timeout: 'soon' });
    assert.match(
      receiver.log.lines.at(-1)!,
      /Refused: timeout: .*\. Called by run 4242 of the pipeline "web" \(42\) of the project 6ce954b1-\S+\.$/,
    );
  });

  test('is cancelled if another replica has just cancelled it', async () => {
    const receiver = new WaitsReceiver();
    await receiver.cancel();
    receiver.counts = { ...receiver.counts, isFree };
    assert.deepEqual(await receiver.execute(), TAKEN);
    assert.equal((await receiver.state())?.state, 'decided');
  });
});

describe('A repeated wait', () => {
  test('stays one wait, with the newest token', async () => {
    const receiver = new WaitsReceiver();
    await receiver.execute();
    const before = await receiver.state();
    receiver.now += 60_000;
    assert.deepEqual(await receiver.execute({}, taskHeaders({ 'x-job-token': 'newer' })), TAKEN);
    const after = await receiver.state();
    assert.ok(before?.state === 'waiting' && after?.state === 'waiting');
    assert.deepEqual(after, { ...before, call: { ...before.call, token: 'newer' } });
    assert.deepEqual(receiver.counted, ['accepted', 'repeated']);
    assert.equal(receiver.bucket.values.size, 1);
  });

  test('keeps its progress', async () => {
    const receiver = new WaitsReceiver();
    await receiver.execute();
    const progress = { sequence: 44, keys: ['a'], counts: { seen: 3 } } as never;
    await receiver.put((state) => ({ ...state, progress }) as WaitState);
    await receiver.execute();
    const state = await receiver.state();
    assert.deepEqual(state?.state === 'waiting' && state.progress, progress);
  });

  test('that was decided is reported with the newest token', async () => {
    const receiver = new WaitsReceiver();
    await receiver.execute();
    await receiver.put((state) => ({
      state: 'decided',
      call: (state as Waiting).call,
      decidedAt: 5,
      ending: ENDING,
    }));
    assert.deepEqual(await receiver.execute({}, taskHeaders({ 'x-job-token': 'newer' })), TAKEN);
    const state = await receiver.state();
    assert.ok(state?.state === 'decided');
    assert.deepEqual([state.call.token, state.decidedAt, state.ending], ['newer', 5, ENDING]);
  });

  test('that has ended is reported again, with this token', async () => {
    const receiver = new WaitsReceiver();
    await receiver.execute();
    await receiver.put(endedFrom);
    assert.deepEqual(await receiver.execute({}, taskHeaders({ 'x-job-token': 'newer' })), TAKEN);
    const state = await receiver.state();
    assert.ok(state?.state === 'decided');
    assert.deepEqual([state.call.token, state.ending], ['newer', ENDING]);
  });

  test('with another body or run start is a conflict (409), even after its end', async () => {
    const receiver = new WaitsReceiver();
    await receiver.execute();
    for (const isEnded of [false, true]) {
      if (isEnded) await receiver.put(endedFrom);
      const before = await receiver.state();
      const answers = [
        await receiver.execute({ match: 'data.ok' }),
        await receiver.execute({}, taskHeaders({ 'x-run-start': '2026-11-28T09:00:01Z' })),
      ];
      for (const answer of answers) {
        assert.equal(answer.status, 409);
        assert.match(messageIn(answer), /this task of this job is already waiting for something else/);
      }
      assert.deepEqual(await receiver.state(), before);
    }
  });

  test('at the same moment is one wait', async () => {
    const receiver = new WaitsReceiver();
    const answers = await Promise.all(Array.from({ length: 4 }, () => receiver.execute()));
    assert.deepEqual(answers, [TAKEN, TAKEN, TAKEN, TAKEN]);
    assert.deepEqual(receiver.counted.filter((outcome) => outcome === 'accepted').length, 1);
  });

  test('of another task in the job is a new wait', async () => {
    const receiver = new WaitsReceiver();
    await receiver.execute();
    assert.equal(
      (await receiver.execute({ match: 'data.ok' }, taskHeaders({ 'x-task-instance-id': OTHER_ID }))).status,
      200,
    );
    assert.equal(receiver.bucket.values.size, 2);
  });
});

describe('A wait is refused', () => {
  test('without a bearer token, before anything is asked or read', async () => {
    const receiver = new WaitsReceiver();
    for (const authorization of [undefined, 'Bearer wrong', `Basic ${BEARER}`, BEARER]) {
      const answer = await receiver.call('/v1/waits', taskHeaders({ authorization }), taskBody({ subject: 'x' }));
      assert.equal(answer.status, 401);
      assert.equal(messageIn(answer), 'The credentials are missing or wrong.');
    }
    assert.deepEqual([receiver.asked, receiver.bucket.calls], [[], 0]);
    assert.deepEqual(receiver.decisions.map(({ name, decision }) => [name, decision])[0], ['sign-in', 'refused']);
  });

  test('for an organization that is not on the list, which is never called', async () => {
    const receiver = new WaitsReceiver();
    await refused(
      receiver,
      403,
      /^X-Plan-Url: .* is not one of an organization that may wait\. Ask /,
      {},
      taskHeaders({ 'x-plan-url': 'https://dev.azure.com/evil/' }),
    );
    assert.deepEqual(receiver.asked, []);
    assert.doesNotMatch(receiver.log.lines.at(-1)!, /Called by/);
  });

  test('when Azure DevOps does not accept the token', async () => {
    const receiver = new WaitsReceiver();
    receiver.plan = () => ({ kind: 'refused', reason: 'status 401' });
    await refused(
      receiver,
      403,
      /^X-Job-Token: Azure DevOps does not let this token read the plan 0d6b5d2c-.*: status 401\. Send/,
    );
  });

  test("when the plan belongs to a different project than the header's", async () => {
    const receiver = new WaitsReceiver();
    const pipeline = { id: 42, name: 'web' };
    receiver.plan = () => ({ kind: 'ok', value: { project: OTHER_ID, pipeline, version: 13 } });
    await refused(receiver, 403, /^X-Project-Id: is 6ce954b1-.*, and the plan belongs to the project 00000000-/);
    assert.match(
      receiver.log.lines.at(-1)!,
      / The caller claims to be the plan 0d6b5d2c-\S+ of the project 6ce954b1-\S+\.$/,
    );
  });

  test('without a rule, whatever the headers claim', async () => {
    await refused(
      new WaitsReceiver({ rules: [] }),
      403,
      /no rule of the bridge lets the pipeline "web" \(42\) of the project 6ce954b1-/,
    );
    const receiver = new WaitsReceiver({
      rules: [
        { ...RULE, pipelines: ['api'] },
        { ...RULE, tokens: ['token-2'] },
      ],
    });
    await refused(
      receiver,
      403,
      /no rule of the bridge lets the pipeline "web" \(42\) of the project "Shop" \(6ce954b1-/,
    );
    assert.deepEqual(
      receiver.decisions.map(({ name, decision }) => [name, decision]),
      [['none', 'refused']],
    );
    const { pipeline, pipelineId, callerRun } = receiver.decisions[0]?.followed ?? {};
    assert.deepEqual([pipeline, pipelineId, callerRun], ['web', 42, 4242]);
    // What only the headers claim isn't a pipeline that was refused.
    const unproven = new WaitsReceiver();
    unproven.plan = () => ({ kind: 'refused', reason: 'status 401' });
    await refused(unproven, 403, /^X-Job-Token: /);
    assert.deepEqual(
      [unproven.decisions[0]?.followed?.['plan'], unproven.decisions[0]?.followed?.['pipeline']],
      [PLAN, undefined],
    );
  });

  test('on subjects that no rule covers', async () => {
    const rules = [{ ...RULE, projects: ['Other'], subjects: ['>'] }, RULE];
    for (const subject of ['ci.other.v1', 'ci.>', '>', 'ci.shop.a\nci.other.b'])
      await refused(
        new WaitsReceiver({ rules }),
        403,
        /^subject: no rule of the bridge lets this pipeline wait on .*\. It may wait on ci\.shop\.>\./,
        { subject },
      );
  });

  test('with all problems of its inputs', async () => {
    await refused(
      new WaitsReceiver(),
      400,
      /^2 problems with the inputs of this task\. \(1\) match: .*\(2\) count: "0"/,
      { match: '(', count: '0' },
    );
  });

  test('with all problems of its body and headers', async () => {
    const receiver = new WaitsReceiver();
    const answer = await receiver.call(
      '/v1/waits',
      taskHeaders({ 'x-run-start': 'soon' }),
      Buffer.from('{"subject": "x"}'),
    );
    assert.equal(answer.status, 400);
    assert.match(messageIn(answer), /\(1\) X-Run-Start: "soon" .*\(2\) the body does not begin with the line/);
    assert.deepEqual(receiver.asked, []);
  });

  test('when the stream is missing, ambiguous, or never holds the subject', async () => {
    const receiver = new WaitsReceiver({ rules: [{ ...RULE, subjects: ['>'] }] });
    receiver.streams['COPY'] = { subjects: ['ci.shop.>'], last: 0 };
    receiver.streams['WORK'] = { subjects: ['work.>'], last: 0, retention: 'workqueue' };
    receiver.streams['BRIDGE_DEAD'] = { subjects: ['bridge.dead.>'], last: 0 };
    await refused(receiver, 400, /^subject: "ci\.shop\.done\.v1" is in several streams: CI, COPY\. Name the one/);
    await refused(receiver, 400, /^subject: no stream captures "cd\.x"/, { subject: 'cd.x' });
    await refused(receiver, 400, /^stream: there is no stream "CD"/, { stream: 'CD' });
    await refused(receiver, 400, /^stream: "WORK" is a work queue/, { subject: 'work.x' });
    await refused(receiver, 400, /^subject: the stream "CI" captures ci\.> and never holds "cd\.x"/, {
      subject: 'cd.x',
      stream: 'CI',
    });
    await refused(receiver, 400, /^subject: "bridge\.dead\.x" is written by the bridge itself/, {
      subject: 'bridge.dead.x',
    });
  });

  test('when its rule has as many open waits as it allows', async () => {
    const receiver = new WaitsReceiver({
      rules: [
        { ...RULE, projects: ['x'] },
        { ...RULE, maxOpen: 3 },
      ],
    });
    receiver.counts = { ...receiver.counts, openOf: (rule) => (rule === 1 ? 3 : 0) };
    await refused(receiver, 403, /rule 1 of the bridge allows 3 open waits, and that many are open/);
    receiver.counts = { ...receiver.counts, openOf: () => 2 };
    assert.equal((await receiver.execute()).status, 200);
  });

  test('when too many without a correlation id are open on a subject', async () => {
    const receiver = new WaitsReceiver();
    const asked: string[] = [];
    receiver.counts = { ...receiver.counts, uncorrelated: (...of) => (asked.push(of.join(' ')), 1_000) };
    await refused(
      receiver,
      400,
      /^subject: 1000 waits without a correlationId are already open on "ci\.shop\.done\.v1", which is the most\. Set correlationId/,
    );
    assert.deepEqual(asked, ['CI ci.shop.done.v1']);
    assert.equal((await receiver.execute({ correlationId: 'r-1' })).status, 200);
  });

  test('but not if it is repeated, even if its rule is full', async () => {
    const receiver = new WaitsReceiver();
    await receiver.execute();
    receiver.counts = { ...receiver.counts, openOf: () => 200, uncorrelated: () => 1_000 };
    receiver.streams = {};
    assert.deepEqual(await receiver.execute(), TAKEN);
  });

  test('and is reported at most 120 times per minute', async () => {
    const receiver = new WaitsReceiver({ rules: [] });
    for (let call = 0; call < 300; call++) await receiver.execute();
    assert.equal(receiver.decisions.length, 120);
    receiver.now += 60_001;
    await receiver.execute();
    assert.match(receiver.decisions.at(-1)!.reason!, /\(and 180 more since the last one that was logged\)$/);
    assert.equal(receiver.counted.length, 301);
  });
});

describe('A rule that requires proof of the job', () => {
  const rules = [{ ...RULE, proof: 'job' as const }];

  test('accepts an ID token that proves the job', async () => {
    assert.equal((await new WaitsReceiver({ rules }).execute()).status, 200);
  });

  test('refuses one that does not, and a job without any', async () => {
    const receiver = new WaitsReceiver({ rules });
    receiver.idProblem = 'it belongs to another project';
    await refused(receiver, 403, /requires an ID token that proves which job this is: it belongs to another project/);
    receiver.idProblem = undefined;
    receiver.idToken = () => ({ kind: 'refused', reason: 'no token for this job' });
    await refused(receiver, 403, /no token for this job/);
    receiver.idToken = () => ({ kind: 'unavailable', reason: 'status 503' });
    await refused(receiver, 503, /issues no ID token for the job: status 503/);
  });
});

describe('A wait is neither accepted nor stored', () => {
  test("while NATS can't store it", async () => {
    const receiver = new WaitsReceiver();
    receiver.bucket.failure = new TaskError('Timeout', 'The key-value bucket "BRIDGE_WAITS" did not answer');
    await refused(
      receiver,
      503,
      /^The bridge can't do this now: The key-value bucket "BRIDGE_WAITS" did not answer\. Run/,
    );
    assert.deepEqual(receiver.counted, ['unavailable']);
    assert.match(receiver.log.lines.at(-1)!, /warning A task's call was not answered/);
  });

  test("while Azure DevOps can't return its plan", async () => {
    const receiver = new WaitsReceiver();
    receiver.plan = () => ({ kind: 'unavailable', reason: 'status 503' });
    await refused(receiver, 503, /Azure DevOps did not return the plan: status 503/);
    receiver.plan = () => Promise.reject(new Error('broken'));
    await refused(receiver, 503, /broken/);
  });

  test('when it takes too long, not even afterwards', async () => {
    const receiver = new WaitsReceiver({ answerMs: 20 });
    let answerPlan = (): void => {};
    const { plan } = new WaitsReceiver();
    receiver.plan = () => new Promise((resolve) => (answerPlan = () => resolve(plan())));
    await refused(receiver, 503, /: Azure DevOps \(the plan\) did not answer within 20 ms\. Run/);
    answerPlan();
    await new Promise((resolve) => setImmediate(resolve));
    receiver.plan = plan;
    let answerStream = (): void => {};
    receiver.beforeStream = () => new Promise((resolve) => (answerStream = resolve));
    await refused(receiver, 503, /: NATS \(the stream\) did not answer within 20 ms\. Run/);
    answerStream();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(receiver.bucket.values.size, 0);
  });

  test('when its existing record cannot be unsealed', async () => {
    const receiver = new WaitsReceiver();
    await receiver.bucket.create(STORED_KEY, Buffer.from('{}'));
    const answer = await receiver.execute();
    assert.equal(answer.status, 503);
    assert.match(messageIn(answer), /the record wait\.[0-9a-f]{64} doesn't open with any of waits\.sealingKeyFiles/);
    assert.equal(receiver.unreadable, 1);
    assert.deepEqual(receiver.bucket.texts, { [STORED_KEY]: '{}' });
  });
});

test('GET /v1/whoami names the bridge and its version to a caller with a token', async () => {
  const receiver = new WaitsReceiver();
  assert.deepEqual(await receiver.call('/v1/whoami', { authorization: `bearer ${BEARER}` }), {
    status: 200,
    body: { name: 'nats-event-bridge', version: '1.2.3' },
  });
  assert.equal((await receiver.call('/v1/whoami', {})).status, 401);
});
