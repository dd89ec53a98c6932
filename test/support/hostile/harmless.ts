import assert from 'node:assert/strict';
import publishTask from '../../../tasks/PublishNatsEvent/task.json' with { type: 'json' };
import waitTask from '../../../tasks/WaitForNatsEvent/task.json' with { type: 'json' };
import type { LocalAgent, StepRun } from '../../../localAgent/index.ts';

const OUTPUTS = [publishTask, waitTask].map(({ outputVariables }) => outputVariables.map(({ name }) => name));
/** The commands of a step that has no secret to mask, as task-lib writes them. */
const OWN_COMMAND =
  /^##vso\[task\.(?:setvariable variable=[\w.]+;isOutput=true;|logissue type=(?:error|warning);|debug|complete result=\w+;|setprogress value=\d+;)\]/;
/** Invisible characters and combining marks. A culture-sensitive comparison, such as .NET's, may skip any of them. */
const SKIPPED = /[\p{C}\p{M}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/**
 * Asserts that the agent ran exactly the task's own commands, and that all other lines are plain, both by the agent's
 * own reading and by a more permissive one: in any case, and without invisible characters.
 *
 * @param options.eventOutputs names in the input `outputs` of a waiting step
 */
export function assertHarmless(step: StepRun, { eventOutputs = [] }: { eventOutputs?: readonly string[] } = {}): void {
  assert.equal(step.rawStderr, '');
  const set: string[] = [];
  for (const { area, event, properties, data, outcome } of step.commands) {
    const about = `${step.name}: ##vso[${area}.${event} ${JSON.stringify([...properties])}]${data}`.slice(0, 5_000);
    assert.equal(outcome, 'executed', about);
    assert.equal(area, 'task', about);
    if (event === 'setvariable') {
      set.push(properties.get('variable') ?? '');
      assert.ok(!/\$\(|\0/.test(data), about);
    } else {
      assertPlain(data, about);
    }
  }
  assertOutputNames(set, eventOutputs);
  const ends = step.commands.filter(({ event }) => event === 'complete');
  assert.deepEqual(
    ends.map(({ properties }) => properties.get('result')),
    [step.result],
  );
  assert.doesNotMatch(step.errors.join('\n'), /\bInternal: /);
  const lines = step.rawStdout.split(/\r\n|\n|\r/);
  const own = lines.filter((line) => OWN_COMMAND.test(line));
  assert.equal(own.length, step.commands.length, 'the log holds a command that the task did not write');
  for (const line of lines) if (!OWN_COMMAND.test(line)) assertPlain(line, `${step.name} printed`);
}

/** The outputs of one of the tasks, each once, or none if the step didn't get that far. */
function assertOutputNames(set: readonly string[], eventOutputs: readonly string[]): void {
  const own = set.filter((name) => !name.startsWith('event.'));
  const ofEvent = set.filter((name) => name.startsWith('event.'));
  assert.ok(
    own.length === 0 ||
      OUTPUTS.some((names) => names.length === own.length && names.every((name) => own.includes(name))),
    `outputs: ${own.join()}`,
  );
  assert.deepEqual(
    ofEvent.filter((name, index) => ofEvent.indexOf(name) !== index || !eventOutputs.includes(name.slice(6))),
    [],
  );
}

/** Asserts that the agent only shows this line. */
export function assertPlain(line: string, about: string): void {
  assert.doesNotMatch(line, /##vso\[|^##\[|[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/iu, about);
  assert.doesNotMatch(line.replace(SKIPPED, ''), /##vso\[|^##\[/iu, about);
}

/** Asserts that a later step that prints everything it knows sees none of these secrets. */
export async function assertNoSecretLeaks(agent: LocalAgent, secrets: Readonly<Record<string, string>>): Promise<void> {
  const { rawStdout } = await agent.runScript({ script: 'env' });
  assert.match(rawStdout, /^BUILD_BUILDID=/m);
  for (const secret of Object.values(secrets)) assert.ok(!rawStdout.includes(secret), rawStdout);
}

/** Runs for all items, a few at a time; if this fails, all of them have ended. */
export async function forAll<T>(items: readonly T[], run: (item: T, index: number) => Promise<void>): Promise<void> {
  const rest = items.entries();
  const workers = Array.from({ length: 4 }, async () => {
    for (const [index, item] of rest) await run(item, index);
  });
  for (const outcome of await Promise.allSettled(workers)) if (outcome.status === 'rejected') throw outcome.reason;
}
