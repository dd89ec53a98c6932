import { LONGEST_DISGUISE, MOST_LAYERS, bared, readingsOf, unescaped } from './readings.ts';

/**
 * Shorter secrets and lines of secrets are left to the agent, which masks its own log: replaced everywhere, `true` or `prod`
 * would make a summary or a receipt unreadable and protect nothing that can't be guessed. No agent can be told to
 * leave longer ones unmasked either (`AZP_IGNORE_SECRETS_SHORTER_THAN` is at most 6).
 */
const SHORTEST_LINE = 6;
/** Words of a secret are masked on their own from this length on. */
const SHORTEST_WORD = 16;
/** A secret this long can't stand in a payload by accident. */
const SHORTEST_GUARDED = 8;
/** Part of a key or a token, such as the body of a PEM text or an NKey seed: reveals the secret without the text around it. */
const KEY_LIKE = /^[\w+/=.-]{40,}$/;
/** Distinct characters in such a part: a line of dashes isn't one. */
const LEAST_DIFFERENT = 10;
const MASK = '***';

/** A secret's value in every form in which it may come back: whole, by line and by word, base64, URL-encoded and JSON-escaped. */
export function formsOf(secret: string): Set<string> {
  const lines = secret.split(/[\r\n]+/).map((line) => line.trim());
  // A form field turns the line breaks of a PEM or .creds text into spaces, so that words are what is secret.
  const words = secret.split(/\s+/);
  return encodingsOf([
    secret,
    secret.trim(),
    ...lines.filter((line) => line.length >= SHORTEST_LINE),
    ...words.filter((word) => word.length >= SHORTEST_WORD),
  ]);
}

function encodingsOf(texts: readonly string[]): Set<string> {
  const forms = texts.flatMap((text) => [
    text,
    Buffer.from(text).toString('base64'),
    Buffer.from(text).toString('base64url'),
    encodeURIComponent(text.toWellFormed()),
    JSON.stringify(text).slice(1, -1),
  ]);
  return new Set(forms.filter((form) => form !== ''));
}

/** Characters that XML escapes, by their names. */
const ENTITIES: Readonly<Record<string, string>> = { '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot', "'": 'apos' };

/** What else a secret may look like that a program has put into a larger text: its forms inside longer base64, hex, and more. */
function disguisesOf(text: string): string[] {
  const bytes = Buffer.from(text);
  return [
    ...base64Within(bytes),
    ...base64Within(Buffer.from(text, 'utf16le')),
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
    // In a JSON pointer, as problems with a schema name a place.
    text.replaceAll('~', '~0').replaceAll('/', '~1'),
    text.replace(/[&<>"']/g, (character) => `&${ENTITIES[character] ?? ''};`),
  ];
}

/** What longer base64 has of these bytes, wherever they stand in what it encodes: the characters that no other byte has a part in. */
function base64Within(bytes: Buffer): string[] {
  return [0, 1, 2].flatMap((before) => {
    const all = Buffer.concat([Buffer.alloc(before), bytes]);
    const [start, end] = [Math.ceil((before * 8) / 6), Math.floor((all.length * 8) / 6)];
    return (['base64', 'base64url'] as const).map((encoding) => all.toString(encoding).slice(start, end));
  });
}

/** Bytes, or the UTF-16 units of a text. */
type Codes = Uint8Array | Uint16Array;

interface Sought {
  readonly codes: Codes;
  readonly name: string;
  /** What the bytes must hold as it is for the bare ones to count. */
  readonly exact?: Buffer;
}

/** Searches for many texts in one pass. */
class SoughtTexts {
  /** By the mark of their first four codes, longest first. */
  readonly #texts = new Map<number, Sought[]>();
  /** Whether one begins with four codes of this mark. */
  readonly #starts = new Uint8Array(0x1_00_00);

  add(codes: Codes, name: string, exact?: Buffer): void {
    if (codes.length < SHORTEST_LINE) return;
    const start = Array.from(codes.subarray(0, 4)).reduce(markOf, 0);
    const texts = this.#texts.get(start) ?? [];
    // A process that learns its secrets again and again, with each token, must not become slower by that.
    const isKnown = ({ codes: own, exact: ownExact }: Sought) =>
      own.length === codes.length && standsAt(own, codes, 0) && (ownExact === undefined || exact?.equals(ownExact));
    if (texts.some(isKnown)) return;
    const all = [...texts, { codes, name, ...(exact && { exact }) }];
    this.#texts.set(
      start,
      all.sort((one, other) => other.codes.length - one.codes.length),
    );
    this.#starts[start] = 1;
  }

  /** The first place from `from` on and before `end` where one of them is: the longest there. */
  find(
    text: Codes,
    from = 0,
    end = text.length,
    counts: (sought: Sought) => boolean = () => true,
  ): { at: number; length: number; name: string } | undefined {
    if (this.#texts.size === 0) return undefined;
    const starts = this.#starts;
    const last = Math.min(end + 3, text.length);
    for (let next = from, mark = 0; next < last; next++) {
      mark = markOf(mark, text[next] ?? 0);
      if (starts[mark] !== 1 || next < from + 3) continue;
      const at = next - 3;
      const found = this.#texts.get(mark)?.find((sought) => standsAt(sought.codes, text, at) && counts(sought));
      if (found !== undefined) return { at, length: found.codes.length, name: found.name };
    }
    return undefined;
  }
}

/** The mark of the last four codes; those before have no part in it. */
function markOf(mark: number, code: number): number {
  return ((mark << 4) ^ code) & 0xffff;
}

function standsAt(sought: Codes, text: Codes, at: number): boolean {
  // What looks alike for long, such as a line of dashes, mostly ends otherwise.
  const last = sought.length - 1;
  if (sought[last] !== text[at + last]) return false;
  let same = 0;
  while (same < sought.length && sought[same] === text[at + same]) same++;
  return same === sought.length;
}

function unitsOf(text: string): Uint16Array {
  const bytes = Buffer.from(text, 'utf16le');
  return new Uint16Array(bytes.buffer, bytes.byteOffset, text.length);
}

/** What escapes and wraps are made of. */
const DISGUISING = /[\\%&+\r\n]/;

/** Knows secrets and finds them in texts. */
export class Masker {
  readonly #masked = new SoughtTexts();
  /** What tells a whole secret in a bare reading of a text. */
  readonly #told = new SoughtTexts();
  /** What tells one in the bytes of a reading, and isn't ASCII. */
  readonly #toldInBytes = new SoughtTexts();
  /** Bytes from the start of a disguised secret to its end, at most. */
  #reach = 0;
  readonly #added = new Set<string>();

  /** @param name what people call it, such as `the secret variable "ApiKey"` */
  add(secret: string, name: string): void {
    const whole = secret.trim();
    if (whole.length < SHORTEST_LINE || this.#added.has(secret)) return;
    this.#added.add(secret);
    for (const form of [...formsOf(secret), ...disguisesOf(whole)]) this.#masked.add(unitsOf(form), name);
    if (whole.length < SHORTEST_GUARDED) return;
    const keys = whole.split(/\s+/).filter((word) => KEY_LIKE.test(word) && new Set(word).size >= LEAST_DIFFERENT);
    for (const key of new Set([whole, ...keys, keys.join('')])) if (key !== '') this.#guard(key, name);
  }

  #guard(secret: string, name: string): void {
    let bytes: Buffer = Buffer.from(secret);
    const utf16 = Buffer.from(secret, 'utf16le');
    this.#reach = Math.max(this.#reach, LONGEST_DISGUISE * bytes.length);
    const hex = bytes.toString('hex');
    for (const form of [...[bytes, utf16].flatMap(base64Within), hex, hex.toUpperCase()])
      this.#told.add(bared(Buffer.from(form)).bare, name);
    this.#guardBytes(utf16, name, false);
    const maySpread = /\s/.test(secret) || KEY_LIKE.test(secret);
    // What looks like an escape in a secret is undone together with those of the text around it.
    for (let layers = 0; layers <= MOST_LAYERS; layers++, bytes = unescaped(bytes))
      if (bytes.length >= SHORTEST_GUARDED) this.#guardBytes(bytes, name, maySpread);
  }

  #guardBytes(bytes: Buffer, name: string, maySpread: boolean): void {
    const { bare } = bared(bytes);
    if (bare.length < SHORTEST_LINE) this.#toldInBytes.add(bytes, name);
    else if (maySpread && bare.length >= SHORTEST_GUARDED) this.#told.add(bare, name);
    else this.#told.add(bare, name, bytes);
  }

  /**
   * The text with every secret replaced by `***`; secrets that touch or overlap share one.
   * @param end where the text is cut; a secret that goes on beyond is masked as a whole
   */
  mask(text: string, end = text.length): string {
    const units = unitsOf(text);
    let masked = '';
    let shownTo = 0;
    for (let found = this.#masked.find(units, 0, end); found; found = this.#masked.find(units, found.at + 1, end)) {
      if (masked === '' || found.at > shownTo) masked += `${text.slice(shownTo, found.at)}${MASK}`;
      shownTo = Math.max(shownTo, found.at + found.length);
    }
    shownTo = Math.min(shownTo, text.length);
    const shown = masked + text.slice(shownTo, Math.max(shownTo, end));
    if (!DISGUISING.test(shown)) return shown;
    const hidden = this.#hidden(shown);
    // A disguise may go on beyond the end.
    const rest = text.slice(Math.max(shownTo, end), end + this.#reach);
    if (rest === '' || this.secretIn(hidden + rest) === undefined) return hidden;
    return `${hidden.slice(0, Math.max(0, hidden.length - this.#reach))}${MASK}`;
  }

  /** A text without the words that tell a secret in disguise; without any, where it takes the words together. */
  #hidden(text: string): string {
    if (this.secretIn(text) === undefined) return text;
    const after = text.indexOf(' ', text.length / 2);
    const middle = after === -1 ? text.lastIndexOf(' ', text.length / 2) : after;
    if (middle === -1) return MASK;
    const hidden = `${this.#hidden(text.slice(0, middle))} ${this.#hidden(text.slice(middle + 1))}`;
    return this.secretIn(hidden) === undefined ? hidden : MASK;
  }

  /** The name of a secret of 8 characters or more whose value the text tells, in whatever form; undefined when there is none. */
  secretIn(text: string | Uint8Array): string | undefined {
    if (this.#reach === 0) return undefined;
    for (const [bytes, bare] of readingsOf(Buffer.from(text as string))) {
      const held = new Map<Buffer, boolean>();
      const counts = ({ exact }: Sought) => {
        if (exact === undefined) return true;
        if (!held.has(exact)) held.set(exact, bytes.includes(exact));
        return held.get(exact) === true;
      };
      const found = this.#told.find(bare, 0, bare.length, counts) ?? this.#toldInBytes.find(bytes);
      if (found !== undefined) return found.name;
    }
    return undefined;
  }

  /** As {@link secretIn}, for the chunks of a file in their order: the first secret found so far. */
  secretInChunks(): (chunk: Uint8Array) => string | undefined {
    let found: string | undefined;
    let before = Buffer.alloc(0);
    return (chunk) => {
      if (found !== undefined || this.#reach === 0) return found;
      // A secret may begin in one chunk and end in the next.
      const bytes = Buffer.concat([before, chunk]);
      found = this.secretIn(bytes);
      before = bytes.subarray(Math.max(0, bytes.length - this.#reach));
      return found;
    };
  }
}

/**
 * The secrets of this step. There is one list for the process, which is one step, since whatever cuts or escapes a text
 * has to mask it first: a function that had to be handed the list could be called without.
 */
export const knownSecrets = new Masker();
