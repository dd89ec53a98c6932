import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'nats';
import type { ConnectionSettings } from '../../../shared/connection/settings.ts';
import { openNatsBus } from '../../../shared/nats/natsBus.ts';
import { createAuthority, saveCertificate, type Authority } from '../../support/nats/certificates.ts';
import { oidcAgent, readSettings } from '../../support/agent/oidcJob.ts';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { tokenConfig } from '../../support/nats/natsAccounts.ts';
import { startNatsServer, type NatsServer, type NatsServerTls } from '../../support/nats/natsServer.ts';
import { openBus, Step } from '../../support/nats/openBus.ts';
import { idToken, TokenEndpoint } from '../../support/agent/tokenEndpoint.ts';

/** An endpoint that answers with the tokens it is given, the last one again and again. */
async function endpointWith(...tokens: readonly string[]): Promise<TokenEndpoint> {
  const endpoint = await TokenEndpoint.start();
  endpoint.answer = (number) => ({ body: JSON.stringify({ oidcToken: tokens[number - 1] ?? tokens.at(-1) }) });
  return endpoint;
}

describe('a step whose connection asks for OIDC', { concurrency: 2 }, () => {
  let authority: Authority;
  let tls: NatsServerTls;
  before(async () => {
    authority = await createAuthority();
    tls = saveCertificate(temporaryFolder('oidc-'), 'server', await authority.server());
  });

  function serverWith(token: string, more = ''): Promise<NatsServer> {
    return startNatsServer({ tls, config: `${tokenConfig(token)}\n${more}` });
  }

  /** What a step reads of its connection. */
  function settingsOf(server: NatsServer, endpoint: TokenEndpoint): ConnectionSettings {
    const url = server.url.replace('nats:', 'tls:');
    const connection = { url, data: { oidc: 'true', caCertificate: authority.cert } };
    return readSettings(oidcAgent({ requestUri: endpoint.uri(), connection }));
  }

  /** Publishes as somebody else does. */
  async function publish(server: NatsServer, token: string, payload: string): Promise<void> {
    const client = await connect({ servers: server.url, token, tls: { ca: authority.cert } });
    client.publish('ci.built', payload);
    await client.flush();
    await client.close();
  }

  test('signs in with the ID token of the run', async () => {
    const token = idToken(300_000);
    await using endpoint = await endpointWith(token);
    await using server = await serverWith(token);
    await using step = await openBus([], settingsOf(server, endpoint));
    await using reading = await step.subscribe(['ci.>']);
    await publish(server, token, 'hello');
    await reading.seen.count(1);
    assert.equal(endpoint.requests.length, 1);
    assert.ok(!step.step.lines.join('\n').includes(token.split('.')[2]!));
  });

  test('signs in with a newer ID token when the server no longer accepts the first one', async () => {
    const [first, second] = [idToken(300_000), idToken(300_000)];
    await using endpoint = await endpointWith(first, second);
    await using server = await serverWith(second);
    await server.kill();
    const opening = openBus([], settingsOf(server, endpoint));
    await endpoint.asked(1);
    await delay(1_050); // a token this old may be refused for its age
    await server.restart();
    await using step = await opening;
    await using reading = await step.subscribe(['ci.>']);
    await publish(server, second, 'hello');
    await reading.seen.count(1);
    assert.equal(endpoint.requests.length, 2);
  });

  test('keeps waiting when the server starts to accept other tokens', async () => {
    const [first, second] = [idToken(300_000), idToken(300_000)];
    await using endpoint = await endpointWith(first, second);
    await using server = await serverWith(first);
    await using step = await openBus([], settingsOf(server, endpoint));
    await using reading = await step.subscribe(['ci.>']);
    await publish(server, first, 'before');
    await reading.seen.count(1);

    await server.kill();
    await reading.seen.until(() => reading.seen.downs.length === 1, 'a broken link');
    await server.restart();
    await server.reload(tokenConfig(second));
    await reading.seen.until(() => reading.seen.ups.length > 0, 'a link that is up again');
    // The link that the reload ends, where the first token was still good, is the last one to be made with it.
    await reading.seen.until(() => endpoint.requests.length === 2, 'a second token');
    await reading.seen.until(() => reading.seen.ups.length === reading.seen.downs.length, 'a link that is up');
    await publish(server, second, 'after');
    await reading.seen.count(2);
    assert.deepEqual(reading.seen.payloads, ['before', 'after']);
    assert.deepEqual(reading.seen.failures, []);
  });

  test('keeps waiting when Azure DevOps is down during a reconnect', async () => {
    const token = idToken(300_000);
    const short = idToken(1_500);
    await using endpoint = await endpointWith(short);
    await using server = await serverWith(short);
    await using step = await openBus([], settingsOf(server, endpoint));
    await using reading = await step.subscribe(['ci.>']);
    let asked = 0;
    // Four faults are more than one request for a token retries.
    endpoint.answer = () => (++asked <= 4 ? { status: 503 } : { body: JSON.stringify({ oidcToken: token }) });
    await server.reload(tokenConfig(token));
    await reading.seen.until(() => reading.seen.ups.length === 1, 'a link that is up again', 20_000);
    await publish(server, token, 'after');
    await reading.seen.count(1);
    assert.equal(asked, 5);
  });

  test('says where to look when the server refuses its ID token', async () => {
    await using endpoint = await endpointWith(idToken(300_000));
    await using server = await serverWith('another one');
    const step = new Step();
    await assert.rejects(openNatsBus(settingsOf(server, endpoint), step.clock, step.log), {
      code: 'Denied',
      message: /rejected the credentials .* See the log of the server's auth callout service/,
    });
    step.cancel();
  });

  test('fails at once with the reason when there is no ID token', async () => {
    await using endpoint = await TokenEndpoint.start();
    endpoint.answer = () => ({ status: 403 });
    await using server = await serverWith('any');
    const step = new Step();
    await assert.rejects(openNatsBus(settingsOf(server, endpoint), step.clock, step.log), {
      code: 'Denied',
      message: /Azure DevOps gave this step no ID token: 127\.0\.0\.1:\d+ answered with HTTP status 403/,
    });
    step.cancel();
  });

  test('says what it was waiting for when the deadline passes before there is an ID token', async () => {
    await using endpoint = await TokenEndpoint.start();
    endpoint.answer = () => new Promise(() => {});
    await using server = await serverWith('any');
    const step = new Step(1_500);
    await assert.rejects(openNatsBus(settingsOf(server, endpoint), step.clock, step.log), {
      code: 'Unreachable',
      message: /Cannot connect to NATS: The ID token that this step signs in with did not come in time\. Give the step/,
    });
    step.cancel();
  });

  describe("and whose ID token is longer than the server's control line", () => {
    const long = idToken(300_000, { groups: 'x'.repeat(4_000) });

    test('says so before it connects, and when the server falls silent', async () => {
      await using endpoint = await endpointWith(long);
      await using server = await serverWith(long);
      const step = new Step(3_000);
      await assert.rejects(openNatsBus(settingsOf(server, endpoint), step.clock, step.log), {
        code: 'TooLarge',
        message: /max_control_line is too short for what this step signs in with\. Set max_control_line: 32768/,
      });
      const warnings = step.lines.filter((line) => line.startsWith('warning '));
      assert.equal(warnings.length, 1);
      assert.match(warnings[0]!, /ID token of this run has 5\d{3} characters, .*max_control_line: 32768/);
      step.cancel();
    });

    test('signs in if the limit is high enough', async () => {
      await using endpoint = await endpointWith(long);
      await using server = await serverWith(long, 'max_control_line: 32768');
      await using step = await openBus([], settingsOf(server, endpoint));
      assert.equal(step.step.lines.filter((line) => line.startsWith('warning ')).length, 1);
    });

    test('signs in without a warning if it just fits', async () => {
      const token = idToken(300_000, { groups: 'x'.repeat(2_400) });
      await using endpoint = await endpointWith(token);
      await using server = await serverWith(token);
      await using step = await openBus([], settingsOf(server, endpoint));
      assert.deepEqual(
        step.step.lines.filter((line) => line.startsWith('warning ')),
        [],
      );
    });
  });
});
