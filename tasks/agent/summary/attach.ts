import type { Agent } from '../agent.ts';
import { parseServerUrl, readHttpRoute, sendText, type HttpRoute } from '../http.ts';
import { readJobToken } from '../secrets.ts';
import { reasonOf, type TaskError } from '../../../shared/errors.ts';
import { Problems } from '../../../shared/inputs/problems.ts';
import { knownSecrets } from '../../../shared/text/masker.ts';

/** How much the summary may prolong a step, and a cancelled step, in milliseconds. */
const LIMIT_MS = 2_000;
const CANCELLED_LIMIT_MS = 400;
/** Longest name of an attachment. */
const MAX_NAME = 100;

/** Where this step's summary goes. It holds a secret: nothing prints it. */
interface Attachment {
  readonly url: URL;
  readonly route: HttpRoute;
  readonly jobToken: string;
}

/**
 * Attaches a Markdown summary to the run, shown beside the run's other results. It does on its own what the
 * agent does for `task.uploadsummary`, since a task in restricted mode may not use that command. Never rejects, never
 * fails the step: a failure is one line for `System.Debug`. Sends nothing when the run's variables are absent.
 *
 * @param signal of the step: its deadline and a cancel end the call
 */
export async function attachSummary(agent: Agent, signal: AbortSignal, markdown: () => string): Promise<void> {
  const limit = limitOf(signal);
  try {
    const attachment = readAttachment(agent);
    if (attachment === undefined) return;
    const { url, route, jobToken } = attachment;
    const headers = { authorization: `Bearer ${jobToken}`, 'content-type': 'application/octet-stream' };
    // Everything put into Markdown has been masked before: this catches anything that hasn't.
    const text = knownSecrets.mask(markdown());
    const { status } = await sendText('PUT', url, route, headers, text, limit);
    if (status < 200 || status > 299) throw new Error(`${url.host} answered with HTTP status ${status}`);
  } catch (error) {
    agent.debug(`The summary is not attached to the run: ${limit.aborted ? 'it took too long' : reasonOf(error)}.`);
  }
}

/** A step that timed out still has its clean-up time, a cancelled one hardly any. */
function limitOf(signal: AbortSignal): AbortSignal {
  if (!signal.aborted) return AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
  const isCancelled = (signal.reason as TaskError).code === 'Cancelled';
  return AbortSignal.timeout(isCancelled ? CANCELLED_LIMIT_MS : LIMIT_MS);
}

/** The attachment of the step's record in the run's timeline; undefined outside a run. */
function readAttachment(agent: Agent): Attachment | undefined {
  const read = (name: string) => agent.variable(name);
  const ids = [
    'System.TeamProjectId',
    'System.HostType',
    'System.PlanId',
    'System.TimelineId',
    'System.TaskInstanceId',
  ];
  const [project, hub, plan, timeline, record] = ids.map(read);
  const collection = read('System.CollectionUri');
  const jobToken = readJobToken(agent);
  if (collection === undefined || jobToken === undefined || !project || !hub || !plan || !timeline || !record) return;
  const path = [
    ...[project, '_apis', 'distributedtask', 'hubs', hub, 'plans', plan, 'timelines', timeline, 'records', record],
    ...['attachments', 'DistributedTask.Core.Summary', nameOf(read('System.TaskDisplayName') ?? '')],
  ];
  const url = parseServerUrl(
    `${collection.replace(/\/*$/, '/')}${path.map(encodeURIComponent).join('/')}?api-version=7.1-preview.1`,
  );
  if (url === undefined) throw new Error('System.CollectionUri is not an https:// URL');
  const problems = new Problems('the way to the run');
  // The step can do without the summary, so a problem on the way to it is no reason for a warning.
  const quiet = { variable: read, maskSecret: agent.maskSecret.bind(agent), warning: agent.debug.bind(agent) };
  const route = readHttpRoute(quiet, problems, url);
  problems.done();
  return { url, route, jobToken };
}

/** The name of an attachment is the heading of its summary: the step's own, as far as a path allows. */
function nameOf(step: string): string {
  const masked = knownSecrets.mask(step);
  const plain = masked.replace(/[^\p{L}\p{N} ._-]+/gu, ' ').slice(0, MAX_NAME);
  return `NATS ${plain}`.replace(/[\s.]+$/, '').replace(/\s+/g, ' ');
}
