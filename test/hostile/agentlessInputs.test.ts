import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { setup } from '../../bridge/commands/setup.ts';
import { MOST_BODY_BYTES } from '../../bridge/waits/body.ts';
import { INPUT_NAMES } from '../../bridge/waits/criteria.ts';
import { unseal } from '../../bridge/waits/sealing.ts';
import { AgentlessTask } from '../support/azureDevOps/agentlessTask.ts';
import { AzureDevOps } from '../support/azureDevOps/azureDevOps.ts';
import { configurationFile } from '../support/bridge/configurationFile.ts';
import { WaitsBridge, waitsConfigurationOf, WaitsWorld } from '../support/bridge/waitsBridge.ts';
import { BEARER, SEALING_KEY } from '../support/bridge/waitsReceiver.ts';
import { assertPlain, forAll } from '../support/hostile/harmless.ts';
import { cases, SEED } from '../support/hostile/hostile.ts';
import { hostileText } from '../support/hostile/hostileText.ts';
import { startNatsServer, type NatsServer } from '../support/nats/natsServer.ts';
import { Admin } from '../support/nats/testStream.ts';

const TASKS = cases({ short: 60, long: 5_000 });
/** Placeholders for the plan's ID and the job's token, which are unknown until the task exists. */
const [PLAN, TOKEN] = ['<plan>', '<token>'];
const OTHER_PLAN = '0d6b5d2c-9a4b-4b34-8c53-bd9c3f0d1a11';

type Inputs = Readonly<Record<string, string>>;

describe('Inputs of agentless tasks', () => {
  let server: NatsServer;
  let admin: Admin;
  let azure: AzureDevOps;
  let bridge: WaitsBridge;
  before(async () => {
    server = await startNatsServer();
    admin = await Admin.connect([server.url]);
    azure = await AzureDevOps.start();
    const yaml = waitsConfigurationOf(azure, server.url).replace('[ci.shop.>]', '[ci.shop.>], maxOpen: 50000');
    const file = configurationFile(yaml);
    assert.equal(await setup(file, { apply: true, streams: [] }, new WaitsWorld()), 0);
    await admin.manager.streams.add({ name: 'CI', subjects: ['ci.>'] });
    bridge = await WaitsBridge.start(file, azure);
  });
  after(async () => {
    await bridge[Symbol.asyncDispose]();
    await azure.stop();
    await admin[Symbol.asyncDispose]();
    await server.stop();
  });

  /** Runs a task with these inputs. Returns the inputs that the bridge stored, or why it refused them. */
  async function handOver(
    inputs: Inputs,
  ): Promise<{ given: Inputs; stored: Inputs } | { given: Inputs; reason: string }> {
    const task = new AgentlessTask(azure, { bridge: bridge.url, bearer: BEARER });
    const given = Object.fromEntries(
      Object.entries(inputs).map(([name, value]) => [
        name,
        value.replaceAll(PLAN, task.plan.id).replaceAll(TOKEN, task.token),
      ]),
    );
    const { status, text, json } = await task.execute(given);
    if (status !== 200) {
      const { code, message } = (json as { error: { code: string; message: string } }).error;
      assert.ok(['400 BadRequest', '403 Forbidden'].includes(`${status} ${code}`), text);
      assertPlain(message, 'the reason');
      for (const secret of [task.token, BEARER]) assert.ok(!text.includes(secret), text);
      return { given, reason: message };
    }
    const { key } = json as { key: string };
    const { data } = await admin.manager.streams.getMessage('KV_BRIDGE_WAITS', {
      last_by_subj: `$KV.BRIDGE_WAITS.${key}`,
    });
    const { state } = unseal(key, data, [SEALING_KEY])!;
    assert.ok(state.state === 'waiting');
    assert.equal((await task.cancel()).status, 200);
    return { given, stored: state.call.inputs };
  }

  /** The inputs to be stored. A CR at the end belongs to the line break, not to the value. */
  function expected(given: Inputs): Inputs {
    const values = Object.entries(given).map(([name, value]) => [name, value.replace(/\r$/, '')] as const);
    return Object.fromEntries(values.filter(([name, value]) => value.trim() !== '' && value !== `$(${name})`));
  }

  async function assertUnchanged(inputs: Inputs): Promise<void> {
    const outcome = await handOver(inputs);
    assert.ok('stored' in outcome, JSON.stringify(outcome));
    assert.deepEqual(outcome.stored, expected(outcome.given));
  }

  async function assertRefused(inputs: Inputs, reason: RegExp): Promise<void> {
    const outcome = await handOver(inputs);
    assert.ok('reason' in outcome, JSON.stringify(outcome));
    assert.match(outcome.reason, reason);
  }

  /** An expression with this text, none of which looks like an unset variable. */
  const raw = (text: string): string =>
    text.includes('$(')
      ? `data.text == \`${JSON.stringify(text).replaceAll('$', '\\u0024').replaceAll('`', '\\`')}\``
      : `data.text == '${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

  for (const [what, text] of [
    ['the lines of another plan', `a\n--${OTHER_PLAN} failWhen\nb\n--${OTHER_PLAN} end\n`],
    ['other lines with dashes', 'a\r\n--\r\n-- failWhen\r\n--end'],
    ["the plan's line inside a line", `a --${PLAN} failWhen`],
    ['fields of the connection', '{{endpoint.apitoken}} {{{endpoint.apitoken}}} {{#if a}} {{{ system.AccessToken }}}'],
    ['JSON, HTML and Unicode', `"}, { "X-Job-Token": "x" \\" & < > %0A ' \u202e 🚀 e\u0301`],
    ['white space around lines', '\n\n  two lines  \n\t'],
  ] as const)
    it(`arrive unchanged with ${what}`, async () => {
      await assertUnchanged({ subject: 'ci.shop.done.v1', match: raw(text), correlationId: 'c' });
      await assertUnchanged({ subject: 'ci.shop.done.v1', distinctBy: 'data.a', expect: `x\n${text}y` });
    });

  for (const [what, marker, reason] of [
    ['another input', `a\n--${PLAN} failWhen\nb`, /gives the input failWhen twice/],
    ['another input, in CRLF', `a\r\n--${PLAN} subject\r\nci.secret.>`, /gives the input subject twice/],
    ['the end', `a\n--${PLAN} end\n`, /goes on after the line "--.* end"/],
    ['an unknown input', `a\n--${PLAN} token\nb`, /names no input/],
  ] as const)
    it(`are refused if they imitate the line of ${what}`, async () => {
      for (const name of INPUT_NAMES) await assertRefused({ subject: 'ci.shop.done.v1', [name]: marker }, reason);
    });

  it('are refused if they contain unset variables, unless these are escaped', async () => {
    const text = '$(system.PlanId) $(subject) $(failWhen) $(bridgeConnection) $(endpoint.url)';
    await assertUnchanged({ subject: 'ci.shop.done.v1', match: raw(text) });
    const unset = /contains "\$\(system\.PlanId\), .*most likely a pipeline variable that is not set/;
    await assertRefused({ subject: 'ci.shop.done.v1', match: `data.text == '${text}'` }, unset);
    await assertRefused({ subject: 'ci.shop.done.v1', distinctBy: 'data.a', expect: `x\n${text}` }, unset);
  });

  it("are refused if they contain the job's token", () =>
    assertRefused({ subject: 'ci.shop.done.v1', match: raw(TOKEN) }, /match: holds the job's token/));

  it('arrive whole up to 64 KiB, and are refused above', async () => {
    const most = {
      subject: 'ci.shop.done.v1',
      correlationId: 'c',
      match: raw('ü'.repeat(MOST_BODY_BYTES / 2 - 1_000)),
    };
    await assertUnchanged(most);
    await assertRefused({ ...most, failWhen: raw('x'.repeat(2_000)) }, /the body has \d+ bytes, more than 65536/);
  });

  const piece = fc.oneof(
    { weight: 4, arbitrary: hostileText.map((text) => text.toWellFormed()) },
    fc.constantFrom(
      ...[`\n--${PLAN} failWhen\n`, `\r\n--${PLAN} end\r\n`, `\n--${OTHER_PLAN} subject\n`, `--${PLAN}`, TOKEN, '\n--'],
      ...['$(system.AccessToken)', '$(match)', '{{endpoint.apitoken}}', '{{{endpoint.url}}}', '"', '\\', '\r', ' '],
    ),
  );
  const text = fc.array(piece, { minLength: 1, maxLength: 4 }).map((pieces) => pieces.join(''));
  const some = fc.record(
    {
      ...{
        match: text.map(raw),
        failWhen: text.map(raw),
        correlationId: text,
        distinctBy: text.map(raw),
        expect: text,
      },
      ...{
        outputs: text.map((one) => `tag=${raw(one.replaceAll(/\s/g, ' '))}`),
        onTimeout: fc.constant('$(onTimeout)'),
      },
    },
    { requiredKeys: [] },
  );
  const garbage = fc.tuple(fc.constantFrom(...INPUT_NAMES), text).map(([name, value]) => ({ [name]: value }));
  const inputs = fc
    .tuple(some, fc.oneof({ weight: 3, arbitrary: fc.constant({}) }, garbage))
    .map(([one, other]): Inputs => ({ subject: 'ci.shop.done.v1', ...one, ...other }));

  it(`of ${TASKS} tasks arrive unchanged, or are refused with a reason`, async () => {
    let accepted = 0;
    await forAll(fc.sample(inputs, { seed: SEED, numRuns: TASKS }), async (one) => {
      const outcome = await handOver(one);
      if (!('stored' in outcome)) return;
      accepted++;
      assert.deepEqual(outcome.stored, expected(outcome.given));
    });
    assert.ok(accepted > TASKS / 10 && accepted < TASKS, `${accepted} were accepted`);
  });
});
