import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { startsRun } from '../../support/azureDevOps/kinds.ts';
import { throttled, unavailable } from '../../support/azureDevOps/moods.ts';
import type { CommandRun } from '../../support/bridge/bridgeProcess.ts';
import { RunsScene } from '../../support/bridge/runsBridge.ts';

/** The rows of a table, by column heading. */
function rowsOf({ stdout }: CommandRun): Record<string, string>[] {
  const [headings = [], ...rows] = stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t'));
  return rows.map((cells) => Object.fromEntries(headings.map((heading, index) => [heading, cells[index] ?? ''])));
}

/** A page's text, without markup. */
function textOf(page: string): string {
  return page
    .replace(/<style>[^]*<\/style>/, '')
    .replaceAll(/<[^>]+>/g, ' ')
    .replaceAll(/\s+/g, ' ');
}

describe('A route', () => {
  test('that is paused starts nothing until it is resumed, and shows who paused it', async () => {
    await using scene = await RunsScene.open();
    await using bridge = await scene.start();
    const paused = await scene.command(['routes', 'pause', 'deploy', '--reason', 'freeze CHG-1']);
    assert.deepEqual([paused.status, paused.stderr], [0, 'The route deploy is paused.\n']);
    await bridge.logged('routeIsPaused');
    const sequence = await scene.publish('e-1');
    const again = await scene.command(['routes', 'pause', 'deploy']);
    assert.equal(again.status, 0);
    assert.match(again.stderr, /^The route deploy is paused already, by .+: freeze CHG-1\.\n$/);

    const listed = await scene.command(['routes', 'list']);
    assert.equal(listed.status, 0, listed.stderr);
    const [row] = rowsOf(listed);
    assert.deepEqual([row?.['ROUTE'], row?.['MODE'], row?.['PENDING']], ['deploy', 'on', '1']);
    assert.match(row?.['PAUSED'] ?? '', /^by .+ since \d{4}-.+Z: freeze CHG-1$/);
    assert.match(row?.['OLDEST PENDING'] ?? '', new RegExp(`^ci:${sequence} since \\d{4}-`));
    const page = textOf((await bridge.admin('/')).text);
    assert.match(page, /Route deploy : paused by .+: freeze CHG-1 \d+ s ago/);
    const replay = await scene.command(['routes', 'replay', 'deploy', '--from', '1', '--to', '1', '--reason', 'now']);
    assert.equal(replay.status, 1);
    assert.match(
      replay.stderr,
      /^Nothing is replayed: the route deploy is paused by .+: freeze CHG-1; resume it first \(routes resume deploy\)\.\n$/,
    );
    assert.equal(scene.azure.runs.length, 0);

    const resumed = await scene.command(['routes', 'resume', 'deploy']);
    assert.deepEqual([resumed.status, resumed.stderr], [0, 'The route deploy is resumed.\n']);
    await bridge.logged('runStarted');
    await scene.settled();
    const after = await scene.command(['routes', 'resume', 'deploy']);
    assert.deepEqual([after.status, after.stderr], [0, 'The route deploy is not paused.\n']);
    const [idle] = rowsOf(await scene.command(['routes', 'list']));
    assert.deepEqual([idle?.['PAUSED'], idle?.['PENDING'], idle?.['OLDEST PENDING']], ['-', '0', '-']);
    assert.match(idle?.['LAST DECISION'] ?? '', new RegExp(`^started run ${scene.azure.runs[0]?.id} at `));

    const orders = await scene.orders();
    assert.deepEqual(
      orders.map(({ name, decision, reason, user }) => [name, decision, reason, typeof user]),
      [
        ['setup-apply', 'created', undefined, 'string'],
        ['routes-pause', 'paused', 'freeze CHG-1', 'string'],
        ['routes-resume', 'resumed', '', 'string'],
      ],
    );
  });

  test('can be tried on a file or a stored event without starting anything', async () => {
    await using scene = await RunsScene.open({ route: ["match: data.image != 'api:1'"] });
    const folder = temporaryFolder('routes-');
    const file = (name: string, text: string) => {
      writeFileSync(path.join(folder, name), text);
      return path.join(folder, name);
    };
    const tried = async (event: string) => {
      const run = await scene.command(['routes', 'try', 'deploy', '--event', event]);
      return [run.status, run.stdout === '' ? run.stderr : (JSON.parse(run.stdout) as unknown)] as const;
    };
    const fits = await scene.publish('e-1');
    const parameters = { image: 'web:1', natsEventId: 'e-1' };
    assert.deepEqual(await tried(`ci:${fits}`), [0, { route: 'deploy', decision: 'starts', parameters }]);
    const context = { specversion: '1.0', id: 'e-1', source: '/x', type: 't' };
    const event = { ...context, data: { image: 'web:1' } };
    assert.deepEqual(await tried(file('event.json', JSON.stringify(event))), [
      0,
      { route: 'deploy', decision: 'starts', parameters },
    ]);
    const headers = Object.fromEntries(Object.entries(context).map(([name, value]) => [`ce-${name}`, [value]]));
    const view = { subject: 'ci.x', headers, data: { image: 'web:1' } };
    assert.deepEqual(await tried(file('view.json', JSON.stringify(view))), [
      0,
      { route: 'deploy', decision: 'starts', parameters },
    ]);
    const bare = await scene.command(['routes', 'try', 'deploy', '--event', file('bare.json', '{"image":"web:1"}')]);
    assert.equal(bare.status, 0);
    assert.match(bare.stderr, /^The event in the file has no id\. .* its place: ci:7\.$/m);
    const [status, other] = await tried(file('other.json', '{"image":"api:1"}'));
    assert.deepEqual([status, (other as Record<string, unknown>)['decision']], [1, 'notMatching']);
    const [unsafe, letter] = await tried(file('unsafe.json', '{"image":"web 1"}'));
    assert.deepEqual([unsafe, (letter as Record<string, unknown>)['decision']], [1, 'deadLetter']);
    assert.match(String((letter as Record<string, unknown>)['reason']), /^unsafeValue: .*parameter image/);
    const elsewhere = await tried(file('subject.json', JSON.stringify({ ...view, subject: 'azdo.x' })));
    assert.deepEqual(elsewhere, [
      1,
      { route: 'deploy', decision: 'notMatching', reason: 'the route takes ci.>, and this is on azdo.x' },
    ]);
    const undecided = await scene.command(['why', `ci:${fits}`]);
    const why = `If it didn't match, that is summed up within a minute; nats-event-bridge routes try deploy --event ci:${fits} says why.`;
    assert.ok(undecided.stderr.startsWith(`No route has decided on it yet. ${why}`), undecided.stderr);
    let listed = await scene.command(['routes', 'list']);
    await scene.until('an event that has waited for long', async () => {
      if (listed.stderr === '') listed = await scene.command(['routes', 'list']);
      return listed.stderr !== '';
    });
    assert.equal(listed.status, 0);
    assert.match(
      listed.stderr,
      /^The oldest event of deploy waits, and nothing stored says why\. If Azure DevOps is paused, /,
    );
    assert.match(String((await tried('ci:99'))[1]), /The stream ci has no message 99/);
    assert.match(
      String((await tried('cx:1'))[1]),
      /^InvalidInput: --event cx:1: this account has no stream "cx"\. Did you mean ci:1\?$/m,
    );
    assert.match(String((await tried('other:1'))[1]), /no stream "other"\. The events of route deploy are in ci\.$/m);
    assert.match(String((await tried('/nowhere'))[1]), /--event "\/nowhere" can't be read/);
    assert.deepEqual(scene.azure.requests, []);
    assert.deepEqual(await scene.decisions(), []);
  });

  test('can replay stored events of any age, each with a run of its own', async () => {
    await using scene = await RunsScene.open({ route: ["match: data.image != 'api:1'", 'maxEventAge: 1s'] });
    await using bridge = await scene.start();
    await scene.publish('e-1');
    await bridge.logged('runStarted');
    await scene.publish('e-2', { image: 'api:1' });
    await scene.publish('e-3', { image: 'web 3' });
    await scene.settled();
    await scene.until('an event that is older than a second', () => Date.now() - scene.azure.runs[0]!.queuedAt > 1_000);
    const replayed = await scene.command([
      ...['routes', 'replay', 'deploy', '--from', '1', '--to', '7', '--reason', 'the deployment was lost'],
    ]);
    const [first, second, third, ...others] = replayed.stdout.trimEnd().split('\n');
    assert.deepEqual(others, []);
    const { id } = scene.azure.runs[1] ?? {};
    assert.match(first ?? '', new RegExp(`^1\\tstarted\\trun=${id}\\turl=http`), replayed.stderr);
    assert.match(second ?? '', /^2\tnotMatching\t/);
    assert.match(third ?? '', /^3\tunsafeValue\t/);
    assert.deepEqual([replayed.status, scene.azure.runs.length], [1, 2]);
    assert.match(replayed.stderr, /1 started, 1 notMatching, 1 unsafeValue\.\n$/);
    const all = await scene.orders();
    const orders = all.filter(({ name }) => name === 'routes-replay');
    assert.deepEqual(
      orders.map(({ decision, reason }) => [decision, reason?.split(':')[0]]),
      [
        ['ordered', 'the deployment was lost'],
        ['replayed', 'the deployment was lost'],
        ['refused', 'unsafeValue'],
      ],
    );
    const why = await scene.command(['why', 'e-1']);
    assert.match(why.stdout, /route deploy: started\n.*run \d+ http[^]*ordered routes-replay on deploy: replayed/);
    const again = await scene.command(['routes', 'replay', 'deploy', '--from', '1', '--to', '1', '--reason', 'again']);
    assert.equal(again.status, 0, again.stderr);
    const before = `replayed before at \\d{4}-\\S+Z by .+: run ${id}\n$`;
    assert.match(again.stdout, new RegExp(`^1\\tstarted\\trun=${scene.azure.runs[2]?.id}\\turl=\\S+\\t${before}`));
    scene.azure.feel(throttled());
    const late = await scene.command(['routes', 'replay', 'deploy', '--from', '1', '--to', '1', '--reason', 'late']);
    assert.match(late.stderr, /Stopped at 1: .* Go on with --from 1\.\nNothing was started\.\n$/);
  });

  test('that fails is on the status page with the reason, and so are its dead letters', async () => {
    await using scene = await RunsScene.open({ route: ['maxDeliver: 5'] });
    await using bridge = await scene.start();
    await scene.publish('e-1', { image: 'web 1' });
    await bridge.logged('deadLetter');
    assert.match(textOf((await bridge.admin('/')).text), /Route deploy refused its last event: unsafeValue: /);
    scene.azure.feel(unavailable(503), { when: startsRun });
    const second = await scene.publish('e-2');
    const failing = await bridge.until('page with a failing attempt', async () => {
      const text = textOf((await bridge.admin('/')).text);
      return / attempt \d, \d+ s ago/.test(text) ? text : undefined;
    });
    assert.match(failing, /Route deploy fails: [^]*503[^]* attempt \d, \d+ s ago Routes/);
    assert.match(failing, new RegExp(` failing 1 event oldest \\d+ s ci:${second} `));
    await bridge.logged('runFailed');
    const page = await bridge.until('page with a failure', async () => {
      const text = textOf((await bridge.admin('/')).text);
      return text.includes('Route deploy fails: attempts: 5 attempts failed') ? text : undefined;
    });
    assert.match(page, /status 503/);
    assert.match(page, /deploy runs 1 unsafeValue .* ago the value of the parameter image/);
    assert.match(page, /deploy runs 1 attempts .* ago 5 attempts failed/);
  });

  test('that waits because Azure DevOps asked for a pause says so on the status page and in the list', async () => {
    await using scene = await RunsScene.open();
    await using bridge = await scene.start();
    await bridge.until('a route that works', async () => (await bridge.metric('nats_up')) ?? undefined);
    scene.azure.feel(throttled({ retryAfter: 60 }), { when: startsRun });
    await scene.publish('e-1');
    await bridge.logged('azureDevOpsPaused');
    const page = textOf((await bridge.admin('/')).text);
    assert.match(page, /Calls to Azure DevOps are paused, next try in (1 min|\d+ s): .+Concurrency/);
    const listed = await scene.command(['routes', 'list']);
    assert.match(rowsOf(listed)[0]?.['REASON'] ?? '', /Concurrency/);
    assert.equal(listed.stderr, '');
  });

  test('that does not exist is an error, which names the existing ones', async () => {
    await using scene = await RunsScene.open();
    const { status, stderr } = await scene.command(['routes', 'pause', 'deplyo']);
    assert.deepEqual([status, stderr], [1, 'InvalidInput: The configuration has no route "deplyo". It has deploy.\n']);
    assert.equal((await scene.command(['routes', 'replay', 'deploy', '--from', '3', '--to', '1'])).status, 2);
  });
});

test('why prints a chain of real runs from its first event to its last', async () => {
  await using scene = await RunsScene.open();
  await using bridge = await scene.start();
  await scene.publish('first', { image: 'web:1' }, { azprunid: '4711' });
  await bridge.logged('runStarted');
  const [run] = scene.azure.runs;
  await scene.publish('second', { image: 'web:2' }, { azprunid: String(run?.id) });
  await scene.until('a second run', () => scene.azure.runs.length === 2);
  await scene.settled();
  for (const id of ['first', 'second', 'ci:1', String(run?.id), String(scene.azure.runs[1]?.id)]) {
    const { status, stdout, stderr } = await scene.command(['why', id, '--json']);
    assert.equal(status, 0, stderr);
    const { chain } = JSON.parse(stdout) as { chain: Record<string, unknown>[] };
    assert.deepEqual(
      chain.map(({ kind, id: own, run: by, decision }) => [
        kind,
        kind === 'decision' ? decision : own,
        kind === 'event' ? by : undefined,
      ]),
      [
        ['event', 'first', 4711],
        ['decision', 'started', undefined],
        ['run', run?.id, undefined],
        ['event', 'second', run?.id],
        ['decision', 'started', undefined],
        ['run', scene.azure.runs[1]?.id, undefined],
      ],
      id,
    );
  }
});
