import type { AzureDevOps } from './azureDevOps/client.ts';
import type { KeyState } from './callout/keySets.ts';
import type { Contracts } from './config/contracts.ts';
import type { Route } from './http/route.ts';
import type { EventLog } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { Nats } from './nats.ts';
import type { BridgeSettings } from './settings.ts';

/** What the functions of the bridge work with. */
export interface Parts {
  readonly settings: BridgeSettings;
  readonly contracts: Contracts;
  readonly nats: Nats;
  readonly azureDevOps: AzureDevOps;
  readonly metrics: Metrics;
  readonly log: EventLog;
  /** Milliseconds since the epoch. */
  now(): number;
}

/** How it goes with a feed of Azure Artifacts at this replica. */
export interface FeedStatus {
  readonly feed: string;
  /** A clause. Foreign text. */
  readonly state: string;
  readonly isGood: boolean;
  /** When this replica has last read it to its end, in milliseconds since the epoch. */
  readonly lastReadAt: number | undefined;
}

/** How it goes with the callout at this replica. */
export interface CalloutStatus {
  readonly issuers: readonly KeyState[];
}

/** How it goes with waits, as this replica knows them. */
export interface WaitsStatus {
  /** Whether it knows all that were there when it began. */
  readonly areKnown: boolean;
  readonly waiting: number;
  /** Whose tasks have yet to be told. */
  readonly decided: number;
  /** In the last day. */
  readonly ended: number;
  /** Streams whose waits it judges. Foreign text. */
  readonly leads: readonly string[];
}

/** The functions that a configuration turns on, at work. */
export interface Functions {
  /** What the public port answers. */
  readonly routes: readonly Route[];
  /** What keeps them from calling Azure DevOps now, until a time in milliseconds since the epoch; undefined where nothing does. */
  readonly throttle?: () => { readonly reason: string; readonly until: number } | undefined;
  /** How it goes with feeds of Azure Artifacts; none where there are none. */
  readonly feeds?: () => readonly FeedStatus[];
  /** How it goes with waits; absent where none are taken. */
  readonly waits?: () => WaitsStatus | undefined;
  /** How it goes with the callout; absent where it is off. */
  readonly callout?: () => CalloutStatus | undefined;
  /** Takes nothing new, ends what is under way until the signal aborts, and closes. */
  stop(drained: AbortSignal): Promise<void>;
}
