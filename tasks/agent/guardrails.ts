import type { Problems } from '../../shared/inputs/problems.ts';
import { covers } from '../../shared/subject.ts';
import { quoted } from '../../shared/text/safeText.ts';
import type { ServiceConnection } from './agent.ts';

/** Which of the connection's guardrails apply to a step. */
export type Guardrail = 'publishSubjects' | 'waitSubjects';

/** Notes each subject, or whole pattern, that is outside what the connection allows; an empty guardrail allows all. */
export function checkGuardrail(
  connection: ServiceConnection,
  problems: Problems,
  guardrail: Guardrail,
  subjects: readonly string[],
): void {
  const allowed = (connection.data(guardrail) ?? '').split(/[\s,]+/).filter(Boolean);
  if (allowed.length === 0) return;
  for (const subject of subjects.filter((one) => !allowed.some((pattern) => covers(pattern, one)))) {
    problems.note(
      `subject: ${quoted(subject)} is outside what the service connection allows (${guardrail}: ${allowed.join(', ')})`,
      'Use a subject inside, or ask the administrator of the connection.',
      'Denied',
    );
  }
}
