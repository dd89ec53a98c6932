import type { Bus, OutgoingMessage } from '../bus.ts';
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

  readonly publishToStream: Bus['publishToStream'] = (...call) => publishToStream(this.links, ...call);
  readonly publishCore: Bus['publishCore'] = (...call) => publishCore(this.links, ...call);
  readonly request: Bus['request'] = (...call) => sendRequest(this.links, ...call);

  checkSize({ headers, payload }: OutgoingMessage): void {
    const { last } = this.links;
    if (last !== undefined) checkSize(encodeHeaders(headers).length + payload.length, last);
  }

  readonly readStream: Bus['readStream'] = async (...call) => {
    const reader = new StreamReader(this.links, ...call);
    await reader.begin();
    return reader;
  };

  readonly subscribeCore: Bus['subscribeCore'] = async (...call) => {
    const subscription = new CoreSubscription(this.links, ...call);
    await subscription.begin();
    return subscription;
  };

  close(): Promise<void> {
    return this.links.close();
  }
}
