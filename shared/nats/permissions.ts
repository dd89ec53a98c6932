import { DeniedError } from '../errors.ts';

/** What one step needs to be allowed in its NATS account, and no more. */
export interface Grants {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  /** What the inboxes among `subscribe` begin with. */
  readonly inboxPrefix?: string;
  /** Publish grants that the step can do without, each with the reason to give it. */
  readonly optional?: readonly { readonly subject: string; readonly reason: string }[];
}

const REASON_TO_DELETE = 'removes the consumer at once instead of after a minute';

/** Publishing to core NATS. */
export function corePublishGrants(subject: string): Grants {
  return { publish: [subject], subscribe: [] };
}

/** The inboxes of a step and no more. Every inbox, the library's own too, is PREFIX.name.token. */
function inboxes(prefix: string): string {
  return `${prefix}.*.*`;
}

/** Publishing to a stream: the acknowledgement comes back to an inbox. */
export function streamPublishGrants(subject: string, api: string, inboxPrefix: string): Grants {
  return {
    publish: [subject],
    subscribe: [inboxes(inboxPrefix)],
    inboxPrefix,
    optional: [{ subject: `${api}.STREAM.NAMES`, reason: 'tells a missing stream from one without a leader' }],
  };
}

/** Publishing a request: the reply comes back to an inbox. */
export function requestGrants(subject: string, inboxPrefix: string): Grants {
  return { publish: [subject], subscribe: [inboxes(inboxPrefix)], inboxPrefix };
}

/** Waiting on core NATS. */
export function coreWaitGrants(subjects: readonly string[]): Grants {
  return { publish: [], subscribe: subjects };
}

/**
 * Waiting on a stream with a consumer of the step's own.
 *
 * @param filter the one subject the consumer is limited to; undefined where it cannot be limited by name
 */
export function streamWaitGrants(
  api: string,
  stream: string,
  named: boolean,
  filter: string | undefined,
  inboxPrefix: string,
): Grants {
  return {
    publish: [
      ...(named ? [] : [`${api}.STREAM.NAMES`]),
      `${api}.STREAM.INFO.${stream}`,
      `${api}.CONSUMER.CREATE.${stream}.*${filter === undefined ? '' : `.${filter}`}`,
      `${api}.CONSUMER.MSG.NEXT.${stream}.*`,
    ],
    subscribe: [inboxes(inboxPrefix)],
    inboxPrefix,
    optional: [{ subject: `${api}.CONSUMER.DELETE.${stream}.*`, reason: REASON_TO_DELETE }],
  };
}

/** The error for an operation the server refused, with the block of permissions that this step needs. */
export function deniedError(operation: 'publish' | 'subscription', subject: string, grants: Grants): DeniedError {
  const all = operation === 'publish' ? grants.publish : grants.subscribe;
  const placeholder = grants.publish.some((pattern) => pattern.includes('<stream>'))
    ? ', with the name of the stream in the place of <stream>'
    : '';
  const heading = `Permissions this step needs, for its user in the NATS server configuration${placeholder}:`;
  const grant = all.find((pattern) => grantCovers(pattern, subject)) ?? subject;
  const { problem, verb } = refusal(operation, subject);
  const { inboxPrefix } = grants;
  const isInbox = operation === 'subscription' && inboxPrefix !== undefined && subject.startsWith(`${inboxPrefix}.`);
  const otherwise = isInbox
    ? ` Answers arrive there: if this user may subscribe to another prefix, set the field inboxPrefix of the connection to it (now "${inboxPrefix}").`
    : '';
  return new DeniedError(
    verb,
    grant,
    problem,
    `Grant it ${verb} permission for "${grant}"; the log above shows all the permissions this step needs.${otherwise}`,
    [heading, ...permissionsBlock(grants)],
  );
}

/** The same for a service, which lists all the permissions it needs elsewhere. */
export function deniedToService(operation: 'publish' | 'subscription', subject: string): DeniedError {
  const { problem, verb } = refusal(operation, subject);
  // A service subscribes to inboxes only, each with a name of its own.
  const grant = operation === 'publish' ? acknowledgements(subject) : subject.replace(/\.[^.]+\.[^.]+$/, '.*.*');
  const otherwise =
    operation === 'publish'
      ? ''
      : ' Answers arrive there: if this user may subscribe to another prefix, set nats.inboxPrefix to it.';
  return new DeniedError(verb, grant, problem, `Grant it ${verb} permission for "${grant}".${otherwise}`);
}

/** All acknowledgements of a consumer, where a subject is one of them (NATS ADR-15); otherwise the subject itself. */
function acknowledgements(subject: string): string {
  const [, domain = '', names] =
    /^\$JS\.ACK\.([^.]+\.[^.]+\.)?([^.]+\.[^.]+)(?:\.\d+){5}(?:\.[^.]+)?$/.exec(subject) ?? [];
  return names === undefined ? subject : `$JS.ACK.${domain && '*.*.'}${names}.>`;
}

function refusal(
  operation: 'publish' | 'subscription',
  subject: string,
): { readonly problem: string; readonly verb: DeniedError['verb'] } {
  const verb = operation === 'publish' ? 'publish' : 'subscribe';
  return { problem: `The NATS server does not let this user ${verb} to "${subject}"`, verb };
}

function grantCovers(pattern: string, subject: string): boolean {
  const expression = pattern
    .split('.')
    .map((token) => (token === '>' ? '.+' : token === '*' ? '[^.]+' : token.replace(/[^\w]/g, '\\$&')))
    .join('\\.');
  return new RegExp(`^${expression}$`).test(subject);
}

/** The block in the syntax of the NATS server's configuration, line by line. */
export function permissionsBlock({ publish, subscribe, optional = [] }: Grants): string[] {
  return ['permissions: {', ...listOf('publish', publish, optional), ...listOf('subscribe', subscribe, []), '}'];
}

function listOf(operation: string, subjects: readonly string[], optional: NonNullable<Grants['optional']>): string[] {
  if (subjects.length + optional.length === 0) return [`  ${operation}: { deny: ">" }`];
  return [
    `  ${operation}: { allow: [`,
    ...subjects.map((subject) => `    ${JSON.stringify(subject)}`),
    ...optional.map(({ subject, reason }) => `    ${JSON.stringify(subject)}  # optional: ${reason}`),
    '  ] }',
  ];
}
