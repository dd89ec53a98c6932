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
  /** What is masked by its first two characters, longest first. All of it is looked for in one pass. */
  readonly #masked = new Map<number, string[]>();
  /** Whether something masked begins with two characters, by the low byte of each. */
  readonly #starts = new Uint8Array(0x1_00_00);
  /** Forms that tell a whole secret. */
  readonly #guarded: { readonly bytes: Buffer; readonly name: string }[] = [];
  #longestGuarded = 0;

  /** @param name what people call it, such as `the secret variable "ApiKey"` */
  add(secret: string, name: string): void {
    const whole = secret.trim();
    if (whole.length >= SHORTEST_LINE) for (const form of formsOf(secret)) this.#addMasked(form);
    if (whole.length < SHORTEST_GUARDED) return;
    for (const form of encodingsOf([secret, whole, ...whole.split(/\s+/).filter((word) => KEY_LIKE.test(word))])) {
      // Padding is the end of a base64 text only.
      const bytes = Buffer.from(form.replace(/=+$/, ''));
      if (this.#guarded.some((other) => other.bytes.equals(bytes))) continue;
      this.#guarded.push({ bytes, name });
      this.#longestGuarded = Math.max(this.#longestGuarded, bytes.length);
    }
  }

  #addMasked(form: string): void {
    const start = startOf(form, 0);
    const forms = this.#masked.get(start) ?? [];
    if (forms.includes(form)) return;
    forms.push(form);
    forms.sort((one, other) => other.length - one.length);
    this.#masked.set(start, forms);
    this.#starts[start] = 1;
  }

  /**
   * The text with every secret replaced by `***`; secrets that touch or overlap share one.
   * @param end where the text is cut; a secret that goes on beyond is masked as a whole
   */
  mask(text: string, end = text.length): string {
    let masked = '';
    let shownTo = 0;
    for (let at = 0; this.#masked.size > 0 && at < end; at++) {
      if (this.#starts[startOf(text, at)] !== 1) continue;
      const length = this.#masked.get(startOf(text, at))?.find((form) => text.startsWith(form, at))?.length;
      if (length === undefined) continue;
      if (masked === '' || at > shownTo) masked += `${text.slice(shownTo, at)}${MASK}`;
      shownTo = Math.max(shownTo, at + length);
    }
    return masked + text.slice(shownTo, Math.max(shownTo, end));
  }

  /** The name of a secret of 8 characters or more whose value the text tells, in whatever form; undefined when there is none. */
  secretIn(text: string | Uint8Array): string | undefined {
    const bytes = typeof text === 'string' ? Buffer.from(text) : Buffer.from(text.buffer, text.byteOffset, text.length);
    return this.#guarded.find((form) => bytes.includes(form.bytes))?.name;
  }

  /** As {@link secretIn}, for the chunks of a file in their order: the first secret found so far. */
  secretInChunks(): (chunk: Uint8Array) => string | undefined {
    let found: string | undefined;
    let before = Buffer.alloc(0);
    return (chunk) => {
      if (found !== undefined || this.#guarded.length === 0) return found;
      // A secret may begin in one chunk and end in the next.
      const bytes = Buffer.concat([before, chunk]);
      found = this.secretIn(bytes);
      before = bytes.subarray(Math.max(0, bytes.length - this.#longestGuarded + 1));
      return found;
    };
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
