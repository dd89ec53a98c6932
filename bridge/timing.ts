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
} as const;

/** {@link TIMING}, as the tests of the bridge scale it. */
export type Timing = Readonly<Record<keyof typeof TIMING, number>>;
