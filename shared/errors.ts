/** Every way a step can fail, as users see it in the log and in docs/troubleshooting.md. */
export const ERROR_CODES = [
  'InvalidInput',
  'InvalidSchema',
  'ContractViolation',
  'Unreachable',
  'TlsFailure',
  'Denied',
  'NoStream',
  'NoResponders',
  'TooLarge',
  'Conflict',
  'StreamRefused',
  'Incomplete',
  'Timeout',
  'ConnectionLost',
  'Negative',
  'Unsupported',
  'Cancelled',
  'Internal',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/**
 * The one error type of both tasks.
 * It reads: code, what happened on what, what to do: `NoStream: no stream captures "ci.v1". Create one …`.
 */
export class TaskError extends Error {
  override readonly name = 'TaskError';
  readonly details: readonly string[];

  /**
   * @param code what kind of failure this is
   * @param problem what happened and on what: a clause, or sentences, without the last full stop
   * @param remedy what the user can do about it: one or more sentences, or empty
   * @param options.details lines for the log beside the message, such as a permissions block to paste
   */
  constructor(
    readonly code: ErrorCode,
    readonly problem: string,
    readonly remedy = '',
    options: { readonly cause?: unknown; readonly details?: readonly string[] } = {},
  ) {
    super(`${code}: ${[`${problem}.`, remedy].filter(Boolean).join(' ')}`, options);
    this.details = options.details ?? [];
  }
}

/** An operation that the NATS server refused. */
export class DeniedError extends TaskError {
  /**
   * @param verb what the user may not do
   * @param grant the subject or pattern that the user needs permission for
   */
  constructor(
    readonly verb: 'publish' | 'subscribe',
    readonly grant: string,
    problem: string,
    remedy: string,
    details: readonly string[] = [],
  ) {
    super('Denied', problem, remedy, { details });
  }
}

/** What is wrong with something that was read, as a value: the caller adds what it is about and reports it. */
export interface Problem {
  /** A clause without the last full stop. */
  readonly problem: string;
  /** What to do about it, in sentences. */
  readonly remedy?: string;
  /** Absent: `InvalidInput`. */
  readonly code?: ErrorCode;
}

/** The message of anything thrown, for use inside a {@link TaskError}'s `problem`. */
export function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
