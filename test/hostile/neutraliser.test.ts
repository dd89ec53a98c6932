import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { markdownText } from '../../tasks/agent/summary/markdown.ts';
import { logLine } from '../../shared/text/logLine.ts';
import { quoted, safeText } from '../../shared/text/safeText.ts';
import { assertPlain } from '../support/hostile/harmless.ts';
import { cases, family, parameters } from '../support/hostile/hostile.ts';
import { hostileText } from '../support/hostile/hostileText.ts';
import { LineReader, parseLoggingCommand } from '../../localAgent/loggingCommands.ts';

const texts = family('Neutraliser');
const RUNS = cases({ short: 5_000, long: 200_000 });

/** The lines that the agent reads if a process writes these bytes in two parts. */
function linesOf(bytes: Uint8Array, cut: number): string[] {
  const lines: string[] = [];
  const reader = new LineReader((line) => lines.push(line));
  reader.write(bytes.subarray(0, cut));
  reader.write(bytes.subarray(cut));
  reader.end();
  return lines;
}

describe('The neutraliser', () => {
  it('turns any text into one line without a command, wherever a chunk ends', () => {
    fc.assert(
      fc.property(hostileText, fc.constantFrom(undefined, 3, 40, 200), fc.nat(), (text, maxLength, place) => {
        texts.tried();
        const shown = maxLength === undefined ? safeText(text) : safeText(text, maxLength);
        const bytes = Buffer.from(`${shown}\n`);
        const lines = linesOf(bytes, place % bytes.length);
        assert.equal(lines.length, 1);
        assert.equal(lines[0], shown, 'the text holds a character that UTF-8 cannot encode');
        assert.equal(parseLoggingCommand(shown), undefined);
        assertPlain(shown, 'shown');
        assert.equal(safeText(shown, Infinity), shown, 'neutral text was changed again');
      }),
      parameters(RUNS),
    );
  });

  it('keeps all visible characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        fc.pre(!/[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\t#]/u.test(text));
        texts.tried();
        assert.equal(safeText(text), text);
      }),
      parameters(RUNS / 4),
    );
  });

  it('is safe for combined texts', () => {
    fc.assert(
      fc.property(hostileText, hostileText, (one, other) => {
        texts.tried(2);
        for (const text of [
          one + other,
          quoted(one) + quoted(other),
          logLine('matched', { subject: one, reason: other }),
          markdownText(one),
        ]) {
          assertPlain(safeText(text), 'shown');
        }
      }),
      parameters(RUNS),
    );
  });
});
