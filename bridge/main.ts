#!/usr/bin/env node
import { userInfo } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { reasonOf } from '../shared/errors.ts';
import { once } from '../shared/once.ts';
import { safeText } from '../shared/text/safeText.ts';
import { HELP, readArguments, UsageError } from './arguments.ts';
import { ConfigurationError } from './config/configurationError.ts';
import { EventLog } from './log.ts';
import type { World } from './world.ts';

/** Filled in by the build. */
declare const BRIDGE_VERSION: string | undefined;

// V8 lets garbage grow to several times the memory in use, and further when it has no processor to itself. For a replica with
// 50,000 waits that's the greater part of its memory, and collecting it earlier costs next to nothing.
setFlagsFromString('--heap-growing-percent=40');

/** Windows sends no SIGTERM. It has Ctrl+Break, and SIGHUP when the console is closed, which elsewhere ends a process anyway. */
const STOP_SIGNALS: readonly NodeJS.Signals[] = [
  ...(['SIGTERM', 'SIGINT'] as const),
  ...(process.platform === 'win32' ? (['SIGBREAK', 'SIGHUP'] as const) : []),
];

const natsModule = once(() => import('../shared/nats/serviceBus.ts'));
const world: World = {
  version: typeof BRIDGE_VERSION === 'string' ? BRIDGE_VERSION : '0.0.0',
  env: process.env,
  user: userName(),
  now: () => Date.now(),
  out: (data) => void process.stdout.write(data),
  isTerminal: process.stdout.isTTY,
  err: (text) => void process.stderr.write(text),
  onStop: (listener) => {
    for (const signal of STOP_SIGNALS) process.on(signal, () => listener(signal));
  },
  openNats: async (...given) => (await natsModule()).openServiceBus(...given),
};

/** How long anything left over may keep the process alive after the bridge has ended. */
const LINGER_MS = 1_000;

process.on('uncaughtException', (error) => {
  const log = new EventLog(
    (line) => world.err(line),
    () => world.now(),
  );
  log.error('crashed', { reason: error.stack ?? error.message });
  process.exit(1);
});
// The reader may have seen enough, as `head` does.
process.stdout.on('error', () => process.exit(process.exitCode ?? 0));
process.exitCode = await main(process.argv.slice(2));

/** A container's user may have no name. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `user ${process.getuid?.() ?? 'without a name'}`;
  }
}

async function main(given: readonly string[]): Promise<number> {
  try {
    const command = readArguments(given, world.env);
    // Each command loads its own code, so that it answers at once.
    switch (command.kind) {
      case 'help':
        world.out(HELP);
        return 0;
      case 'version':
        world.out(`${world.version}\n`);
        return 0;
      case 'run': {
        const [{ run }] = await Promise.all([import('./commands/run.ts'), natsModule()]);
        const code = await run(command.config, world);
        setTimeout(() => process.exit(code), LINGER_MS).unref();
        return code;
      }
      case 'check': {
        const { check } = await import('./commands/check.ts');
        return await check(command.config, command.offline, world);
      }
      case 'setup': {
        const { setup } = await import('./commands/setup.ts');
        return await setup(command.config, command, world);
      }
      case 'hooks': {
        const { hooks } = await import('./commands/hooks.ts');
        return await hooks(command.action, command.config, world);
      }
      case 'routes': {
        const { routes } = await import('./commands/routes.ts');
        return await routes(command.action, command.config, world);
      }
      case 'why': {
        const { why } = await import('./commands/why.ts');
        return await why(command.id, command, command.config, world);
      }
      case 'callout': {
        const { callout } = await import('./commands/callout.ts');
        return await callout(command.action, command.config, world);
      }
      case 'deadLetters': {
        const { deadLetters } = await import('./commands/deadLetters.ts');
        return await deadLetters(command.action, command.config, world);
      }
    }
  } catch (error) {
    if (error instanceof ConfigurationError) {
      for (const problem of error.problems) world.err(`${safeText(problem)}\n`);
      return 1;
    }
    world.err(`${safeText(reasonOf(error))}\n`);
    if (!(error instanceof UsageError)) return 1;
    world.err('See nats-event-bridge --help.\n');
    return 2;
  }
}
