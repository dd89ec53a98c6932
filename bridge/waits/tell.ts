import { DECISIONS, decisionsIn } from '../../shared/waiting/explain.ts';
import type { PlanCall } from './caller.ts';
import type { Decided, Told } from './outbox.ts';
import { PlanClient, type PlanAccess, type PlanAnswer } from './planClient.ts';

const MOST_MISSING = 20;

/**
 * Notifies a task of how its wait ended: outputs, one log, and then TaskCompleted. May be repeated, whatever the outcome
 * before: a completed task is left alone.
 *
 * @throws RangeError where an ID is no GUID, which no stored wait has
 */
export async function tell(decided: Decided, access: PlanAccess, signal?: AbortSignal): Promise<Told> {
  const { key, call, ending } = decided;
  const { hub, project, plan, job, instance } = key;
  const planCall: PlanCall = { planUrl: call.planUrl, hub, project, plan, job, token: call.token };
  // The list may have changed since the call came.
  const client = PlanClient.open(access, planCall, signal);
  if (!(client instanceof PlanClient)) return { kind: 'gone', reason: `the plan URL ${client.problem}` };
  const task = { timeline: call.timeline, instance, planVersion: call.planVersion };

  const record = await client.record(task);
  if (record.kind !== 'done') return given(record);
  if (record.value?.isCompleted === true) return { kind: 'done' };

  const problems: string[] = [];
  if (Object.keys(ending.outputs).length > 0) {
    const answer = await client.setOutputs(task, ending.outputs);
    if (isOver(answer)) return answer;
    problems.push(...refusalOf('outputs', answer));
  }
  // A step that reads missing outputs would take their absence for an answer.
  const result = problems.length === 0 ? resultOf(decided) : 'failed';
  // Even if there is one: it may be Azure DevOps' own log of its request.
  const logged = await client.writeLog(task, [...describe(decided), ...problems]);
  if (isOver(logged)) return logged;
  problems.push(...refusalOf('log', logged));
  const completed = await client.complete(task, result);
  if (completed.kind === 'gone') {
    // For a task that another leader has completed meanwhile, the answer is the same as for a plan that is gone.
    const now = await client.record(task);
    if (now.kind === 'later') return now;
    if (now.kind === 'done' && now.value?.isCompleted === true) return { kind: 'done' };
  }
  if (completed.kind !== 'done') return given(completed);
  return problems.length === 0 ? { kind: 'done' } : { kind: 'done', problem: problems.join('; ') };
}

/** Whether a call's answer decides the outcome; a refusal doesn't, as it would only come again. */
function isOver(answer: PlanAnswer): answer is Extract<PlanAnswer, { kind: 'gone' | 'later' }> {
  return answer.kind === 'gone' || answer.kind === 'later';
}

function refusalOf(what: string, answer: PlanAnswer): string[] {
  return answer.kind === 'refused' ? [`Azure DevOps does not accept the ${what}: ${answer.reason}`] : [];
}

/** Without its timeline record, or if completing fails, a task can't be notified at all. */
function given(answer: Exclude<PlanAnswer<unknown>, { kind: 'done' }>): Told {
  return answer.kind === 'refused' ? { kind: 'gone', reason: answer.reason } : answer;
}

function resultOf({ call, ending: { verdict } }: Decided): 'succeeded' | 'failed' {
  const isWanted = verdict === 'matched' || (verdict === 'timedOut' && call.inputs['onTimeout']?.trim() === 'succeed');
  return isWanted ? 'succeeded' : 'failed';
}

/** The lines of the task's log. */
function describe({ call, ending }: Decided): string[] {
  const { reason, counts, missing, event, code } = ending;
  // Records have their own name for it; people know the output's.
  const verdict = ending.verdict === 'invalid' ? 'contractViolation' : ending.verdict;
  const { project, pipeline, rule } = call.owner;
  const seen = decisionsIn(counts).map((decision) => `${counts[decision]} ${DECISIONS[decision].label}`);
  const values = typeof missing === 'number' ? [] : missing;
  return [
    `Verdict: ${verdict}${code === undefined ? '' : ` (${code})`}`,
    reason && `Reason: ${reason}`,
    event &&
      [
        `Event: ${event.subject}, ${event.stream}:${event.sequence}, id ${event.id}, source ${event.source}`,
        event.signedBy && `signed by ${event.signedBy}`,
        `stored ${new Date(event.storedAt).toISOString()}`,
      ]
        .filter(Boolean)
        .join(', '),
    `Events seen: ${counts.seen}${seen.length === 0 ? '' : ` (${seen.join(', ')})`}`,
    typeof missing === 'number' && missing > 0 && `Missing: ${missing}`,
    values.length > 0 &&
      `Missing: ${values.slice(0, MOST_MISSING).join(', ')}${values.length > MOST_MISSING ? ', …' : ''}`,
    ...(ending.notes ?? []).map((note) => `Note: ${note}`),
    `Waited for: pipeline ${pipeline} of project ${project}, allowed by waits.rules[${rule}]`,
  ].filter((one): one is string => typeof one === 'string' && one !== '');
}
