import { quoted } from '../../shared/text/safeText.ts';

/** A given text in quotes. One that may hold an address with a user and password isn't shown, wherever it stands. */
export function shown(text: string): string {
  return text.includes('@') ? 'a text with "@"' : quoted(text);
}
