/** Longest subject accepted, in UTF-8 bytes: a protocol line (subject, reply, sizes) must fit the server's default `max_control_line` of 4096. */
const MAX_SUBJECT_BYTES = 1024;

// Whitespace and control characters end a subject in the NATS protocol: a subject that holds them injects commands.
const FORBIDDEN_CHARACTERS = /[\s\u0000-\u001f\u007f-\u009f]/u;

/**
 * What is wrong with a subject to publish to (`kind: 'subject'`) or a subject to wait on, where wildcards are
 * allowed (`kind: 'pattern'`); undefined when nothing is. The client library itself checks none of this.
 */
export function subjectProblem(subject: string, kind: 'subject' | 'pattern'): string | undefined {
  const tokens = subject.split('.');
  if (subject === '') return 'is empty';
  if (FORBIDDEN_CHARACTERS.test(subject)) return 'contains white space or a control character';
  if (!subject.isWellFormed()) return 'is not valid Unicode';
  if (Buffer.byteLength(subject) > MAX_SUBJECT_BYTES) return `is longer than ${MAX_SUBJECT_BYTES} bytes`;
  if (tokens.includes('')) return 'has an empty part: it must not begin or end with a dot, nor have two in a row';
  if (subject.includes('$(')) return 'contains "$(", most likely a pipeline variable that is not set';
  if (subject.startsWith('$')) return 'begins with "$", which NATS reserves for its own interfaces';
  if (tokens[0]?.startsWith('_INBOX') === true) return 'begins with "_INBOX", which NATS reserves for replies';
  if (kind === 'subject' && tokens.some((token) => token === '*' || token === '>')) {
    return 'contains a wildcard, which only a wait can use';
  }
  if (tokens.includes('>') && tokens.indexOf('>') !== tokens.length - 1) return 'has ">" before its last part';
  return undefined;
}

/** Whether a literal subject lies inside a pattern (`*` is one part, a final `>` one or more). */
export function subjectMatches(pattern: string, subject: string): boolean {
  return covers(pattern, subject);
}

/** A test for the subjects inside a pattern, for many subjects. */
export function subjectTest(pattern: string): (subject: string) => boolean {
  if (!/[*>]/.test(pattern)) return (subject) => subject === pattern;
  if (/^[^*>]+\.>$/.test(pattern)) {
    const start = pattern.slice(0, -1);
    return (subject) => subject.length > start.length && subject.startsWith(start);
  }
  return (subject) => covers(pattern, subject);
}

/** Whether every subject of `inner` (which may have wildcards itself) lies inside `outer`. */
export function covers(outer: string, inner: string): boolean {
  const outerTokens = outer.split('.');
  const innerTokens = inner.split('.');
  for (const [index, token] of outerTokens.entries()) {
    const other = innerTokens[index];
    if (other === undefined) return false;
    if (token === '>') return true;
    if (other === '>') return false;
    if (token !== '*' && token !== other) return false;
  }
  return outerTokens.length === innerTokens.length;
}

/** Whether some subject lies inside both patterns. */
export function overlap(one: string, other: string): boolean {
  const oneTokens = one.split('.');
  const otherTokens = other.split('.');
  for (let index = 0; ; index++) {
    const a = oneTokens[index];
    const b = otherTokens[index];
    if (a === undefined || b === undefined) return a === b;
    if (a === '>' || b === '>') return true;
    if (a !== b && a !== '*' && b !== '*') return false;
  }
}

/** The patterns that are not covered by another one of the list, each once, in their order. */
export function withoutCovered(patterns: readonly string[]): string[] {
  const distinct = [...new Set(patterns)];
  return distinct.filter((pattern) => !distinct.some((other) => other !== pattern && covers(other, pattern)));
}

/** Whether a subject carries a version token (`v1`, `v2`, …), by which a contract can change without breaking its readers. */
export function hasVersionToken(subject: string): boolean {
  return subject.split('.').some((token) => /^v[1-9]\d*$/.test(token));
}
