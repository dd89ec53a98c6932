import { quoted } from '../../shared/text/safeText.ts';
import { organizationKey } from '../hooks/organization.ts';

/** Scheme, host, port and at most one part of a path: no user, no escapes, nothing that two parsers could read differently. */
const PLAN_URL =
  /^https?:\/\/([a-z\d](?:[a-z\d.-]*[a-z\d])?|\[[\da-f:]+\])(?::\d+)?(?:\/([a-z\d_-]*)|\/([a-z\d_-]+)\/)?$/i;
const OLD_HOST = /\.visualstudio\.com$/i;
/** The old form of a URL has the organization's name in its host, and at most this behind it. */
const OLD_PATH = /^(DefaultCollection)?$/i;

/**
 * The organization that a task claims its plan belongs to. Nothing in the claim is trusted.
 *
 * @param text what the task says
 * @param organizations URLs of the organizations on the list, each with closing slash
 * @returns the organization's URL as the list has it, so that nothing of the text gets into a request; or why not, as a
 * clause that continues the name of the header
 */
export function allowedPlanUrl(
  text: string,
  organizations: readonly string[],
): { readonly url: string } | { readonly problem: string } {
  // Readers of this may not be entitled to see what stands before the "@".
  if (text.includes('@')) return { problem: 'holds a user or password' };
  const [found, host = '', open, closed] = PLAN_URL.exec(text) ?? [];
  const path = open ?? closed ?? '';
  // A host that the parser changes, such as an address written as a number, is in disguise.
  const isPlain = found !== undefined && URL.canParse(text) && new URL(text).hostname === host.toLowerCase();
  if (!isPlain || (OLD_HOST.test(host) && !OLD_PATH.test(path)))
    return { problem: `${quoted(text)} is not the URL of an organization` };
  const key = organizationKey(text);
  const url = organizations.find((one) => organizationKey(one) === key);
  return url === undefined
    ? { problem: `${quoted(text)} is not one of the organizations whose tasks may wait` }
    : { url };
}
