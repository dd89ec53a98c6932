import { knownSecrets } from './masker.ts';

/** Longest text shown of one foreign value, in UTF-16 units: a log line stays readable and an event cannot flood the log. */
const MAX_LENGTH = 4_000;

// Control, format (bidi, zero-width), surrogate, private, unassigned and default-ignorable characters and separators:
// none can be seen, some reorder the line, and a culture-sensitive comparison such as .NET's skips the ignorable ones.
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

// The agent runs a command found anywhere in a line, in any case; `##[` at the start of a line formats it. Such a comparison
// skips some marks on characters as well, such as the Hebrew accents: a marker with marks in it is one.
const COMMAND_MARKER = /#\p{M}*#(?=\p{M}*(?:v\p{M}*s\p{M}*o|\[))/giu;

/** ASCII without what a command begins with: most texts. To prepare the other expressions takes V8 a millisecond. */
const HARMLESS = /^[ -"$-~]*$/;

/**
 * The one neutraliser: any text as one line that the agent only shows. Nothing is deleted, since deleting a marker can
 * put another one together: markers are broken by an underscore, invisible characters are shown as `\u{…}`. Secrets are
 * masked first: neither their beginning nor another form of them is shown.
 *
 * The rule it defends against is the agent's command parser, which looks for `##vso[` anywhere in each line of stdout
 * and stderr and splits lines at LF and at a lone CR.
 */
export function safeText(text: string, maxLength = MAX_LENGTH): string {
  const end = Math.min(text.length, maxLength);
  const masked = knownSecrets.mask(text, end);
  const neutral = HARMLESS.test(masked)
    ? masked
    : masked
        .replace(/\r\n|\n|\r/g, '\\n')
        .replace(/\t/g, ' ')
        .replace(INVISIBLE, escapeCharacter)
        .replace(COMMAND_MARKER, '$&_');
  return end === text.length ? neutral : `${neutral}… (${text.length - end} more characters)`;
}

function escapeCharacter(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

/** A value from outside as it appears in a message: quoted, and cut when it is long. */
export function quoted(text: string): string {
  return JSON.stringify(shortened(text, 80));
}

/** A text of at most so many characters, and `…` in the place of the others: never the beginning of a secret. */
export function shortened(text: string, maxLength: number): string {
  return text.length > maxLength ? `${knownSecrets.mask(text, maxLength)}…` : text;
}
