import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { assertHarmless, assertNoSecretLeaks, assertPlain, forAll } from '../support/hostile/harmless.ts';
import { cases, family } from '../support/hostile/hostile.ts';
import { brokenEvents, hostileEvent, publishRaw } from '../support/hostile/hostileEvents.ts';
import { hostileTexts, withoutNul } from '../support/hostile/hostileText.ts';
import { temporaryFolder } from '../../localAgent/index.ts';
import { RunService } from '../../localAgent/runService.ts';
import {
  assertFailed,
  countsOf,
  publish,
  Scenario,
  sourcesWith,
  wait,
  type TestStream,
} from '../support/agent/scenario.ts';

const texts = family('Foreign text');
const SECRETS = { 'System.AccessToken': 'job-token-0815', TopSecret: 'hush-4711-hush' };
const EVENT_OUTPUTS = {
  text: 'data.text',
  header: 'headers."x-text"[0]',
  type: 'event.type',
  id: 'event.id',
  all: '@',
};
const EVENTS_OF_A_STREAM = cases({ short: 150, long: 1_000 });
const TEXTS_OF_AN_EVENT = 6;
const STRICT_SCHEMA = {
  anyOf: [{ type: 'object', additionalProperties: false }, { const: 1 }],
  propertyNames: { pattern: '^ok$' },
};

/** The text as a pipeline's author could write it in an input: without the names of existing variables. */
function unexpanded(text: string): string {
  return withoutNul(text).replaceAll('$(', '$(Not.');
}

describe('Hostile events', { concurrency: 4 }, () => {
  const scene = Scenario.shared();
  let service: RunService;
  const streams: TestStream[] = [];
  before(async () => {
    service = await RunService.start();
    const perStream = EVENTS_OF_A_STREAM * TEXTS_OF_AN_EVENT;
    for (let number = 0; number < cases({ short: 1, long: 5 }); number++) {
      const stream = await scene.stream();
      const all = hostileTexts(perStream, `events ${number}`);
      const events = Array.from({ length: EVENTS_OF_A_STREAM }, (_, index) =>
        hostileEvent(stream.prefix, all.slice(index * TEXTS_OF_AN_EVENT, (index + 1) * TEXTS_OF_AN_EVENT), index),
      );
      // These come first, because the end of a wait quotes the last event.
      events.unshift(...brokenEvents(stream.subject('broken')));
      await publishRaw(scene.server.port, events);
      assert.equal(await stream.lastSequence(), events.length);
      texts.tried(perStream);
      streams.push(stream);
    }
  });
  after(() => service[Symbol.asyncDispose]());

  const sources = sourcesWith({ 'strict.schema.json': STRICT_SCHEMA });
  const roles: [string, Record<string, string>, string][] = [
    ['matched', { count: '2000' }, 'matched'],
    ['invalid', { schemaFile: 'strict.schema.json' }, 'invalid'],
    ['not matching', { match: "data.text == 'no' || event.type == 'no'" }, 'notMatching'],
    ['failing an expression', { match: 'abs(data) == `1` || abs(headers) == `1`' }, 'notMatching'],
    ['foreign', { correlationId: 'ours' }, 'foreign'],
    ['untrusted', { trustedKeys: 'UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4' }, 'untrusted'],
    ['expired', { maxEventAge: '1ms' }, 'expired'],
    ['distinct', { distinctBy: 'data', count: '2000' }, 'matched'],
    ['unexpected', { distinctBy: 'subject', expect: 'one\ntwo' }, 'notMatching'],
  ];
  for (const [number, [role, inputs, kind]] of roles.entries()) {
    it(`run no command in a log that shows them as ${role}`, async () => {
      for (const [index, stream] of streams.entries()) {
        const agent = scene.agent({ debug: (index + number) % 2 === 0, sources, secrets: SECRETS });
        const step = await wait(agent, {
          subject: stream.subject('>'),
          idleTimeout: '700ms',
          onTimeout: 'succeed',
          ...inputs,
        });
        assert.equal(step.result, 'Succeeded', step.errors.join('\n'));
        assertHarmless(step);
        const { seen = 0, ...counts } = countsOf(step);
        assert.equal(seen, await stream.lastSequence());
        assert.ok((counts[kind] ?? 0) > EVENTS_OF_A_STREAM / 4, JSON.stringify(counts));
        await assertNoSecretLeaks(agent, SECRETS);
      }
    });
  }

  it('run no command and pass on no secret, whichever event decides, and how', async () => {
    const outputs = Object.entries(EVENT_OUTPUTS).map((output) => output.join('='));
    await forAll(Array.from({ length: cases({ short: 6, long: 400 }) }), async (_, index) => {
      const stream = streams[index % streams.length]!;
      const agent = scene.agent({ debug: index % 2 === 0, secrets: SECRETS, variables: service.variables });
      const step = await wait(
        agent,
        {
          subject: stream.subject('>'),
          startFrom: 'sequence',
          startSequence: String((index * 71) % (await stream.lastSequence())),
          onInvalid: 'fail',
          outputs: outputs.slice(0, (index % 5) + 1).join('\n'),
          ...(index % 4 === 0 ? { failWhen: 'subject' } : {}),
        },
        { displayName: `wait ${unexpanded(hostileTexts(1, `display ${index}`)[0] ?? '')}`.slice(0, 300) },
      );
      assertHarmless(step, { eventOutputs: Object.keys(EVENT_OUTPUTS) });
      assert.match(step.outputs.get('verdict') ?? '', /^(matched|negative|contractViolation|error)$/);
      await assertNoSecretLeaks(agent, SECRETS);
    });
    assert.ok(service.summaries.length > 0);
    for (const summary of service.summaries) for (const line of summary.split('\n')) assertPlain(line, 'summary');
  });
});

describe('Hostile texts of a publishing step', { concurrency: 2 }, () => {
  const scene = Scenario.shared();
  let stream: TestStream;
  before(async () => {
    stream = await scene.stream();
  });

  it('run no command as lines of a file, whether or not they match the schema', async () => {
    const linesOfAFile = 200;
    await forAll(Array.from({ length: cases({ short: 4, long: 80 }) }), async (_, index) => {
      const all = hostileTexts(linesOfAFile, `lines ${index}`);
      const good = all.map((text, number) => JSON.stringify(number % 2 === 0 ? { [text]: text } : [text]));
      // Some files have lines that aren't JSON, and bytes that aren't UTF-8.
      const bad = [...good, ...all.slice(0, 4).map((text) => text.replaceAll('\n', ' ')), '\udcff'];
      const lines = index % 4 === 1 ? bad : good;
      const content = Buffer.from(`${lines.join('\n')}\n`);
      if (index % 4 === 1) content[content.length - 3] = 0xff;
      const sources = sourcesWith({ 'lines.jsonl': content, 'strict.schema.json': STRICT_SCHEMA });
      const agent = scene.agent({ debug: index % 3 === 0, sources, secrets: SECRETS });
      const step = await publish(agent, {
        subject: stream.subject(`lines.${index}`),
        payloadFrom: 'lines',
        payloadFile: 'lines.jsonl',
        ...(index % 4 === 0 ? {} : { schemaFile: 'strict.schema.json' }),
      });
      assertHarmless(step);
      assert.equal(step.result, index % 4 === 0 ? 'Succeeded' : 'Failed', step.logText);
      if (index % 4 === 0) assert.equal(step.outputs.get('count'), String(linesOfAFile));
      else assert.equal(step.outputs.size, 0);
      await assertNoSecretLeaks(agent, SECRETS);
      texts.tried(linesOfAFile);
    });
    // Nothing is stored from files with lines that can't be sent.
    const { state } = await scene.manager.streams.info(stream.name, { subjects_filter: stream.subject('lines.*') });
    const stored = Object.entries(state.subjects ?? {});
    assert.deepEqual([...new Set(stored.map(([subject]) => Number(subject.split('.').at(-1)) % 4))], [0]);
    assert.deepEqual([...new Set(stored.map(([, count]) => count))], [linesOfAFile]);
  });

  it('run no command as inputs, in one field or in all at once, and pass no secret to a later step', async () => {
    const fields = ['messageId', 'correlationId', 'eventType', 'eventSource', 'contentType', 'stream', 'subject'];
    await forAll(Array.from({ length: cases({ short: 7, long: 160 }) }), async (_, index) => {
      const [text = '', other = ''] = hostileTexts(2, `inputs ${index}`).map(unexpanded);
      texts.tried(2);
      const agent = scene.agent({ debug: index % 3 === 0, secrets: SECRETS });
      const headers = `X-Text: ${other.replace(/\p{Cc}/gu, '')}`;
      const sent = await publish(agent, { subject: stream.subject('x'), payload: text, headers });
      // An unset variable is reported.
      if (/\$\([\w.]+\)/.test(text + headers)) assertFailed(sent, 'InvalidInput');
      else assert.equal(sent.result, 'Succeeded', sent.logText);
      const field = fields[index % fields.length] ?? '';
      const alone = await publish(agent, { subject: stream.subject('x'), payload: '1', [field]: text });
      const everywhere = Object.fromEntries(fields.map((name) => [name, text]));
      const refused = await publish(agent, { ...everywhere, payload: text, headers: text });
      assertFailed(refused, 'InvalidInput');
      for (const step of [sent, alone, refused]) assertHarmless(step);
      await assertNoSecretLeaks(agent, SECRETS);
    });
  });

  it('run no command as names and contents of files and folders', async () => {
    await forAll(Array.from({ length: cases({ short: 6, long: 80 }) }), async (_, index) => {
      const all = hostileTexts(4, `files ${index}`);
      texts.tried(all.length);
      // A name has at most 255 bytes, and an input no white space at its ends.
      const [folder, payload, schema, missing] = all.map((text) => {
        const name = unexpanded(text).replaceAll('/', '∕');
        return `n${name.slice(0, 60)}n`.toWellFormed();
      }) as [string, string, string, string];
      const sources = path.join(temporaryFolder('hostile-'), folder);
      mkdirSync(sources);
      const content = JSON.stringify({ [all[0] ?? '']: all });
      writeFileSync(path.join(sources, payload), content);
      writeFileSync(
        path.join(sources, `${schema}.json`),
        JSON.stringify(
          [
            true,
            { $ref: all[1] },
            { type: all[2] },
            { $schema: all[3] },
            { [all[1] ?? '']: 1, pattern: `(${all[0] ?? ''}` },
            { required: [all[2]], properties: { [all[3] ?? '']: false } },
          ][index % 6],
        ),
      );
      const agent = scene.agent({ debug: index % 2 === 0, sources, secrets: SECRETS });
      const inputs = { subject: stream.subject('file'), payloadFrom: 'file', payloadFile: payload };
      const step = await publish(agent, {
        ...inputs,
        ...(index % 3 === 0 ? {} : { schemaFile: index % 3 === 1 ? `${schema}.json` : missing }),
      });
      assertHarmless(step);
      if (index % 3 === 0) {
        assert.equal(step.result, 'Succeeded', step.logText);
        const { data } = await stream.stored(Number(step.outputs.get('sequence')));
        assert.equal(Buffer.from(data).toString(), content);
        assert.ok(readFileSync(step.outputs.get('receiptFile') ?? '', 'utf8').length > 0);
      } else if (index % 3 === 2) {
        assert.match(step.errors.join('\n'), /InvalidInput: schemaFile: (there is no file|.* contains "\$\()/);
      }
      await assertNoSecretLeaks(agent, SECRETS);
    });
  });

  it("run no command as the run's variables, neither in the event nor in the waiting step's log", async () => {
    const names = [
      ...['Build.DefinitionName', 'Build.BuildId', 'Build.RequestedFor', 'Build.SourceVersion', 'Build.BuildNumber'],
      ...['System.TeamProject', 'System.DefinitionId', 'System.StageName', 'System.JobName', 'System.PlanId'],
      ...['System.JobId', 'System.StageAttempt', 'System.JobAttempt', 'TRACEPARENT'],
    ];
    await forAll(Array.from({ length: cases({ short: 3, long: 60 }) }), async (_, index) => {
      const all = hostileTexts(names.length + 2, `variables ${index}`).map(unexpanded);
      texts.tried(all.length);
      const agent = scene.agent({
        debug: index % 2 === 0,
        variables: {
          ...Object.fromEntries(names.map((name, at) => [name, all[at]])),
          // Half of the runs have realistic values here, so that the step gets further.
          ...(index % 2 === 0 ? {} : { 'System.PlanId': 'plan', 'System.JobId': 'job', TRACEPARENT: undefined }),
          'System.CollectionUri': `https://dev.azure.com/${all.at(-1) ?? ''}`,
        },
      });
      const subject = stream.subject(`variables.${index}`);
      const displayName = all.at(-2) ?? '';
      const sent = await publish(agent, { subject, payload: '{}' }, { displayName });
      assertHarmless(sent);
      assert.equal(sent.result, 'Succeeded', sent.logText);
      const received = await wait(agent, { subject, startFrom: 'all' }, { displayName });
      assertHarmless(received);
      assert.equal(received.result, 'Succeeded', received.logText);
    });
  });
});
