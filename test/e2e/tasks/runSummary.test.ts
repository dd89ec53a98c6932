import assert from 'node:assert/strict';
import { RunService } from '../../../localAgent/runService.ts';
import { TunnelProxy } from '../../support/agent/tokenEndpoint.ts';
import type { LocalAgentOptions, StepRun } from '../../../localAgent/index.ts';
import {
  assertFailed,
  assertSucceeded,
  beginWait,
  publish,
  underEachNode,
  wait,
} from '../../support/agent/scenario.ts';
import { cloudEvent } from '../../support/event.ts';

const TOKEN = 'token-of-the-job-0123456789abcdef';
/** How much longer than without it a summary may make a step. */
const LIMIT_MS = 2_000;

underEachNode('The summary of a step in its run', (scene, it) => {
  /** An agent in a run that the service keeps. `variables` replace those of the run. */
  function agentOf(service: RunService, { variables, ...options }: LocalAgentOptions = {}) {
    return scene.agent({
      debug: true,
      secrets: { 'System.AccessToken': TOKEN },
      variables: { ...service.variables, ...variables },
      ...options,
    });
  }

  /** The token of the job is nowhere: not in what was printed, before the agent masks it, and not in a summary. */
  function assertNoToken(step: StepRun, service: RunService): void {
    for (const text of [step.rawStdout, step.rawStderr, ...step.outputs.values(), ...service.summaries])
      assert.ok(!text.includes(TOKEN), text);
  }

  it("is attached to the step's record with the job's token", async () => {
    await using service = await RunService.start();
    const stream = await scene.stream();
    const agent = agentOf(service);
    const subject = stream.subject('image-ready.v1');
    const steps = [
      await publish(agent, { subject, payload: '{"image":"shop:1"}' }, { displayName: 'Announce: image / 50%' }),
      await wait(agent, { subject }, { displayName: 'Wait for it' }),
    ];
    steps.forEach(assertSucceeded);
    assert.equal(service.requests.length, 2);
    const project = '0f6dd2c7-3a1d-4a9e-8b5e-5f0c5c1d9a10';
    const [plan, timeline] = ['PlanId', 'TimelineId'].map((name) => agent.variable(`System.${name}`) ?? '');
    for (const [index, { method, url, headers, body }] of service.requests.entries()) {
      const [path, query] = url.split('?');
      const [prefix, record, suffix] = /^(.*\/records\/)([0-9a-f-]{36})(\/.*)$/.exec(path ?? '')?.slice(1) ?? [];
      assert.equal(method, 'PUT');
      assert.equal(
        prefix,
        `/contoso/${project}/_apis/distributedtask/hubs/build/plans/${plan}/timelines/${timeline}/records/`,
      );
      if (index === 1) assert.equal(record, agent.variable('System.TaskInstanceId'));
      assert.equal(
        suffix,
        `/attachments/DistributedTask.Core.Summary/${['NATS%20Announce%20image%2050', 'NATS%20Wait%20for%20it'][index]}`,
      );
      assert.equal(query, 'api-version=7.1-preview.1');
      assert.equal(headers.authorization, `Bearer ${TOKEN}`);
      assert.equal(headers['content-type'], 'application/octet-stream');
      assert.equal(headers['content-length'], String(Buffer.byteLength(body)));
    }
    const [published = '', waited = ''] = service.summaries;
    assert.ok(published.startsWith('## ✅ Published: stored in the stream\n'), published);
    assert.ok(waited.startsWith('## ✅ Matched: the wait succeeded\n'), waited);
    const owner = '`contoso / Orders / orders-ci / run 4711 / Ada Lovelace`';
    for (const summary of [published, waited])
      for (const text of [`| Subject | \`${subject}\` |`, `| Sequence | \`${stream.name}\` 1 |`, owner])
        assert.ok(summary.includes(text), `${text} is not in ${summary}`);
    for (const step of steps) assertNoToken(step, service);
  });

  it('reports every failure, too, and shows a deceptive event as plain text', async () => {
    await using service = await RunService.start();
    const stream = await scene.stream();
    const evil = '<img src=x onerror=alert(1)>%7C%60%60%60](javascript:alert(1))![](http://evil.example/x)';
    await stream.put('tested', { ok: false, text: `${evil}\n# big` }, cloudEvent({ id: evil, azpproject: evil }));
    const step = await wait(agentOf(service), {
      subject: stream.subject('*'),
      match: 'data.text == `"|"`',
      timeout: '4s',
    });
    assertFailed(step, 'Timeout');
    const negative = await wait(agentOf(service), { subject: stream.subject('*'), failWhen: '!(data.ok)' });
    assertFailed(negative, 'Negative');
    const unsent = await publish(agentOf(service), { subject: 'nowhere', payload: '{}' });
    assertFailed(unsent, 'NoStream');
    const titles = service.summaries.map((summary) => summary.slice(0, summary.indexOf(':')));
    assert.deepEqual(titles, [
      '## ⌛ Timed out',
      '## ❌ Negative',
      '## ❌ Not published (NoStream)\n\n**What happened',
    ]);
    for (const summary of service.summaries) {
      const outsideOfCode = summary.replace(/(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)/g, '');
      assert.doesNotMatch(outsideOfCode, /<|\]\(|!\[|:\/\/|^# /m);
    }
  });

  it("goes through the agent's proxy", async () => {
    await using service = await RunService.start();
    await using proxy = await TunnelProxy.start(Number(service.host.split(':')[1]), 'agent:proxy-password-4711');
    const stream = await scene.stream();
    const variables = {
      'System.CollectionUri': `http://localhost:1/contoso/`,
      'Agent.ProxyUrl': proxy.url,
      'Agent.ProxyUsername': 'agent',
      'Agent.ProxyPassword': 'proxy-password-4711',
    };
    const step = await publish(agentOf(service, { variables }), { subject: stream.subject('built'), payload: '{}' });
    assertSucceeded(step);
    assert.deepEqual(proxy.targets, ['localhost:1']);
    assert.equal(service.requests.length, 1);
    assert.equal(service.requests[0]?.headers.host, 'localhost:1');
  });

  it('is not attached outside of a run, and no request is made', async () => {
    await using service = await RunService.start();
    const stream = await scene.stream();
    for (const name of [
      'CollectionUri',
      'TeamProjectId',
      'HostType',
      'PlanId',
      'TimelineId',
      'TaskInstanceId',
      'AccessToken',
    ]) {
      const step = await publish(
        agentOf(service, {
          variables: { [`System.${name}`]: undefined },
          ...(name === 'AccessToken' ? { secrets: {} } : {}),
        }),
        { subject: stream.subject('built'), payload: '{}' },
      );
      assertSucceeded(step);
      assert.doesNotMatch(step.logText, /summary/i, name);
    }
    assert.equal(service.requests.length, 0);
  });

  it('leaves the result alone and writes one debug line if the service refuses it', async () => {
    await using service = await RunService.start();
    const stream = await scene.stream();
    for (service.status of [401, 403, 404, 500, 302]) {
      const step = await publish(agentOf(service), { subject: stream.subject('built'), payload: '{}' });
      assertSucceeded(step);
      assert.deepEqual(step.warnings, []);
      const lines = step.logText.split('\n').filter((line) => line.includes('summary'));
      assert.deepEqual(lines, [
        `##[debug]The summary is not attached to the run: ${service.host} answered with HTTP status ${service.status}.`,
      ]);
      assertNoToken(step, service);
    }
    assert.equal(service.requests.length, 5);
  });

  it('leaves the result alone if nobody listens, or the address is invalid or unsafe for the token', async () => {
    await using service = await RunService.start();
    const stream = await scene.stream();
    for (const uri of ['http://127.0.0.1:1/contoso/', 'no address', 'http://tfs.example/contoso/']) {
      const variables = { 'System.CollectionUri': uri };
      const step = await publish(agentOf(service, { variables }), { subject: stream.subject('built'), payload: '{}' });
      assertSucceeded(step);
      assert.deepEqual(step.warnings, []);
      assert.equal(step.logText.split('\n').filter((line) => line.includes('summary')).length, 1, step.logText);
      assertNoToken(step, service);
    }
  });

  it('delays the end of the step by its limit at most if the service never answers', async () => {
    await using service = await RunService.start();
    service.status = undefined;
    const stream = await scene.stream();
    const subject = stream.subject('built');
    await stream.put('built');
    const began = Date.now();
    const step = await wait(agentOf(service), { subject });
    assertSucceeded(step);
    assert.equal(service.requests.length, 1);
    assert.equal(step.outputs.get('verdict'), 'matched');
    assert.match(step.logText, /##\[debug\]The summary is not attached to the run: it took too long\./);
    const verdictAt = step.log.find(({ text }) => text.startsWith('verdict '))?.at ?? began;
    assert.ok(Date.now() - verdictAt < LIMIT_MS + 1_000, `${Date.now() - verdictAt} ms`);
  });

  it('delays a cancelled step by its limit at most, even if the cancel comes meanwhile', async () => {
    await using service = await RunService.start();
    service.status = undefined;
    const stream = await scene.stream();
    const cancel = new AbortController();
    const { ended } = await beginWait(agentOf(service, { signal: cancel.signal }), {
      subject: stream.subject('built'),
    });
    let began = Date.now();
    cancel.abort();
    const cancelled = await ended;
    assert.equal(cancelled.result, 'Canceled');
    assert.ok(Date.now() - began < 2_000, `${Date.now() - began} ms`);
    assert.match(
      cancelled.logText,
      /The summary is not attached to the run: it took too long/,
      'attaching the summary was not tried',
    );

    await stream.put('built');
    const late = new AbortController();
    const next = service.requests.length + 1;
    const waiting = wait(agentOf(service, { signal: late.signal }), { subject: stream.subject('built') });
    await service.asked(next);
    began = Date.now();
    late.abort();
    const step = await waiting;
    assert.ok(Date.now() - began < 1_000, `${Date.now() - began} ms`);
    assert.equal(step.outputs.get('verdict'), 'matched');
  });
});
