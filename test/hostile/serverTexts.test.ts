import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assertHarmless, forAll } from '../support/hostile/harmless.ts';
import { cases, family } from '../support/hostile/hostile.ts';
import { HostileServer, type HostileSpeech } from '../support/hostile/hostileServer.ts';
import { hostileTexts } from '../support/hostile/hostileText.ts';
import { LocalAgent, type StepRun } from '../../localAgent/index.ts';
import { publish, sourcesWith, wait } from '../support/agent/scenario.ts';

const texts = family('Server texts');

interface Place {
  readonly where: string;
  readonly run: typeof publish;
  readonly inputs: Readonly<Record<string, string>>;
  /** @param text also without line ends, for places where the protocol ends at one */
  readonly speech: (text: string, line: string, other: string) => HostileSpeech;
  readonly code: RegExp;
}

const PUBLISH = { subject: 'ci.v1', payload: '1' };
const WAIT = { subject: 'ci.v1', startFrom: 'all' };
const apiError = (description: string) => JSON.stringify({ error: { code: 400, err_code: 10_999, description } });
const INFO = { created: '2026-01-01T00:00:00Z', state: { messages: 1, last_seq: 1 }, config: { retention: 'limits' } };

/** Every place where a server's text comes into a log. */
const PLACES: readonly Place[] = [
  {
    where: 'instead of INFO',
    run: publish,
    inputs: PUBLISH,
    speech: (text, line) => ({ greeting: `${line}\r\n${text}\r\n` }),
    code: /Unreachable/,
  },
  {
    where: 'INFO and the PubAck',
    run: publish,
    inputs: PUBLISH,
    speech: (text, line, other) => ({
      info: {
        server_name: text,
        server_id: other,
        version: `2.11.0${text}`,
        cluster: other,
        connect_urls: [text, `${line}:1`],
      },
      // A stream's name can hold neither dots nor spaces.
      answer: (_, reply) =>
        reply.message(
          JSON.stringify({ stream: text.replace(/[\s.*>\p{Cc}]/gu, '_').slice(0, 255), seq: 7, domain: other }),
        ),
    }),
    code: /^$/,
  },
  {
    where: 'a refusal to sign in',
    run: publish,
    inputs: PUBLISH,
    speech: (_, line) => ({ refusal: `-ERR '${line}'\r\n` }),
    code: /Unreachable|Denied|TooLarge/,
  },
  {
    where: 'a refusal with a known beginning',
    run: wait,
    inputs: WAIT,
    speech: (_, line) => ({ refusal: `-ERR 'Authorization Violation ${line}'\r\n` }),
    code: /Unreachable|Denied/,
  },
  {
    where: 'a refused permission',
    run: publish,
    inputs: PUBLISH,
    speech: (_, line) => ({ answer: () => `-ERR 'Permissions Violation for Publish to "ci.v1" ${line}'\r\n` }),
    code: /Denied|Timeout|NoStream|ConnectionLost|Unreachable/,
  },
  {
    where: 'an error in mid-flight',
    run: publish,
    inputs: PUBLISH,
    speech: (_, line) => ({ answer: () => `-ERR '${line}'\r\n` }),
    code: /Timeout|NoStream|ConnectionLost|Denied/,
  },
  {
    where: 'an error of the stream',
    run: publish,
    inputs: PUBLISH,
    speech: (text) => ({ answer: (_, reply) => reply.message(apiError(text)) }),
    code: /StreamRefused/,
  },
  {
    where: 'an answer of the stream that is no JSON',
    run: publish,
    inputs: PUBLISH,
    speech: (text) => ({ answer: (_, reply) => reply.message(text) }),
    code: /NoStream/,
  },
  {
    where: 'the reply to a request',
    run: publish,
    inputs: { ...PUBLISH, delivery: 'request', replySchemaFile: 'strict.schema.json' },
    speech: (text, line, other) => ({
      answer: (_, reply) =>
        reply.withHeaders(
          '',
          [`Nats-Service-Error: ${line}`, `Nats-Service-Error-Code: ${line}`],
          JSON.stringify({ [text]: other }),
        ),
    }),
    code: /ContractViolation/,
  },
  {
    where: 'an error of the JetStream API',
    run: wait,
    inputs: WAIT,
    speech: (text) => ({ answer: (_subject, reply) => reply.message(apiError(text)) }),
    code: /StreamRefused/,
  },
  {
    where: 'the names of streams',
    run: wait,
    inputs: WAIT,
    speech: (text, _, other) => ({
      answer: (_subject, reply) => reply.message(JSON.stringify({ streams: [text, `${other} 2`] })),
    }),
    code: /Unreachable/,
  },
  {
    where: 'what a stream captures',
    run: wait,
    inputs: { ...WAIT, stream: 'CI' },
    speech: (text, _, other) => ({
      answer: (_subject, reply) =>
        reply.message(JSON.stringify({ ...INFO, config: { retention: 'limits', subjects: [text, other] } })),
    }),
    code: /NoStream/,
  },
  {
    where: 'the state of a consumer',
    run: wait,
    inputs: { ...WAIT, stream: 'CI' },
    speech: (text, line) => ({
      answer: (subject, reply) => {
        if (subject.includes('.STREAM.INFO.')) return reply.message(JSON.stringify(INFO));
        if (subject.includes('.CONSUMER.CREATE.'))
          return reply.message(JSON.stringify({ ...INFO, num_pending: 0, config: {} }));
        return reply.withHeaders(`409 ${line}`, [`Nats-X: ${line}`], text);
      },
    }),
    code: /Timeout/,
  },
];

// In either form at most eight steps run at once: each has two seconds.
describe('Hostile texts of a server', { concurrency: cases({ short: 4, long: 2 }) }, () => {
  const sources = sourcesWith({ 'strict.schema.json': { type: 'object', additionalProperties: false } });
  for (const place of PLACES) {
    it(`run no command as ${place.where}`, async () => {
      await forAll(Array.from({ length: cases({ short: 2, long: 12 }) }), async (_, index) => {
        const [text = '', other = '', third = ''] = hostileTexts(3, `${place.where} ${index}`);
        texts.tried(3);
        const line = third.replace(/\r\n|\n/g, ' ');
        await using server = await HostileServer.start(place.speech(text, line, other));
        const agent = new LocalAgent({
          debug: index % 2 === 0,
          sources,
          connections: { nats: { url: server.url, scheme: 'None' } },
        });
        const step = await place.run(agent, { ...place.inputs, timeout: '2s' });
        assertHarmless(step);
        assert.match(codeOf(step), place.code, step.logText);
      });
    });
  }
});

/** The code a step failed with; empty when it did not fail. */
function codeOf(step: StepRun): string {
  return step.result === 'Failed' ? (/^\w+(?=: )/.exec(step.errors[0] ?? '')?.[0] ?? 'none') : '';
}
