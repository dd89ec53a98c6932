import type { ReceivedMessage } from '../bus.ts';
import {
  ATTRIBUTE_NAME,
  cleanAttribute,
  decodeAttribute,
  isCloudEvent,
  parseTime,
  REQUIRED_ATTRIBUTES,
  utf8Text,
  type Attributes,
} from './cloudEvent.ts';
import { reasonOf } from '../errors.ts';
import { parseJson, parseLargeIntegers, parseObject } from '../text/json.ts';
import { quoted } from '../text/safeText.ts';
import { parseTraceparent } from './traceContext.ts';

/** What an event holds. */
interface Data {
  readonly data: unknown;
  readonly dataBase64: string | null;
  /** The JSON that `data` was parsed from; undefined when it isn't JSON or is a part of a structured event. */
  readonly json?: string;
}

/** An envelope that was opened: the context in it, and the data. */
interface Opened {
  readonly attributes: Attributes;
  readonly problem: string | undefined;
  /** As unread bytes or text, or as a part of a structured event's JSON. */
  readonly data: Uint8Array | string | Data;
}

/**
 * A message read as a CloudEvent: structured when its `Content-Type` says so, binary when it has `ce-` headers,
 * structured also when the payload looks like a CloudEvent in JSON and no header says anything; otherwise it isn't a CloudEvent.
 * Reading never throws: `problem` describes a bad envelope. Whatever is costly is read when first asked for.
 */
export class DecodedEvent {
  /** `specversion` included; none when the message is no CloudEvent. Has no prototype, so that any name can be looked up. */
  readonly attributes: Attributes;
  /** What is wrong with the envelope, as a clause; the attributes are then those that could be read. */
  readonly problem: string | undefined;
  /** The attribute, otherwise the header `Correlation-Id`. */
  readonly correlationId: string | undefined;
  #data: Opened['data'] | undefined;
  #read: Data | undefined;
  #exact: { readonly value: unknown } | null | undefined;

  constructor(readonly message: ReceivedMessage) {
    const { attributes, problem, data } = openEnvelope(message);
    this.attributes = attributes;
    this.problem = problem;
    this.correlationId = attributes.correlationid || firstValue(message, 'correlation-id') || undefined;
    this.#data = data;
  }

  /** The header, otherwise the attribute; undefined when neither is valid. */
  get traceparent(): string | undefined {
    const candidates = [firstValue(this.message, 'traceparent'), this.attributes.traceparent];
    return candidates.find((text) => text !== undefined && parseTraceparent(text) !== undefined);
  }

  /** The parsed JSON, or the text if it isn't JSON, or null if there is none or it isn't UTF-8. */
  get data(): unknown {
    return this.#content.data;
  }

  /** The data in base64 if it isn't UTF-8, otherwise null. */
  get dataBase64(): string | null {
    return this.#content.dataBase64;
  }

  /**
   * As `data`, with integers beyond 2^53 as `bigint`s; undefined when there are none. Throws an `UndecidableError` when
   * they can't be read.
   */
  get exactData(): { readonly value: unknown } | undefined {
    if (this.#exact === undefined) this.#exact = this.#readExactly() ?? null;
    return this.#exact ?? undefined;
  }

  /** Forgets what can be read again from the message: data takes many times its bytes once it is parsed. */
  forget(): void {
    this.#data = undefined;
    this.#read = undefined;
    this.#exact = undefined;
  }

  #readExactly(): { readonly value: unknown } | undefined {
    const { json, dataBase64 } = this.#content;
    if (json !== undefined) return parseLargeIntegers(json);
    if (dataBase64 !== null || typeof this.#unread === 'string' || this.#unread instanceof Uint8Array) return undefined;
    const event = parseLargeIntegers(utf8Text(this.message.payload) ?? '')?.value as { data?: unknown } | undefined;
    return event && { value: event.data ?? null };
  }

  get #content(): Data {
    this.#read ??= readData(this.#unread);
    return this.#read;
  }

  get #unread(): Opened['data'] {
    this.#data ??= openEnvelope(this.message).data;
    return this.#data;
  }
}

const NO_ATTRIBUTES: Attributes = Object.freeze(Object.create(null) as Attributes);

function openEnvelope(message: ReceivedMessage): Opened {
  if (message.headers.size === 0) return openBare(message.payload);
  const data = message.payload;
  const contentType = firstValue(message, 'content-type')?.trim().toLowerCase() ?? '';
  if (contentType.startsWith('application/cloudevents')) {
    const refused = (problem: string): Opened => ({ attributes: NO_ATTRIBUTES, problem, data });
    if (!/^application\/cloudevents(\+json)?\s*(;|$)/.test(contentType)) {
      return refused(`Its content type ${quoted(contentType)} is not supported: only single events in JSON are`);
    }
    const event = parseObject(utf8Text(message.payload) ?? '');
    return event === undefined ? refused('Its payload is not the JSON object it claims to be') : openStructured(event);
  }
  const headers = [...message.headers].filter(([name]) => name.startsWith('ce-'));
  if (headers.length > 0) return { ...readHeaders(headers), data };
  return openBare(data);
}

/** A payload that may be a CloudEvent in JSON although no header says so. It is not parsed in full just to find out. */
function openBare(payload: Uint8Array): Opened {
  const text = utf8Text(payload);
  const event = text?.includes('"specversion"') === true ? parseObject(text) : undefined;
  if (isCloudEvent(event)) return openStructured(event);
  return { attributes: NO_ATTRIBUTES, problem: undefined, data: text ?? payload };
}

function readHeaders(headers: readonly (readonly [string, readonly string[]])[]): Omit<Opened, 'data'> {
  return collectAttributes(
    headers.map(([header, values]) => [header.slice('ce-'.length), values]),
    (values) => {
      if (values.length !== 1) throw new Error('it is given more than once');
      return decodeAttribute(values[0] ?? '');
    },
  );
}

function openStructured(event: Record<string, unknown>): Opened {
  const { data = null, data_base64: base64 = null, ...members } = event;
  const context = collectAttributes(
    // null stands for an absent attribute (JSON event format, 2.2).
    Object.entries(members).filter(([, value]) => value !== null),
    (value) => {
      if (typeof value === 'string' || typeof value === 'boolean') return String(value);
      if (typeof value === 'number' && (value | 0) === value) return String(value);
      throw new Error('it is not a string, a boolean or a 32-bit integer');
    },
  );
  const inline = { data, dataBase64: null };
  if (base64 === null) return { ...context, data: inline };
  const bytes = typeof base64 === 'string' ? Buffer.from(base64, 'base64') : undefined;
  // Buffer skips what is not base64.
  if (bytes === undefined || bytes.toString('base64') !== base64)
    return { ...context, problem: context.problem ?? 'Its data_base64 is not base64', data: inline };
  if (data === null) return { ...context, data: bytes };
  const problem = context.problem ?? 'Its data is given twice, as data and as data_base64';
  return { ...context, problem, data: inline };
}

/** Reads every attribute with `read`, which throws a clause about a bad one, and checks the whole against CloudEvents 1.0. */
function collectAttributes<T>(
  source: readonly (readonly [name: string, value: T])[],
  read: (value: T) => string,
): Omit<Opened, 'data'> {
  const attributes = Object.create(null) as Record<string, string>;
  let problem: string | undefined;
  for (const [name, value] of source) {
    try {
      if (!ATTRIBUTE_NAME.test(name)) throw new Error('attributes are named with a-z and 0-9');
      const text = read(value);
      if (text !== cleanAttribute(text)) throw new Error('it has a character that CloudEvents forbids');
      attributes[name] = text;
    } catch (error) {
      problem ??= `Its CloudEvents attribute ${quoted(name)} is wrong: ${reasonOf(error)}`;
    }
  }
  return { attributes, problem: problem ?? contextProblem(attributes) };
}

function contextProblem(attributes: Attributes): string | undefined {
  const { specversion, time } = attributes;
  if (specversion !== '1.0') {
    return `Its CloudEvents specversion is ${specversion === undefined ? 'absent' : quoted(specversion)}, not "1.0"`;
  }
  const missing = REQUIRED_ATTRIBUTES.find((name) => !attributes[name]);
  if (missing !== undefined) return `Its CloudEvents attribute "${missing}" is absent or empty`;
  if (time !== undefined && parseTime(time) === undefined) {
    return `Its CloudEvents attribute "time" is ${quoted(time)}, not an RFC 3339 time`;
  }
  return undefined;
}

function readData(data: Opened['data']): Data {
  if (typeof data !== 'string' && !(data instanceof Uint8Array)) return data;
  const text = typeof data === 'string' ? data : utf8Text(data);
  if (text === undefined) return { data: null, dataBase64: Buffer.from(data).toString('base64') };
  const json = parseJson(text);
  return json === undefined ? { data: text, dataBase64: null } : { data: json.value, dataBase64: null, json: text };
}

function firstValue(message: ReceivedMessage, header: string): string | undefined {
  return message.headers.get(header)?.[0];
}
