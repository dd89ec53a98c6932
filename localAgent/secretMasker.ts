/** Authorization parameters whose values the agent shows (its `MaskingUtil`). */
const SHOWN_PARAMETERS = new Set([
  'role',
  'scope',
  'tenantid',
  'issuedat',
  'expiresat',
  'audience',
  'authenticationtype',
  'authorizationtype',
  'accesstokentype',
  'accesstokenfetchingmethod',
  'usewindowssecurity',
  'unsecured',
  'oauthaccesstokenissupplied',
  'completecallbackpayload',
  'acceptuntrustedcertificates',
]);

/** The password of `//user:password@`. */
const URL_PASSWORD = /(?<=\/\/[\w.~\-%!$&'()*+,;=]+:)[\w.~\-%!$&'()*+,;=:]+(?=@)/g;

const MASK = '***';

function uriEscaped(value: string): string {
  return encodeURIComponent(Buffer.from(value).toString()).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** The other spellings of a value the agent masks with it; each is still one whole text, never the lines of it. */
function spellings(value: string): string[] {
  const backslashesRead = value
    .replaceAll('\\\\', '\\')
    .replaceAll("\\'", "'")
    .replaceAll('\\"', '"')
    .replaceAll('\\t', '\t');
  return [value, JSON.stringify(value).slice(1, -1), uriEscaped(value), backslashesRead];
}

/**
 * Replaces secrets in log text, as weakly as the agent does: a value is found only as a whole, so one line of a multi-line
 * value is not masked when it is printed on its own.
 */
export class SecretMasker {
  readonly #values = new Set<string>();

  add(value: string): void {
    for (const spelling of spellings(value)) if (spelling) this.#values.add(spelling);
  }

  /** A secret variable as the job brings it: also trimmed, without surrounding quotes, base64, and escaped as in a logging command. */
  addVariable(value: string): void {
    if (!value.trim()) return;
    const lineBreaksEscaped = value.replaceAll('\r', '%0D').replaceAll('\n', '%0A');
    const escaped = value.replaceAll('%', '%AZP25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
    for (const form of [value, lineBreaksEscaped, escaped]) {
      this.add(form);
      this.add(form.trim());
      for (const quote of [`'`, '"']) {
        if (form.startsWith(quote) && form.endsWith(quote)) this.add(form.slice(1, -1));
      }
    }
    this.add(Buffer.from(value).toString('base64'));
  }

  /** An authorization parameter of a service connection. */
  addParameter(name: string, value: string): void {
    if (!SHOWN_PARAMETERS.has(name.toLowerCase())) this.add(value);
  }

  /** The text with every secret replaced by `***`; secrets that touch or overlap share one. */
  mask(text: string): string {
    const found: { start: number; end: number }[] = [];
    for (const value of this.#values) {
      for (let at = text.indexOf(value); at >= 0; at = text.indexOf(value, at + 1))
        found.push({ start: at, end: at + value.length });
    }
    for (const match of text.matchAll(URL_PASSWORD))
      found.push({ start: match.index, end: match.index + match[0].length });

    let masked = '';
    let shownUpTo = 0;
    let maskedUpTo = -1;
    for (const { start, end } of found.sort((a, b) => a.start - b.start)) {
      if (start > maskedUpTo) masked += text.slice(shownUpTo, start) + MASK;
      maskedUpTo = Math.max(maskedUpTo, end);
      shownUpTo = maskedUpTo;
    }
    return masked + text.slice(shownUpTo);
  }
}
