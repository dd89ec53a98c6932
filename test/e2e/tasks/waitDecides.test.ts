import assert from 'node:assert/strict';
import {
  assertFailed,
  assertOutputs,
  assertSucceeded,
  countsOf,
  eventsOf,
  outputsOf,
  publish,
  sourcesWith,
  underEachNode,
  wait,
} from '../../support/agent/scenario.ts';
import { cloudEvent } from '../../support/event.ts';

const NUMBER_SCHEMA = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] };

underEachNode('What a wait decides about the events that arrive', (scene, it) => {
  it('count says how many are missing at the timeout', async () => {
    const stream = await scene.stream();
    await stream.put('built');
    const step = await wait(scene.agent(), { subject: stream.subject('built'), count: '3', timeout: '4s' });
    assertFailed(
      step,
      'Timeout',
      '3 matching events',
      'Missing: 2. Everything that arrived counted: check that every sender ran.',
    );
    assert.deepEqual([step.outputs.get('count'), step.outputs.get('missing')], ['1', '2']);
  });

  it('an invalid event is skipped with a warning, or fails the wait, as onInvalid says', async () => {
    const stream = await scene.stream();
    await stream.put('built', { n: 'one' });
    await stream.put('built', 'not JSON');
    await stream.put('built', { n: 1 }, { ...cloudEvent(), 'ce-specversion': '0.3' });
    await stream.put('built', { n: 4 });
    const sources = sourcesWith({ 'number.schema.json': NUMBER_SCHEMA });
    const inputs = { subject: stream.subject('built'), schemaFile: 'number.schema.json' };
    const [skip, fail] = await Promise.all(
      ['skip', 'fail'].map((onInvalid) => wait(scene.agent({ sources }), { ...inputs, onInvalid })),
    );
    assert.ok(skip !== undefined && fail !== undefined);
    assertSucceeded(skip);
    assert.equal(skip.outputs.get('sequence'), '4');
    assert.deepEqual(countsOf(skip), { seen: 4, invalid: 3, matched: 1 });
    assert.equal(skip.warnings.length, 3, skip.warnings.join('\n'));
    assertFailed(fail, 'ContractViolation', `${stream.name} 1 on "${stream.subject('built')}"`, '/n: must be integer');
    assert.deepEqual(
      [fail.outputs.get('verdict'), fail.outputs.get('sequence'), fail.outputs.get('count')],
      ['contractViolation', '1', '0'],
    );
  });

  it('a payload that breaks its schema is not sent; an invalid schema fails either step', async () => {
    const stream = await scene.stream();
    const subject = stream.subject('built');
    const agent = scene.agent({
      sources: sourcesWith({ 'number.schema.json': NUMBER_SCHEMA, 'wrong.schema.json': { type: 'integr' } }),
    });
    for (const envelope of ['binary', 'structured', 'none']) {
      const step = await publish(agent, { subject, payload: '{"n":"1"}', schemaFile: 'number.schema.json', envelope });
      assertFailed(step, 'ContractViolation', 'number.schema.json', 'Nothing was sent');
      assert.doesNotMatch(step.logText, /^connected/m);
    }
    assertFailed(
      await publish(agent, { subject, payload: '{"n":1}', schemaFile: 'wrong.schema.json' }),
      'InvalidSchema',
    );
    assertFailed(await wait(agent, { subject, schemaFile: 'wrong.schema.json' }), 'InvalidSchema');
    assert.equal(await stream.lastSequence(), 0);
  });

  it('an event that meets failWhen fails the wait at once, before match is evaluated', async () => {
    const stream = await scene.stream();
    await stream.put('decided', { state: 'pending' });
    await stream.put('decided', { state: 'rejected', by: 'Ada' });
    const step = await wait(scene.agent(), {
      subject: stream.subject('decided'),
      failWhen: "data.state == 'rejected'",
      match: "data.state != 'pending'",
      outputs: 'by=data.by',
    });
    assertFailed(step, 'Negative', `${stream.name} 2 on "${stream.subject('decided')}"`, "data.state == 'rejected'");
    const outputs = outputsOf(step);
    assert.deepEqual(
      [outputs['verdict'], outputs['sequence'], outputs['count'], outputs['event.by']],
      ['negative', '2', '0', 'Ada'],
    );
    assert.deepEqual(eventsOf(step), []);
  });

  it('a wait that times out ends as onTimeout says', async () => {
    const stream = await scene.stream();
    await stream.put('built', { region: 'us' });
    const inputs = {
      subject: stream.subject('built'),
      ...{ match: "data.region == 'eu'", outputs: 'region=data.region', timeout: '3500ms' },
    };
    const [fail, warn, succeed] = await Promise.all(
      ['fail', 'warn', 'succeed'].map((onTimeout) => wait(scene.agent(), { ...inputs, onTimeout })),
    );
    assert.ok(fail !== undefined && warn !== undefined && succeed !== undefined);
    const nearMiss = `data.region == 'eu' was false (data.region = "us")`;
    const remedy = 'Compare what the sender published with the conditions of this step.';
    assertFailed(fail, 'Timeout', 'within 3s500ms', 'Seen 1: 1 not matching', nearMiss, remedy);
    assert.deepEqual([warn.result, warn.errors], ['SucceededWithIssues', []]);
    assert.ok(
      warn.warnings.some((text) => text.startsWith('Timeout: ')),
      warn.logText,
    );
    assert.deepEqual([succeed.result, succeed.errors, succeed.warnings], ['Succeeded', [], []]);
    for (const step of [fail, warn, succeed]) {
      assertOutputs(step, { verdict: 'timedOut', missing: '1' });
      assertOutputs(step, {
        subject: '',
        messageId: '',
        sequence: '',
        latencyMs: '',
        receivedAt: '',
        'event.region': '',
      });
      assert.deepEqual(eventsOf(step), []);
      assert.ok(step.logText.includes(nearMiss));
    }
    assert.equal(await stream.consumers(), 0, 'a consumer was left behind');
  });

  it('onTimeout is only about time: a negative event still fails the step', async () => {
    const stream = await scene.stream();
    await stream.put('decided', 'no');
    const step = await wait(scene.agent(), {
      subject: stream.subject('decided'),
      failWhen: "data == 'no'",
      onTimeout: 'succeed',
    });
    assertFailed(step, 'Negative');
  });

  it('an output that is too long, or that the agent would expand, fails the step and points to the file', async () => {
    const stream = await scene.stream();
    const fine = 'x'.repeat(16 * 1024);
    await stream.put('built', { fine, long: `${fine}x`, macro: 'a $(System.AccessToken) b' });
    const waitFor = (name: string) =>
      wait(scene.agent(), {
        subject: stream.subject('built'),
        outputs: `fine=data.fine\n${name}=data.${name}`,
      });
    assert.equal((await waitFor('absent')).outputs.get('event.fine'), fine);
    for (const [name, code] of [
      ['long', 'TooLarge'],
      ['macro', 'ContractViolation'],
    ] as const) {
      const step = await waitFor(name);
      assertFailed(step, code, `the value of ${name}`, `eventFile: ${step.outputs.get('eventFile')}`);
      assert.equal(step.outputs.get('verdict'), 'error');
      assert.deepEqual(
        Object.keys(outputsOf(step)).filter((output) => output.startsWith('event.')),
        [],
      );
    }
    const late = await wait(scene.agent(), {
      ...{ subject: stream.subject('built'), outputs: 'macro=data.macro', count: '2' },
      ...{ timeout: '4s', onTimeout: 'succeed' },
    });
    assertFailed(late, 'ContractViolation', 'the value of macro');
    assertOutputs(late, { verdict: 'error', count: '1', missing: '1' });
  });
});
