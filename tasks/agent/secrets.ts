import type { Agent } from './agent.ts';
import { plainCredentials } from '../../shared/connection/credentials.ts';
import { formsOf, knownSecrets } from '../../shared/text/masker.ts';
import { quoted } from '../../shared/text/safeText.ts';

/**
 * Has the agent hide a secret in every form in which it may come back: whole, by line and by word (the agent itself
 * masks a multi-line value only as a whole), base64, URL-encoded and JSON-escaped. The step itself knows it from then on.
 * @param name what people call it, such as `the token of the job`
 */
export function maskSecret(agent: Pick<Agent, 'maskSecret'>, secret: string, name = 'a secret of this step'): void {
  knownSecrets.add(secret, name);
  for (const form of formsOf(secret)) if (!/[\r\n]/.test(form)) agent.maskSecret(form);
}

/** Parts of a token shorter than this aren't masked on their own. */
const SHORTEST_PART = 16;

/** Anything that looks like a JWT in a text. */
export const JWT = /[\w-]{16,}\.[\w-]{16,}\.[\w-]*/g;

/** As {@link maskSecret}, for a token, which may be a JWT: its parts are masked as well, since each can be decoded on its own. */
export function maskToken(agent: Pick<Agent, 'maskSecret'>, token: string): void {
  maskSecret(agent, token);
  for (const part of token.split('.')) if (part.length >= SHORTEST_PART) maskSecret(agent, part);
}

/** The token of the job: the agent gives every task the connection that holds it, and the variable where a pipeline passes it on. */
export function readJobToken(agent: Pick<Agent, 'serviceConnection' | 'variable'>): string | undefined {
  return (
    agent.serviceConnection('SYSTEMVSSCONNECTION')?.parameter('AccessToken') ?? agent.variable('System.AccessToken')
  );
}

/**
 * Learns all secrets before anything is checked or logged: the run's secret variables, the job's token, and
 * those that the step itself uses, which are masked as well: the secrets of the service connection and of variables that
 * inputs name.
 */
export function learnSecrets(agent: Agent): void {
  for (const { name, value } of agent.secretVariables()) knownSecrets.add(value, `the secret variable ${quoted(name)}`);
  const jobToken = readJobToken(agent);
  if (jobToken !== undefined) knownSecrets.add(jobToken, 'the token of the job');
  const id = agent.input('natsConnection');
  const connection = id === undefined ? undefined : agent.serviceConnection(id);
  for (const name of ['credentials', 'apitoken', 'password', 'privateKey', 'certificate']) {
    const secret = connection?.parameter(name);
    if (secret === undefined) continue;
    maskSecret(agent, secret, `the ${name} of the service connection`);
    if (name === 'credentials')
      maskSecret(agent, plainCredentials(secret), 'the credentials of the service connection');
  }
  for (const input of ['credentialsVariable', 'signingKeyVariable']) {
    const name = agent.input(input);
    const secret = name === undefined ? undefined : agent.variable(name);
    if (secret === undefined) continue;
    maskSecret(agent, secret);
    maskSecret(agent, plainCredentials(secret));
  }
}
