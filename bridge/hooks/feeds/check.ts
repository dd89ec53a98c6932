import type { AzureDevOps } from '../../azureDevOps/client.ts';
import { error, warning, type Finding } from '../../finding.ts';
import type { FeedSettings } from '../../settings.ts';
import { readPage } from './packageChanges.ts';
import { changesPath, feedProblem } from './requests.ts';

/** Whether the feeds are there and may be read. */
export async function checkFeeds(feeds: readonly FeedSettings[], azureDevOps: AzureDevOps): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [index, feed] of feeds.entries()) {
    const about = `hooks.feeds[${index}]`;
    const outcome = await azureDevOps.ask(changesPath(feed, 0, 1), undefined, 'feeds');
    if (outcome.kind === 'ok') {
      const page = readPage(outcome.body, 0);
      if (typeof page === 'string') findings.push(error(about, page, 'Check azureDevOps.organization.'));
      continue;
    }
    const { problem, remedy = 'Try again later.' } = feedProblem(feed, outcome);
    const isFinal = outcome.kind === 'refused' || outcome.kind === 'signIn';
    findings.push((isFinal ? error : warning)(about, problem, remedy));
  }
  return findings;
}
