import type { ConnectionSettings } from '../shared/connection/settings.ts';
import type { NamedExpression, WaitCriteria } from '../shared/waiting/criteria.ts';
import type { Signer } from './callout/answer.ts';
import type { CurveKey } from './callout/keys.ts';
import type { PolicyFile } from './callout/policy.ts';
import type { Timing } from './timing.ts';

/** A secret from a file or an environment variable; a file is read again when it changes. */
export interface Secret {
  /** Where it comes from, as people find it: `hooks.passwordFiles[0] (/run/secrets/hook-1)`. */
  readonly label: string;
  /** The newest value, without a trailing line break. */
  readonly value: string;
}

/** What the configuration says, checked, with every default filled in. */
export interface BridgeSettings {
  /** Prefix of this bridge's streams, buckets and durables; empty for none. */
  readonly instance: string;
  /** The current connection settings: secrets are read at each call. */
  nats(): ConnectionSettings;
  readonly azureDevOps: AzureDevOpsSettings;
  readonly http: HttpSettings;
  readonly streams: StreamSettings;
  /** The NKey seed that signs what the bridge publishes. */
  readonly signingKey: Secret | undefined;
  /** Absolute paths of JSON Schemas, by the names that refer to them. */
  readonly contracts: Readonly<Record<string, string>>;
  readonly hooks: HooksSettings | undefined;
  /** Routes from events to pipelines; none: off. */
  readonly runs: readonly RouteSettings[];
  /** The callout's policy, to which `publishers` are held; undefined: they aren't. */
  readonly publisherPolicy: PolicyFile | undefined;
  readonly waits: WaitsSettings | undefined;
  /** The responder of NATS' auth callout, which is alone in its process; undefined: off. */
  readonly callout: CalloutSettings | undefined;
  readonly timing: Timing;
}

export interface AzureDevOpsSettings {
  /** With closing slash. */
  readonly organization: string;
  /** The name in that URL. */
  readonly organizationName: string;
  readonly identity: IdentitySettings;
  /** Empty: none. */
  readonly proxy: string;
  /** PEM text of the authority that signed the certificates; undefined: the ones Node trusts. */
  readonly ca: string | undefined;
}

/** How requests get out. */
export type Connection = Pick<AzureDevOpsSettings, 'proxy' | 'ca'>;

/** How the bridge signs in to Azure DevOps. */
export type IdentitySettings =
  | { readonly kind: 'pat'; readonly pat: Secret }
  | {
      readonly kind: 'clientSecret';
      readonly tenantId: string;
      readonly clientId: string;
      readonly clientSecret: Secret;
      readonly authorityHost: string;
    }
  | {
      readonly kind: 'workloadIdentity';
      readonly tenantId: string;
      readonly clientId: string;
      readonly tokenFile: string;
      readonly authorityHost: string;
    }
  | { readonly kind: 'managedIdentity'; readonly clientId: string | undefined };

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

export interface HttpSettings {
  readonly listen: HostAndPort;
  readonly admin: HostAndPort;
  readonly publicUrl: string | undefined;
  /** Files of PEM texts, read again when they change; undefined: no TLS. */
  readonly tls: { readonly certificateFile: string; readonly privateKeyFile: string } | undefined;
}

export interface CalloutSettings {
  /** Signs the answers: the callout's account with its current key. */
  accountKey(): Signer;
  /** The current key that requests are sealed for. */
  xkey(): CurveKey | undefined;
  readonly isSealed: boolean;
  /** Operator mode: what signs the users of each account, by the account's name; undefined: configuration mode. */
  readonly accounts: ReadonlyMap<string, () => Signer> | undefined;
  readonly policy: PolicyFile;
  readonly maxSessionMs: number;
  /** How to reach issuers. */
  readonly connection: Pick<AzureDevOpsSettings, 'proxy' | 'ca'>;
}

export interface StreamSettings {
  readonly replicas: number;
  /** How long each stream keeps messages, in milliseconds, by its name without the instance. */
  readonly maxAgeMs: Readonly<Record<'AZDO' | 'BRIDGE_AUDIT' | 'BRIDGE_DEAD', number>>;
}

export interface HooksSettings {
  readonly stream: string;
  readonly subjectPrefix: string;
  readonly user: string;
  /** Any of them is accepted; the first is the newest. */
  readonly passwords: readonly Secret[];
  readonly sharedSecret: boolean;
  readonly silenceAlarmMs: number;
  /** The identity that manages the subscriptions; undefined: that of `azureDevOps`. */
  readonly identity: IdentitySettings | undefined;
  readonly events: readonly HookEventSettings[];
  readonly feeds: readonly FeedSettings[];
}

/** A feed of Azure Artifacts whose changes become events. */
export interface FeedSettings {
  /** Name or ID; empty for a feed of the organization. */
  readonly project: string;
  /** Name or ID. */
  readonly feed: string;
  /** Between two looks, in milliseconds. */
  readonly everyMs: number;
}

/** One kind of event that may come. */
export interface HookEventSettings {
  /** Family and event, such as `build.completed` or `build.complete`, as the configuration's schema lists them. */
  readonly event: string;
  /** A project's name or id, or `*`. */
  readonly project: string;
  readonly inputs: Readonly<Record<string, string>>;
}

/** A route: which events start which pipeline. */
export interface RouteSettings {
  readonly name: string;
  readonly mode: 'on' | 'preview' | 'off';
  /** Patterns, none covered by another. */
  readonly subjects: readonly string[];
  readonly stream: string;
  /** One of the names in `contracts`. */
  readonly contract: string | undefined;
  /** What a wait would check, too. */
  readonly criteria: Pick<WaitCriteria, 'match' | 'correlationId' | 'trustedKeys'> & { readonly maxEventAgeMs: number };
  /** Whose events may start it; empty: anyone's. */
  readonly publishers: readonly { readonly project: string; /** `*`: any. */ readonly pipeline: string }[];
  readonly pipeline: PipelineSettings;
  /** All but `natsEventId`, which the bridge fills in itself. */
  readonly parameters: readonly ParameterSettings[];
  readonly eventId: EventIdSettings;
  /** Per replica. */
  readonly concurrency: number;
  /** Per replica. */
  readonly maxPerMinute: number;
  readonly pauseAfter: number;
  readonly maxDeliver: number;
  /** Where the durable consumer begins: the next event, the first one, or a time in milliseconds since the epoch. */
  readonly startFrom: 'new' | 'all' | number;
  readonly allowHooks: boolean;
}

export interface PipelineSettings {
  /** Name or ID. */
  readonly project: string;
  readonly id: number;
  /** Full name; undefined: the pipeline's default branch. */
  readonly branch: string | undefined;
}

/** The parameter `natsEventId`. */
export interface EventIdSettings {
  /** Whether the configuration says that the pipeline has it. */
  readonly isMapped: boolean;
  /** The pattern that the event's id has to match. */
  readonly pattern: RegExp;
}

/** A parameter of a pipeline, and where its value comes from. */
export interface ParameterSettings {
  readonly name: string;
  readonly expression: NamedExpression;
  /** The pattern that the value has to match, anchored by its author. */
  readonly pattern: RegExp;
}

export interface WaitsSettings {
  /** Each with closing slash. */
  readonly organizations: readonly string[];
  /** Any of them is accepted. */
  readonly tokens: readonly WaitToken[];
  /** The first one seals, any of them opens. */
  readonly sealingKeys: readonly SealingKeySecret[];
  /** Issuers of ID tokens, as tokens name them. */
  readonly issuers: readonly string[];
  readonly rules: readonly WaitRule[];
  readonly maxWaitMs: number;
}

/** A bearer token of service connections. */
export interface WaitToken extends Secret {
  /** The name that rules know it by. */
  readonly name: string;
}

export interface SealingKeySecret {
  readonly label: string;
  /** The newest 32 bytes. */
  readonly value: Uint8Array;
}

/** Who may wait on what. */
export interface WaitRule {
  /** Names or IDs; `*`: all. */
  readonly projects: readonly string[];
  /** Names or IDs; `*`: all. */
  readonly pipelines: readonly string[];
  readonly subjects: readonly string[];
  /** Names of tokens; empty: any. */
  readonly tokens: readonly string[];
  readonly proof: 'plan' | 'job';
  readonly maxOpen: number;
}
