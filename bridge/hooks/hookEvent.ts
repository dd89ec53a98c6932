import type { OutgoingMessage } from '../../shared/bus.ts';
import { parseTime } from '../../shared/event/cloudEvent.ts';
import { eventEncoder } from '../../shared/event/encode.ts';
import { childOf } from '../../shared/event/traceContext.ts';
import type { SigningKey } from '../../shared/nkey.ts';
import { signMessage } from '../../shared/signing/signature.ts';
import { textAt } from './bodyPath.ts';
import type { OwnerAttribute, Template } from './families.ts';
import type { Hook } from './hook.ts';

/** Where hooks' events go, and from which organization. */
export interface EventSettings {
  readonly subjectPrefix: string;
  readonly stream: string;
  /** With closing slash. */
  readonly organization: string;
  readonly organizationName: string;
}

/** The project of an event. */
export interface EventProject {
  /** Empty when unknown. */
  readonly id: string;
  readonly name: string;
  /** Its token in subjects. */
  readonly token: string;
}

/** The parts of a hook that its event is made from. */
export type EventParts = Pick<Hook, 'id' | 'eventType' | 'name' | 'family' | 'resource' | 'createdDate'>;

/** Longest part of a subject: it has five of them, and an end at 1,024 bytes. */
const MAX_TOKEN = 256;
const NO_COMMIT = /^0+$/;

/** A name as a part of a subject. */
export function subjectToken(name: string): string {
  return name.slice(0, MAX_TOKEN).replace(/[^A-Za-z0-9_-]/gu, '-') || '-';
}

/** The bridge's name of an event: `build.completed`, or `other.<Azure DevOps' name of it>`. */
export function eventName({ name, eventType }: Pick<Hook, 'name' | 'eventType'>): string {
  return name ?? `other.${subjectToken(eventType)}`;
}

/**
 * The event that a hook becomes: a CloudEvent in binary mode whose data is the body, byte for byte.
 *
 * @param signing the key and the time of the signature; undefined: unsigned
 */
export function hookEvent(
  hook: EventParts,
  body: Uint8Array,
  project: EventProject,
  settings: EventSettings,
  signing: { readonly key: SigningKey; readonly now: Date } | undefined,
): OutgoingMessage {
  const { subjectPrefix, organization, organizationName, stream } = settings;
  const name = eventName(hook);
  const owner = ownerOf(hook);
  const time = hook.createdDate !== undefined && parseTime(hook.createdDate) !== undefined ? hook.createdDate : '';
  const subject = [subjectPrefix, subjectToken(organizationName), project.token, name, 'v1'].join('.');
  const encode = eventEncoder({
    subject,
    envelope: 'binary',
    attributes: {
      id: hook.id,
      source: `${organization}${project.id}`,
      type: `${subjectPrefix}.${name}.v1`,
      subject: subjectOf(hook),
      time,
      datacontenttype: 'application/json',
      azporganization: organizationName,
      azpproject: project.name,
      ...owner,
    },
    headers: [['Nats-Expected-Stream', stream]],
    correlationId: owner.azprunid ?? '',
    traceparent: childOf(undefined),
  });
  const message = encode({ attributes: {}, payload: body, messageId: hook.id });
  return signing === undefined ? message : signMessage(message, signing.key, signing.now);
}

function ownerOf({ family, resource }: EventParts): Partial<Record<OwnerAttribute, string>> {
  const found = Object.entries(family.attributes).flatMap(([name, from]) => {
    const text = textAt(resource, from);
    // A branch that is deleted has a commit of zeros.
    return text === undefined || (name === 'azpcommit' && NO_COMMIT.test(text)) ? [] : [[name, text] as const];
  });
  return Object.fromEntries(found);
}

function subjectOf({ family, resource }: EventParts): string {
  return family.subjects.map((template) => filled(template, resource)).find((subject) => subject !== undefined) ?? '';
}

/** The template with the values at its paths; undefined where one is missing. */
function filled(template: Template, resource: unknown): string | undefined {
  const parts = template.map((part) => (typeof part === 'string' ? part : textAt(resource, [part])));
  return parts.includes(undefined) ? undefined : parts.join('');
}
