/** Layers of escapes and encodings that are undone, one inside the other. */
export const MOST_LAYERS = 3;

/** The most bytes of a text that stand for one of what it says, all layers included: `&amp;#0000060;`. */
export const LONGEST_DISGUISE = 20;

/** What bytes say once their escapes and encodings are undone, in whatever order; each reading also bare. */
export function* readingsOf(bytes: Buffer, layers = MOST_LAYERS): Generator<[bytes: Buffer, bare: Buffer]> {
  const { bare, isEscaped, isEncoded } = bared(bytes);
  yield [bytes, bare];
  if (layers === 0) return;
  const undone = isEscaped ? unescaped(bytes) : bytes;
  if (undone.length < bytes.length) yield* readingsOf(undone, layers - 1);
  const meant = isEncoded ? decoded(bytes, bare) : bare;
  if (isEncoded && meant.length > 0) yield* readingsOf(meant, layers - 1);
}

/** No value of a character; its highest bit tells it from them. */
const NONE = 0x80;
const BASE64 = valuesOf('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/', '-_');
const HEX = valuesOf('0123456789abcdef', 'ABCDEF');

/** The value of each character, by its code; the others are other characters of the last values. */
function valuesOf(characters: string, others: string): Uint8Array {
  const values = new Uint8Array(256).fill(NONE);
  for (const [value, character] of Array.from(characters).entries()) values[character.charCodeAt(0)] = value;
  for (const [at, other] of Array.from(others).entries())
    values[other.charCodeAt(0)] = characters.length - others.length + at;
  return values;
}
const [DIGIT, VISIBLE, BARE, ESCAPING, FIRST_DIGIT] = [0x10, 0x20, 0x40, 0x80, 0x1_00];
/** What each byte may be, a bit for each; the lowest four are its places in a group of base64 of ASCII. */
const KINDS = Uint16Array.from({ length: 256 }, (_, byte) => {
  if (byte <= 0x20 || byte >= 0x7f) return 0;
  const mark = String.fromCharCode(byte);
  const [value = NONE, digit = NONE] = [BASE64[byte], HEX[byte]];
  const places = 1 | ((value & 2) === 0 ? 2 : 0) | ((value & 8) === 0 ? 4 : 0) | ((value & 0x20) === 0 ? 8 : 0);
  return (
    (value === NONE ? 0 : places) |
    (digit === NONE ? 0 : DIGIT) |
    (digit < 8 ? FIRST_DIGIT : 0) |
    ('+:-'.includes(mark) ? 0 : BARE) |
    ('%\\&~'.includes(mark) ? ESCAPING : 0) |
    VISIBLE
  );
});

/**
 * The visible ASCII of bytes, since they may have been wrapped anywhere, without `+`, which may be a space, and what may
 * stand between bytes in hex; whether there may be escapes, or stretches that `decoded` finds.
 */
export function bared(bytes: Uint8Array): { bare: Buffer; isEscaped: boolean; isEncoded: boolean } {
  const bare = Buffer.allocUnsafe(bytes.length);
  let length = 0;
  let kinds = 0;
  let places = 0;
  let groups = 0;
  let digits = 0;
  let isEncoded = false;
  for (const byte of bytes) {
    const kind = KINDS[byte] ?? 0;
    if (kind === 0) continue;
    kinds |= kind;
    // The places of the last four, and a bit for each of the last that ended a group.
    places = (places << 4) | (kind & 0xf);
    groups = (groups << 1) | ((places & 0x8421) === 0x8421 ? 1 : 0);
    if ((groups & 0x111) === 0x111) isEncoded = true;
    if ((kind & BARE) === 0) continue;
    bare[length++] = byte;
    // A bit for each digit that may be the first of an ASCII byte.
    digits = (kind & DIGIT) === 0 ? 0 : (digits << 1) | (kind >> 8);
    if ((digits & 0xaaaa) === 0xaaaa) isEncoded = true;
  }
  return { bare: bare.subarray(0, length), isEscaped: (kinds & ESCAPING) !== 0, isEncoded };
}

/** Escapes of URLs, JSON and programs, HTML and XML, and JSON pointers. */
const ESCAPE =
  /(?:%[\da-f]{2})+|(?:\\u[\da-f]{4})+|(?:\\x[\da-f]{2})+|\\u\{0*[\da-f]{1,5}\}|\\[bfnrt -/:-@[-`{-~]|&#(?:0*\d{1,6}|x0*[\da-f]{1,5});|&[a-z]{2,12};|~[01]/gi;
/** HTML's names of ASCII characters, each before its character. */
const NAMED =
  'amp& lt< gt> quot" apos\' num# dollar$ percnt% lpar( rpar) ast* midast* plus+ comma, period. sol/ colon: semi; equals= ' +
  'quest? commat@ lsqb[ lbrack[ bsol\\ rsqb] rbrack] Hat^ lowbar_ UnderBar_ grave` lcub{ lbrace{ verbar| vert| rcub} ' +
  'rbrace} VerticalLine| excl! AMP& LT< GT> QUOT" NewLine\n Tab\t';
/** What the escapes of one character that aren't numbers mean. */
const MEANINGS = new Map([
  ...NAMED.split(' ').map((named) => [`&${named.slice(0, -1)};`, named.slice(-1)] as const),
  ...Array.from(
    'b\bf\fn\nr\rt\t'.matchAll(/(.)(.)/gs),
    ([, letter, control = '']) => [`\\${letter}`, control] as const,
  ),
  ['&nbsp;', ' '],
  ['~0', '~'],
  ['~1', '/'],
]);

/** One layer of escapes undone. */
export function unescaped(bytes: Uint8Array): Buffer {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  return Buffer.from(
    text.replace(ESCAPE, (escape) => MEANINGS.get(escape) ?? meaningOf(escape)),
    'latin1',
  );
}

function meaningOf(escape: string): string {
  if (escape.length === 3 && escape.startsWith('%')) return String.fromCharCode(parseInt(escape.slice(1), 16));
  const kind = escape.slice(0, 2).toLowerCase();
  if (kind === '&#') return character(escape.slice(2, -1).replace(/^x/i, '0x'));
  if (escape.startsWith('{', 2)) return character(`0x${escape.slice(3, -1)}`);
  if (kind === '\\u') return utf8(JSON.parse(`"${escape.toLowerCase()}"`) as string);
  const isBytes = kind === '\\x' || kind.startsWith('%');
  if (isBytes) return Buffer.from(escape.replace(/%|\\x/gi, ''), 'hex').toString('latin1');
  // Shells, Markdown and others put a backslash before any mark.
  return /^\\[^a-z]/.test(kind) ? kind.slice(1) : escape;
}

const character = (code: string) =>
  Number(code) < 0x80 ? String.fromCharCode(Number(code)) : utf8(String.fromCodePoint(Number(code)));
const utf8 = (text: string) => Buffer.from(text).toString('latin1');

/** Whether a byte may stand in what hides another layer: visible ASCII and white space. */
const TEXT = Uint8Array.from({ length: 256 }, (_, byte) =>
  Number((byte >= 0x20 && byte < 0x7f) || (byte >= 9 && byte <= 13)),
);

/**
 * What stretches of base64 and of hex stand for, wherever in them their groups begin: only text, which is what another
 * layer is and what tells them from words. What follows a stretch is decoded with it, since it may end within a group.
 */
function decoded(bytes: Uint8Array, bare: Uint8Array): Buffer {
  const solid = Buffer.allocUnsafe(bytes.length + 4);
  let solids = 0;
  for (const byte of bytes) if (KINDS[byte] !== 0) solid[solids++] = byte;
  solid.fill(0, solids);
  const meant = Buffer.allocUnsafe(3 * solids + bare.length + 16);
  let length = 0;
  // Two loops, each with its arithmetic written out: one for both takes twice as long.
  for (let phase = 0; phase < 4; phase++)
    for (let at = phase, groups = 0; at < solids; at += 4) {
      const a = BASE64[solid[at] ?? 0] ?? NONE;
      if (a >= 32 && groups === 0) continue;
      const b = BASE64[solid[at + 1] ?? 0] ?? NONE;
      const c = BASE64[solid[at + 2] ?? 0] ?? NONE;
      const d = BASE64[solid[at + 3] ?? 0] ?? NONE;
      const x = ((a << 2) | (b >> 4)) & 0xff;
      const y = ((b << 4) | (c >> 2)) & 0xff;
      const z = ((c << 6) | d) & 0xff;
      const isText = (a | b | c | d) < NONE && TEXT[x] === 1 && TEXT[y] === 1 && TEXT[z] === 1;
      if (!isText && groups === 0) continue;
      meant[length++] = x;
      meant[length++] = y;
      meant[length++] = z;
      groups++;
      if (isText) continue;
      if (groups <= 3) length -= 3 * groups;
      groups = 0;
    }
  for (let phase = 0; phase < 2; phase++)
    for (let at = phase, groups = 0; at < bare.length; at += 2) {
      const a = HEX[bare[at] ?? 0] ?? NONE;
      if (a >= 8 && groups === 0) continue;
      const b = at + 1 < bare.length ? (HEX[bare[at + 1] ?? 0] ?? NONE) : NONE;
      const byte = ((a << 4) | b) & 0xff;
      const isText = (a | b) < NONE && TEXT[byte] === 1;
      if (!isText && groups === 0) continue;
      meant[length++] = byte;
      groups++;
      if (isText) continue;
      if (groups <= 8) length -= groups;
      groups = 0;
    }
  return meant.subarray(0, length);
}
