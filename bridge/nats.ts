import type {
  Bus,
  KeyValue,
  ReceivedRequest,
  Service,
  ServiceEvents,
  StreamLookup,
  StreamPublisher,
  WorkQueue,
  WorkQueueEvents,
} from '../shared/bus.ts';

/** NATS as the bridge uses it: a link that is kept up until closed. */
export interface Nats extends Bus {
  readonly publisher: StreamPublisher;
  readonly lookup: StreamLookup;
  readonly isLinkUp: boolean;
  /** The version of the server that is connected to: `2.10.27`. Fails when there's no link within 5 s. */
  serverVersion(): Promise<string>;
  /**
   * Those of these subjects that the user may not publish to. Sends each a message that asks for nothing whole, and waits for
   * no answer to it. Fails when there's no link within 5 s.
   */
  refused(subjects: readonly string[]): Promise<readonly string[]>;
  /** @param bucket must exist */
  keyValue(bucket: string): KeyValue;
  /** @param consumer may come into being later */
  workQueue(stream: string, consumer: string, events: WorkQueueEvents): WorkQueue;
  /** Answers requests on a subject, together with the others of a queue group. `answer` must not reject. */
  serve(
    subject: string,
    queue: string,
    answer: (request: ReceivedRequest) => Promise<Uint8Array>,
    events: ServiceEvents,
  ): Service;
}
