import { parsePem } from '../../shared/connection/pem.ts';
import { shown } from './shown.ts';
import { readSecretFile } from './secrets.ts';
import type { Section } from './section.ts';

/** The text of a PEM file that a key of the section names; undefined where it names none, or one that can't be used. */
export function readPemFile(section: Section, key: string, isUsable: (pem: string) => boolean): string | undefined {
  const file = section.file(key);
  if (file === undefined) return undefined;
  if (section.isElsewhere([key], section.text(key) ?? '', file)) return undefined;
  section.surroundings.uses(file);
  const text = readSecretFile(file);
  if (typeof text !== 'string') {
    section.note(key, `${shown(section.text(key) ?? '')} ${text.problem}`, text.remedy);
    return undefined;
  }
  const pem = parsePem(text);
  if (typeof pem === 'string' && isUsable(pem)) return pem;
  section.note(
    key,
    `${shown(section.text(key) ?? '')} is not a certificate in PEM`,
    'Name a file that begins with -----BEGIN CERTIFICATE-----.',
  );
  return undefined;
}
