import { quoted } from '../../shared/text/safeText.ts';

/** A given text in quotes. One that may contain an address with a user and password isn't shown. */
export function shown(text: string): string {
  return text.includes('@') ? 'a text with "@"' : quoted(text);
}
