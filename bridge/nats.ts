import type { Bus, KeyValue, StreamLookup, StreamPublisher } from '../shared/bus.ts';

/** NATS, as the bridge uses it: a link that is kept until it is closed. */
export interface Nats extends Bus {
  readonly publisher: StreamPublisher;
  readonly lookup: StreamLookup;
  readonly isLinkUp: boolean;
  /** @param bucket must exist */
  keyValue(bucket: string): KeyValue;
}
