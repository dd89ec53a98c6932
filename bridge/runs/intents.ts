import { createHash } from 'node:crypto';
import type { KeyValue } from '../../shared/bus.ts';
import type { ReceivedEvent } from '../../shared/event/receivedEvent.ts';
import { isObject, parseObject } from '../../shared/text/json.ts';

/** A run of a pipeline. */
export interface Run {
  readonly id: number;
  /** Where people see it. */
  readonly url: string;
}

/** What the bridge is going to do about one event, and how far it has got. Times in milliseconds since the epoch. */
export interface Intent {
  readonly route: string;
  /** The value of the parameter `natsEventId`. */
  readonly eventId: string;
  readonly source?: string | undefined;
  readonly stream?: string | undefined;
  readonly sequence?: number | undefined;
  readonly createdAt: number;
  /** How many runs of the bridge led to this event, each starting the next. */
  readonly hops: number;
  /** Written before each request for a run. */
  readonly posting?: Posting | undefined;
  /** Nothing more is done. */
  readonly done?: Done | undefined;
}

export interface Posting {
  readonly replica: string;
  /** From 1. */
  readonly attempt: number;
  readonly time: number;
  /** Why the previous attempt failed. Foreign text. */
  readonly after?: string;
}

export type Done = { readonly run: Run } | { readonly deadLetter: string };

/** Whose a run is. */
export interface RunRecord {
  /** Key of the intent. */
  readonly intent: string;
  readonly route: string;
  readonly hops: number;
  readonly time: number;
  /** It was found in the list of runs, not through an answer. */
  readonly isFound: boolean;
}

export interface StoredIntent {
  readonly intent: Intent;
  readonly revision: number;
}

/**
 * The key of an event's intent: the route, and what makes two messages the same event.
 *
 * @param streamCreated when the stream was created: another one of its name counts from 1 again
 */
export function intentKey(route: string, { attributes, place }: ReceivedEvent, streamCreated: string): string {
  const { source, id } = attributes;
  const identity =
    source !== undefined && id !== undefined ? [source, id] : [place?.stream, streamCreated, place?.sequence];
  return `${route}.${createHash('sha256').update(JSON.stringify(identity)).digest('hex')}`;
}

/** The bucket `BRIDGE_INTENTS`. Every method fails as the bucket does, and doesn't retry. */
export class Intents {
  constructor(private readonly bucket: KeyValue) {}

  async get(key: string): Promise<StoredIntent | undefined> {
    const entry = await this.bucket.get(key);
    return entry && { intent: intentIn(entry.value), revision: entry.revision };
  }

  /** @returns the revision; undefined when there already is one */
  create(key: string, intent: Intent): Promise<number | undefined> {
    return this.bucket.create(key, bytesOf(intent));
  }

  /** @returns the new revision; undefined when someone else has written meanwhile */
  update(key: string, intent: Intent, revision: number): Promise<number | undefined> {
    return this.bucket.update(key, bytesOf(intent), revision);
  }

  delete(key: string): Promise<void> {
    return this.bucket.delete(key);
  }

  async run(id: number): Promise<(RunRecord & { readonly revision: number }) | undefined> {
    const entry = await this.bucket.get(runKey(id));
    return entry && { ...runIn(entry.value), revision: entry.revision };
  }

  /** @returns whether the run was unclaimed */
  async createRun(id: number, record: RunRecord): Promise<boolean> {
    return (await this.bucket.create(runKey(id), bytesOf(record))) !== undefined;
  }

  /** Makes someone else's run ours; false when another replica was faster. */
  async updateRun(id: number, record: RunRecord, revision: number): Promise<boolean> {
    return (await this.bucket.update(runKey(id), bytesOf(record), revision)) !== undefined;
  }
}

function runKey(id: number): string {
  return `run.${id}`;
}

function bytesOf(value: Intent | RunRecord): Buffer {
  // Times in human-readable form.
  return Buffer.from(
    JSON.stringify(value, (name, member: unknown) => (isTime(name, member) ? toText(member) : member)),
  );
}

const TIMES = ['createdAt', 'time'];

function isTime(name: string, value: unknown): value is number {
  return TIMES.includes(name) && typeof value === 'number';
}

function toText(ms: number): string {
  return new Date(ms).toISOString();
}

function timeIn(value: unknown): number {
  const time = Date.parse(String(value));
  return Number.isNaN(time) ? 0 : time;
}

/** A malformed value counts as an intent that hasn't got anywhere. */
function intentIn(bytes: Uint8Array): Intent {
  const { createdAt, posting, hops, ...others } = parseObject(Buffer.from(bytes).toString()) ?? {};
  return {
    ...(others as unknown as Intent),
    createdAt: timeIn(createdAt),
    hops: Number(hops ?? 0),
    ...(isObject(posting)
      ? {
          posting: {
            replica: String(posting['replica']),
            attempt: Number(posting['attempt']),
            time: timeIn(posting['time']),
            ...(typeof posting['after'] === 'string' ? { after: posting['after'] } : {}),
          },
        }
      : {}),
  };
}

function runIn(bytes: Uint8Array): RunRecord {
  const { time, ...others } = parseObject(Buffer.from(bytes).toString()) ?? {};
  return { ...(others as unknown as RunRecord), time: timeIn(time) };
}
