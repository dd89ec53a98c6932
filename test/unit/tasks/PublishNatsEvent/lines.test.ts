import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { temporaryFolder } from '../../../../localAgent/vsix.ts';
import { TaskError } from '../../../../shared/errors.ts';
import { readPublish } from '../../../../tasks/PublishNatsEvent/inputs.ts';
import { prepare, type Prepared } from '../../../../tasks/PublishNatsEvent/publish.ts';
import { connectedAgent } from '../../../support/agent/fakeAgent.ts';

/** What a step that publishes the lines of such a file is ready to send. */
function prepared(content: string | Uint8Array): Promise<Prepared> {
  const payloadFile = path.join(temporaryFolder('lines-'), 'events.ndjson');
  writeFileSync(payloadFile, content);
  const { request } = readPublish(connectedAgent({ subject: 'ci.built.v1', payloadFrom: 'lines', payloadFile }));
  const startedAt = Date.now();
  const clock = { signal: new AbortController().signal, startedAt, deadline: startedAt + 60_000, now: Date.now };
  return prepare(request, undefined, undefined, clock);
}

describe('A file with one event per line', () => {
  for (const [what, content, expected] of [
    ['LF', '{"a":1}\n{"a":2}\n', ['{"a":1}', '{"a":2}']],
    ['CRLF', '{"a":1}\r\n{"a":2}\r\n', ['{"a":1}', '{"a":2}']],
    ['no line end after the last line', '{"a":1}\n{"a":2}', ['{"a":1}', '{"a":2}']],
    ['one line and no line end', '{"a":1}', ['{"a":1}']],
    ['other white space, which stays', ' {"a":1}\t\n', [' {"a":1}\t']],
  ] as const) {
    test(`may have ${what}`, async () => {
      const { count, messages } = await prepared(content);
      const payloads: string[] = [];
      for await (const some of messages()) payloads.push(...some.map(({ payload }) => Buffer.from(payload).toString()));
      assert.deepEqual(payloads, expected);
      assert.equal(count, expected.length);
    });
  }

  for (const [what, content, ...texts] of [
    ['an empty file', '', 'has no lines'],
    ['a blank line', '{}\n\n{}\n', '1 of 3 lines', 'line 2: it is blank'],
    ['a blank line at the end', '{}\r\n\r\n', 'line 2: it is blank'],
    ['a line that is not JSON', "{}\n{'a':1}\n", '1 of 2 lines', 'line 2: it is not JSON'],
    ['a line that is not UTF-8', Buffer.from('{}\n"\xff"\n', 'latin1'), 'line 2: it is not UTF-8'],
    ['seven bad lines', 'a\nb\nc\nd\ne\nf\ng', 'line 5: it is not JSON. And 2 more lines'],
  ] as const) {
    test(`is refused with ${what}`, async () => {
      const error: unknown = await prepared(content).catch((reason: unknown) => reason);
      assert.ok(error instanceof TaskError, String(error));
      assert.equal(error.code, 'InvalidInput');
      for (const text of ['payloadFile', ...texts]) assert.ok(error.message.includes(text), error.message);
    });
  }
});
