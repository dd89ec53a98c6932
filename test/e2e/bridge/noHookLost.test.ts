import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'nats';
import { onFreePorts } from '../../../localAgent/natsServer.ts';
import { AzureDevOps } from '../../support/azureDevOps/azureDevOps.ts';
import { hookBodies } from '../../support/azureDevOps/hookBodies.ts';
import { HookSender } from '../../support/azureDevOps/hookSender.ts';
import { BridgeProcess, NODE_VERSIONS } from '../../support/bridge/bridgeProcess.ts';
import { setUp } from '../../support/bridge/commandsHere.ts';
import { hooksConfiguration, hooksFiles, passwordOf, SECRET } from '../../support/bridge/hooksOverHttp.ts';
import { isLong } from '../../support/form.ts';
import { cases } from '../../support/hostile/hostile.ts';
import { natsServerBinary, startNatsServer } from '../../support/nats/natsServer.ts';
import { storedIn } from '../../support/nats/testStream.ts';

const LINES = isLong ? (['2.9', '2.10', '2.15'] as const) : (['2.10'] as const);
const HOOKS = cases({ short: 500, long: 10_000 });
/** How many real seconds a second of Azure DevOps' resend clock takes. */
const SCALE = 0.1;

for (const line of LINES)
  it(
    `${HOOKS} hooks are stored once each, while nats-server ${line} restarts and replicas on Node ${NODE_VERSIONS.join(' and ')} are killed`,
    { timeout: 300_000 },
    async (t) => {
      await using server = await startNatsServer({ binary: natsServerBinary(line), config: 'max_payload: 3MB' });
      await using azure = await AzureDevOps.start();
      const [project] = azure.organization.projects;
      assert.ok(project);
      const bodies = hookBodies({ organization: azure.organization, project });
      const events = Array.from({ length: Math.ceil(HOOKS / 30) }, () => bodies.everyEvent())
        .flat()
        .slice(0, HOOKS);
      const yaml = (listen?: string) => hooksConfiguration(server.url, azure, events, listen);
      const options = hooksFiles(azure);
      await setUp(yaml(), options);

      await onFreePorts(2, async (ports) => {
        // Both versions at once, as during a roll-out of a new Node.js.
        const start = (replica: 0 | 1) =>
          BridgeProcess.start(yaml(`127.0.0.1:${ports[replica]}`), { ...options, node: NODE_VERSIONS[replica] });
        const replicas = await Promise.all([start(0), start(1)]);
        try {
          await Promise.all(replicas.map((replica) => replica.ready(200)));
          await using sender = new HookSender({ timeScale: SCALE, connections: 16, callerTimeoutMs: 5_000 });
          const subscriptions = ports.map((port) =>
            sender.subscribe({
              url: `http://127.0.0.1:${port}/hooks`,
              basicAuthUsername: `hooks.${project.id}`,
              basicAuthPassword: passwordOf(project.id),
            }),
          );
          const kill = async (replica: 0 | 1) => {
            await replicas[replica][Symbol.asyncDispose]();
            await delay(200);
            replicas[replica] = await start(replica);
          };
          const at: Readonly<Record<number, () => Promise<unknown>>> = {
            [Math.floor(HOOKS / 5)]: () => kill(0),
            [Math.floor((2 * HOOKS) / 5)]: () => server.restart(),
            [Math.floor((3 * HOOKS) / 5)]: () => kill(1),
            [Math.floor((4 * HOOKS) / 5)]: async () => {
              await server.kill();
              await delay(1_000);
              await server.restart();
            },
          };
          const troubles: Promise<unknown>[] = [];
          let done = 0;
          const began = performance.now();
          const reports = await Promise.all(
            events.map(async (event, index) => {
              const report = await subscriptions[index % 2]?.send(event);
              const trouble = at[++done];
              if (trouble !== undefined) troubles.push(trouble());
              return report;
            }),
          );
          await Promise.all(troubles);

          assert.deepEqual(
            reports.filter((report) => report?.outcome !== 'delivered'),
            [],
          );
          assert.deepEqual(
            subscriptions.map(({ status }) => status),
            ['enabled', 'enabled'],
          );
          const resent = reports.filter((report) => (report?.attempts.length ?? 0) > 1).length;
          assert.ok(resent > 0, 'nothing was sent twice, so the test proved nothing');
          t.diagnostic(`${resent} had to be sent again; all took ${Math.round(performance.now() - began)} ms.`);
          for (const report of reports) assert.equal(report?.answer?.status, 200);
          await assertStored(server.url, new Set(events.map(({ id }) => id)));
          for (const replica of replicas) {
            assert.doesNotMatch(replica.text, new RegExp(`${SECRET}|${passwordOf(project.id)}|${azure.pat}`));
            replica.signal('SIGTERM');
            assert.equal(await replica.ended, 0, replica.text);
          }
        } finally {
          for (const replica of replicas) await replica[Symbol.asyncDispose]();
        }
      });
    },
  );

/** Asserts that the stream holds each of these once and nothing else, and that there are no dead letters. */
async function assertStored(url: string, ids: ReadonlySet<string>): Promise<void> {
  const connection = await connect({ servers: url });
  try {
    const manager = await connection.jetstreamManager();
    const stored = (await storedIn(manager, 'AZDO')).map(({ header }) => header.get('Nats-Msg-Id'));
    assert.equal(stored.length, ids.size);
    assert.deepEqual(new Set(stored), ids);
    assert.equal((await manager.streams.info('BRIDGE_DEAD')).state.messages, 0);
  } finally {
    await connection.close();
  }
}
