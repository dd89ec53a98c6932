/** Every pause and limit of the bridge, in milliseconds. */
export const TIMING = {
  /** Limit for receiving a request's headers. */
  headers: 10_000,
  /** Limit for receiving a request's body. */
  body: 20_000,
  /** How long a connection that found all places taken waits before it gets a slow one's place. */
  place: 4_000,
  /** Limit for work in progress when the bridge stops. */
  drain: 25_000,
  /** Between two self-checks. */
  selfCheck: 3_600_000,
  /** After a self-check that found errors; twice as long after each further one, up to eight times as long. */
  selfCheckRetry: 60_000,
  /** From the return of NATS to a self-check that looks at it again: the servers may need a moment. */
  natsBack: 3_000,
  /** Between two looks at a file that holds a secret. */
  secretFile: 1_000,
  /** Between two looks at the configuration. */
  configuration: 2_000,
  /** When a command other than `run` gives up connecting to NATS. */
  connect: 10_000,
  /** One call of the JetStream API. */
  jetStream: 5_000,
  /** How long an answer of /readyz stays valid. */
  readiness: 1_000,
  /** One call of Azure DevOps. */
  azureDevOps: 40_000,
  /** Between two checks for a token for Azure DevOps. */
  signIn: 60_000,
  /** How long before its expiry a token is renewed. */
  tokenRenewal: 300_000,
  /** The server delivers an event again after this long without a sign of life. */
  ackWait: 30_000,
  /** Between two signs of life for held events. */
  working: 10_000,
  /** How long a request for a run may take before another replica takes over. */
  takeover: 60_000,
  /** Before each of three checks whether a run was started after all. */
  firstLook: 2_000,
  secondLook: 5_000,
  thirdLook: 10_000,
  /** How much earlier than its event a run's listed time may be. */
  clockTolerance: 600_000,
  /** The first pause when Azure DevOps is in trouble; each further one is twice as long, up to the longest. */
  firstPause: 1_000,
  longestPause: 60_000,
  /** Before retrying something with NATS; twice as long each time, up to 30 times as long. */
  natsRetry: 1_000,
  /** The minute of `maxPerMinute`, and of summaries. */
  minute: 60_000,
  /** Between two checks whether a route is paused. */
  routePause: 2_000,
  /** Between two checkpoints of a stream whose waits are judged. */
  checkpoint: 1_000,
  /** After how long a stream that nobody waits on is released. */
  idleStream: 10_000,
  /** Between two checks of a route's backlog. */
  routeState: 10_000,
  /** Between two renewals of a lease, and between two checks of someone else's. */
  leaseRenewal: 2_000,
  /** After how long without renewal a lease is up for grabs. */
  leaseStale: 6_000,
  /** Before retrying a feed that isn't there, may not be read or answers with nonsense. */
  feedRefused: 300_000,
  /** Between two checks whether a feed has been replaced by another of the same name. */
  feedLookup: 600_000,
  /** Limit for fetching an issuer's discovery document and keys. */
  keysAnswer: 5_000,
  /** How long a client waits for an issuer's keys: the server gives up soon after. */
  keysWait: 1_500,
  /** Between two checks whether keys have to be fetched. */
  keysLook: 5_000,
  /** The age at which keys are fetched again. */
  keysFresh: 600_000,
  /** Between two fetches for unknown keys. */
  keysUnknown: 60_000,
  /** Keys older than this aren't used, even if their issuer can't be reached. */
  keysKept: 86_400_000,
} as const;

/** {@link TIMING} as scaled by the bridge's tests. */
export type Timing = Readonly<Record<keyof typeof TIMING, number>>;
