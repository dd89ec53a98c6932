import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { LocalAgent, StepRun } from '../../../localAgent/index.ts';
import { assertOutputs, beginWait, jsonFile, publish, Scenario, wait } from '../../support/agent/scenario.ts';
import { SLOW_PATTERN, slowText } from '../../support/slowPattern.ts';

/** The agent itself waits 7.5 s before it sends the next signal. */
const GONE_WITHIN_MS = 2_000;

/** A job that can be cancelled. */
class Job {
  readonly agent: LocalAgent;
  readonly #controller = new AbortController();

  constructor(scene: Scenario, url = scene.server.url) {
    this.agent = scene.agent({ connection: { url }, signal: this.#controller.signal });
  }

  /** Cancels the job; the step then has to end by itself, in time, and to say that it was cancelled. */
  async cancel(running: Promise<StepRun>): Promise<StepRun> {
    const from = Date.now();
    this.#controller.abort();
    const step = await running;
    const tookMs = Date.now() - from;
    assert.ok(tookMs < GONE_WITHIN_MS, `It took ${tookMs} ms.\n${step.logText}`);
    assert.equal(step.exitCode, 0, 'the step was killed');
    const ends = step.commands.filter(({ event }) => event === 'complete');
    assert.deepEqual(
      ends.map(({ properties, outcome }) => [properties.get('result'), outcome]),
      [['Canceled', 'executed']],
      step.logText,
    );
    assert.equal(step.result, 'Canceled');
    return step;
  }
}

function assertCancelledWait(step: StepRun): void {
  assertOutputs(step, { verdict: 'cancelled', count: '0', missing: '1', messageId: '' });
  const { result } = jsonFile(step, 'receiptFile') as { result: { verdict: string; error: string } };
  assert.deepEqual([result.verdict, result.error], ['cancelled', 'Cancelled']);
}

describe('A cancelled step ends at once', { concurrency: 4 }, () => {
  const scene = Scenario.shared();

  /** What a step meets where it looks for its server. */
  async function listen(
    onConnection: (socket: Socket, server: Server) => void,
  ): Promise<{ url: string; met: Promise<unknown> }> {
    const server = createServer((socket) => {
      onConnection(socket, server);
    }).listen(0, '127.0.0.1');
    const met = once(server, 'connection');
    await once(server, 'listening');
    return { url: `nats://127.0.0.1:${(server.address() as AddressInfo).port}`, met };
  }

  /** A server that goes away when a step finds it. */
  const vanishingServer = () =>
    listen((socket, server) => {
      socket.destroy();
      server.close();
    });

  /** A server that accepts connections and says nothing. */
  const silentServer = () =>
    listen((socket, server) => {
      server.close();
      socket.on('error', () => socket.destroy());
      socket.resume();
    });

  for (const [where, serverOf] of [
    ['there is no server', vanishingServer],
    ['the server says nothing', silentServer],
  ] as const) {
    it(`when it connects and ${where}: wait`, async () => {
      const { url, met } = await serverOf();
      const job = new Job(scene, url);
      const running = wait(job.agent, { subject: 'a.b' });
      await met;
      // Attempts that find nobody cannot be seen from here.
      await delay(400);
      assertCancelledWait(await job.cancel(running));
    });

    it(`when it connects and ${where}: publish`, async () => {
      const { url, met } = await serverOf();
      const job = new Job(scene, url);
      const running = publish(job.agent, { subject: 'a.b', payload: '1' });
      await met;
      await delay(400);
      await job.cancel(running);
    });
  }

  it('when it waits on a stream, and leaves no consumer behind', async () => {
    const stream = await scene.stream();
    const job = new Job(scene);
    const { ended } = await beginWait(job.agent, { subject: stream.subject('>') });
    assert.equal(await stream.consumers(), 1);
    assertCancelledWait(await job.cancel(ended));
    assert.equal(await stream.consumers(), 0);
  });

  it('when it waits on core NATS', async () => {
    const job = new Job(scene);
    const { ended } = await beginWait(job.agent, { subject: 'core.>', delivery: 'core' });
    assertCancelledWait(await job.cancel(ended));
  });

  it('when it waits and has seen only some of the events', async () => {
    const stream = await scene.stream();
    const job = new Job(scene);
    for (const shard of ['a', 'c']) await stream.put('tested', { shard });
    const lines = new EventEmitter<{ matched: [] }>();
    const running = wait(
      job.agent,
      { subject: stream.subject('>'), distinctBy: 'data.shard', expect: 'a\nb\nc' },
      {
        onLine: ({ text }) => {
          if (text.startsWith('matched ') && text.includes('sequence=2')) lines.emit('matched');
        },
      },
    );
    await once(lines, 'matched');
    const step = await job.cancel(running);
    assertOutputs(step, { verdict: 'cancelled', count: '2', missing: 'b', sequence: '2' });
  });

  it('when it waits and the server no longer answers', async () => {
    await using paused = await Scenario.start();
    const stream = await paused.stream();
    const job = new Job(paused);
    const { ended } = await beginWait(job.agent, { subject: stream.subject('>') });
    await paused.server.pause();
    assertCancelledWait(await job.cancel(ended));
  });

  it('when it publishes and the server no longer answers', async () => {
    await using paused = await Scenario.start();
    // The stream does not acknowledge, so that the step is still publishing when the server stops.
    const stream = await paused.stream({ no_ack: true });
    const subscription = paused.client.subscribe(stream.subject('>'), { max: 1 });
    await paused.client.flush();
    const job = new Job(paused);
    const running = publish(job.agent, { subject: stream.subject('built'), payload: '1' });
    for await (const message of subscription) assert.equal(message.string(), '1');
    await paused.server.pause();
    const step = await job.cancel(running);
    assertOutputs(step, { count: '0', sequence: '' });
    const { result } = jsonFile(step, 'receiptFile') as { result: { published: boolean; error: string } };
    assert.deepEqual([result.published, result.error], [false, 'Cancelled']);
  });
});

it('A cancelled step ends at once when it checks many lines against a slow schema, and sends none', async () => {
  await using scene = await Scenario.start();
  const stream = await scene.stream();
  const job = new Job(scene);
  const { temp } = job.agent.folders;
  writeFileSync(path.join(temp, 'slow.schema.json'), JSON.stringify({ pattern: SLOW_PATTERN }));
  writeFileSync(path.join(temp, 'events.ndjson'), `${JSON.stringify(slowText())}\n`.repeat(1_000));
  const lines = new EventEmitter<{ begun: [] }>();
  const running = publish(
    job.agent,
    {
      ...{ subject: stream.subject('built'), subjectVersion: 'warn', timeout: '5m', payloadFrom: 'lines' },
      ...{ payloadFile: path.join(temp, 'events.ndjson'), schemaFile: path.join(temp, 'slow.schema.json') },
    },
    {
      onLine: ({ text }) => {
        if (text.includes('has no version part')) lines.emit('begun');
      },
    },
  );
  await once(lines, 'begun');
  // It cannot be seen from here when the checks begin: a moment after the inputs are read.
  await delay(1_500);
  await job.cancel(running);
  assert.equal(await stream.lastSequence(), 0);
});
