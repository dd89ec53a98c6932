import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { ReceivedReply } from '../../../../shared/bus.ts';
import type { Contract } from '../../../../shared/contract/contract.ts';
import { loadContract } from '../../../../shared/contract/load.ts';
import { TaskError } from '../../../../shared/errors.ts';
import type { Clock } from '../../../../shared/clock.ts';
import { readPublish } from '../../../../tasks/PublishNatsEvent/inputs.ts';
import { prepare, replyProblem } from '../../../../tasks/PublishNatsEvent/publish.ts';
import { connectedAgent } from '../../../support/agent/fakeAgent.ts';
import { temporaryFolder } from '../../../../localAgent/vsix.ts';
import { SLOW_PATTERN, slowText } from '../../../support/slowPattern.ts';

const folder = temporaryFolder('publish-clock-');
const schemaFile = path.join(folder, 'slow.schema.json');
writeFileSync(schemaFile, JSON.stringify({ pattern: SLOW_PATTERN }));
const contract: Contract = await loadContract(schemaFile);
/** Its check is only ever interrupted. */
const ENDLESS = JSON.stringify(`${'a'.repeat(60)}c`);

function clockOf(leftMs: number, signal = new AbortController().signal): Clock {
  return { signal, startedAt: Date.now(), deadline: Date.now() + leftMs, now: Date.now };
}

function reply(text: string): ReceivedReply {
  return { headers: new Map(), payload: Buffer.from(text) };
}

/** CPU time, since elapsed time depends on what else the machine does. */
async function timed<Value>(work: () => Promise<Value>): Promise<{ readonly value: Value; readonly cpuMs: number }> {
  const before = process.cpuUsage();
  const value = await work();
  return { value, cpuMs: process.cpuUsage(before).user / 1_000 };
}

function stepOf(inputs: Readonly<Record<string, string>>): ReturnType<typeof readPublish> {
  return readPublish(connectedAgent({ subject: 'ci.built.v1', ...inputs }));
}

function prepared(lines: readonly string[], clock: Clock): Promise<unknown> {
  const payloadFile = path.join(temporaryFolder('lines-'), 'events.ndjson');
  writeFileSync(payloadFile, `${lines.join('\n')}\n`);
  const { request } = stepOf({ payloadFrom: 'lines', payloadFile });
  return prepare(request, contract, undefined, clock).catch((error: unknown) => error);
}

function assertError(error: unknown, code: string, ...texts: readonly string[]): void {
  assert.ok(error instanceof TaskError, String(error));
  assert.equal(error.code, code, error.message);
  for (const text of texts) assert.ok(error.message.includes(text), error.message);
}

describe('The deadline of a publishing step', () => {
  it("cuts off the check of a reply, and doesn't blame the schema", async () => {
    const { value, cpuMs } = await timed(() => replyProblem(reply(ENDLESS), contract, clockOf(200)));
    assertError(value, 'Timeout', 'before the reply was checked', 'The request was delivered');
    assert.ok(cpuMs < 900, `it took ${cpuMs} ms of CPU time`);
    assertError(await replyProblem(reply(ENDLESS), contract, clockOf(60_000)), 'InvalidSchema', 'after 1000 ms');
    assert.equal(await replyProblem(reply('"ac"'), contract, clockOf(60_000)), undefined);
    assertError(await replyProblem(reply('"ac"'), contract, clockOf(0)), 'Timeout');
  });

  it('cuts off the check of a payload', async () => {
    const { request } = stepOf({ payload: ENDLESS });
    const { value, cpuMs } = await timed(() =>
      prepare(request, contract, undefined, clockOf(200)).catch((error: unknown) => error),
    );
    assertError(value, 'Timeout');
    assert.ok(cpuMs < 900, `it took ${cpuMs} ms of CPU time`);
  });

  it('cuts off the check of lines, both within a line and between two', async () => {
    for (const lines of [[ENDLESS], Array.from({ length: 500 }, () => JSON.stringify(slowText()))]) {
      const { value, cpuMs } = await timed(() => prepared(lines, clockOf(1_500)));
      assertError(value, 'Timeout', 'payloadFile: ', 'Nothing was sent.');
      assert.ok(cpuMs < 2_500, `it took ${cpuMs} ms of CPU time`);
    }
  });
});

describe('A cancel of a publishing step', () => {
  it('is noticed between two lines', async () => {
    const controller = new AbortController();
    // What the event loop is there for: the signal of the agent comes by way of it, too.
    setTimeout(() => controller.abort(new TaskError('Cancelled', 'The agent cancelled this step')), 200);
    const lines = Array.from({ length: 250 }, () => JSON.stringify(slowText()));
    const { value, cpuMs } = await timed(() => prepared(lines, clockOf(60_000, controller.signal)));
    assertError(value, 'Cancelled');
    assert.ok(cpuMs < 3_000, `it took ${cpuMs} ms of CPU time`);
  });

  it('is noticed after the check of a reply', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new TaskError('Cancelled', 'The agent cancelled this step')), 0);
    const value = await replyProblem(reply(JSON.stringify(slowText())), contract, clockOf(60_000, controller.signal));
    assertError(value, 'Cancelled');
  });
});
