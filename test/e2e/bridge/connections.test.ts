import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { BridgeProcess, NODE_VERSIONS } from '../../support/bridge/bridgeProcess.ts';
import { rawRequest, slowConnections } from '../../support/bridge/rawHttp.ts';

const YAML = `nats: { servers: [nats://127.0.0.1:1] }
azureDevOps: { organization: http://127.0.0.1:1/contoso, identity: { kind: pat, patEnv: PAT } }
http: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }
`;
const MIB = 1_024 * 1_024;

/** A process's bytes in RAM (Linux). */
function memoryOf(pid: number): number {
  const [, kib = ''] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) * 1_024;
}

for (const node of NODE_VERSIONS)
  test(`2,000 idle connections of one caller make nobody else wait for ten seconds on Node ${node}`, async () => {
    await using bridge = await BridgeProcess.start(YAML, { env: { PAT: 'x' }, node });
    const port = bridge.publicPort;
    using slow = await slowConnections(port, 2_000, 'POST /hooks HTTP/1.1\r\nHost: a\r\nX-Slow: ', 300);
    assert.ok(slow.number > 1_900, `${slow.number} connections`);
    // Without NATS, every request gets a 503.
    const post = 'POST /hooks HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi';
    const answers = await Promise.all(
      ['127.0.0.1', '127.0.0.2', '127.0.0.3'].map((from) => rawRequest(port, post, from)),
    );
    for (const { status, ms } of answers) {
      assert.equal(status, 503);
      assert.ok(ms < 10_000, `${ms} ms`);
    }
    assert.equal((await bridge.admin('/healthz')).status, 200);
    assert.ok(memoryOf(bridge.pid) < 200 * MIB, `${memoryOf(bridge.pid) / MIB} MiB`);
    bridge.signal('SIGTERM');
    assert.equal(await bridge.ended, 0);
  });
