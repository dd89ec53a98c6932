/** The pictures of the listing: pages that are made from real runs and from the task.json files. */
import { formPage } from './formPage.ts';
import { logPage } from './logPage.ts';
import { digestOf } from './png.ts';
import { PUBLISH_INPUTS, WAIT_INPUTS, type PicturedRuns } from './runs.ts';
import { summaryPage } from './summaryPage.ts';

const CLASSIC = { natsConnection: 'nats-ci' };
const PAYLOAD = '{ "image": "shop/web:42", "digest": "$(digest)", "region": "eu" }';

/** Each picture with its page as HTML. */
export const SCREENSHOTS: Readonly<Record<string, (runs: PicturedRuns) => string>> = {
  'images/summary.png': ({ summary }) => summaryPage('What a step tells in the summary of its run', summary),
  'images/log-matched.png': ({ matched }) => logPage('A wait whose event came', matched),
  'images/log-failed.png': ({ failed }) => logPage('A wait that ended without its events says why', failed),
  'images/form.png': () =>
    formPage('The forms of the two tasks in the classic editor', [
      { task: 'PublishNatsEvent', values: { ...CLASSIC, ...PUBLISH_INPUTS, payload: PAYLOAD }, helpOf: 'payload' },
      { task: 'WaitForNatsEvent', values: { ...CLASSIC, ...WAIT_INPUTS } },
    ]),
};

/** What differs from run to run, or with a version, and says nothing about how things look. */
const VOLATILE: readonly (readonly [RegExp, string])[] = [
  [/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d{3}Z/g, 'TIME'],
  [/\b\d\d:\d\d:\d\d\.\d{3}\b/g, 'TIME'],
  [/ +[+-]\d+\.\d{3} s\b/g, ' OFFSET'],
  [/\b\d+ ms\b/g, 'N ms'],
  [/\blatencyMs=-?\d+/g, 'latencyMs=N'],
  [/\b127\.0\.0\.1:\d+/g, 'SERVER'],
  [/\bname=&#34;[^ ]+ version=[^ ]+/g, 'name=NAME version=VERSION'],
  [/^(<div class="line">.*>)(Version|Help) +:.*$/gm, '$1$2'],
];

/** The digest of a page, equal for equal pages of different runs. */
export function pageDigest(html: string): string {
  return digestOf(VOLATILE.reduce((text, [pattern, name]) => text.replace(pattern, name), html));
}
