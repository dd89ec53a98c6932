import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { connect, type NatsConnection } from 'nats';
import { Agent, request } from 'undici';
import { AzureDevOps } from '../support/azureDevOps/azureDevOps.ts';
import { hookBodies } from '../support/azureDevOps/hookBodies.ts';
import { BridgeProcess, runBridge } from '../support/bridge/bridgeProcess.ts';
import { setUp } from '../support/bridge/commandsHere.ts';
import { hooksConfiguration, hooksFiles, passwordOf, SECRET } from '../support/bridge/hooksOverHttp.ts';
import { assertPlain, forAll } from '../support/hostile/harmless.ts';
import { cases, SEED } from '../support/hostile/hostile.ts';
import { hostileText } from '../support/hostile/hostileText.ts';
import { startNatsServer } from '../support/nats/natsServer.ts';
import { storedIn } from '../support/nats/testStream.ts';

const POSTS = cases({ short: 150, long: 10_000 });

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

const value: fc.Arbitrary<Json> = fc.oneof(
  hostileText,
  fc.constantFrom<Json>(null, true, 0, -1, 1e308, '', [], {}, 'x'.repeat(20_000), SECRET),
  fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>,
);

/** An Azure DevOps hook with some members replaced. */
function garbled(events: readonly unknown[]): fc.Arbitrary<string> {
  return fc
    .tuple(fc.constantFrom(...events), fc.array(fc.tuple(fc.nat(), value), { minLength: 1, maxLength: 4 }))
    .map(([event, changes]) => {
      const body = structuredClone(event) as Json;
      for (const [at, changed] of changes) {
        const places = placesIn(body);
        const [parent, name] = places[at % places.length] ?? [];
        if (parent !== undefined && name !== undefined) (parent as Record<string, Json>)[name] = changed;
      }
      return JSON.stringify(body);
    });
}

function placesIn(body: Json): (readonly [parent: object, name: string])[] {
  if (typeof body !== 'object' || body === null) return [];
  return Object.entries(body).flatMap(([name, member]) => [[body, name] as const, ...placesIn(member)]);
}

const deep = fc.integer({ min: 1_000, max: 100_000 }).map((depth) => `${'['.repeat(depth)}${']'.repeat(depth)}`);

it(`${POSTS} garbled hooks neither stop the bridge, nor leave control characters or secrets where people read`, async () => {
  await using server = await startNatsServer({ config: 'max_payload: 3MB' });
  await using azure = await AzureDevOps.start();
  const [project] = azure.organization.projects;
  assert.ok(project);
  const password = passwordOf(project.id);
  const authorization = `Basic ${Buffer.from(`hooks.${project.id}:${password}`).toString('base64')}`;
  const events = hookBodies({ organization: azure.organization, project }).everyEvent();
  const yaml = hooksConfiguration(server.url, azure, events);
  const options = hooksFiles(azure);
  await setUp(yaml, options);
  await using bridge = await BridgeProcess.start(yaml, options);
  await bridge.ready(200);

  const body = fc.oneof(
    { weight: 6, arbitrary: garbled(events) },
    { weight: 2, arbitrary: hostileText },
    { weight: 1, arbitrary: fc.json() },
    { weight: 1, arbitrary: deep },
  );
  const header = hostileText.map((text) => text.replace(/[^\t\x20-\x7e\x80-\xff]/g, ''));
  const post = fc.record({ body, type: header, activity: header });
  const agent = new Agent({ connections: 16 });
  await forAll(fc.sample(post, { seed: SEED, numRuns: POSTS }), async ({ body, type, activity }) => {
    const answer = await request(`${bridge.publicUrl}/hooks`, {
      ...{ method: 'POST', dispatcher: agent, body },
      headers: { authorization, 'content-type': type || 'x', 'x-vss-activityid': activity },
    });
    const text = await answer.body.text();
    assert.equal(answer.statusCode, 200, `${text} for ${body.slice(0, 2_000)}`);
    assertPlain(text, 'an answer');
    const told = JSON.parse(text) as Record<string, unknown>;
    assert.ok('deadLetter' in told || 'sequence' in told, text);
  });

  await agent.close();

  const client = await connect({ servers: server.url });
  try {
    const places = {
      'the log': bridge.text.split('\n'),
      'the metrics': (await bridge.admin('/metrics')).text.split('\n'),
      'the status page': (await bridge.admin('/')).text.split('\n'),
      'the audit stream': await textsIn(client, 'BRIDGE_AUDIT'),
      'the dead letters, without what was posted': await headersOf(client, 'BRIDGE_DEAD'),
    };
    const dead = await runBridge(['deadLetters', 'list'], yaml, options);
    assert.equal(dead.status, 0, dead.stderr);
    for (const line of dead.stdout.split('\n')) assertPlain(line.replaceAll('\t', ' '), 'the list of dead letters');
    for (const [place, lines] of Object.entries(places))
      for (const line of lines) {
        assertPlain(line.replaceAll('\t', ' '), place);
        for (const secret of [SECRET, password, azure.pat]) assert.ok(!line.includes(secret), `${place}: ${line}`);
      }
  } finally {
    await client.close();
  }
  bridge.signal('SIGTERM');
  assert.equal(await bridge.ended, 0, bridge.text);
});

async function textsIn(client: NatsConnection, stream: string): Promise<string[]> {
  return (await storedIn(await client.jetstreamManager(), stream)).map(({ data }) => Buffer.from(data).toString());
}

async function headersOf(client: NatsConnection, stream: string): Promise<string[]> {
  return (await storedIn(await client.jetstreamManager(), stream)).flatMap(({ header }) =>
    [...header].map(([name, values]) => `${name}: ${values.join(', ')}`),
  );
}
