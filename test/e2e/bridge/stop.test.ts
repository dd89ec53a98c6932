import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { BridgeProcess, NODE_VERSIONS } from '../../support/bridge/bridgeProcess.ts';
import { setUp } from '../../support/bridge/commandsHere.ts';
import { BUILD, hookBody, SHOP } from '../../support/bridge/hookPosts.ts';
import { startNatsServer } from '../../support/nats/natsServer.ts';
import { Admin } from '../../support/nats/testStream.ts';

const SENDERS = 16;
const OPTIONS = { env: { PAT: 'x', HOOK: 'a hook secret of some length' } };
const headers = { authorization: `Basic ${Buffer.from(`hooks:${OPTIONS.env.HOOK}`).toString('base64')}` };

for (const node of NODE_VERSIONS)
  test(`a bridge stopped under load has stored every hook that it confirmed, on Node ${node}`, async () => {
    await using server = await startNatsServer();
    const yaml = `nats: { servers: [${server.url}] }
azureDevOps: { organization: "http://127.0.0.1:1/contoso", identity: { kind: pat, patEnv: PAT } }
http: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }
hooks: { passwordEnvs: [HOOK], sharedSecret: true, events: [{ event: build.complete }] }
`;
    await setUp(yaml, OPTIONS);
    await using bridge = await BridgeProcess.start(yaml, { ...OPTIONS, node });
    await bridge.ready(200);

    const stored = new Map<string, number>();
    const refused = new Set<string>();
    /** Posts one hook after the other until there's no response. */
    const send = async (sender: number): Promise<void> => {
      for (let number = 0; ; number++) {
        const id = `${sender}-${number}`;
        const body = hookBody('build.complete', BUILD, { id, resourceContainers: { project: { id: SHOP.id } } });
        try {
          const response = await fetch(`${bridge.publicUrl}/hooks`, { method: 'POST', body, headers });
          const answer = (await response.json()) as { sequence: number };
          if (response.status === 200) stored.set(id, answer.sequence);
          else if (response.status === 503) refused.add(id);
          else assert.fail(`status ${response.status}`);
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error;
          return;
        }
      }
    };
    const sending = Array.from({ length: SENDERS }, (_, sender) => send(sender));
    await bridge.until('hooks', () => (stored.size > 300 ? true : undefined));
    await server.pause();
    // No more responses come: each sender has a hook under way.
    for (let answered = -1; answered < stored.size;) {
      answered = stored.size;
      await delay(200);
    }
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
    // Hooks under way got a response, too: stored or, if NATS stalled for longer, possibly not stored.
    const { messages } = (await admin.manager.streams.info('AZDO')).state;
    for (let seq = 1; seq <= messages; seq++) {
      const id = (await admin.manager.streams.getMessage('AZDO', { seq })).header.get('ce-id');
      assert.ok(stored.has(id) || refused.has(id), id);
    }
  });
