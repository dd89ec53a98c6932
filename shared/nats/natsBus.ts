import type {
  Bus,
  Chunks,
  OutgoingMessage,
  PublishResult,
  ReceivedReply,
  StreamSource,
  Subscription,
  SubscriptionEvents,
} from '../bus.ts';
import type { Clock } from '../clock.ts';
import type { ConnectionSettings } from '../connection/settings.ts';
import type { Log } from '../log.ts';
import { Links } from './link/links.ts';
import { checkSize, encodeHeaders } from './publishing/messageFrames.ts';
import { publishCore, publishToStream, sendRequest } from './publishing/publish.ts';
import { CoreSubscription } from './reading/coreSubscription.ts';
import { StreamReader } from './reading/streamReader.ts';

/** Connects to the first server that accepts. Fails with every server's own reason. */
export async function openNatsBus(settings: ConnectionSettings, clock: Clock, log: Log): Promise<NatsBus> {
  return new NatsBus(await Links.open(() => settings, clock, log));
}

/** {@link Bus} over one NATS link at a time, dialled again whenever it breaks. */
export class NatsBus implements Bus {
  constructor(protected readonly links: Links) {}

  publishToStream(
    messages: Chunks,
    expectedStream: string | undefined,
    onProgress: (confirmed: number) => void,
    signal: AbortSignal,
  ): Promise<PublishResult> {
    return publishToStream(this.links, messages, expectedStream, onProgress, signal);
  }

  publishCore(messages: Chunks, onProgress: (confirmed: number) => void, signal: AbortSignal): Promise<PublishResult> {
    return publishCore(this.links, messages, onProgress, signal);
  }

  request(message: OutgoingMessage, signal: AbortSignal): Promise<ReceivedReply> {
    return sendRequest(this.links, message, signal);
  }

  checkSize({ headers, payload }: OutgoingMessage): void {
    const { last } = this.links;
    if (last !== undefined) checkSize(encodeHeaders(headers).length + payload.length, last);
  }

  async readStream(source: StreamSource, events: SubscriptionEvents, signal: AbortSignal): Promise<Subscription> {
    const reader = new StreamReader(this.links, source, events, signal);
    await reader.begin();
    return reader;
  }

  async subscribeCore(
    subjects: readonly string[],
    events: SubscriptionEvents,
    signal: AbortSignal,
  ): Promise<Subscription> {
    const subscription = new CoreSubscription(this.links, subjects, events, signal);
    await subscription.begin();
    return subscription;
  }

  close(): Promise<void> {
    return this.links.close();
  }
}
