import { randomUUID } from 'node:crypto';
import type { Agent } from '../agent/agent.ts';
import type { Headers } from '../../shared/bus.ts';
import type { ConnectionSettings } from '../../shared/connection/settings.ts';
import type { Attributes, Envelope } from '../../shared/event/cloudEvent.ts';
import { isObject, parseJson } from '../../shared/text/json.ts';
import { jsonSyntaxProblem } from '../../shared/text/jsonSyntax.ts';
import { knownSecrets } from '../../shared/text/masker.ts';
import { quoted, shortened } from '../../shared/text/safeText.ts';
import { parseUserSeed, type SigningKey } from '../../shared/nkey.ts';
import { defaultMessageId, readPipelineRun, type PipelineRun } from '../agent/pipelineRun.ts';
import { learnSecrets } from '../agent/secrets.ts';
import { readConnection } from '../agent/serviceConnection.ts';
import { StepFields } from '../agent/stepFields.ts';
import { hasVersionToken, subjectProblem } from '../../shared/subject.ts';
import { childOf } from '../../shared/event/traceContext.ts';
import { TaskError } from '../../shared/errors.ts';
import { isCdEventType } from '../../shared/event/cdEvent.ts';

/** The agent passes inputs through the environment, where Windows limits a variable to 32,766 characters. */
const MAX_INLINE_LENGTH = 30_000;

/** What one step publishes. It holds no secret of the connection. */
export interface PublishRequest {
  readonly subject: string;
  readonly payload:
    { readonly from: 'inline'; readonly text: string } | { readonly from: 'file' | 'lines'; readonly file: string };
  readonly schemaFile: string | undefined;
  /** For the reply to a request. */
  readonly replySchemaFile: string | undefined;
  readonly envelope: Envelope;
  readonly eventType: string;
  readonly eventSource: string;
  /** Undefined: derived from the payload. */
  readonly contentType: string | undefined;
  readonly headers: Headers;
  readonly correlationId: string;
  /** Undefined: the default of the step, or the id of a CDEvent. */
  readonly messageId: string | undefined;
  readonly defaultMessageId: () => string;
  readonly traceparent: string;
  readonly delivery: 'jetStream' | 'core' | 'request';
  readonly expectedStream: string | undefined;
  /** The run's attributes that its events carry. */
  readonly owner: Attributes;
  readonly run: PipelineRun;
}

export interface PublishStep {
  readonly timeoutMs: number;
  readonly connection: ConnectionSettings;
  readonly request: PublishRequest;
  readonly signingKey: SigningKey | undefined;
}

/** Reads and checks everything a publishing step is given; throws one error for all problems. */
export function readPublish(agent: Agent): PublishStep {
  learnSecrets(agent);
  const fields = new StepFields(agent);
  const subject = fields.subject('subject');
  const connection = readConnection(agent, fields, 'publishSubjects', [subject].filter(Boolean));
  const run = readPipelineRun(agent);
  const delivery = fields.oneOf('delivery', ['jetStream', 'core', 'request']);
  checkVersionToken(fields, subject);
  const step: PublishStep = {
    timeoutMs: fields.duration('timeout', '30s'),
    connection,
    request: {
      subject,
      payload: readPayload(fields, delivery),
      schemaFile: fields.file('schemaFile'),
      replySchemaFile: readReplySchemaFile(fields, delivery),
      ...readEnvelope(fields, subject, run),
      correlationId: readId(fields, 'correlationId') ?? randomUUID(),
      messageId: readId(fields, 'messageId'),
      defaultMessageId: () => defaultMessageId(agent),
      traceparent: childOf(agent.variable('TRACEPARENT')),
      delivery,
      expectedStream: readExpectedStream(fields, delivery),
      run,
    },
    signingKey: readSigningKey(fields, connection),
  };
  refuseSecrets(fields, step.request);
  fields.problems.done();
  return step;
}

/** Published events are stored, and read by more people than may see this run. */
function refuseSecrets(fields: StepFields, { payload, envelope, delivery }: PublishRequest): void {
  const sent = [
    ...['subject', ...(payload.from === 'inline' ? ['payload'] : []), 'headers', 'correlationId', 'messageId'],
    ...(envelope === 'none' ? [] : ['eventType', 'eventSource', 'contentType']),
    ...(delivery === 'jetStream' ? ['stream'] : []),
  ];
  for (const name of sent) {
    const secret = knownSecrets.secretIn(fields.text(name) ?? '');
    if (secret === undefined) continue;
    fields.problem(
      `${name}: holds the value of ${secret}, and secrets aren't sent: anyone who may read the subject could read it. Remove it, or send a reference to it, such as its name in Key Vault. If it's no secret, make it a plain variable`,
    );
  }
}

function readPayload(fields: StepFields, delivery: PublishRequest['delivery']): PublishRequest['payload'] {
  const from = fields.oneOf('payloadFrom', ['inline', 'file', 'lines']);
  if (from !== 'inline') {
    fields.unused('payload', `payloadFrom is ${from}`);
    const file = fields.file('payloadFile');
    if (file === undefined)
      fields.problem(
        `payloadFile: is required with payloadFrom: ${from}, and must not be a directory`,
        fields.text('payload') === undefined ? '' : 'payload is given: did you mean payloadFrom: inline?',
      );
    if (from === 'lines' && delivery === 'request')
      fields.problem('payloadFrom: lines does not go with delivery: request, which sends one event');
    return { from, file: file ?? '' };
  }
  const isFileGiven = fields.unusedFile('payloadFile', 'payloadFrom is inline');
  const text = fields.text('payload');
  if (text === undefined)
    fields.problem(
      'payload: is required with payloadFrom: inline',
      isFileGiven ? 'payloadFile is given: did you mean payloadFrom: file?' : '',
    );
  const isLong = (text?.length ?? 0) > MAX_INLINE_LENGTH;
  const tooLong = `payload: has more than ${MAX_INLINE_LENGTH} characters. Write it to a file and use payloadFrom: file`;
  if (isLong) fields.problem(tooLong);
  fields.isExpanded(
    'payload',
    text ?? '',
    'Set it, or check its spelling. If the text itself is meant, write the payload to a file and use payloadFrom: file.',
  );
  checkJson(fields, text ?? '');
  return { from: 'inline', text: text ?? '' };
}

/** Most likely YAML stripped the quotes; a type that isn't JSON shows that it's intended. */
function checkJson(fields: StepFields, text: string): void {
  const looksLikeJson = /^(\{|\[.*\]$|\[\s*["{[])/s.test(text) || isJsonInQuotes(text);
  if (!looksLikeJson || parseJson(text) !== undefined) return;
  const [, header] = /^content-type:(.*)$/im.exec(fields.text('headers') ?? '') ?? [];
  const type = (fields.text('contentType') ?? header)?.trim();
  if (type !== undefined && !/^[^;]*[/+]json\s*(;|$)/i.test(type)) return;
  const otherwise = type === undefined ? ' If it is not meant to be JSON, set contentType, such as text/plain.' : '';
  fields.problem(
    `payload: looks like JSON but doesn't parse: ${jsonSyntaxProblem(text)}`,
    `Check its quotes and commas, including what YAML and variables made of it.${otherwise}`,
  );
}

/** Such as `'{ … }'`: quotes that are there twice, or that YAML took for part of the text. */
function isJsonInQuotes(text: string): boolean {
  return /^["']\s*(\{\s*"|\[\s*["{[])/.test(text) || /^(["'])\s*(\{.*\}|\[.*\])\s*\1$/s.test(text);
}

function readReplySchemaFile(fields: StepFields, delivery: PublishRequest['delivery']): string | undefined {
  if (delivery === 'request') return fields.file('replySchemaFile');
  fields.unusedFile('replySchemaFile', `delivery is ${delivery}`);
  return undefined;
}

function checkVersionToken(fields: StepFields, subject: string): void {
  const mode = fields.oneOf('subjectVersion', ['warn', 'require', 'off']);
  if (mode === 'off' || subjectProblem(subject, 'subject') !== undefined || hasVersionToken(subject)) return;
  const advice = `${quoted(subject)} has no version part such as v1. With one, a contract can change without breaking its readers: ${quoted(`${subject}.v1`)}`;
  if (mode === 'require') fields.problem(`subject: ${advice}`);
  else fields.warning(`The subject ${advice}.`);
}

function readEnvelope(
  fields: StepFields,
  subject: string,
  run: PipelineRun,
): Pick<PublishRequest, 'envelope' | 'eventType' | 'eventSource' | 'contentType' | 'owner' | 'headers'> {
  const envelope = fields.oneOf('envelope', ['binary', 'structured', 'none']);
  if (envelope === 'none') {
    for (const name of ['eventType', 'eventSource', 'contentType']) fields.unused(name, 'envelope is none');
    fields.unused('owner', 'envelope is none', 'full');
    const headers = readHeaders(fields, envelope);
    return { envelope, eventType: subject, eventSource: run.source, contentType: undefined, owner: {}, headers };
  }
  const eventType = readAttribute(fields, 'eventType') ?? subject;
  const isCdEvent = isCdEventType(eventType);
  if (isCdEvent) fields.unused('eventSource', 'a CDEvent names its source itself');
  return {
    envelope,
    eventType,
    eventSource: (isCdEvent ? undefined : readAttribute(fields, 'eventSource')) ?? run.source,
    contentType: readAttribute(fields, 'contentType'),
    owner: readOwner(fields, run),
    headers: readHeaders(fields, envelope),
  };
}

/** What an event says about the run it comes from. The requester is a person's name, which some must not pass on. */
function readOwner(fields: StepFields, { owner }: PipelineRun): Attributes {
  switch (fields.oneOf('owner', ['full', 'pipeline', 'none'])) {
    case 'full':
      return owner;
    case 'pipeline':
      return Object.fromEntries(Object.entries(owner).filter(([name]) => name !== 'azprequester'));
    case 'none':
      return {};
  }
}

/** Text that becomes a CloudEvents attribute: printable, without white space. */
function readAttribute(fields: StepFields, name: string): string | undefined {
  const text = fields.expanded(name);
  const allowed = name === 'contentType' ? /^[!-~]+\/[ -~]+$/ : /^[^\s\p{C}]+$/u;
  if (text !== undefined && !allowed.test(text))
    fields.problem(
      `${name}: ${quoted(text)} ${name === 'contentType' ? 'is not a media type such as application/json' : 'holds white space or control characters'}`,
    );
  return text;
}

/** An id that travels in a header: printable ASCII, at most 256 characters. */
function readId(fields: StepFields, name: string): string | undefined {
  const text = fields.expanded(name);
  if (text !== undefined && !/^[ -~]{1,256}$/.test(text))
    fields.problem(`${name}: must be 1 to 256 printable ASCII characters`);
  return text;
}

const RESERVED_HEADER = /^(nats-.*|ce-.*|event-signature|correlation-id|traceparent)$/i;

function readHeaders(fields: StepFields, envelope: Envelope): Headers {
  const all = fields.text('headers') ?? '';
  if (/^[{[]/.test(all)) {
    const isSecret = knownSecrets.secretIn(all) !== undefined;
    fields.problem('headers: looks like JSON, and takes one header per line', isSecret ? '' : jsonHeadersRemedy(all));
    return [];
  }
  fields.isExpanded('headers', all);
  return fields.lines('headers').flatMap((line) => {
    // It is refused as a whole; a message about a part of it would show that part.
    if (knownSecrets.secretIn(line) !== undefined) return [];
    const [, name = '', value = ''] = /^([^:]*):(.*)$/s.exec(line) ?? [];
    const problem = headerProblem(name, value, line, envelope);
    if (problem !== undefined) fields.problem(`headers: ${problem}`, equalsRemedy(line));
    return problem === undefined ? [[name, value.trim()] as const] : [];
  });
}

function jsonHeadersRemedy(text: string): string {
  const value = parseJson(text)?.value;
  const [first] = isObject(value) ? Object.entries(value) : [];
  const [name, content] = first !== undefined && typeof first[1] !== 'object' ? first : ['Name', 'value'];
  return `Write each without quotes and braces: ${shortened(`${name}: ${String(content)}`, 80)}`.replace(/\.?$/, '.');
}

/** For a header with `=` in the place of its colon. */
function equalsRemedy(line: string): string | undefined {
  const [, name, value = ''] = /^([\w-]+)\s*=\s*([^:]*)$/.exec(line) ?? [];
  return name === undefined ? undefined : `Write ${shortened(`${name}: ${value}`, 80)}.`;
}

function headerProblem(name: string, value: string, line: string, envelope: Envelope): string | undefined {
  if (!line.includes(':')) return `${quoted(line)} is not of the form "Name: value"`;
  if (!/^[!-9;-~]+$/.test(name)) return `${quoted(name)} is not a header name (printable ASCII without spaces)`;
  if (/\p{Cc}/u.test(value)) return `the value of ${quoted(name)} holds a control character`;
  if (RESERVED_HEADER.test(name)) return `${quoted(name)} is reserved: this task sets it`;
  if (/^content-type$/i.test(name) && (envelope === 'structured' || /^\s*application\/cloudevents/i.test(value))) {
    return `${quoted(name)} is set by envelope: structured. Use the input contentType for the type of the payload`;
  }
  return undefined;
}

function readExpectedStream(fields: StepFields, delivery: PublishRequest['delivery']): string | undefined {
  if (delivery === 'jetStream') return fields.streamName('stream');
  fields.unused('stream', `delivery is ${delivery}`);
  return undefined;
}

function readSigningKey(fields: StepFields, { authentication }: ConnectionSettings): SigningKey | undefined {
  const seed = fields.secret('signingKeyVariable');
  if (seed === undefined) return undefined;
  try {
    const key = parseUserSeed(seed);
    // The server chooses the text that a sign-in signs, so it could obtain an event's signature that way.
    if ('key' in authentication && authentication.key?.publicKey === key.publicKey) {
      fields.problem('signingKeyVariable: holds the key this step signs in with. Sign events with a key of their own');
    }
    return key;
  } catch (error) {
    if (!(error instanceof TaskError)) throw error;
    fields.problem(`signingKeyVariable: ${error.problem}`, error.remedy);
    return undefined;
  }
}
