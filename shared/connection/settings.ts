import type { TaskError } from '../errors.ts';
import type { Credentials } from './credentials.ts';

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
  /** True for `tls://`: never without verified TLS. False for `nats://`: verified TLS when the server offers it. */
  readonly tls: boolean;
  /** The name its certificate must hold if that isn't `host`: a cluster announces its members by address. */
  readonly tlsName?: string;
}

/** Supplies tokens that live for minutes only: each sign-in asks for one. */
export interface TokenSource {
  /**
   * A token that has not expired.
   *
   * @throws TaskError `Unreachable` when asking again later may help; otherwise `Denied`, `TlsFailure` or `Unsupported`
   */
  current(signal: AbortSignal): Promise<string>;
  /** A token newer than the one a server refused; undefined when there is none. Throws as {@link current} does. */
  newerThan(refused: string, signal: AbortSignal): Promise<string | undefined>;
  /**
   * Why {@link current} hasn't resolved yet, for a caller that ran out of time; undefined when no request is under way
   * that a caller would wait for.
   */
  awaited(): TaskError | undefined;
  /** Stops background work such as renewal. */
  close(): void;
}

/** How to sign in. */
export type Authentication =
  | { readonly kind: 'none' }
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'userPassword'; readonly username: string; readonly password: string }
  | { readonly kind: 'oidc'; readonly idToken: TokenSource }
  /** With what Microsoft Entra gives for the ID token. */
  | { readonly kind: 'entra'; readonly accessToken: TokenSource }
  | Credentials;

/** PEM texts for mutual TLS. */
export interface ClientCertificate {
  readonly certificate: string;
  readonly privateKey: string;
}

/** How to connect, read and checked. It holds secrets: nothing prints it. */
export interface ConnectionSettings {
  readonly servers: readonly ServerAddress[];
  readonly authentication: Authentication;
  readonly clientCertificate: ClientCertificate | undefined;
  /** PEM text of the authority that signed the servers' certificates; undefined: the ones Node trusts. */
  readonly caCertificate: string | undefined;
  /** TLS before the server's INFO, for servers with `handshake_first`. */
  readonly tlsFirst: boolean;
  readonly inboxPrefix: string | undefined;
  readonly jetStreamDomain: string | undefined;
  /** Where the secret was taken from, for what a refused sign-in advises; absent: the service connection. */
  readonly secretPlace?: string;
  /** What the server's list of connections calls this one; absent: `nats-event-tasks`. */
  readonly clientName?: string;
  /** How problems with the connection speak of its settings; absent: as a pipeline's step does. */
  readonly words?: ConnectionWords;
}

/** What people call the settings of a connection, and the program that has them. */
export interface ConnectionWords {
  /** "this step" */
  readonly program: string;
  /** Where the program runs: "this agent" */
  readonly machine: string;
  /** All of the settings: "the service connection" */
  readonly settings: string;
  /** Where the addresses stand, after "in". */
  readonly servers: string;
  /** Where TLS first is set, after "set" or "clear". */
  readonly tlsFirst: string;
  /** Where the authority's PEM text goes, after "into". */
  readonly authority: string;
  /** What to do where the server wants a client certificate: a sentence. */
  readonly clientCertificate: string;
  /** What else to do once the server can be reached: the rest of a sentence. */
  readonly again: string;
  /** What to do where the server refuses the sign-in: a sentence; absent: one about the kind of sign-in. */
  readonly signIn?: string;
}
