import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Outcome } from '../../../../bridge/azureDevOps/client.ts';
import { ProjectNames } from '../../../../bridge/waits/projectNames.ts';
import { Unavailable } from '../../../../bridge/waits/refusal.ts';
import { PROJECT } from '../../../support/bridge/waitsReceiver.ts';

const OWN = 'https://dev.azure.com/contoso';
const NAMED = { kind: 'ok', body: { name: 'Shop' } } as Outcome;

function projects(outcome: () => Outcome) {
  const asked: string[] = [];
  const clock = { now: 0 };
  const ask = (path: string) => {
    asked.push(path);
    return Promise.resolve(outcome());
  };
  const names = new ProjectNames({
    azureDevOps: { ask },
    organization: 'https://Contoso.visualstudio.com/',
    now: () => clock.now,
  });
  const nameOf = (organization = OWN) => names.nameOf(organization, PROJECT, new AbortController().signal);
  return { asked, clock, nameOf };
}

test('a name is looked up again after ten minutes, in case the project was renamed', async () => {
  let name = 'Shop';
  const { asked, clock, nameOf } = projects(() => ({ ...NAMED, body: { name } }) as Outcome);
  assert.deepEqual([await nameOf(), await nameOf()], ['Shop', 'Shop']);
  assert.deepEqual(asked, [`_apis/projects/${PROJECT}?api-version=7.1`]);
  name = 'Store';
  clock.now += 599_999;
  assert.equal(await nameOf(), 'Shop');
  clock.now += 1;
  assert.equal(await nameOf(), 'Store');
});

test('projects of other organizations are not looked up', async () => {
  const { asked, nameOf } = projects(() => NAMED);
  assert.equal(await nameOf('https://dev.azure.com/fabrikam'), undefined);
  assert.deepEqual(asked, []);
});

test("a project that the identity can't see has no name", async () => {
  const refused = (status: number) => ({ kind: 'refused', status, message: 'no' }) as Outcome;
  assert.equal(await projects(() => refused(404)).nameOf(), undefined);
  assert.equal(await projects(() => ({ ...NAMED, body: { name: 7 } }) as Outcome).nameOf(), undefined);
});

test('a failed look-up is an error, and is tried again next time', async () => {
  let outcome = { kind: 'unreachable', message: 'ECONNREFUSED' } as Outcome;
  const { nameOf } = projects(() => outcome);
  await assert.rejects(
    nameOf(),
    (error) => error instanceof Unavailable && error.message.includes("project's name: ECONNREFUSED"),
  );
  outcome = NAMED;
  assert.equal(await nameOf(), 'Shop');
});
