import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { AckPolicy, connect, DeliverPolicy } from 'nats';
import { createAuthority, saveCertificate } from '../../support/nats/certificates.ts';
import {
  assertRunSucceeded,
  EXAMPLES,
  runExample,
  sharedExamplesServer,
  stepOf,
} from '../../support/agent/exampleRun.ts';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { startNatsServer } from '../../support/nats/natsServer.ts';
import { natsHeaders } from '../../support/agent/scenario.ts';
import { cloudEvent } from '../../support/event.ts';
import { TokenEndpoint, type TokenAnswer } from '../../support/agent/tokenEndpoint.ts';

const SUBJECT = 'ci.shop.image-ready.v1';
const BRIDGE = path.join(EXAMPLES, 'start-from-event/bridge.mjs');
const UNTIL_MS = 10_000;

/** A process that runs the bridge of the example, with what it has logged. */
class Bridge implements AsyncDisposable {
  readonly #child;
  readonly #lines: AsyncIterator<string>;

  constructor(env: Readonly<Record<string, string>>) {
    this.#child = spawn(process.execPath, [BRIDGE], {
      env: { PATH: process.env['PATH'], ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 60_000,
    });
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  /** The next thing it logs, without the time. */
  async entry(): Promise<Record<string, unknown>> {
    const entry = JSON.parse((await this.#lines.next()).value);
    delete entry.time;
    return entry;
  }

  /** Ends it as a service manager does. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#child, 'close', { signal: AbortSignal.timeout(UNTIL_MS) });
    this.#child.kill('SIGTERM');
    assert.deepEqual(await closed, [0, null]);
  }
}

/** The environment of a bridge that starts runs of nothing. */
function settings(url: string): Record<string, string> {
  return { NATS_URL: url, STREAM: 'CI', CONSUMER: 'tls', PIPELINE_URL: 'http://127.0.0.1:9', TOKEN_FILE: 'none' };
}

/** How a bridge that ends by itself ended. */
async function endOf(
  env: Readonly<Record<string, string>>,
): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [BRIDGE], { env: { PATH: process.env['PATH'], ...env }, timeout: UNTIL_MS });
  const closed = once(child, 'close');
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = await closed;
  return { code, stdout, stderr };
}

describe('The example', { concurrency: 2 }, () => {
  const scene = sharedExamplesServer();

  it('start-from-event.yml: an event starts a run, which reads it; only then is it acknowledged', async () => {
    await scene.manager.consumers.add('CI', {
      durable_name: 'start-shop',
      filter_subject: SUBJECT,
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.New,
    });
    const digest = `sha256:${'7'.repeat(64)}`;
    const { seq } = await scene.client
      .jetstream()
      .publish(SUBJECT, JSON.stringify({ image: 'shop/web:7', digest, region: 'eu' }), {
        headers: natsHeaders(cloudEvent({ id: 'image-7' })),
      });

    // Plays the route of Azure DevOps that starts runs.
    await using service = await TokenEndpoint.start();
    let queue: (answer: TokenAnswer) => void = () => {};
    const queued = new Promise<TokenAnswer>((resolve) => (queue = resolve));
    service.answer = (number) => [{ status: 503 }, { status: 203, body: '<html>Sign in</html>' }][number - 1] ?? queued;
    const tokenFile = path.join(temporaryFolder('token-'), 'token');
    writeFileSync(tokenFile, 'entra-token\n');
    await using bridge = new Bridge({
      NATS_URL: scene.server.url,
      STREAM: 'CI',
      CONSUMER: 'start-shop',
      PIPELINE_URL: `http://127.0.0.1:${service.port}/contoso/Orders/_apis/pipelines/42`,
      TOKEN_FILE: tokenFile,
      RETRY_SECONDS: '0.1',
    });
    assert.deepEqual(await bridge.entry(), { event: 'ready' });
    for (const status of [503, 203]) {
      const reason = `Azure DevOps answered with HTTP status ${status}`;
      assert.deepEqual(await bridge.entry(), { event: 'failed', sequence: seq, reason });
    }
    await service.asked(3);
    const pending = async (): Promise<number> => {
      const { num_ack_pending, num_pending } = await scene.manager.consumers.info('CI', 'start-shop');
      return num_ack_pending + num_pending;
    };
    assert.equal(await pending(), 1);
    queue({ body: JSON.stringify({ id: 815 }) });
    assert.deepEqual(await bridge.entry(), { event: 'started', sequence: seq, run: 815 });
    assert.equal(await pending(), 0);

    const { method, url, headers, body } = service.requests[2]!;
    assert.equal(`${method} ${url}`, 'POST /contoso/Orders/_apis/pipelines/42/runs?api-version=7.1');
    assert.equal(headers.authorization, 'Bearer entra-token');
    assert.equal(headers['content-type'], 'application/json');
    const { templateParameters, ...others } = JSON.parse(body);
    assert.deepEqual(others, {});
    const pipeline = await runExample('start-from-event.yml', scene.server.url, '101', {
      parameters: templateParameters,
    });
    assertRunSucceeded(pipeline);
    assert.ok(stepOf(pipeline, 'Deploy').logText.includes(`\nDeploying shop/web:7 at ${digest}\n`));
  });

  it('start-from-event.yml: its bridge never speaks to a tls:// server in clear text, and knows no other schemes', async () => {
    const plain = createServer((socket) => {
      socket.on('error', () => {}).on('data', (bytes) => said.push(bytes.toString('latin1')));
      socket.write('INFO {"server_id":"S","version":"2.12.0","proto":1,"headers":true,"max_payload":1048576}\r\n');
    });
    const said: string[] = [];
    await once(plain.listen(0, '127.0.0.1'), 'listening');
    const { port } = plain.address() as AddressInfo;
    const end = await endOf(settings(`tls://127.0.0.1:${port}`));
    plain.close();
    assert.deepEqual(said, []);
    assert.equal(end.code, 1, end.stdout);
    for (const scheme of ['ws', 'wss', 'http', 'tsl']) {
      const { code, stderr } = await endOf(settings(`${scheme}://127.0.0.1:${port}`));
      assert.equal(code, 1);
      assert.match(stderr, new RegExp(`NATS_URL begins with ${scheme}:`));
    }

    const folder = temporaryFolder('certificates-');
    const authority = await createAuthority();
    const tls = saveCertificate(folder, 'server', await authority.server());
    const caFile = path.join(folder, 'ca.pem');
    writeFileSync(caFile, authority.cert);
    // The server takes both, so that only the bridge decides.
    await using server = await startNatsServer({
      config: `tls { cert_file: "${tls.certFile}", key_file: "${tls.keyFile}" }\nallow_non_tls: true`,
    });
    const client = await connect({ servers: server.url, tls: null });
    const manager = await client.jetstreamManager();
    await manager.streams.add({ name: 'CI', subjects: ['ci.>'] });
    await manager.consumers.add('CI', { durable_name: 'tls', ack_policy: AckPolicy.Explicit });
    await client.close();
    const url = server.url.replace('nats:', 'tls:').replace('127.0.0.1', 'localhost');
    {
      await using bridge = new Bridge({ ...settings(url), NODE_EXTRA_CA_CERTS: caFile });
      assert.deepEqual(await bridge.entry(), { event: 'ready' });
    }
    const untrusted = await endOf(settings(url));
    assert.equal(untrusted.code, 1);
    assert.match(untrusted.stderr, /certificate/);
  });

  it('announce-build.yml: the build of another pipeline is announced, and once only', async () => {
    const announce = (): ReturnType<typeof runExample> =>
      runExample('announce-build.yml', scene.server.url, '102', {
        variables: {
          'resources.pipeline.build.pipelineName': 'shop-build',
          'resources.pipeline.build.runName': '20260531.4',
          'resources.pipeline.build.runID': '4242',
          'resources.pipeline.build.sourceCommit': 'ab'.repeat(20),
        },
      });
    const pipeline = await announce();
    assertRunSucceeded(pipeline);
    const seq = Number(stepOf(pipeline, 'Announce the build').outputs.get('sequence'));
    const { data, header } = await scene.manager.streams.getMessage('CI', { seq });
    assert.deepEqual(JSON.parse(Buffer.from(data).toString()), {
      pipeline: 'shop-build',
      run: '20260531.4',
      runId: 4242,
      commit: 'ab'.repeat(20),
    });
    assert.equal(header.get('Nats-Msg-Id'), 'shop-build-4242');
    assert.equal(header.get('ce-correlationid'), 'ab'.repeat(20));
    assert.equal(stepOf(await announce(), 'Announce the build').outputs.get('duplicate'), 'true');
  });
});
