#!/usr/bin/env node
/**
 * Answers the auth callout of NATS servers: a client whose OIDC token the policy accepts gets the policy's permissions
 * until the token expires. Everybody else is refused.
 * Usage: node responder.mjs --config responder.json
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { errors } from 'jose';
import { connect, credsAuthenticator, Empty, nkeyAuthenticator } from 'nats';
import { decode, encodeAuthorizationResponse, encodeUser } from 'nats-jwt';
import { fromCurveSeed, fromSeed } from 'nkeys.js';
import { grantFor, readPolicy, Refusal } from './policy.mjs';

/**
 * @typedef {{ id: string, key: string }} AccountKey public key of an account, and the file of a seed it signs with
 * @typedef {{ servers: string[], ca?: string, credentials: string, issuer: AccountKey, xkey?: string, policy: string,
 *   accounts?: Record<string, AccountKey> }} Config
 */

const { values: given } = parseArgs({ options: { config: { type: 'string', default: 'responder.json' } } });
const folder = path.dirname(path.resolve(given.config));
const config = /** @type {Config} */ (JSON.parse(readFileSync(given.config, 'utf8')));

const callout = signingAccount(config.issuer);
/** In operator mode each account issues its own users; in config mode an account is just a name. */
const accounts =
  config.accounts && new Map(Object.entries(config.accounts).map(([name, account]) => [name, signingAccount(account)]));
const xkey = config.xkey === undefined ? undefined : fromCurveSeed(seed(config.xkey));
const policy = readPolicy(path.resolve(folder, config.policy));
// Fetched now, so that the first client does not have to wait for them. A failure is not final.
for (const { keys } of policy.values()) {
  await keys.reload().catch((/** @type {unknown} */ error) => log('noKeys', { reason: reasonOf(error) }));
}

const connection = await connect({
  name: 'auth-callout',
  servers: config.servers,
  authenticator: config.credentials.endsWith('.creds')
    ? credsAuthenticator(bytes(fileText(config.credentials)))
    : nkeyAuthenticator(seed(config.credentials)),
  ...(config.servers.some((server) => server.startsWith('tls:')) && {
    tls: config.ca === undefined ? {} : { ca: fileText(config.ca) },
  }),
  maxReconnectAttempts: -1,
  ignoreAuthErrorAbort: true,
});
// Of several responders in one queue group, one gets the request.
connection.subscribe('$SYS.REQ.USER.AUTH', {
  queue: 'auth-callout',
  callback: (error, message) => {
    if (!error) return void answer(message);
    log('error', { reason: error.message }); // it may not subscribe: nothing would ever be asked
    process.exitCode = 1;
    void connection.close();
  },
});
await connection.flush();
log('ready', { server: connection.getServer() });

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void connection.drain());
void (async () => {
  for await (const { type, data } of connection.status()) {
    if (['disconnect', 'reconnect', 'error'].includes(type)) log(type, { reason: data });
  }
})();
await connection.closed();
log('stopped');

/**
 * Answers one request. One that cannot be read gets an empty answer, which the server takes as a no.
 * @param {import('nats').Msg} message
 */
async function answer(message) {
  /** @type {Uint8Array} */
  let response = Empty;
  try {
    response = await respond(readRequest(message));
  } catch (error) {
    log('malformed', { reason: reasonOf(error) });
  }
  if (!connection.isClosed()) message.respond(response);
}

/**
 * Opens a server's request and checks that it is one: signed by that server, for this purpose, and recent.
 * @param {import('nats').Msg} message
 */
function readRequest({ data, headers }) {
  const sealedBy = headers?.get('Nats-Server-Xkey') ?? '';
  if (xkey && sealedBy === '') throw new Refusal('the request is not sealed, but this responder has an xkey');
  if (!xkey && sealedBy !== '') throw new Refusal('the request is sealed, but this responder has no xkey');
  /** @type {import('nats-jwt').ClaimsData<Partial<import('nats-jwt').AuthorizationRequest>>} */
  let claims;
  try {
    claims = decode(new TextDecoder().decode((xkey ? xkey.open(data, sealedBy) : data) ?? Empty));
  } catch {
    // The library's own message may quote the request, and with it the client's token.
    throw new Refusal('the request is not a JWT with a valid signature, or it is sealed for another xkey');
  }
  const { type, server_id: server, user_nkey: user, client_info: client, connect_opts: shown } = claims.nats;
  if (claims.aud !== 'nats-authorization-request' || type !== 'authorization_request' || !user) {
    throw new Refusal('the request is not an authorization request');
  }
  if (server?.id !== claims.iss || !claims.iss.startsWith('N') || (xkey && server.xkey !== sealedBy)) {
    throw new Refusal('the request is not signed by the server it names');
  }
  if (!(Number(claims.exp) > Date.now() / 1000)) {
    throw new Refusal('the request has expired: compare the clocks of this machine and the server');
  }
  return { server, user, client, token: shown?.auth_token };
}

/**
 * The response to a request: a user for the client, or a no without a reason. The reason is in this log only.
 * @param {ReturnType<typeof readRequest>} request
 */
async function respond({ server, user, client, token }) {
  /** @type {Record<string, unknown>} */
  const entry = { client: `${client?.host ?? '?'} #${client?.id ?? '?'}`, server: server.name };
  let verdict;
  try {
    const { sub, exp, permissions, ...granted } = await grantFor(policy, token, (claimed) =>
      Object.assign(entry, claimed),
    );
    Object.assign(entry, granted, { until: new Date(exp * 1000).toISOString() });
    const target = accounts ? accounts.get(granted.account) : callout;
    if (!target) throw new Refusal('"accounts" of the configuration does not have this account');
    const options = { exp, ...target.signing, ...(!accounts && { aud: granted.account }) };
    verdict = { jwt: await encodeUser(sub, user, target.account, permissions, options) };
    log('allowed', entry);
  } catch (error) {
    verdict = { error: 'refused' };
    log('refused', { ...entry, reason: reasonOf(error) });
  }
  const response = bytes(
    await encodeAuthorizationResponse(user, server.id, callout.account, verdict, { ...callout.signing }),
  );
  return xkey ? xkey.seal(response, server.xkey ?? '') : response;
}

/**
 * An account that signs with its own key or, as is usual in operator mode, with one of its signing keys.
 * @param {AccountKey} account
 */
function signingAccount({ id, key }) {
  const pair = fromSeed(seed(key));
  return pair.getPublicKey() === id ? { account: pair, signing: {} } : { account: id, signing: { signer: pair } };
}

/** @param {unknown} error */
function reasonOf(error) {
  if (error instanceof Refusal || error instanceof errors.JOSEError) return error.message;
  // Another message may quote what the client sent.
  return `internal: ${error instanceof Error ? error.name : typeof error}`;
}

/**
 * Writes a line of JSON. Control and direction characters in foreign text are escaped, long text is cut.
 * @param {string} event
 * @param {Record<string, unknown>} details
 */
function log(event, details = {}) {
  const short = Object.entries(details).map(([name, value]) => [name, String(value).slice(0, 300)]);
  const line = JSON.stringify({ time: new Date().toISOString(), event, ...Object.fromEntries(short) });
  console.log(
    line.replace(/[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, (character) => {
      return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
    }),
  );
}

/** @param {string} file beside the configuration, or absolute */
function fileText(file) {
  return readFileSync(path.resolve(folder, file), 'utf8');
}

/** @param {string} file */
function seed(file) {
  return bytes(fileText(file).trim());
}

/** @param {string} string */
function bytes(string) {
  return new TextEncoder().encode(string);
}
