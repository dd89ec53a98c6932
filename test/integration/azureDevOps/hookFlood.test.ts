import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { test } from 'node:test';
import { Agent, request } from 'undici';
import { hookBodies, type HookBody } from '../../support/azureDevOps/hookBodies.ts';
import { isLong } from '../../support/form.ts';
import { HookSender } from '../../support/azureDevOps/hookSender.ts';

const EVENTS = isLong ? 10_000 : 3_000;
const CONNECTIONS = 64;

test(`a sender posts ${EVENTS} events over ${CONNECTIONS} connections, with little more CPU time than a bare client`, async (t) => {
  const child = fork(path.join(import.meta.dirname, 'floodReceiver.ts'), { execArgv: ['--import', 'tsx'] });
  try {
    const [port] = (await once(child, 'message')) as [number];
    const url = `http://127.0.0.1:${port}/hooks`;
    const { buildCompleted } = hookBodies();
    const events = Array.from({ length: EVENTS }, () => buildCompleted());

    await using sender = new HookSender({ connections: CONNECTIONS });
    const subscription = sender.subscribe({ url, basicAuthUsername: 'hooks', basicAuthPassword: 'secret' });
    const send = (some = events) => Promise.all(some.map((event) => subscription.send(event)));
    const warmUp = events.slice(0, EVENTS / 10);
    // The first round of each is slower, while the code is compiled. The sender's two follow each other: it closes
    // connections that lie idle for 3 s, as they would while a slow machine runs the client.
    await bare(url, warmUp);
    const client = await costOf(() => bare(url, events));
    await send(warmUp);
    const cost = await costOf(() => send());
    child.send('report');
    const [{ connections, ids }] = (await once(child, 'message')) as [{ connections: number; ids: number }];

    t.diagnostic(
      `The client took ${client.tookMs} ms (${client.cpuMs} ms of a core), the sender ${cost.tookMs} (${cost.cpuMs}).`,
    );
    assert.equal(subscription.reports.filter(({ outcome }) => outcome === 'delivered').length, EVENTS + warmUp.length);
    assert.deepEqual([connections, ids], [CONNECTIONS, EVENTS]);
    assert.ok(cost.cpuMs < 3 * client.cpuMs, `${cost.cpuMs} ms against ${client.cpuMs} ms`);
  } finally {
    child.kill();
  }
});

/** How long it takes, and how much this process computes for it: the latter doesn't depend on what else the machine does. */
async function costOf(work: () => Promise<unknown>): Promise<{ tookMs: number; cpuMs: number }> {
  const [start, before] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(before);
  return { tookMs: Math.round(performance.now() - start), cpuMs: Math.round((user + system) / 1_000) };
}

async function bare(url: string, events: readonly HookBody[]): Promise<void> {
  const dispatcher = new Agent({ connections: CONNECTIONS, pipelining: 1 });
  let next = 0;
  const worker = async () => {
    for (let event = events[next++]; event !== undefined; event = events[next++]) {
      const answer = await request(url, { method: 'POST', dispatcher, body: JSON.stringify(event) });
      await answer.body.text();
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, worker));
  await dispatcher.close();
}
