import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectionSettings } from '../../../shared/connection/settings.ts';
import { openServiceBus, type ServiceBus } from '../../../shared/nats/serviceBus.ts';
import { settingsFor } from './openBus.ts';

const UNTIL_MS = 10_000;

/** A bus as a service uses it, which closes with the scope. */
export async function openService(url: string, others: Partial<ConnectionSettings> = {}): Promise<OpenService> {
  const lines: string[] = [];
  const note = (level: string) => (text: string) => void lines.push(`${level} ${text}`);
  const log = { info: note('info'), warning: note('warning'), debug: note('debug') };
  const settings = settingsFor([url], others);
  return new OpenService(await openServiceBus(() => settings, new AbortController().signal, log), lines);
}

export class OpenService implements AsyncDisposable {
  constructor(
    readonly bus: ServiceBus,
    /** Its log lines. */
    readonly lines: readonly string[],
  ) {}

  [Symbol.asyncDispose](): Promise<void> {
    return this.bus.close();
  }
}

/** Resolves once the condition holds; throws if it doesn't within 10 s. */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const deadline = Date.now() + UNTIL_MS; !(await holds());) {
    if (Date.now() > deadline) throw new Error(`Not within ${UNTIL_MS / 1_000} s: ${what}.`);
    await delay(10);
  }
}
