import type { Agent } from './agent.ts';

/** Shorter parts of a secret are not masked by themselves: they would hide ordinary words of the log. */
const SHORTEST_PART = 6;

/**
 * Has the agent hide a secret in every form in which it may come back: whole, by line and by word (the agent itself
 * masks a multi-line value only as a whole), base64, URL-encoded and JSON-escaped.
 */
export function maskSecret(agent: Agent, secret: string): void {
  for (const form of formsOf(secret)) agent.maskSecret(form);
}

function formsOf(secret: string): Set<string> {
  const whole = [secret, secret.trim()];
  // A form field turns the line breaks of a PEM or .creds text into spaces: words cover those as well.
  const parts = secret.split(/\s+/).concat(secret.split(/[\r\n]+/).map((line) => line.trim()));
  const plain = [...whole, ...parts.filter((part) => part.length >= SHORTEST_PART && /[^-*]/.test(part))];
  const forms = plain.flatMap((text) => [
    text,
    Buffer.from(text).toString('base64'),
    Buffer.from(text).toString('base64url'),
    encodeURIComponent(text.toWellFormed()),
    JSON.stringify(text).slice(1, -1),
  ]);
  return new Set(forms.filter((form) => form !== '' && !/[\r\n]/.test(form)));
}
