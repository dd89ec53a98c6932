import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import type { Connection, PipelineFileOptions } from '../../../localAgent/index.ts';
import { OWN_MANIFEST } from '../../../localAgent/connectionTypes.ts';
import { freePort } from '../../support/freePort.ts';
import { readPipeline } from '../../../localAgent/pipelineSyntax.ts';
import { throwawayExtension } from '../../support/agent/throwawayExtension.ts';
import { resultsOf, runPipeline } from '../../support/agent/throwawayPipeline.ts';

const CALL = {
  Method: 'POST',
  Headers: JSON.stringify({
    ...{ 'X-Url': '$(system.CollectionUri)', 'X-Project': '$(system.TeamProjectId)', 'X-Hub': '$(system.HostType)' },
    ...{ 'X-Plan': '$(system.PlanId)', 'X-Job': '$(system.JobId)', 'X-Timeline': '$(system.TimelineId)' },
    ...{ 'X-Task': '$(system.TaskInstanceId)', 'X-Token': '$(system.AccessToken)' },
  }),
};

/** An extension whose one task, `Sample@1`, needs no agent. @param timeout of TaskCompleted */
function extension(timeout = '01:00:00'): string {
  const folder = throwawayExtension('', {
    runsOn: ['Server'],
    inputs: [
      { name: 'bridge', type: 'connectedService:NatsBridge' },
      { name: 'text', type: 'string' },
    ],
    outputVariables: [{ name: 'said' }],
    execution: {
      HttpRequest: {
        Execute: { ...CALL, EndpointUrl: '$(endpoint.url)/do', Body: 'text=$(text)' },
        Cancel: { ...CALL, EndpointUrl: '$(endpoint.url)/cancel', Body: '' },
        Events: { TaskCompleted: { Timeout: timeout } },
      },
    },
  });
  writeFileSync(path.join(folder, 'extension.vsomanifest'), readFileSync(OWN_MANIFEST));
  return folder;
}

/** Calls Azure DevOps back about the task that a request is from. */
class CallBack {
  constructor(readonly headers: http.IncomingHttpHeaders) {}

  header(name: string): string {
    return String(this.headers[name]);
  }

  async call(method: string, place: string, body?: unknown, token = this.header('x-token')) {
    const plan = `_apis/distributedtask/hubs/${this.header('x-hub')}/plans/${this.header('x-plan')}`;
    const response = await fetch(`${this.header('x-url')}${this.header('x-project')}/${plan}${place}?api-version=7.1`, {
      method,
      headers: { Authorization: `Basic ${Buffer.from(`:${token}`).toString('base64')}` },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const answer = await response.text();

    return { status: response.status, body: answer === '' ? undefined : JSON.parse(answer) };
  }

  change(change: object) {
    const value = [{ id: this.header('x-task'), ...change }];
    return this.call('PATCH', `/timelines/${this.header('x-timeline')}/records`, { value, count: 1 });
  }

  complete(result: string, taskId = this.header('x-task')) {
    return this.call('POST', '/events', { name: 'TaskCompleted', jobId: this.header('x-job'), taskId, result });
  }

  async log(lines: string): Promise<void> {
    const { body } = await this.call('POST', '/logs', { path: 'logs\\1' });
    await this.call('POST', `/logs/${(body as { id: number }).id}`, lines);
    await this.change({ log: body });
  }
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Whoever does the task: what it answers to a request, and what it does then. */
type Does = (request: { path: string; body: string; back: CallBack }) => Answer | Promise<Answer>;

const OK = { status: 200, text: '{"key":"1"}' };

interface Options extends Partial<PipelineFileOptions> {
  readonly jobs?: string;
  readonly timeout?: string;
}

const JOBS = `
jobs:
  - job: Ask
    pool: server
    steps: [{ task: Sample@1, name: ask, inputs: { bridge: bridge, text: $(Build.BuildId) } }]
  - job: Use
    dependsOn: Ask
    variables: { said: "$[ dependencies.Ask.outputs['ask.said'] ]" }
    steps: [{ script: 'echo "[$(said)]"' }]
`;

async function run(does: Does, { jobs = JOBS, timeout, ...options }: Options = {}) {
  const server = http.createServer((request, response) => {
    void (async () => {
      const body = await text(request);
      const answer = await does({ path: request.url ?? '', body, back: new CallBack(request.headers) });
      response.writeHead(answer.status).end(answer.text);
    })();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  try {
    const bridge: Connection = {
      ...{ type: 'NatsBridge', url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, scheme: 'Token' },
      ...{ parameters: { apitoken: 'hunter22' }, organization: `http://127.0.0.1:${await freePort()}/local/` },
    };
    const nats: Connection = { url: 'nats://127.0.0.1', scheme: 'None' };
    return await runPipeline(jobs, { extension: extension(timeout), connections: { bridge, nats }, ...options });
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

describe('a task without an agent', { concurrency: 4 }, () => {
  it('is sent to its connection, and ends with the log, outputs and result that come back', async () => {
    const seen: unknown[] = [];
    const pipeline = await run(async ({ path: place, body, back }) => {
      seen.push(place, body, back.header('authorization'), (await back.call('GET', '')).body.definition);
      await back.change({ variables: { said: { value: 'yes' }, secret: { value: 'hush', isSecret: true } } });
      await back.log('Verdict: matched\n##vso[task.complete result=Failed]\n');
      assert.equal((await back.complete('succeeded')).status, 204);
      return OK;
    });
    assert.deepEqual(seen, ['/do', 'text=4711', 'Bearer hunter22', { id: 12, name: 'orders-ci' }]);
    assert.deepEqual(resultsOf(pipeline), ['__default.Ask Succeeded', '__default.Use Succeeded']);
    const [ask, use] = pipeline.jobs.map(({ steps }) => steps[0]!);
    assert.match(ask!.logText, /\nAnswer 200: \{"key":"1"\}\nVerdict: matched\n/);
    assert.doesNotMatch(ask!.logText, /^##vso/m);
    assert.deepEqual(
      [...ask!.shownOutputs],
      [
        ['said', 'yes'],
        ['secret', '***'],
      ],
    );
    assert.equal(use!.rawStdout, '[yes]\n');
  });

  it('fails when it is completed as failed, but its outputs are still set', async () => {
    const pipeline = await run(
      async ({ back }) => {
        await back.change({ variables: { said: { value: 'no' } } });
        await back.complete('failed');
        return OK;
      },
      { jobs: JOBS.replace('dependsOn: Ask', 'dependsOn: Ask\n    condition: failed()') },
    );
    assert.deepEqual(resultsOf(pipeline), ['__default.Ask Failed', '__default.Use Succeeded']);
    assert.match(pipeline.jobs[0]!.steps[0]!.errors.join(), /completed with the result failed/);
    assert.equal(pipeline.jobs[1]!.steps[0]!.rawStdout, '[no]\n');
  });

  it('fails with the reason when it is refused or nobody answers', async () => {
    const refused = JSON.stringify({ error: { code: 'Forbidden', message: 'no rule lets it wait\u001b[2J' } });
    const pipeline = await run(() => ({ status: 403, text: refused }));
    assert.match(pipeline.jobs[0]!.steps[0]!.errors.join(), /^The answer is 403: no rule lets it wait[^\u001b]*$/);
    const other = await run(() => ({ status: 302, text: '' }));
    assert.match(other.jobs[0]!.steps[0]!.errors.join(), /^The answer is 302: without a text$/);
    const bridge: Connection = {
      ...{ type: 'NatsBridge', url: `http://127.0.0.1:${await freePort()}`, scheme: 'Token' },
      ...{ parameters: { apitoken: 'hunter22' }, organization: `http://127.0.0.1:${await freePort()}/local/` },
    };
    const nobody = await run(() => OK, { connections: { bridge } });
    assert.match(nobody.jobs[0]!.steps[0]!.errors.join(), /^There's no answer: ECONNREFUSED$/);
    assert.equal(nobody.result, 'Failed');
  });

  it('calls the cancel URL when its run is cancelled, and shows the log that comes back', async () => {
    const cancel = new AbortController();
    const paths: string[] = [];
    const pipeline = await run(
      async ({ path: place, body, back }) => {
        paths.push(`${place} ${body}`);
        if (place === '/do') setImmediate(() => cancel.abort());
        else {
          await back.log('Verdict: cancelled\n');
          await back.complete('failed');
        }
        return OK;
      },
      { signal: cancel.signal },
    );
    assert.deepEqual(paths, ['/do text=4711', '/cancel ']);
    assert.deepEqual(resultsOf(pipeline), ['__default.Ask Canceled', '__default.Use Skipped']);
    assert.match(pipeline.jobs[0]!.steps[0]!.logText, /^Verdict: cancelled$/m);
  });

  it("calls the cancel URL when its own timeout or the job's has passed", async () => {
    const does: Does = async ({ path: place, back }) => {
      if (place === '/cancel') await back.complete('failed');
      return OK;
    };
    const late = await run(does, { timeout: '00:00:01' });
    assert.equal(late.result, 'Failed');
    assert.match(late.jobs[0]!.steps[0]!.errors.join(), /Nobody has completed the task within 00:00:01/);
    const job = await run(does, { jobs: JOBS.replace('pool: server', 'pool: server\n    timeoutInMinutes: 0.01') });
    assert.deepEqual(resultsOf(job)[0], '__default.Ask Canceled');
    assert.match(job.jobs[0]!.steps[0]!.errors.join(), /raise its timeoutInMinutes above the timeout of the task/);
  });

  it("accepts calls only for its own plan, with its job's token", async () => {
    const statuses: number[] = [];
    const pipeline = await run(async ({ back }) => {
      const note = async (answer: Promise<{ status: number }>) => statuses.push((await answer).status);
      await note(back.call('GET', '', undefined, 'another'));
      await note(back.call('GET', '/timelines/00000000-0000-0000-0000-000000000000/records'));
      await note(back.call('POST', '/jobs/1/oidctoken', {}));
      await note(back.call('POST', '/logs/7', 'x'));
      await note(back.call('POST', '/events', 'no JSON'));
      await note(back.complete('maybe'));
      await note(new CallBack({ ...back.headers, 'x-project': '1' }).complete('succeeded'));
      await note(back.complete('succeeded', '1'));
      await note(back.complete('succeeded'));
      await note(back.complete('failed'));
      return OK;
    });
    assert.deepEqual(statuses, [401, 404, 404, 404, 400, 400, 404, 204, 204, 500]);
    assert.equal(pipeline.result, 'Succeeded');
  });
});

describe('a pipeline with agentless jobs', () => {
  for (const [what, jobs, problem] of [
    [
      'a script in one',
      JOBS.replace('steps: [{ task', 'steps: [{ script: ls }, { task'),
      /job Ask: Scripts need an agent/,
    ],
    ['its task in a job with an agent', JOBS.replace('pool: server', 'pool: linux'), /job Ask: Sample@1 runs without/],
    [
      'a checkout in one',
      JOBS.replace('steps: [', 'steps: [{ checkout: self }, '),
      /In job Ask, nothing can be checked/,
    ],
    ['retries', JOBS.replace('name: ask,', 'name: ask, retryCountOnTaskFailure: 1,'), /retryCountOnTaskFailure has no/],
    ['a connection to NATS', JOBS.replace('bridge: bridge', 'bridge: nats'), /leads to NATS, .* "type": "NatsBridge"/],
    ['other tasks', JOBS.replace('Sample@1', 'Delay@1'), /Only Azure Pipelines itself .*\n {2}job Ask: Delay@1/],
  ] as const)
    it(`is refused with ${what}`, () =>
      assert.rejects(
        run(() => OK, { jobs }),
        problem,
      ));

  it('is refused if one of the tasks needs an agent', async () => {
    await assert.rejects(
      run(() => OK, {
        jobs: JOBS,
        extension: throwawayExtension('', { inputs: [{ name: 'bridge', type: 'string' }] }),
      }),
      /job Ask: Sample@1 needs an agent, and a job with pool: server has none/,
    );
  });

  it('ends each job after 60 minutes by default', () => {
    const minutesOf = (yaml: string) =>
      readPipeline(yaml).stages[0]!.jobs.map(({ timeoutInMinutes }) => timeoutInMinutes);
    assert.deepEqual(minutesOf(JOBS), [60, 0]);
    assert.deepEqual(minutesOf(JOBS.replace('pool: server', 'pool: server\n    timeoutInMinutes: 90')), [90, 0]);
  });

  it("takes a job's pool from the stage or the file if the job has none", async () => {
    const jobs = `pool: server
jobs:
  - { job: Ask, steps: [{ task: Sample@1, inputs: { bridge: bridge } }] }
  - { job: Use, pool: { vmImage: ubuntu-latest }, steps: [{ script: ls }] }`;
    const pipeline = await run(
      async ({ body, back }) => {
        assert.equal(body, 'text=$(text)');
        await back.complete('succeeded');
        return OK;
      },
      { jobs },
    );
    assert.equal(pipeline.result, 'Succeeded');
  });

  it("is refused if another process listens on the bridge's callback address", async () => {
    const other = createServer();
    await once(other.listen(0, '127.0.0.1'), 'listening');
    const { port } = other.address() as AddressInfo;
    const bridge: Connection = {
      ...{ type: 'NatsBridge', url: 'http://127.0.0.1:9', scheme: 'Token', parameters: { apitoken: 'x' } },
      organization: `http://127.0.0.1:${port}/local/`,
    };
    try {
      await assert.rejects(
        run(() => OK, { connections: { bridge } }),
        new RegExp(`the address 127\\.0\\.0\\.1:${port} is taken, perhaps by another run`),
      );
    } finally {
      other.close();
    }
  });
});
