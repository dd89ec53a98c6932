import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assertHarmless, forAll } from '../support/hostile/harmless.ts';
import { cases, family } from '../support/hostile/hostile.ts';
import { hostileTexts } from '../support/hostile/hostileText.ts';
import { LocalAgent, type StepRun } from '../../localAgent/index.ts';
import { publish, sourcesWith, wait } from '../support/agent/scenario.ts';
import {
  apiResponse,
  infoLine,
  publication,
  ScriptedServer,
  STREAM,
  SUBJECT,
  type Script,
} from '../support/nats/scriptedServer.ts';

const texts = family('Server texts');

interface Place {
  readonly where: string;
  readonly run: typeof publish;
  readonly inputs: Readonly<Record<string, string>>;
  /** @param line a text without line ends, for places where the protocol ends at a line end */
  readonly script: (text: string, line: string, other: string) => Script;
  readonly code: RegExp;
}

const PUBLISH = { subject: SUBJECT, payload: '1' };
const WAIT = { subject: SUBJECT, startFrom: 'all' };
const GOOD_INFO = apiResponse({ subject: `$JS.API.STREAM.INFO.${STREAM}`, reply: '' });

/** Sends this reply to everything that has a reply subject. */
function answering(payload: unknown, headers = ''): Script {
  return {
    answer(command, link) {
      const reply = publication(command)?.reply ?? '';
      return reply === '' ? undefined : link.messageTo(reply, payload, { headers });
    },
  };
}
const apiError = (description: string) => answering({ error: { code: 400, err_code: 10_999, description } });
const refusing = (line: string): Script => ({
  answer: ({ verb }) => (verb === 'PING' ? `-ERR '${line}'\r\n` : undefined),
});
const refusingTheEvent = (line: string): Script => ({
  answer: (command) => (publication(command) === undefined ? undefined : `-ERR '${line}'\r\n`),
});

/** Every place from which a server's text gets into a log. */
const PLACES: readonly Place[] = [
  {
    where: 'instead of INFO',
    run: publish,
    inputs: PUBLISH,
    script: (text, line) => ({ greeting: `${line}\r\n${text}\r\n` }),
    code: /Unreachable/,
  },
  {
    where: 'INFO and the PubAck',
    run: publish,
    inputs: PUBLISH,
    script: (text, line, other) => ({
      greeting: infoLine({
        ...{ server_name: text, server_id: other, version: `2.11.0${text}`, cluster: other },
        connect_urls: [text, `${line}:1`],
      }),
      // A stream's name can hold neither dots nor spaces.
      ...answering({ stream: text.replace(/[\s.*>\p{Cc}]/gu, '_').slice(0, 255), seq: 7, domain: other }),
    }),
    code: /^$/,
  },
  {
    where: 'a refusal to sign in',
    run: publish,
    inputs: PUBLISH,
    script: (_, line) => refusing(line),
    code: /Unreachable|Denied|TooLarge/,
  },
  {
    where: 'a refusal with a known beginning',
    run: wait,
    inputs: WAIT,
    script: (_, line) => refusing(`Authorization Violation ${line}`),
    code: /Unreachable|Denied/,
  },
  {
    where: 'a refused permission',
    run: publish,
    inputs: PUBLISH,
    script: (_, line) => refusingTheEvent(`Permissions Violation for Publish to "${SUBJECT}" ${line}`),
    code: /Denied|Timeout|NoStream|ConnectionLost|Unreachable/,
  },
  {
    where: 'an error in mid-flight',
    run: publish,
    inputs: PUBLISH,
    script: (_, line) => refusingTheEvent(line),
    code: /Timeout|NoStream|ConnectionLost|Denied/,
  },
  {
    where: 'an error of the stream',
    run: publish,
    inputs: PUBLISH,
    script: (text) => apiError(text),
    code: /StreamRefused/,
  },
  {
    where: 'an answer of the stream that is no JSON',
    run: publish,
    inputs: PUBLISH,
    script: (text) => answering(text),
    code: /NoStream/,
  },
  {
    where: 'the reply to a request',
    run: publish,
    inputs: { ...PUBLISH, delivery: 'request', replySchemaFile: 'strict.schema.json' },
    script: (text, line, other) =>
      answering(
        { [text]: other },
        `NATS/1.0\r\nNats-Service-Error: ${line}\r\nNats-Service-Error-Code: ${line}\r\n\r\n`,
      ),
    code: /ContractViolation/,
  },
  {
    where: 'an error of the JetStream API',
    run: wait,
    inputs: WAIT,
    script: (text) => apiError(text),
    code: /StreamRefused/,
  },
  {
    where: 'the names of streams',
    run: wait,
    inputs: WAIT,
    script: (text, _, other) => answering({ streams: [text, `${other} 2`] }),
    code: /Unreachable/,
  },
  {
    where: 'what a stream captures',
    run: wait,
    inputs: { ...WAIT, stream: STREAM },
    script: (text, _, other) =>
      answering({ ...GOOD_INFO, config: { name: STREAM, retention: 'limits', subjects: [text, other] } }),
    code: /NoStream/,
  },
  {
    where: 'the state of a consumer',
    run: wait,
    inputs: { ...WAIT, stream: STREAM },
    script: (text, line) => ({
      answer(command, link) {
        const { subject = '', reply = '' } = publication(command) ?? {};
        if (!subject.includes('.MSG.NEXT.')) return undefined;
        return link.messageTo(reply, text, { headers: `NATS/1.0 409 ${line}\r\nNats-X: ${line}\r\n\r\n` });
      },
    }),
    code: /Timeout/,
  },
];

// Only a few steps run at once, because each has only two seconds.
describe('Hostile texts of a server', { concurrency: cases({ short: 3, long: 2 }) }, () => {
  const sources = sourcesWith({ 'strict.schema.json': { type: 'object', additionalProperties: false } });
  for (const [number, place] of PLACES.entries()) {
    it(`run no command as ${place.where}`, async () => {
      await forAll(Array.from({ length: cases({ short: 1, long: 12 }) }), async (_, index) => {
        const [text = '', other = '', third = ''] = hostileTexts(3, `${place.where} ${index}`);
        texts.tried(3);
        const line = third.replace(/\r\n|\n/g, ' ');
        await using server = await ScriptedServer.start(place.script(text, line, other));
        const agent = new LocalAgent({
          debug: (index + number) % 2 === 0,
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

/** The code that a step failed with; empty if it succeeded. */
function codeOf(step: StepRun): string {
  return step.result === 'Failed' ? (/^\w+(?=: )/.exec(step.errors[0] ?? '')?.[0] ?? 'none') : '';
}
