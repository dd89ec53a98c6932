/** Every pause and limit of the bridge, in milliseconds. */
export const TIMING = {
  /** A request's headers come within this. */
  headers: 10_000,
  /** A request's body comes within this. */
  body: 20_000,
  /** A connection that found all places taken waits this long before it gets the place of a slow one. */
  place: 4_000,
  /** What is under way when the bridge stops ends within this. */
  drain: 25_000,
  /** Between two self-checks. */
  selfCheck: 3_600_000,
  /** Between two looks at a file that holds a secret. */
  secretFile: 1_000,
  /** Between two looks at the configuration. */
  configuration: 2_000,
  /** A command that isn't `run` gives up to connect to NATS. */
  connect: 10_000,
  /** One call of the JetStream API. */
  jetStream: 5_000,
  /** How long an answer of /readyz is taken for true. */
  readiness: 1_000,
  /** One call of Azure DevOps. */
  azureDevOps: 40_000,
  /** Between two looks whether there is a token for Azure DevOps. */
  signIn: 60_000,
  /** A token is renewed so long before it expires. */
  tokenRenewal: 300_000,
  /** The server delivers an event again that nobody has said anything of for so long. */
  ackWait: 30_000,
  /** Between two signs of life for the events that are held. */
  working: 10_000,
  /** Another replica takes over a run that was being asked for so long ago. */
  takeover: 60_000,
  /** Before each of three looks whether a run was started after all. */
  firstLook: 2_000,
  secondLook: 5_000,
  thirdLook: 10_000,
  /** A run may be listed with a time that is so much earlier than its event's. */
  clockTolerance: 600_000,
  /** The first pause after Azure DevOps is in trouble; each further one is twice as long, up to the longest. */
  firstPause: 1_000,
  longestPause: 60_000,
  /** Before something is tried again with NATS; twice as long each time, up to 30 times as much. */
  natsRetry: 1_000,
  /** The minute of `maxPerMinute`, and of summaries. */
  minute: 60_000,
  /** Between two looks whether a route is paused. */
  routePause: 2_000,
  /** Between two checkpoints of a stream whose waits are judged. */
  checkpoint: 1_000,
  /** A stream that nobody waits on is let go after so long. */
  idleStream: 10_000,
  /** Between two looks at what a route has yet to do. */
  routeState: 10_000,
  /** Between two renewals of a lease, and between two looks at somebody else's. */
  leaseRenewal: 2_000,
  /** A lease that wasn't renewed for so long is anybody's. */
  leaseStale: 6_000,
  /** Before a feed is tried again that isn't there, may not be read or answers with nonsense. */
  feedRefused: 300_000,
  /** Between two looks whether a feed has become another one of the same name. */
  feedLookup: 600_000,
  /** An issuer's discovery document and keys come within this. */
  keysAnswer: 5_000,
  /** A client doesn't wait longer for an issuer's keys: the server gives up soon after. */
  keysWait: 1_500,
  /** Between two looks whether keys have to be fetched. */
  keysLook: 5_000,
  /** Keys are fetched anew once they are so old. */
  keysFresh: 600_000,
  /** Between two fetches for keys that nobody knows yet. */
  keysUnknown: 60_000,
  /** Keys older than this are not used while their issuer can't be reached. */
  keysKept: 86_400_000,
} as const;

/** {@link TIMING}, as the tests of the bridge scale it. */
export type Timing = Readonly<Record<keyof typeof TIMING, number>>;
