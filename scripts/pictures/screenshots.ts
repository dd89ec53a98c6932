/** The pictures of the listing, in its order: pages that are made from real runs. */
import { bridgeStatusPage } from './statusPage.ts';
import { digestOf } from './png.ts';
import type { PicturedRuns } from './runs.ts';
import { summaryPage } from './summaryPage.ts';
import { logPage, whyPage } from './terminalPage.ts';

/** Each picture with its page as HTML. */
export const SCREENSHOTS: Readonly<Record<string, (runs: PicturedRuns) => string>> = {
  'images/why.png': ({ bridge }) => whyPage('Why did this deployment run, and why not another one?', bridge),
  'images/failed-wait.png': ({ failed }) => logPage('A wait that fails says why', failed),
  'images/summary.png': ({ summary }) => summaryPage('The summary that a step attaches to its run', summary),
  'images/status.png': ({ bridge }) => bridgeStatusPage('The status page of the Event Bridge', bridge),
};

/** What differs from run to run, or with a version, and says nothing about how things look. */
const VOLATILE: readonly (readonly [RegExp, string])[] = [
  [/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{3})?Z/g, 'TIME'],
  [/\b\d\d:\d\d:\d\d\b/g, 'TIME'],
  [/ +[+-]\d+\.\d{3} s\b/g, ' OFFSET'],
  [/\b\d+ (ms|s)\b/g, 'N $1'],
  [/\blatencyMs=-?\d+/g, 'latencyMs=N'],
  [/\bname=&#34;[^ ]+ version=[^ ]+/g, 'name=NAME version=VERSION'],
  [/\bVersion \d+\.\d+\.\d+\b/g, 'Version VERSION'],
  [/\b[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}\b/g, 'ID'],
];

/** The digest of a page, equal for equal pages of different runs. */
export function pageDigest(html: string): string {
  return digestOf(VOLATILE.reduce((text, [pattern, name]) => text.replace(pattern, name), html));
}
