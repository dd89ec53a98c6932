import { HOLDS_SECRET, HOLDS_SEVERAL, parseServers, schemesProblem } from '../../shared/connection/address.ts';
import { checkClientCertificate, holdsCertificates, ownCertificateFirst } from '../../shared/connection/certificate.ts';
import { expiryProblem, parseCredentials } from '../../shared/connection/credentials.ts';
import { parsePem } from '../../shared/connection/pem.ts';
import type {
  Authentication,
  ClientCertificate,
  ConnectionSettings,
  ServerAddress,
} from '../../shared/connection/settings.ts';
import type { Problem } from '../../shared/errors.ts';
import { subjectProblem } from '../../shared/subject.ts';
import { quoted } from '../../shared/text/safeText.ts';
import type { Agent, ServiceConnection } from './agent.ts';
import { checkGuardrail, type Guardrail } from './guardrails.ts';
import { accessTokens } from './entra/accessTokens.ts';
import { readEntraApplication, type EntraApplication } from './entra/application.ts';
import { readHttpRoute } from './http.ts';
import { idTokens, readIdTokenRequest } from './oidc.ts';
import { maskSecret } from './secrets.ts';
import type { StepFields } from './stepFields.ts';

/**
 * Reads the service connection the input `natsConnection` names. `learnSecrets` comes before it.
 * Problems are noted in `fields`; subjects outside the guardrail are noted as `Denied`.
 */
export function readConnection(
  agent: Agent,
  fields: StepFields,
  guardrail: Guardrail,
  subjects: readonly string[],
): ConnectionSettings {
  const id = fields.required('natsConnection');
  const connection = id === '' ? undefined : agent.serviceConnection(id);
  const replacement = fields.secret(
    'credentialsVariable',
    'Link the variable group that holds it, or run the AzureKeyVault task before this step.',
    'Mark it as secret, or read it from Key Vault.',
  );
  if (connection === undefined) {
    const remedy = 'Check its name, and that the pipeline is permitted to use it.';
    if (id !== '') fields.problem('natsConnection: this step has no access to that service connection', remedy);
    return NO_CONNECTION;
  }
  checkGuardrail(connection, fields.problems, guardrail, subjects);
  explainMaskedName(agent, connection, subjects);
  return new ConnectionForm(agent, fields, id, connection, replacement).read();
}

const NO_CONNECTION: ConnectionSettings = {
  servers: [],
  authentication: { kind: 'none' },
  clientCertificate: undefined,
  caCertificate: undefined,
  tlsFirst: false,
  inboxPrefix: undefined,
  jetStreamDomain: undefined,
};

/** The agent masks the user name too, so that a subject it is part of, or permissions to paste, cannot be read. */
function explainMaskedName(agent: Agent, connection: ServiceConnection, subjects: readonly string[]): void {
  const username = connection.scheme === 'UsernamePassword' ? connection.parameter('username') : undefined;
  if (username !== undefined && subjects.some((subject) => subject.includes(username)))
    agent.info('In this log *** stands for the user name of the service connection, which the agent masks.');
}

/** What to do about an address, in the words of the form. */
const REMEDIES = new Map<Problem, string>([
  [HOLDS_SECRET, 'Put them into the fields of the authentication scheme instead.'],
  [HOLDS_SEVERAL, 'Put the others into its field servers.'],
]);

/** The form of a service connection. Each method reads a part of it, and notes what is wrong in the words of the form. */
class ConnectionForm {
  constructor(
    private readonly agent: Agent,
    private readonly fields: StepFields,
    private readonly id: string,
    private readonly connection: ServiceConnection,
    /** Stands in for the secret of the connection. */
    private readonly replacement: string | undefined,
  ) {}

  read(): ConnectionSettings {
    const servers = this.#readServers();
    return {
      servers,
      authentication: this.#readSignIn(servers),
      clientCertificate: this.connection.scheme === 'Certificate' ? this.#readClientCertificate() : undefined,
      caCertificate: this.#readCaCertificate(),
      tlsFirst: this.#readFlag('tlsFirst'),
      inboxPrefix: this.#readSubjectPart('inboxPrefix'),
      jetStreamDomain: this.#readSubjectPart('jetStreamDomain'),
      ...(this.replacement !== undefined && { secretPlace: 'the variable that credentialsVariable names' }),
    };
  }

  /** @param about what it belongs to, such as `natsConnection: its` */
  #note(about: string, { problem, remedy, code }: Problem): void {
    this.fields.problem(`${about} ${problem}`, remedy, code);
  }

  #noteField(name: string, problem: string, remedy = ''): void {
    this.#note(`natsConnection: the connection's field ${name}`, { problem, remedy });
  }

  #readServers(): ServerAddress[] {
    const others = (this.connection.data('servers') ?? '').split(/[\s,]+/).filter(Boolean);
    const servers = parseServers([this.connection.url.trim(), ...others]).flatMap((server, index) => {
      if (!('problem' in server)) return [server];
      const where = index === 0 ? "the connection's URL" : "an address in the connection's field servers";
      this.#note(`natsConnection: ${where}`, { remedy: REMEDIES.get(server) ?? '', ...server });
      return [];
    });
    const problem = schemesProblem(servers);
    if (problem !== undefined) this.#note('natsConnection: its servers', problem);
    return servers;
  }

  #readSignIn(servers: readonly ServerAddress[]): Authentication {
    const usesOidc = this.#readFlag('oidc');
    const application = readEntraApplication(
      (name) => this.connection.data(name),
      usesOidc,
      (name, problem, remedy) => this.#noteField(name, problem, remedy),
    );
    return usesOidc ? this.#readOidc(servers, application) : this.#readAuthentication();
  }

  #readAuthentication(): Authentication {
    const { scheme } = this.connection;
    switch (scheme) {
      case 'Token':
        return { kind: 'token', token: this.#secret('apitoken') };
      case 'UsernamePassword':
        return { kind: 'userPassword', username: this.#parameter('username'), password: this.#secret('password') };
      case 'None':
      case 'Certificate':
        return this.#readCredentials();
      default:
        this.fields.problem(
          `natsConnection: the authentication scheme ${quoted(scheme)} is unknown`,
          'Use a connection of type NATS.',
        );
        return { kind: 'none' };
    }
  }

  /** A file or Key Vault may have left a line break at the end, which no token or password has. */
  #secret(name: string): string {
    return (this.replacement ?? this.#parameter(name)).replace(/\r?\n$/, '');
  }

  #parameter(name: string): string {
    const value = this.connection.parameter(name);
    if (value === undefined) this.#noteField(name, 'is empty');
    return value ?? '';
  }

  /**
   * An ID token is the run's own identity: nothing else signs in beside it, and neither it nor the token Microsoft Entra issues
   * for it ever travels in clear text.
   */
  #readOidc(servers: readonly ServerAddress[], application: EntraApplication | undefined): Authentication {
    const { scheme } = this.connection;
    const needs = [
      servers.every((server) => server.tls) ? '' : 'every server to be tls://',
      scheme === 'None' ? '' : `the authentication scheme None instead of ${quoted(scheme)}`,
      this.connection.parameter('credentials') === undefined ? '' : 'its field credentials to be empty',
      this.fields.text('credentialsVariable') === undefined ? '' : 'the input credentialsVariable to be empty',
    ].filter(Boolean);
    if (needs.length > 0) {
      this.fields.problem(
        `natsConnection: with oidc the step signs in with the ID token of the run, which needs ${needs.join(', and ')}`,
        'Correct that, or clear "oidc" in the connection.',
      );
    }
    const request = readIdTokenRequest(this.agent, this.fields.problems, this.id);
    if (request === undefined) return { kind: 'none' };
    if (application === undefined) return { kind: 'oidc', idToken: idTokens(request, this.agent) };
    const route = readHttpRoute(this.agent, this.fields.problems, application.tokenUrl);
    return { kind: 'entra', accessToken: accessTokens(application, route, request, this.agent) };
  }

  #readCredentials(): Authentication {
    const text = this.replacement ?? this.connection.parameter('credentials');
    if (text === undefined) return { kind: 'none' };
    const credentials = parseCredentials(text);
    const problem = 'problem' in credentials ? credentials : expiryProblem(credentials, this.agent.now());
    if (problem !== undefined) {
      const isReplaced = this.replacement !== undefined;
      this.#note(isReplaced ? 'credentialsVariable: its value' : 'natsConnection: its credentials', problem);
    }
    return 'problem' in credentials ? { kind: 'none' } : credentials;
  }

  #readClientCertificate(): ClientCertificate | undefined {
    const [certificate, privateKey] = (['certificate', 'privateKey'] as const).map((name) => {
      const text = this.#parameter(name);
      return text === '' ? undefined : this.#readPem(name, text);
    });
    if (certificate === undefined || privateKey === undefined) return undefined;
    maskSecret(this.agent, privateKey);
    const pair = ownCertificateFirst({ certificate, privateKey });
    const { problems, expiresSoon } = checkClientCertificate(pair, this.agent.now());
    for (const problem of problems) this.#note('natsConnection: its', problem);
    if (expiresSoon !== undefined)
      this.agent.warning(`The client certificate of the service connection expires on ${expiresSoon}.`);
    return pair;
  }

  #readCaCertificate(): string | undefined {
    const text = this.connection.data('caCertificate');
    const pem = text === undefined ? undefined : this.#readPem('caCertificate', text);
    if (pem !== undefined && !holdsCertificates(pem))
      this.fields.problem('natsConnection: its caCertificate is not a certificate in PEM');
    return pem;
  }

  #readPem(name: string, text: string): string | undefined {
    const pem = parsePem(text);
    if (typeof pem === 'string') return pem;
    this.#note(`natsConnection: the connection's field ${name}`, pem);
    return undefined;
  }

  #readFlag(name: string): boolean {
    const text = this.connection.data(name)?.toLowerCase() ?? 'false';
    if (text !== 'true' && text !== 'false') this.#noteField(name, `is ${quoted(text)}, not true or false`);
    return text === 'true';
  }

  /** A literal subject or part of one. */
  #readSubjectPart(name: string): string | undefined {
    const text = this.connection.data(name)?.trim();
    if (text === undefined) return undefined;
    // The default inbox prefix is covered elsewhere, so it passes here.
    const problem = subjectProblem(text.startsWith('_INBOX') ? text.slice(1) : text, 'subject');
    if (problem !== undefined) this.#noteField(name, problem);
    return text;
  }
}
