/**
 * Shorter secrets and lines of secrets are left to the agent, which masks its log by itself: replaced everywhere, `true` or `prod`
 * would make a summary or a receipt unreadable and protect nothing that can't be guessed. No agent can be told to
 * leave longer ones unmasked either (`AZP_IGNORE_SECRETS_SHORTER_THAN` is at most 6).
 */
const SHORTEST_LINE = 6;
/** Words of a secret are masked by themselves from this length on. */
const SHORTEST_WORD = 16;
/** A secret this long can't stand in a payload by accident. */
const SHORTEST_GUARDED = 8;
/** Part of a key or a token, such as the body of a PEM text or an NKey seed: tells the secret without the text around it. */
const KEY_LIKE = /^[\w+/=.-]{40,}$/;
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

/** Knows secrets and finds them in texts. */
export class Masker {
  readonly #masked = new Needles();
  /** Forms that tell a whole secret, as UTF-8 in a string of bytes. */
  readonly #guarded = new Needles();

  /** @param name what people call it, such as `the secret variable "ApiKey"` */
  add(secret: string, name: string): void {
    const whole = secret.trim();
    if (whole.length >= SHORTEST_LINE) for (const form of formsOf(secret)) this.#masked.add(form, name);
    if (whole.length < SHORTEST_GUARDED) return;
    for (const form of encodingsOf([secret, whole, ...whole.split(/\s+/).filter((word) => KEY_LIKE.test(word))])) {
      // Padding is the end of a base64 text only.
      this.#guarded.add(bytesOf(form.replace(/=+$/, '')), name);
    }
  }

  /**
   * The text with every secret replaced by `***`; secrets that touch or overlap share one.
   * @param end where the text is cut; a secret that goes on beyond is masked as a whole
   */
  mask(text: string, end = text.length): string {
    let masked = '';
    let shownTo = 0;
    for (let at = this.#masked.next(text, 0, end); at !== -1; at = this.#masked.next(text, at + 1, end)) {
      if (masked === '' || at > shownTo) masked += `${text.slice(shownTo, at)}${MASK}`;
      shownTo = Math.max(shownTo, at + this.#masked.lengthAt(text, at));
    }
    return masked + text.slice(shownTo, Math.max(shownTo, end));
  }

  /** A JSON value whose texts are masked. */
  maskValues(value: unknown): unknown {
    if (typeof value === 'string') return this.mask(value);
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map((entry) => this.maskValues(entry));
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, this.maskValues(member)]));
  }

  /** The name of a secret of 8 characters or more whose value the text tells, in whatever form; undefined when there is none. */
  secretIn(text: string): string | undefined {
    return this.#guarded.nameIn(bytesOf(text));
  }

  /** As {@link secretIn}, for the chunks of a file in their order: the first secret found so far. */
  secretInChunks(): (chunk: Uint8Array) => string | undefined {
    let found: string | undefined;
    let before = '';
    return (chunk) => {
      if (found !== undefined || this.#guarded.longest === 0) return found;
      const text = before + Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).toString('latin1');
      found = this.#guarded.nameIn(text);
      // A secret may begin in one chunk and end in the next.
      before = text.slice(1 - this.#guarded.longest);
      return found;
    };
  }
}

/** UTF-8, one character for each byte. */
function bytesOf(text: string): string {
  return Buffer.from(text).toString('latin1');
}

/** Texts that are looked for, all in one pass, so that their number hardly matters. */
class Needles {
  longest = 0;
  /** Whether a needle begins with the two characters, of which this is the low byte of each. */
  readonly #starts = new Uint8Array(0x1_00_00);
  /** By those two, longest first. */
  readonly #needles = new Map<number, { readonly text: string; readonly name: string }[]>();

  /** @param text at least two characters */
  add(text: string, name: string): void {
    const start = startOf(text, 0);
    const needles = this.#needles.get(start) ?? [];
    if (needles.some((needle) => needle.text === text)) return;
    needles.push({ text, name });
    this.#needles.set(
      start,
      needles.sort((one, other) => other.text.length - one.text.length),
    );
    this.#starts[start] = 1;
    this.longest = Math.max(this.longest, text.length);
  }

  /** Where the next needle begins, before `end`; -1 when there is none. */
  next(text: string, from: number, end: number): number {
    if (this.longest === 0) return -1;
    for (let at = from; at < end; at++) {
      if (this.#starts[startOf(text, at)] === 1 && this.#at(text, at) !== undefined) return at;
    }
    return -1;
  }

  lengthAt(text: string, at: number): number {
    return this.#at(text, at)?.text.length ?? 0;
  }

  nameIn(text: string): string | undefined {
    const at = this.next(text, 0, text.length);
    return at === -1 ? undefined : this.#at(text, at)?.name;
  }

  #at(text: string, at: number) {
    return this.#needles.get(startOf(text, at))?.find((needle) => text.startsWith(needle.text, at));
  }
}

function startOf(text: string, at: number): number {
  return ((text.charCodeAt(at) & 0xff) << 8) | (text.charCodeAt(at + 1) & 0xff);
}

/**
 * The secrets of this step. There is one list for the process, which is one step, since whatever cuts or escapes a text
 * has to mask it first: a function that had to be handed the list could be called without.
 */
export const knownSecrets = new Masker();
