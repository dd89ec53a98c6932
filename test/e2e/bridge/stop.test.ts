import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BridgeProcess, NODE_VERSIONS, runBridge } from '../../support/bridge/bridgeProcess.ts';
import { BUILD, hookBody, SHOP } from '../../support/bridge/hookPosts.ts';
import { startNatsServer } from '../../support/nats/natsServer.ts';
import { Admin } from '../../support/nats/testStream.ts';

const SENDERS = 16;
const OPTIONS = { env: { PAT: 'x', HOOK: 'a hook secret of some length' } };
const headers = { authorization: `Basic ${Buffer.from(`hooks:${OPTIONS.env.HOOK}`).toString('base64')}` };

for (const node of NODE_VERSIONS)
  test(`a bridge that is stopped amid hooks has stored each one that it said it had, on Node ${node}`, async () => {
    await using server = await startNatsServer();
    const yaml = `nats: { servers: [${server.url}] }
azureDevOps: { organization: "http://127.0.0.1:1/contoso", identity: { kind: pat, patEnv: PAT } }
http: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }
hooks: { passwordEnvs: [HOOK], sharedSecret: true, events: [{ event: build.complete }] }
`;
    assert.equal((await runBridge(['setup', '--apply'], yaml, { ...OPTIONS, node })).status, 0);
    await using bridge = await BridgeProcess.start(yaml, { ...OPTIONS, node });
    await bridge.ready(200);

    const stored = new Map<string, number>();
    let answers = 0;
    /** Posts one hook after the other until one is to be sent again, or nobody answers. */
    const send = async (sender: number): Promise<void> => {
      for (let number = 0; ; number++) {
        const id = `${sender}-${number}`;
        const body = hookBody('build.complete', BUILD, { id, resourceContainers: { project: { id: SHOP.id } } });
        try {
          const response = await fetch(`${bridge.publicUrl}/hooks`, { method: 'POST', body, headers });
          const answer = (await response.json()) as { sequence: number };
          answers++;
          if (response.status === 200) stored.set(id, answer.sequence);
          else {
            assert.equal(response.status, 503);
            return;
          }
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error;
          return;
        }
      }
    };
    const sending = Array.from({ length: SENDERS }, (_, sender) => send(sender));
    await bridge.until('hooks', () => (stored.size > 300 ? true : undefined));
    // What is posted now has no acknowledgement before the bridge is told to stop.
    await server.pause();
    let before = -1;
    await bridge.until('pause in which every sender waits', async () => {
      await bridge.admin('/healthz');
      const areWaiting = answers === before;
      before = answers;
      return areWaiting || undefined;
    });
    bridge.signal('SIGTERM');
    await bridge.logged('stopping');
    assert.equal((await bridge.ready(503))['status'], 'stopping');
    server.resume();
    assert.equal(await bridge.ended, 0);
    await Promise.all(sending);

    await using admin = await Admin.connect([server.url]);
    for (const [id, seq] of stored) {
      const { header } = await admin.manager.streams.getMessage('AZDO', { seq });
      assert.equal(header.get('ce-id'), id);
    }
    // Whoever was under way had an answer, too.
    assert.equal((await admin.manager.streams.info('AZDO')).state.messages, stored.size);
  });
