import type { Agent } from './agent.ts';

// Shorter parts of a secret are not masked by themselves: they would hide ordinary words of the log.
const SHORTEST_LINE = 6;
const SHORTEST_WORD = 16;

/**
 * Has the agent hide a secret in every form in which it may come back: whole, by line and by word (the agent itself
 * masks a multi-line value only as a whole), base64, URL-encoded and JSON-escaped.
 */
export function maskSecret(agent: Pick<Agent, 'maskSecret'>, secret: string): void {
  for (const form of formsOf(secret)) agent.maskSecret(form);
}

function formsOf(secret: string): Set<string> {
  const lines = secret.split(/[\r\n]+/).map((line) => line.trim());
  // A form field turns the line breaks of a PEM or .creds text into spaces, so that words are what is secret.
  const words = secret.split(/\s+/);
  const plain = [
    secret,
    secret.trim(),
    ...lines.filter((line) => line.length >= SHORTEST_LINE),
    ...words.filter((word) => word.length >= SHORTEST_WORD),
  ];
  const forms = plain.flatMap((text) => [
    text,
    Buffer.from(text).toString('base64'),
    Buffer.from(text).toString('base64url'),
    encodeURIComponent(text.toWellFormed()),
    JSON.stringify(text).slice(1, -1),
  ]);
  return new Set(forms.filter((form) => form !== '' && !/[\r\n]/.test(form)));
}
