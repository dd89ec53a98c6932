import type { AzureDevOps } from './azureDevOps/client.ts';
import type { KeyState } from './callout/keySets.ts';
import type { Contracts } from './config/contracts.ts';
import type { Route } from './http/route.ts';
import type { EventLog } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { Nats } from './nats.ts';
import type { BridgeSettings } from './settings.ts';

/** What the bridge's functions work with. */
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

/** The state of an Azure Artifacts feed at this replica. */
export interface FeedStatus {
  readonly feed: string;
  /** A clause. Foreign text. */
  readonly state: string;
  readonly isGood: boolean;
  /** When this replica has last read it to its end, in milliseconds since the epoch. */
  readonly lastReadAt: number | undefined;
}

/** The state of the callout at this replica. */
export interface CalloutStatus {
  readonly issuers: readonly KeyState[];
}

/** The state of waits, as known to this replica. */
export interface WaitsStatus {
  /** Whether it knows all waits that existed when it started. */
  readonly areKnown: boolean;
  readonly waiting: number;
  /** How many whose tasks have yet to be notified. */
  readonly decided: number;
  /** In the last day. */
  readonly ended: number;
  /** Streams whose waits it judges. Foreign text. */
  readonly leads: readonly string[];
}

/** The running functions that a configuration turns on. */
export interface Functions {
  /** The routes of the public port. */
  readonly routes: readonly Route[];
  /** What keeps them from calling Azure DevOps now, until a time in milliseconds since the epoch; undefined when nothing does. */
  readonly throttle?: () => { readonly reason: string; readonly until: number } | undefined;
  /** Why routes get no events at this replica, by their names: foreign text. */
  readonly routesDown?: () => ReadonlyMap<string, string>;
  /** Why NATS takes no hooks, as a clause; undefined as far as it does. */
  readonly hooksTrouble?: () => Promise<{ readonly stream: string; readonly problem: string } | undefined>;
  /** The state of Azure Artifacts feeds; empty when there are none. */
  readonly feeds?: () => readonly FeedStatus[];
  /** The state of waits; absent when none are taken. */
  readonly waits?: () => WaitsStatus | undefined;
  /** The state of the callout; absent when it is off. */
  readonly callout?: () => CalloutStatus | undefined;
  /** Takes nothing new, finishes work in progress until the signal aborts, and closes. */
  stop(drained: AbortSignal): Promise<void>;
}
