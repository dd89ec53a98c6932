import type {
  KeyValue,
  ReceivedRequest,
  Service,
  ServiceEvents,
  StreamLookup,
  StreamPublisher,
  WorkQueue,
  WorkQueueEvents,
} from '../bus.ts';
import type { ConnectionSettings } from '../connection/settings.ts';
import type { Log } from '../log.ts';
import { Bucket } from './kv.ts';
import { Links, type OnLinkDown } from './link/links.ts';
import { NatsBus } from './natsBus.ts';
import { AcknowledgedPublisher } from './publishing/acknowledgedPublisher.ts';
import { DurableQueue } from './reading/durableQueue.ts';
import { QueueGroupService } from './reading/queueGroupService.ts';
import { MessageLookup } from './reading/streamLookup.ts';

/** How long a mere query waits for the link to come back. */
const LINK_MS = 5_000;

/**
 * Connects to the first server that accepts, and keeps connected until the bus is closed. Fails with every server's own
 * reason.
 *
 * @param settings how to connect now: asked before each dial, since secrets may have changed by then
 * @param signal ends everything at once
 * @param onDown called with each reason why there's no link while connecting goes on
 */
export async function openServiceBus(
  settings: () => ConnectionSettings,
  signal: AbortSignal,
  log: Log,
  onDown?: OnLinkDown,
): Promise<ServiceBus> {
  const clock = { signal, startedAt: Date.now(), deadline: Infinity, now: Date.now };
  const links = await Links.open(settings, clock, log, onDown);
  void links.keepAlive();
  return new ServiceBus(links);
}

/** What a program that runs for months needs beyond {@link NatsBus}. Tasks don't: it stays out of their bundles. */
export class ServiceBus extends NatsBus {
  readonly publisher: StreamPublisher;
  readonly lookup: StreamLookup;

  constructor(links: Links) {
    super(links);
    this.publisher = new AcknowledgedPublisher(links);
    this.lookup = new MessageLookup(links);
  }

  get isLinkUp(): boolean {
    return this.links.isLinkUp;
  }

  async serverVersion(): Promise<string> {
    return (await this.links.linkWithin(LINK_MS)).connection.info?.version ?? '';
  }

  /**
   * Those of these subjects that the user may not publish to. A server says so before it answers a ping, also where nobody
   * would answer a request.
   */
  async refused(subjects: readonly string[]): Promise<readonly string[]> {
    const link = await this.links.linkWithin(LINK_MS);
    for (const subject of subjects) link.connection.publish(subject, Buffer.from('{'));
    const violations = (await link.flush(LINK_MS)) ?? [];
    return subjects.filter((one) =>
      violations.some(({ operation, subject }) => operation === 'publish' && subject === one),
    );
  }

  /** @param bucket must exist */
  keyValue(bucket: string): KeyValue {
    return new Bucket(this.links, bucket);
  }

  /** Takes messages of a durable consumer, which may come into being later. */
  workQueue(stream: string, consumer: string, events: WorkQueueEvents): WorkQueue {
    return new DurableQueue(this.links, stream, consumer, events);
  }

  /**
   * Answers requests on a subject, together with the others of a queue group.
   *
   * @param answer what goes to the request's own reply subject, and nowhere else; must not reject
   */
  serve(
    subject: string,
    queue: string,
    answer: (request: ReceivedRequest) => Promise<Uint8Array>,
    events: ServiceEvents,
  ): Service {
    return new QueueGroupService(this.links, subject, queue, answer, events);
  }
}
