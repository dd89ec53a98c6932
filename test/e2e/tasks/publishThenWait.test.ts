import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { pipelineTime } from '../../../localAgent/index.ts';
import {
  assertFailed,
  assertOutputs,
  assertSucceeded,
  beginWait,
  eventsOf,
  headerFields,
  jsonFile,
  outputsOf,
  publish,
  sourcesWith,
  underEachNode,
  wait,
} from '../../support/agent/scenario.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const UTC_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
/** What the local agent's variables say of the run. */
const OWNER = {
  azporganization: 'contoso',
  azpproject: 'Orders',
  azppipeline: 'orders-ci',
  azprunid: '4711',
  azprequester: 'Ada Lovelace',
  azpcommit: '4b825dc642cb6eb9a060e54bf8d69288fbee4904',
};

function sha256(content: string): string {
  return createHash('sha256').update(content).digest('hex');
}

underEachNode('Publish and wait', (scene, it) => {
  it("a build publishes, a deployment waits, and a later step uses the event's data", async () => {
    const stream = await scene.stream();
    const subject = stream.subject('image-ready.v1');
    const schema = { properties: { image: { type: 'string' } }, required: ['image'] };
    const agent = scene.agent({
      sources: sourcesWith({ 'image.schema.json': schema }),
      variables: { TRACEPARENT: `00-${TRACE}-00f067aa0ba902b7-01`, 'System.StageName': 'Ship' },
    });
    const variables = (names: readonly string[]) => names.map((name) => agent.variable(`System.${name}`) ?? '');
    const payload = '{ "image": "shop/web:42", "size": 1.50 }';
    const published = await publish(agent, {
      subject,
      payload,
      schemaFile: 'image.schema.json',
      eventType: 'com.example.image-ready',
      correlationId: 'release 42',
      headers: 'X-Team: shop\nX-Team: web: front',
      stream: stream.name,
    });
    assertSucceeded(published);
    const [planId = '', jobId = '', taskInstanceId = ''] = variables(['PlanId', 'JobId', 'TaskInstanceId']);
    const messageId = `${planId}.1.${jobId}.1.${taskInstanceId}`;
    const schemaDigest = `sha256:${sha256(JSON.stringify({ 'image.schema.json': schema }))}`;
    const { traceparent = '', receiptFile = '' } = outputsOf(published);
    assert.match(traceparent, new RegExp(`^00-${TRACE}-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$`));

    // The outputs and the receipt of the publishing step.
    assertOutputs(published, {
      messageId,
      subject,
      correlationId: 'release 42',
      traceparent,
      stream: stream.name,
      sequence: '1',
      duplicate: 'false',
      count: '1',
      schemaDigest,
      replyFile: '',
      receiptFile,
    });
    const source = 'https://dev.azure.com/contoso/Orders/_build?definitionId=12';
    const step = { stage: 'Ship', job: 'Job', planId, jobId };
    const servers = [`127.0.0.1:${scene.server.port}`];
    const publishReceipt = jsonFile(published, 'receiptFile') as { when: Record<string, string> };
    const { sentAt = '', endedAt = '' } = publishReceipt.when;
    assert.match(sentAt, UTC_TIME);
    assert.ok(endedAt >= sentAt);
    assert.deepEqual(publishReceipt, {
      receiptVersion: 1,
      task: 'PublishNatsEvent',
      who: { ...OWNER, ...step, step: 'PublishNatsEvent', taskInstanceId },
      where: { servers, delivery: 'jetStream', subject, stream: stream.name, sequence: 1 },
      what: {
        messageId,
        envelope: 'binary',
        source,
        type: 'com.example.image-ready',
        correlationId: 'release 42',
        traceparent,
        events: 1,
        payloadBytes: payload.length,
        payloadSha256: sha256(payload),
        schemaFile: agent.folders.sources + '/image.schema.json',
        schemaDigest,
        signedBy: null,
      },
      when: { sentAt, endedAt },
      result: {
        published: true,
        duplicate: false,
        confirmed: 1,
        duplicates: 0,
        failed: 0,
        unconfirmed: [],
        error: null,
      },
    });

    // The message as any NATS client reads it.
    const message = await stream.stored(1);
    const time = message.header.get('ce-time');
    assert.ok(sentAt <= time && time <= endedAt, time);
    assert.equal(Buffer.from(message.data).toString(), payload);
    assert.deepEqual(headerFields(message.header), [
      ['Nats-Msg-Id', messageId],
      ['ce-specversion', '1.0'],
      ['ce-id', messageId],
      ['ce-time', time],
      ['ce-source', source],
      ['ce-type', 'com.example.image-ready'],
      ['ce-datacontenttype', 'application/json'],
      ...Object.entries(OWNER).map(([name, value]) => [`ce-${name}`, value.replace(' ', '%20')]),
      ['ce-correlationid', 'release%2042'],
      ['ce-traceparent', traceparent],
      ['traceparent', traceparent],
      ['X-Team', 'shop'],
      ['X-Team', 'web: front'],
      ['Nats-Expected-Stream', stream.name],
    ]);

    const waited = await wait(agent, {
      subject,
      schemaFile: 'image.schema.json',
      match: "starts_with(data.image, 'shop/')",
      correlationId: 'release 42',
      outputs:
        'image=data.image\nteams=headers."x-team"\nsize=data.size\nnothing=data.absent\nby=event.azprequester\ntypo=data.imag',
    });
    assertSucceeded(waited);

    // The outputs, the files and the receipt of the waiting step.
    const { receivedAt = '', eventFile = '', receiptFile: waitReceiptFile = '' } = outputsOf(waited);
    const publishedAt = new Date(message.time).toISOString();
    assert.match(receivedAt, UTC_TIME);
    assertOutputs(waited, {
      verdict: 'matched',
      subject,
      messageId,
      stream: stream.name,
      sequence: '1',
      correlationId: 'release 42',
      traceparent,
      publishedAt,
      receivedAt,
      latencyMs: String(Date.parse(receivedAt) - Date.parse(publishedAt)),
      count: '1',
      missing: '0',
      eventFile,
      receiptFile: waitReceiptFile,
      'event.image': 'shop/web:42',
      'event.teams': '["shop","web: front"]',
      'event.size': '1.5',
      'event.nothing': '',
      'event.by': 'Ada Lovelace',
      'event.typo': '',
    });
    assert.match(waited.logText, /outputs: event\.nothing is empty, since the event has nothing there\./);
    assert.deepEqual(waited.warnings, [
      'outputs: event.typo is empty: the event has no data.imag. Did you mean data.image?',
    ]);
    for (const file of [receiptFile, eventFile, waitReceiptFile]) assert.ok(file.startsWith(agent.folders.temp), file);
    const [event, ...others] = eventsOf(waited);
    assert.deepEqual(others, []);
    assert.deepEqual(event, {
      subject,
      data: { image: 'shop/web:42', size: 1.5 },
      dataBase64: null,
      headers: Object.fromEntries([...message.header].map(([name, values]) => [name.toLowerCase(), values])),
      event: {
        specversion: '1.0',
        id: messageId,
        time,
        source,
        type: 'com.example.image-ready',
        datacontenttype: 'application/json',
        ...OWNER,
        correlationid: 'release 42',
        traceparent,
      },
      stream: stream.name,
      sequence: 1,
      time: publishedAt,
    });
    const { who, when, ...waitReceipt } = jsonFile(waited, 'receiptFile') as {
      who: { taskInstanceId: string };
      when: { startedAt: string; endedAt: string; deadline: string };
    };
    assert.deepEqual(who, { ...OWNER, ...step, step: 'WaitForNatsEvent', taskInstanceId: who.taskInstanceId });
    assert.equal(Date.parse(when.deadline) - Date.parse(when.startedAt), 30_000);
    assert.ok(when.startedAt < receivedAt && receivedAt <= when.endedAt);
    assert.deepEqual(waitReceipt, {
      receiptVersion: 1,
      task: 'WaitForNatsEvent',
      where: { servers, delivery: 'jetStream', subjects: [subject], stream: stream.name },
      what: {
        match: "starts_with(data.image, 'shop/')",
        failWhen: null,
        correlationId: 'release 42',
        schemaFile: agent.folders.sources + '/image.schema.json',
        schemaDigest,
        events: [
          {
            decision: 'matched',
            messageId,
            subject,
            stream: stream.name,
            sequence: 1,
            source,
            correlationId: 'release 42',
            traceparent,
            publishedAt,
            receivedAt,
            signedBy: null,
          },
        ],
      },
      result: {
        verdict: 'matched',
        error: null,
        missing: 0,
        counts: {
          seen: 1,
          foreign: 0,
          untrusted: 0,
          expired: 0,
          invalid: 0,
          notMatching: 0,
          repeated: 0,
          negative: 0,
          matched: 1,
        },
        linkBreaks: { count: 0, totalMs: 0 },
      },
    });

    const deployed = await agent.runScript({
      script: 'echo "Deploying $IMAGE because of $(wait.verdict) $(publish.sequence)"',
      env: { IMAGE: '$(wait.event.image)' },
    });
    assert.ok(deployed.logText.includes('Deploying shop/web:42 because of matched 1'), deployed.logText);
  });

  it('a wait that began first ends when the event is published', async () => {
    const stream = await scene.stream();
    const { ended } = await beginWait(scene.agent(), { subject: stream.subject('built') });
    const published = await publish(scene.agent(), { subject: stream.subject('built'), payload: 'done' });
    const waited = await ended;
    assertSucceeded(waited);
    assert.equal(waited.outputs.get('messageId'), published.outputs.get('messageId'));
    assert.ok(Number(waited.outputs.get('latencyMs')) < 1_000, waited.logText);
    assert.equal(await stream.consumers(), 0, 'a consumer was left behind');
  });

  it('an event published after the run began, but before the wait step, is found; one from before the run is not', async () => {
    const stream = await scene.stream();
    const agent = scene.agent();
    await stream.put('built', 'while the run was going on');
    const run = wait(agent, { subject: stream.subject('built') });
    const nextRun = wait(
      scene.agent({ variables: { 'System.PipelineStartTime': pipelineTime(new Date(Date.now() + 60_000)) } }),
      { subject: stream.subject('built'), timeout: '4s' },
    );
    assert.equal((await run).outputs.get('sequence'), '1');
    assertFailed(await nextRun, 'Timeout', 'No event came at all.');
  });

  it("a later attempt of a job warns that it also sees the first one's events", async () => {
    const stream = await scene.stream();
    await stream.put('built');
    const step = await wait(scene.agent({ variables: { 'System.JobAttempt': '2' } }), {
      subject: stream.subject('built'),
    });
    assertSucceeded(step);
    assert.match(step.logText, /This is a later attempt.* Set correlationId/);
  });

  it('the sequence of a publish step is the bookmark that a wait continues from', async () => {
    const stream = await scene.stream();
    const agent = scene.agent();
    await stream.put('answer', 'too early');
    await publish(agent, { subject: stream.subject('question'), payload: 'May we?' });
    const { ended } = await beginWait(agent, {
      subject: stream.subject('>'),
      startFrom: 'sequence',
      startSequence: '$(publish.sequence)',
    });
    await stream.put('answer', 'yes');
    const step = await ended;
    assertSucceeded(step);
    assert.deepEqual(
      eventsOf(step).map(({ sequence, data }) => [sequence, data]),
      [[3, 'yes']],
    );
    assertFailed(
      await wait(agent, { subject: stream.subject('>'), startFrom: 'sequence', startSequence: '4' }),
      'InvalidInput',
      `the stream "${stream.name}" ends at sequence 3, before 4`,
    );
  });

  it('core NATS delivers to a running wait, and keeps nothing', async () => {
    const subject = 'core.built.v1';
    const agent = scene.agent();
    const { ended } = await beginWait(agent, { subject: 'core.*.v1', delivery: 'core', startFrom: 'now' });
    const published = await publish(scene.agent(), { subject, payload: '{"n":1}', delivery: 'core' });
    assertSucceeded(published);
    const { messageId = '', receiptFile = '', correlationId = '', traceparent = '' } = outputsOf(published);
    assertOutputs(published, {
      messageId,
      subject,
      correlationId,
      traceparent,
      stream: '',
      sequence: '',
      duplicate: 'false',
      count: '1',
      schemaDigest: '',
      replyFile: '',
      receiptFile,
    });
    assert.match(correlationId, /^[0-9a-f-]{36}$/);
    assert.match(traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);

    const waited = await ended;
    assertSucceeded(waited);
    const outputs = outputsOf(waited);
    const [event] = eventsOf(waited);
    assert.deepEqual(
      [outputs['verdict'], outputs['subject'], outputs['messageId'], outputs['stream'], outputs['sequence']],
      ['matched', subject, messageId, '', ''],
    );
    assert.equal(outputs['publishedAt'], event?.event['time']);
    assert.deepEqual([event?.data, event?.stream, event?.sequence], [{ n: 1 }, '', 0]);

    const tooLate = await wait(agent, { subject, delivery: 'core', timeout: '4s' });
    assertFailed(
      tooLate,
      'Timeout',
      'No event came at all. Check that',
      'while this step waited: core NATS keeps no events.',
    );
  });

  it("a step that the agent retries doesn't publish twice: the second time is a duplicate", async () => {
    // The stream takes the event but does not say so, so that the first attempt fails after it was stored.
    const stream = await scene.stream({ no_ack: true });
    const agent = scene.agent({ waits: { retry: () => 100 } });
    const step = await publish(
      agent,
      { subject: stream.subject('built'), payload: 'once', timeout: '4s' },
      {
        retryCountOnTaskFailure: 1,
        onLine: ({ text }) => {
          if (text.includes('RetryHelper')) void scene.manager.streams.update(stream.name, { no_ack: false });
        },
      },
    );
    assertSucceeded(step);
    assert.equal(step.attempts, 2);
    assert.match(step.logText, /Timeout: The event on "\S+" was not confirmed\..*A retry of the step/);
    assertDuplicate(step, stream.name, '1');
    assert.equal(await stream.lastSequence(), 1);
  });

  it("the same step of the same run is a duplicate; a rerun of the job by a person isn't", async () => {
    const stream = await scene.stream();
    const ids = { 'System.PlanId': 'plan', 'System.JobId': 'job', 'System.TaskInstanceId': 'task' };
    const run = (variables: Record<string, string>) =>
      publish(scene.agent({ variables: { ...ids, ...variables } }), {
        subject: stream.subject('built'),
        payload: '1',
      });
    const first = await run({});
    assertSucceeded(first);
    assert.equal(first.outputs.get('messageId'), 'plan.1.job.1.task');
    assert.equal(first.outputs.get('duplicate'), 'false');
    assert.deepEqual(first.warnings, []);
    const again = await run({});
    assertSucceeded(again);
    assertDuplicate(again, stream.name, '1');
    for (const attempt of ['System.JobAttempt', 'System.StageAttempt']) {
      assert.equal((await run({ [attempt]: '2' })).outputs.get('duplicate'), 'false', attempt);
    }
    assert.equal(await stream.lastSequence(), 3);
  });
});

function assertDuplicate(step: Awaited<ReturnType<typeof publish>>, stream: string, sequence: string): void {
  const { duplicate, count, messageId, ...outputs } = outputsOf(step);
  assert.deepEqual(
    [duplicate, outputs['stream'], outputs['sequence'], count],
    ['true', stream, sequence, '1'],
    step.logText,
  );
  const warning = `The stream ${stream} already holds an event with the message id "${messageId}", at sequence ${sequence}`;
  assert.ok(
    step.warnings.some((text) => text.startsWith(warning)),
    step.warnings.join('\n'),
  );
}
