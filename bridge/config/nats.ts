import { HOLDS_SECRET, HOLDS_SEVERAL, parseServers, schemesProblem } from '../../shared/connection/address.ts';
import { checkClientCertificate, holdsCertificates, ownCertificateFirst } from '../../shared/connection/certificate.ts';
import {
  expiryProblem,
  parseCredentials,
  plainCredentials,
  type Credentials,
} from '../../shared/connection/credentials.ts';
import { parsePem } from '../../shared/connection/pem.ts';
import type {
  Authentication,
  ClientCertificate,
  ConnectionSettings,
  ConnectionWords,
  ServerAddress,
} from '../../shared/connection/settings.ts';
import type { Problem } from '../../shared/errors.ts';
import { knownSecrets } from '../../shared/text/masker.ts';
import { readPemFile } from './pemFile.ts';
import type { Reading } from './secrets.ts';
import type { Reread, Section } from './section.ts';

/** The ways to sign in, with the keys that belong to each. */
const WAYS: readonly (readonly string[])[] = [
  ['credentialsFile', 'credentialsEnv'],
  ['nkeySeedFile', 'nkeySeedEnv'],
  ['tokenFile', 'tokenEnv'],
  ['user', 'passwordFile', 'passwordEnv'],
  ['certificateFile', 'privateKeyFile', 'privateKeyEnv'],
];

const REMEDIES = new Map<Problem, string>([
  [HOLDS_SECRET, 'Use user and passwordFile instead.'],
  [HOLDS_SEVERAL, 'Write each as an item of the list.'],
]);

const WORDS: ConnectionWords = {
  program: 'the bridge',
  machine: 'this machine',
  settings: 'nats in the configuration',
  servers: 'nats.servers',
  tlsFirst: 'nats.tlsFirst',
  authority: 'the file of nats.caFile',
  clientCertificate: 'Add nats.certificateFile and nats.privateKeyFile.',
  again: '',
};

interface SignIn {
  authentication(): Authentication;
  clientCertificate(): ClientCertificate | undefined;
}

/**
 * Reads `nats`.
 *
 * @returns how to connect now
 */
export function readNats(section: Section): () => ConnectionSettings {
  const servers = readServers(section);
  const ca = readPemFile(section, 'caFile', (pem) => holdsCertificates(pem));
  const signIn = readSignIn(section);
  const jetStreamDomain = section.text('jetStreamDomain');
  const inboxPrefix = section.text('inboxPrefix');
  const tlsFirst = section.flag('tlsFirst');
  const words = { ...WORDS, signIn: signInRemedy(section) };
  return () => ({
    servers,
    authentication: signIn.authentication(),
    clientCertificate: signIn.clientCertificate(),
    caCertificate: ca,
    tlsFirst,
    inboxPrefix,
    jetStreamDomain,
    clientName: 'nats-event-bridge',
    words,
  });
}

/** What to check when the server rejects the bridge's sign-in. */
function signInRemedy(section: Section): string {
  const keys = WAYS.flat().filter((key) => section.has(key));
  if (keys.length === 0) return 'Add a way to sign in to nats, such as nats.credentialsFile.';
  return `Check ${keys.map((key) => `nats.${key}`).join(' and ')}, and that the server knows this user.`;
}

function readServers(section: Section): ServerAddress[] {
  const [first, ...others] = section.texts('servers');
  if (first === undefined) return [];
  const note = (index: number, problem: string, remedy: string) =>
    section.surroundings.note([...section.path, 'servers', index], { problem: `can't be used: it ${problem}`, remedy });
  const servers = parseServers([first, ...others]).flatMap((server, index) => {
    if ('problem' in server) {
      note(index, server.problem, server.remedy ?? REMEDIES.get(server) ?? '');
      return [];
    }
    // Only forms of Azure DevOps insist on these.
    const web = /^https?(?=:\/\/)/i.exec([first, ...others][index] ?? '')?.[0].toLowerCase();
    if (web !== undefined)
      note(index, `begins with ${web}://`, `Use ${server.tls ? 'tls' : 'nats'}:// for a server of NATS.`);
    return [server];
  });
  const mixed = schemesProblem(servers);
  if (mixed !== undefined) section.note('servers', `can't be used together: they ${mixed.problem}`, mixed.remedy);
  return servers;
}

function readSignIn(section: Section): SignIn {
  const given = WAYS.map((keys) => keys.filter((key) => section.has(key))).filter((keys) => keys.length > 0);
  const [way, ...more] = given;
  for (const [key = ''] of more)
    section.note(key, `is a second way to sign in, beside ${way?.[0] ?? ''}`, 'Keep exactly one.');
  const none = () => ({ kind: 'none' }) as const;
  const key = way?.[0] ?? '';
  if (key.startsWith('credentials'))
    return withCredentials(section.parsedSecret('credentials', credentialsAt(section)));
  if (key.startsWith('nkeySeed')) return withCredentials(section.parsedSecret('nkeySeed', credentialsAt(section)));
  if (key.startsWith('token')) {
    const token = section.secret('token');
    return signIn(() => (token === undefined ? none() : { kind: 'token', token: token.value }));
  }
  if (key === 'user' || key.startsWith('password')) {
    const username = section.text('user');
    const password = section.secret('password');
    if (username === undefined) section.note(key, 'has no user', 'Add nats.user.');
    if (!section.has('passwordFile') && !section.has('passwordEnv'))
      section.note('user', 'has no password', 'Add nats.passwordFile or nats.passwordEnv.');
    if (username === undefined || password === undefined) return signIn(none);
    return signIn(() => ({ kind: 'userPassword', username, password: password.value }));
  }
  if (key !== '') return { authentication: none, clientCertificate: readClientCertificate(section) };
  return signIn(none);
}

function signIn(authentication: () => Authentication): SignIn {
  return { authentication, clientCertificate: () => undefined };
}

function withCredentials(credentials: Reread<Credentials> | undefined): SignIn {
  return signIn(() => credentials?.value ?? { kind: 'none' });
}

function credentialsAt(section: Section) {
  return (text: string): Reading<Credentials> => {
    knownSecrets.add(plainCredentials(text), 'the credentials of nats');
    const credentials = parseCredentials(text);
    const problem = 'problem' in credentials ? credentials : expiryProblem(credentials, section.surroundings.now());
    if (problem !== undefined) return { ...problem, problem: `can't be used: the credentials ${problem.problem}` };
    return { value: credentials as Credentials };
  };
}

/** A certificate and its key change together: a new pair is used once its halves match. */
function readClientCertificate(section: Section): () => ClientCertificate | undefined {
  const asPem = (text: string): Reading<string> => {
    const pem = parsePem(text);
    return typeof pem === 'string' ? { value: pem } : { ...pem, problem: `can't be used: it ${pem.problem}` };
  };
  const certificate = section.publicFile('certificateFile', asPem);
  const privateKey = section.parsedSecret('privateKey', asPem);
  if (!section.has('certificateFile'))
    section.note('privateKeyFile', 'has no certificate', 'Add nats.certificateFile.');
  if (!section.has('privateKeyFile') && !section.has('privateKeyEnv'))
    section.note('certificateFile', 'has no private key', 'Add nats.privateKeyFile or nats.privateKeyEnv.');
  if (certificate === undefined || privateKey === undefined) return () => undefined;
  const now = () => ownCertificateFirst({ certificate: certificate.value, privateKey: privateKey.value });
  const { problems, expiresSoon } = checkClientCertificate(now(), section.surroundings.now());
  for (const { problem, remedy } of problems) section.note('certificateFile', `can't be used: its ${problem}`, remedy);
  if (expiresSoon !== undefined) section.warn('certificateFile', `expires on ${expiresSoon}`, 'Renew it.');
  let last = now();
  return () => {
    const next = now();
    if (checkClientCertificate(next, section.surroundings.now()).problems.length === 0) last = next;
    return last;
  };
}
