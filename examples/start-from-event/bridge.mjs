#!/usr/bin/env node
/**
 * Starts a run of a pipeline, such as ../start-from-event.yml, for each event that a durable consumer delivers. An event is
 * acknowledged once Azure DevOps has queued its run, and delivered again until then. A crash in between starts a second run
 * for one event: make the pipeline so that this does no harm.
 *
 * Usage: node bridge.mjs, under a service manager that starts it again when it ends. The environment configures it:
 *   NATS_URL, NATS_CREDS   the server, nats://… or tls://…; a credentials file to sign in with (optional)
 *   STREAM, CONSUMER       a durable pull consumer with explicit acknowledgement, made for example by
 *                          nats consumer add CI start-shop --pull --ack explicit --deliver new --filter ci.shop.image-ready.v1 --defaults
 *   PIPELINE_URL           https://dev.azure.com/ORGANISATION/PROJECT/_apis/pipelines/ID
 *   TOKEN_FILE             holds a Microsoft Entra access token for Azure DevOps that may queue builds of the pipeline; it is
 *                          read for each run, so that whatever renews the token only has to write the file
 *   RETRY_SECONDS          pause before an event whose run was not queued is delivered again (default 30)
 */
import { readFileSync } from 'node:fs';
import { env } from 'node:process';
import { connect, credsAuthenticator } from 'nats';

/** Below the 30 seconds that a consumer waits for an acknowledgement unless it is told otherwise. */
const REQUEST_MS = 20_000;
const FETCH_MS = 30_000;

const url = setting('NATS_URL');
const { protocol } = new URL(url);
if (!/^(nats|tls):$/.test(protocol)) throw new Error(`NATS_URL begins with ${protocol}, not nats: or tls:.`);
const connection = await connect({
  name: 'start-from-event',
  servers: url,
  // The library ignores the scheme: without this, the server decides whether the link is encrypted.
  ...(protocol === 'tls:' && { tls: {} }),
  ...(env['NATS_CREDS'] && { authenticator: credsAuthenticator(readFileSync(env['NATS_CREDS'])) }),
  maxReconnectAttempts: -1,
});
const consumer = await connection.jetstream().consumers.get(setting('STREAM'), setting('CONSUMER'));
const [pipeline, tokenFile] = [setting('PIPELINE_URL'), setting('TOKEN_FILE')];
const retryMs = Number(setting('RETRY_SECONDS', '30')) * 1_000;

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());
/** @type {Promise<null>} */
const stopped = new Promise((resolve) => stop.signal.addEventListener('abort', () => resolve(null)));
log('ready', {});
while (!stop.signal.aborted) {
  const message = await Promise.race([consumer.next({ expires: FETCH_MS }), stopped]);
  if (message === null) continue;
  const { seq: sequence } = message;
  try {
    const run = await startRun(sequence);
    await message.ackAck();
    log('started', { sequence, run });
  } catch (error) {
    message.nak(retryMs);
    log('failed', { sequence, reason: error instanceof Error ? error.message : String(error) });
  }
}
await connection.drain();

/**
 * @param {number} sequence of the event in its stream
 * @returns {Promise<unknown>} the id of the run
 */
async function startRun(sequence) {
  const response = await fetch(`${pipeline}/runs?api-version=7.1`, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}`,
      'Content-Type': 'application/json',
    },
    body: JSON.stringify({ templateParameters: { afterSequence: String(sequence - 1) } }),
    redirect: 'manual',
    signal: AbortSignal.timeout(REQUEST_MS),
  });
  // A token that is not accepted may be answered with a redirect, or with 203 and a page to sign in on.
  if (response.status !== 200) throw new Error(`Azure DevOps answered with HTTP status ${response.status}`);
  const run = /** @type {{ id?: unknown }} */ (await response.json());
  return run.id;
}

/**
 * @param {string} name of a variable of the environment
 * @param {string} [otherwise]
 */
function setting(name, otherwise) {
  const value = env[name] || otherwise;
  if (!value) throw new Error(`The environment has no ${name}.`);
  return value;
}

/**
 * @param {string} event
 * @param {object} details
 */
function log(event, details) {
  console.log(JSON.stringify({ time: new Date().toISOString(), event, ...details }));
}
