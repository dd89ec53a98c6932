import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../build/manifest.ts';

/** A package of which code is in a bundle. */
export interface ThirdPartyPackage {
  readonly name: string;
  readonly version: string;
  /** An SPDX identifier of {@link ALLOWED_LICENCES}. */
  readonly licence: string;
  /** The texts of its licence and notice files. */
  readonly texts: readonly string[];
  /** Of the archive it was installed from, as package-lock.json has it: `sha512-` and Base64. */
  readonly integrity: string;
}

/** Licences that let their code be shipped in a MIT-licensed bundle as long as their text comes with it. */
const ALLOWED_LICENCES = ['0BSD', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'MIT', 'MPL-2.0', 'Unlicense'];

const RULE = `\n\n${'-'.repeat(80)}\n\n`;

/**
 * Reads installed packages.
 * @param folders of the packages, relative to `root`, as in package-lock.json
 * @throws when one has no licence text, a licence that is not on the list, or no sha512 in package-lock.json
 */
export function readThirdParty(folders: readonly string[], root = ROOT): ThirdPartyPackage[] {
  const lock = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version?: string; integrity?: string }>;
  };
  return folders.map((folder) => {
    const manifest = JSON.parse(readFileSync(path.join(root, folder, 'package.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    const { name, version, license: licence } = manifest as { name: string; version: string; license: unknown };
    const files = readdirSync(path.join(root, folder)).filter((file) => /^(licen[cs]e|copying|notice)\b/i.test(file));
    const texts = files.sort().map((file) => readFileSync(path.join(root, folder, file), 'utf8').trim());
    const locked = lock.packages[folder];
    const refuse = (why: string): never => {
      throw new Error(`${name} ${version} must not be shipped: ${why}.`);
    };
    if (typeof licence !== 'string' || !ALLOWED_LICENCES.includes(licence)) {
      return refuse(`its licence, ${JSON.stringify(licence)}, is not one of ${ALLOWED_LICENCES.join(', ')}`);
    }
    if (!files.some((file) => !/^notice/i.test(file)) || texts.includes('')) return refuse('it has no licence text');
    if (locked?.version !== version) return refuse('package-lock.json has another version of it: run npm ci');
    if (!locked.integrity?.startsWith('sha512-')) return refuse('package-lock.json has no sha512 of it');
    return { name, version, licence, texts, integrity: locked.integrity };
  });
}

/**
 * The text of ThirdPartyNotices.txt.
 * @param who contains their code: `The tasks contain`
 */
export function thirdPartyNotices(packages: readonly ThirdPartyPackage[], who: string): string {
  const heading = [
    `${who} code of the packages below, under the licences that follow each name.`,
    'The source code of each is published on npm under its name and version.',
    '',
    ...packages.map(({ name, version, licence }) => `  ${name} ${version} (${licence})`),
  ].join('\n');
  const theirs = packages.map(({ name, version, licence, texts }) =>
    [`${name} ${version} (${licence})`, ...texts].join('\n\n'),
  );
  return [heading, ...theirs].join(RULE) + '\n';
}
