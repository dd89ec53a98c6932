import { reasonOf } from '../shared/errors.ts';
import { safeText } from '../shared/text/safeText.ts';
import { openNatsBus } from '../shared/nats/natsBus.ts';
import { HELP, readArguments, UsageError } from './arguments.ts';
import { run } from './commands/run.ts';
import type { World } from './world.ts';

/** Put in by the build. */
declare const BRIDGE_VERSION: string | undefined;

const world: World = {
  version: typeof BRIDGE_VERSION === 'string' ? BRIDGE_VERSION : '0.0.0',
  env: process.env,
  now: () => Date.now(),
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  onStop: (listener) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => listener(signal));
  },
  openBus: (settings, clock, log) => openNatsBus(settings(), clock, log),
  startFunctions: () => Promise.resolve({ routes: [], stop: () => Promise.resolve() }),
};

process.exitCode = await main(process.argv.slice(2));

async function main(given: readonly string[]): Promise<number> {
  try {
    const command = readArguments(given, world.env);
    switch (command.kind) {
      case 'help':
        world.out(HELP);
        return 0;
      case 'version':
        world.out(`${world.version}\n`);
        return 0;
      case 'run':
        return await run(command.config, world);
      default:
        throw new UsageError('not yet');
    }
  } catch (error) {
    world.err(`${safeText(reasonOf(error))}\n`);
    if (!(error instanceof UsageError)) return 1;
    world.err('See nats-event-bridge --help.\n');
    return 2;
  }
}
