/**
 * PEM text with its line breaks: given as PEM, as PEM whose line breaks a form turned into spaces, or as base64 of PEM;
 * undefined when it is none of these. What stands around the blocks is left out.
 */
export function parsePem(text: string): string | undefined {
  const pem = text.includes('-----BEGIN') ? text : Buffer.from(text, 'base64').toString('latin1');
  const blocks = [...pem.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]+)-----END \1-----/g)];
  const lines = blocks.flatMap(([, label = '', body = '']) => [
    `-----BEGIN ${label}-----`,
    ...(body.replace(/\s/g, '').match(/.{1,64}/g) ?? []),
    `-----END ${label}-----`,
  ]);
  return blocks.length === 0 ? undefined : lines.map((line) => `${line}\n`).join('');
}
