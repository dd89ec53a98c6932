import { exec } from 'node:child_process';
import { ROOT } from '../build/manifest.ts';

/** What `npm audit` knows of the packages that the tasks are made of; `unknown`: the registry did not answer. */
export type Audit =
  | { readonly result: 'clean' }
  | { readonly result: 'vulnerable'; readonly packages: readonly string[] }
  | { readonly result: 'unknown'; readonly reason: string };

/** The parts of the report we read: of an audit, or of a failed one. */
interface AuditReport {
  readonly vulnerabilities?: Readonly<Record<string, { readonly severity: string }>>;
  readonly message?: string;
  readonly error?: { readonly summary?: string };
}

/** One attempt: npm's own repetitions take minutes where there is no network. */
const AUDIT = 'npm audit --omit=dev --json --fetch-retries=0 --fetch-timeout=20000';

/**
 * Asks the registry of npm for known vulnerabilities of what package-lock.json has in `dependencies`, direct or not.
 * Development tools are left out: they are not shipped.
 */
export function auditShipped(env = process.env): Promise<Audit> {
  return new Promise((resolve) => {
    exec(AUDIT, { cwd: ROOT, env, timeout: 60_000 }, (error, stdout) => resolve(readAudit(stdout, error?.message)));
  });
}

function readAudit(report: string, failure = ''): Audit {
  let read: AuditReport = {};
  try {
    read = JSON.parse(report) as AuditReport;
  } catch {
    // npm itself failed, and says so elsewhere.
  }
  if (read.vulnerabilities === undefined) {
    return { result: 'unknown', reason: read.message || read.error?.summary || failure || 'no report' };
  }
  const packages = Object.entries(read.vulnerabilities).map(([name, { severity }]) => `${name} (${severity})`);
  return packages.length > 0 ? { result: 'vulnerable', packages } : { result: 'clean' };
}

/**
 * The line for whoever packs. Undefined where the registry gave no answer: only a release needs one, and is refused in other
 * words without it.
 */
export function audited(audit: Audit): string | undefined {
  if (audit.result === 'unknown') return undefined;
  return describeAudit(audit) + (audit.result === 'clean' ? '' : '. It cannot be released like this.');
}

/** One line for the person who releases. */
export function describeAudit(audit: Audit): string {
  switch (audit.result) {
    case 'clean':
      return 'npm audit: no known vulnerability in what the tasks are made of';
    case 'vulnerable':
      return `npm audit: KNOWN VULNERABILITIES in what the tasks are made of: ${audit.packages.join(', ')}`;
    case 'unknown':
      return `npm audit: NOT CHECKED, the registry gave no answer: ${audit.reason}`;
  }
}
