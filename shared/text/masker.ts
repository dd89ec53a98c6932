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

/** Characters that XML escapes, by their names. */
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

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
    text.replace(
      /[&<>"']/g,
      (character) => `&${Object.keys(ENTITIES).find((name) => ENTITIES[name] === character) ?? ''};`,
    ),
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

/** Texts that are looked for in others, all of them in one pass. */
class SoughtTexts {
  /** By their first two characters, longest first. */
  readonly #texts = new Map<number, { readonly text: string; readonly name: string }[]>();
  /** Whether one begins with two characters, by the low byte of each. */
  readonly #starts = new Uint8Array(0x1_00_00);
  /** Characters of the longest one. */
  longest = 0;

  add(text: string, name: string): void {
    const start = startOf(text, 0);
    const texts = this.#texts.get(start) ?? [];
    if (text.length < 2 || texts.some((other) => other.text === text)) return;
    texts.push({ text, name });
    texts.sort((one, other) => other.text.length - one.text.length);
    this.#texts.set(start, texts);
    this.#starts[start] = 1;
    this.longest = Math.max(this.longest, text.length);
  }

  /** The first place from `from` on and before `end` where one of them is: the longest there. */
  find(text: string, from = 0, end = text.length): { at: number; length: number; name: string } | undefined {
    if (this.longest === 0) return undefined;
    const starts = this.#starts;
    for (let at = from, next = text.charCodeAt(from) & 0xff; at < end; at++) {
      const start = (next << 8) | (text.charCodeAt(at + 1) & 0xff);
      next = start & 0xff;
      if (starts[start] !== 1) continue;
      const found = this.#texts.get(start)?.find((sought) => text.startsWith(sought.text, at));
      if (found !== undefined) return { at, length: found.text.length, name: found.name };
    }
    return undefined;
  }
}

function startOf(text: string, at: number): number {
  return ((text.charCodeAt(at) & 0xff) << 8) | (text.charCodeAt(at + 1) & 0xff);
}

/** Most characters that an escape takes for one: `\u0041`. */
const LONGEST_ESCAPE = 6;

/** Bytes, each as a character, and what they say to whoever undoes the escapes of JSON, URLs or XML in them, and their line ends. */
function* readingsOf(bytes: string): Generator<string> {
  yield bytes;
  let undone = bytes;
  for (const [mark, undo] of UNDOING) {
    const reading = bytes.includes(mark) ? undo(bytes) : bytes;
    if (reading === bytes) continue;
    yield reading;
    if (undone !== bytes) yield (undone = undo(undone));
    else undone = reading;
  }
}

const utf8 = (text: string) => Buffer.from(text).toString('latin1');
const UNDOING: readonly (readonly [mark: string, undo: (text: string) => string])[] = [
  // Base64 is wrapped between two of its characters.
  ['\n', (text) => text.replace(/(?<=[\w+/-])\r?\n[ \t]*(?=[\w+/-])/g, '')],
  ['\\n', (text) => text.replace(/(?<=[\w+/-])(?:\\r)?\\n(?=[\w+/-])/g, '')],
  [
    '\\u',
    (text) => text.replace(/(?:\\u[\da-f]{4})+/gi, (units) => utf8(JSON.parse(`"${units.toLowerCase()}"`) as string)),
  ],
  ['\\/', (text) => text.replaceAll('\\/', '/')],
  ['%', (text) => text.replace(/%([\da-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))],
  [
    '&',
    (text) =>
      text.replace(
        /&(?:#(\d{1,6})|#x([\da-f]{1,5})|(\w{2,4}));/gi,
        (entity: string, number = '', hex = '', name = '') =>
          name
            ? (ENTITIES[name as string] ?? entity)
            : utf8(String.fromCodePoint(number ? Number(number) : parseInt(hex as string, 16))),
      ),
  ],
];

/** Knows secrets and finds them in texts. */
export class Masker {
  readonly #masked = new SoughtTexts();
  /** Forms that tell a whole secret, as bytes: a character for each. */
  readonly #guarded = new SoughtTexts();

  /** @param name what people call it, such as `the secret variable "ApiKey"` */
  add(secret: string, name: string): void {
    const whole = secret.trim();
    if (whole.length < SHORTEST_LINE) return;
    for (const form of [...formsOf(secret), ...disguisesOf(whole)]) this.#masked.add(form, name);
    if (whole.length < SHORTEST_GUARDED) return;
    const keys = [secret, whole, ...whole.split(/\s+/).filter((word) => KEY_LIKE.test(word))];
    for (const form of [...encodingsOf(keys), ...keys.flatMap(disguisesOf)])
      // Padding is the end of a base64 text only.
      this.#guarded.add(Buffer.from(form.replace(/=+$/, '')).toString('latin1'), name);
    for (const key of keys) this.#guarded.add(Buffer.from(key, 'utf16le').toString('latin1'), name);
  }

  /**
   * The text with every secret replaced by `***`; secrets that touch or overlap share one.
   * @param end where the text is cut; a secret that goes on beyond is masked as a whole
   */
  mask(text: string, end = text.length): string {
    let masked = '';
    let shownTo = 0;
    for (let found = this.#masked.find(text, 0, end); found; found = this.#masked.find(text, found.at + 1, end)) {
      if (masked === '' || found.at > shownTo) masked += `${text.slice(shownTo, found.at)}${MASK}`;
      shownTo = Math.max(shownTo, found.at + found.length);
    }
    return masked + text.slice(shownTo, Math.max(shownTo, end));
  }

  /** The name of a secret of 8 characters or more whose value the text tells, in whatever form; undefined when there is none. */
  secretIn(text: string | Uint8Array): string | undefined {
    if (this.#guarded.longest === 0) return undefined;
    for (const reading of readingsOf(Buffer.from(text as string).toString('latin1'))) {
      const found = this.#guarded.find(reading);
      if (found !== undefined) return found.name;
    }
    return undefined;
  }

  /** As {@link secretIn}, for the chunks of a file in their order: the first secret found so far. */
  secretInChunks(): (chunk: Uint8Array) => string | undefined {
    let found: string | undefined;
    let before = Buffer.alloc(0);
    return (chunk) => {
      if (found !== undefined || this.#guarded.longest === 0) return found;
      // A secret may begin in one chunk and end in the next.
      const bytes = Buffer.concat([before, chunk]);
      found = this.secretIn(bytes);
      before = bytes.subarray(Math.max(0, bytes.length - LONGEST_ESCAPE * this.#guarded.longest));
      return found;
    };
  }
}

/**
 * The secrets of this step. There is one list for the process, which is one step, since whatever cuts or escapes a text
 * has to mask it first: a function that had to be handed the list could be called without.
 */
export const knownSecrets = new Masker();
