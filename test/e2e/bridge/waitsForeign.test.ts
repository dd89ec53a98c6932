import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { AgentlessTask } from '../../support/azureDevOps/agentlessTask.ts';
import { completesTask, readsPlan, setsOutputs } from '../../support/azureDevOps/kinds.ts';
import { redirected } from '../../support/azureDevOps/moods.ts';
import type { BridgeProcess } from '../../support/bridge/bridgeProcess.ts';
import { WaitsScene } from '../../support/bridge/waitsScene.ts';

/** Notices whoever so much as connects. */
class Listener implements AsyncDisposable {
  connections = 0;
  readonly #server = createServer((socket) => {
    this.connections++;
    socket.destroy();
  });

  static async on(host: string): Promise<Listener> {
    const listener = new Listener();
    await once(listener.#server.listen(0, host), 'listening');
    return listener;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await once(this.#server.close(), 'close');
  }
}

describe('A plan URL of a task', () => {
  let scene: WaitsScene;
  let bridge: BridgeProcess;
  let evil: Listener;
  let evil6: Listener;
  before(async () => {
    [scene, evil, evil6] = await Promise.all([WaitsScene.open(), Listener.on('127.0.0.1'), Listener.on('::1')]);
    bridge = await scene.start();
  });
  after(async () => {
    await scene[Symbol.asyncDispose]();
    await evil[Symbol.asyncDispose]();
    await evil6[Symbol.asyncDispose]();
  });

  const execute = (task: AgentlessTask, headers: Readonly<Record<string, string>>) =>
    task.execute({ subject: 'ci.done' }, task.headers(headers));

  /** The requests that carry the job's token. */
  const carrying = ({ token }: AgentlessTask) =>
    scene.azure.requests.filter(({ headers }) => headers.authorization?.includes(token) === true);

  test('from anyone else is refused, and nothing is sent anywhere', async () => {
    const { port } = new URL(scene.azure.origin);
    const [own, other] = [`127.0.0.1:${port}`, `127.0.0.1:${evil.port}`];
    const urls = [
      // User info.
      ...[`http://user:pw@${own}/contoso/`, `http://user@${other}/contoso/`, `http://@${own}/contoso/`],
      ...[`http://${own}@${other}/contoso/`, `http://${own}%40${other}/contoso/`, `http://${other}#@${own}/contoso/`],
      // Other ports and schemes.
      ...[`http://${other}/contoso/`, `https://${own}/contoso/`, 'http://127.0.0.1/contoso/', `ws://${own}/contoso/`],
      ...[`http://127.0.0.1:0${port}1/contoso/`, `file:///contoso/`, `//${other}/contoso/`, `${own}/contoso/`],
      // Names and addresses that look alike, or are the same in disguise.
      ...[`http://localhost:${port}/contoso/`, `http://127.0.0.1.:${port}/contoso/`, `http://127.1:${port}/contoso/`],
      ...[
        `http://2130706433:${port}/contoso/`,
        `http://0x7f000001:${port}/contoso/`,
        `http://0177.0.0.1:${port}/contoso/`,
      ],
      ...[
        `http://127.0.0.1.evil.example:${port}/contoso/`,
        `http://１27.0.0.1:${port}/contoso/`,
        `http://127。0。0。1:${port}/contoso/`,
      ],
      ...[
        `http://127.0.0.1%2eevil:${port}/contoso/`,
        'https://dev.azure.com.evil.example/contoso/',
        'https://dev.azure.com./contoso/',
      ],
      // IPv6.
      ...[
        `http://[::1]:${evil6.port}/contoso/`,
        `http://[::ffff:127.0.0.1]:${port}/contoso/`,
        `http://[::ffff:7f00:1]:${evil.port}/`,
      ],
      ...[`http://[0:0:0:0:0:0:0:1]:${evil6.port}/contoso/`, `http://[::1%25lo]:${evil6.port}/contoso/`],
      // Other organizations, and paths that lead to them.
      ...[`http://${own}/`, `http://${own}/evil/`, `http://${own}/contoso2/`, `http://${own}/contoso/../evil/`],
      ...[`http://${own}/contoso/%2e%2e/evil/`, `http://${own}/contoso%2f..%2fevil/`, `http://${own}//contoso/`],
      ...[
        `http://${own}/contoso\\..\\evil/`,
        `http://${own}/contoso/?x=/`,
        `http://${own}/contoso/#x`,
        `http://${own}/contoso/x/`,
      ],
      ...[
        `http:\\\\${other}\\contoso`,
        `http:///${other}/contoso/`,
        `http://${other}\\@${own}/contoso/`,
        'x',
        '$(system.CollectionUri)',
      ],
    ];
    const plans = scene.azure.requests.filter(readsPlan).length;
    for (const url of urls) {
      const task = scene.task(bridge);
      // A header holds bytes.
      const { status, text } = await execute(task, { 'X-Plan-Url': Buffer.from(url).toString('latin1') });
      assert.ok(status === 400 || status === 403, `${url}: ${status} ${text}`);
      assert.equal(
        (await task.cancel(task.headers({ 'X-Plan-Url': Buffer.from(url).toString('latin1') }))).status,
        status,
        url,
      );
      assert.deepEqual(carrying(task), [], url);
      assert.ok(!text.includes('pw@'), text);
    }
    assert.equal(scene.azure.requests.filter(readsPlan).length, plans);
    assert.deepEqual([evil.connections, evil6.connections], [0, 0]);
  });

  test('that is the own one in another spelling leads to the one on the list', async () => {
    const { origin } = scene.azure;
    for (const url of [`${origin}/contoso`, `${origin.toUpperCase()}/CONTOSO/`, `${origin}/Contoso/`]) {
      const task = scene.task(bridge);
      assert.equal((await execute(task, { 'X-Plan-Url': url })).status, 200, url);
      assert.equal((await task.cancel()).status, 200);
      assert.equal(await scene.ended(task), 'failed');
      const asked = carrying(task);
      assert.ok(asked.length > 0 && asked.every(({ path }) => path.startsWith('/contoso/')), url);
    }
    // What is stored is told from later, by another process.
    const stored = [...(await scene.records()).values()].map(({ planUrl }) => planUrl);
    assert.deepEqual(new Set(stored), new Set([scene.azure.url]));
  });

  test('is the only place where a token goes, wherever Azure DevOps itself points', async () => {
    for (const status of [301, 302, 307, 308] as const) {
      const elsewhere = redirected(`http://127.0.0.1:${evil.port}/contoso/`, status);
      scene.azure.feel(elsewhere, { when: readsPlan, times: 1 });
      const task = scene.task(bridge);
      const refused = await execute(task, {});
      assert.ok(refused.status === 403 || refused.status === 503, refused.text);
      for (const when of [setsOutputs, completesTask]) scene.azure.feel(elsewhere, { when, times: 1 });
      assert.equal((await execute(task, {})).status, 200);
      await scene.publish({});
      await scene.until('it is told, or given up', async () => {
        const states = [...(await scene.records()).values()].map(({ state }) => state.state);
        return states.every((state) => state === 'ended');
      });
    }
    assert.equal(evil.connections, 0);
    // It would have noticed.
    await assert.rejects(fetch(`http://127.0.0.1:${evil.port}/`));
    assert.equal(evil.connections, 1);
  });

  test('is asked for with ids only: nothing else becomes a part of a path', async () => {
    const names = ['X-Project-Id', 'X-Plan-Id', 'X-Job-Id', 'X-Timeline-Id', 'X-Task-Instance-Id', 'X-Hub-Name'];
    const ids = ['../../../evil', '%2e%2e%2f', 'a/b', '..', '{0d6b5d2c-9a4b-4b34-8c53-bd9c3f0d1a11}'];
    ids.push('0d6b5d2c-9a4b-4b34-8c53-bd9c3f0d1a11/../..', '0d6b5d2c-9a4b-4b34-8c53-bd9c3f0d1a11?x=', 'build/../../x');
    for (const name of names)
      for (const id of ids) {
        const task = scene.task(bridge);
        const { status, text } = await execute(task, { [name]: id });
        assert.equal(status, 400, `${name}: ${id}: ${text}`);
        assert.ok(text.includes(name), text);
        assert.deepEqual(carrying(task), []);
      }
  });
});
