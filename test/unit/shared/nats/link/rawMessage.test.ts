import assert from 'node:assert/strict';
import { test } from 'node:test';
import { numberAt } from '../../../../../shared/nats/link/rawMessage.ts';

test("a number is read from digits only, so a foreign subject can't name a message", () => {
  const read = (text: string, start: number, end?: number) => numberAt(Buffer.from(text), start, end);
  assert.equal(read('in.17', 3), 17);
  assert.equal(read('9.12345678901.4', 2, 13), 12345678901);
  // Read as digits, ":" would be 10 and "x" 72.
  for (const text of ['in.:', 'in.x', 'in.1x', 'in.-1', 'in.1.2', 'in.ß']) assert.equal(read(text, 3), NaN, text);
});
