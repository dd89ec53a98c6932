import type { Problem } from '../../../shared/errors.ts';
import { quoted } from '../../../shared/text/safeText.ts';
import type { Outcome } from '../../azureDevOps/client.ts';
import type { FeedSettings } from '../../settings.ts';

const VERSION = 'api-version=7.1';

/** The path for looking up a feed's id. */
export function feedPath(feed: FeedSettings): string {
  return `${pathOf(feed)}?${VERSION}`;
}

/** The path of the changes after a token, limited in number. */
export function changesPath(feed: FeedSettings, after: number, count: number): string {
  return `${pathOf(feed)}/packagechanges?continuationToken=${after}&batchSize=${count}&${VERSION}`;
}

function pathOf({ project, feed }: FeedSettings): string {
  const scope = project === '' ? '' : `${encodeURIComponent(project)}/`;
  return `${scope}_apis/packaging/Feeds/${encodeURIComponent(feed)}`;
}

/** Why a feed's changes didn't come: a clause, and what to do about it. */
export function feedProblem({ project, feed }: FeedSettings, outcome: Exclude<Outcome, { kind: 'ok' }>): Problem {
  const where = project === '' ? 'the organization' : `the project ${quoted(project)}`;
  const about = `the feed ${quoted(feed)} of ${where}`;
  switch (outcome.kind) {
    case 'refused':
      return outcome.status === 404
        ? {
            problem: `there is no feed ${quoted(feed)} in ${where}, or the bridge's identity may not see it`,
            remedy: `Correct the names; a feed of the organization has no project. ${RIGHTS}`,
          }
        : { problem: `${about} may not be read: ${outcome.message} (status ${outcome.status})`, remedy: RIGHTS };
    case 'signIn':
      return { problem: `${about} may not be read: ${outcome.message}`, remedy: RIGHTS };
    case 'throttled':
      return { problem: `Azure DevOps asks for a pause: ${outcome.message}` };
    case 'unreachable':
      return {
        problem: `Azure Artifacts can't be reached: ${outcome.message}`,
        remedy: 'The bridge has to reach feeds.dev.azure.com, too; check azureDevOps.proxy and caFile.',
      };
    case 'open':
      return { problem: `${about} can't be read now: ${outcome.message}` };
  }
}

const RIGHTS =
  'Give the identity the role Feed and Upstream Reader in the settings of the feed; a personal access token also needs the scope Packaging (Read).';
