/** Service hooks troubleshooting page, "Sequence of retries for transient failures": seconds before each resend. */
export const RESENDS_S = [1, 2, 4, 8, 16, 32, 60, 60];
/** The same page, "Sequence of seven maximum retries while subscription is on probation": seconds before each retry. */
export const PROBATION_S = [20, 40, 80, 160, 320, 640, 900].map((minutes) => minutes * 60);

export type Verdict = 'success' | 'transient' | 'terminal' | 'enduring';

/**
 * What the answer to a post means.
 *
 * Service hooks troubleshooting page, "Failure types": 408, 502, 503 and 504 pass, 410 ends the subscription, and anything
 * else that isn't 2xx endures, redirects included. No answer at all counts as one that passes.
 */
export function verdictOn(status: number | undefined): Verdict {
  if (status === undefined || [408, 502, 503, 504].includes(status)) return 'transient';
  if (status === 410) return 'terminal';
  return status >= 200 && status < 300 ? 'success' : 'enduring';
}
