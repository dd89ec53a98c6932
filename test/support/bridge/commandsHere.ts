import { readArguments } from '../../../bridge/arguments.ts';
import type { World } from '../../../bridge/world.ts';
import { reasonOf } from '../../../shared/errors.ts';
import { openServiceBus } from '../../../shared/nats/serviceBus.ts';
import { safeText } from '../../../shared/text/safeText.ts';
import type { CommandRun } from './bridgeProcess.ts';
import { configurationFile, type Given } from './configurationFile.ts';

/** The world of a command that runs in the test's process, and its output. */
class Here implements World {
  readonly user = 'tester';
  readonly version = '1.2.3';
  readonly isTerminal = false;
  readonly openNats = openServiceBus;
  stdout = '';
  stderr = '';

  constructor(readonly env: World['env']) {}

  now(): number {
    return Date.now();
  }

  out(data: string | Uint8Array): void {
    this.stdout += data.toString();
  }

  err(text: string): void {
    this.stderr += text;
  }

  onStop(): void {
    // A test is never asked to stop.
  }

  startFunctions(): never {
    throw new Error('Only run starts functions.');
  }
}

/** Runs a command in this process, for tests that aren't about the process: the bundle takes ten times as long. */
export async function runHere(
  args: readonly string[],
  file: string,
  env: Readonly<Record<string, string>> = {},
): Promise<CommandRun> {
  const world = new Here(env);
  const status = await statusOf([...args, '--config', file], world).catch((error: unknown) => {
    world.err(`${safeText(reasonOf(error))}\n`);
    return 1;
  });
  return { status, stdout: world.stdout, stderr: world.stderr };
}

async function statusOf(args: readonly string[], world: Here): Promise<number> {
  const command = readArguments(args, world.env);
  switch (command.kind) {
    case 'setup':
      return (await import('../../../bridge/commands/setup.ts')).setup(command.config, command, world);
    case 'check':
      return (await import('../../../bridge/commands/check.ts')).check(command.config, command.offline, world);
    case 'hooks':
      return (await import('../../../bridge/commands/hooks.ts')).hooks(command.action, command.config, world);
    case 'callout':
      return (await import('../../../bridge/commands/callout.ts')).callout(command.action, command.config, world);
    default:
      throw new Error(`No test runs ${command.kind} in its own process.`);
  }
}

/** Creates what a configuration needs, as the command `setup --apply` does. Throws when it can't. */
export async function setUp(yaml: string, { files, env = {} }: Pick<Given, 'files' | 'env'> = {}): Promise<void> {
  await setUpOn(configurationFile(yaml, files), env);
}

/** Like {@link setUp}, with an existing configuration. */
export async function setUpOn(file: string, env?: Given['env']): Promise<void> {
  const { status, stderr } = await runHere(['setup', '--apply'], file, env);
  if (status !== 0) throw new Error(`setup --apply: ${stderr}`);
}
