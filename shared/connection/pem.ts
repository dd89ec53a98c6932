import type { Problem } from '../errors.ts';

const ENCRYPTED = 'ENCRYPTED PRIVATE KEY';

/**
 * PEM text with its line breaks: given as PEM, as PEM whose line breaks were lost, became spaces or were written out as `\n`,
 * or as base64 of PEM. What stands around the blocks is left out.
 *
 * @returns what is wrong continues the name of what holds the text
 */
export function parsePem(text: string): string | Problem {
  const pem = withLineBreaks(text.includes('-----BEGIN') ? text : Buffer.from(text, 'base64').toString('latin1'));
  const blocks = [...pem.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]+)-----END \1-----/g)];
  const usable = blocks.filter(([, label]) => label !== ENCRYPTED);
  if (usable.length === 0) {
    // The older form has lines in its block that are no base64.
    if (blocks.length === 0 && !/Proc-Type:\s*4,\s*ENCRYPTED/.test(pem))
      return { problem: 'is neither PEM nor base64 of PEM' };
    const remedy = 'Store the key without its passphrase, as "openssl pkey -in encrypted.pem -out key.pem" writes it.';
    return { problem: 'is an encrypted private key', remedy };
  }
  const lines = usable.flatMap(([, label = '', body = '']) => [
    `-----BEGIN ${label}-----`,
    ...(body.replace(/\s/g, '').match(/.{1,64}/g) ?? []),
    `-----END ${label}-----`,
  ]);
  return lines.map((line) => `${line}\n`).join('');
}

/** A text of a format that has no backslashes, in which each `\n` that stands for a line break is one. */
export function withLineBreaks(text: string): string {
  return text.replace(/\\r\\n|\\[rn]/g, '\n');
}
