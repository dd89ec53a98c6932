import { randomUUID } from 'node:crypto';

/** A `traceparent` of W3C Trace Context, in lower-case hexadecimal. */
export interface TraceParent {
  readonly traceId: string;
  readonly spanId: string;
  /** Eight bits; the lowest means "sampled". */
  readonly flags: number;
}

const TRACEPARENT =
  /^(?<version>[0-9a-f]{2})-(?<traceId>[0-9a-f]{32})-(?<spanId>[0-9a-f]{16})-(?<flags>[0-9a-f]{2})(?<rest>-[\x20-\x7e]*)?$/;
/** Version 00 has 55 characters; a later one may have more, but not so many that no later step could start with them. */
const MAX_LENGTH = 512;
const ALL_ZERO = /^0+$/;
const SAMPLED = 0b01;
/** Sampled (level 1) and random trace id (level 2). A sender has to clear the bits it does not know. */
const KNOWN_FLAGS = 0b11;

/**
 * The parts of a `traceparent`; undefined when it is invalid.
 * As W3C Trace Context demands, a later version may carry more after the flags, up to 512 characters in all; version `ff` is invalid.
 */
export function parseTraceparent(text: string): TraceParent | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const { version, traceId = '', spanId = '', flags = '', rest } = TRACEPARENT.exec(text)?.groups ?? {};
  if (version === undefined || version === 'ff' || (version === '00' && rest !== undefined)) return undefined;
  return ALL_ZERO.test(traceId) || ALL_ZERO.test(spanId)
    ? undefined
    : { traceId, spanId, flags: Number.parseInt(flags, 16) };
}

/** The `traceparent` of a new span below this parent; the first span of a new, sampled trace when there is no valid parent. */
export function childOf(parent: string | undefined): string {
  const { traceId, flags } = (parent === undefined ? undefined : parseTraceparent(parent)) ?? {
    traceId: randomHex(),
    flags: SAMPLED,
  };
  const knownFlags = (flags & KNOWN_FLAGS).toString(16).padStart(2, '0');
  return `00-${traceId}-${randomHex().slice(16)}-${knownFlags}`;
}

/** 32 digits, never all of them zero: a random UUID costs a tenth of random bytes, which Node does not fetch ahead. */
function randomHex(): string {
  return randomUUID().replaceAll('-', '');
}
