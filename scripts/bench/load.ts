import { setTimeout as delay } from 'node:timers/promises';
import type { NatsConnection } from 'nats';

export const EVENT_BYTES = 200;
/** How long what is paced goes on. */
export const PACED_MS = 5_000;

/** Publishes numbered events, which a stream stores. */
export async function fill(connection: NatsConnection, subject: string, events: number): Promise<void> {
  const jetStream = connection.jetstream();
  for (let number = 1; number <= events; number++) {
    const event = `${`{"number":${number},"text":"`.padEnd(EVENT_BYTES - 2, 'x')}"}`;
    // The acknowledgement of one of them shows that those before it are stored.
    if (number % 1_000 === 0) await jetStream.publish(subject, event);
    else connection.publish(subject, event);
  }
}

/** What each one tells, when so many begin each second, whatever happens to others. */
export async function paced(perSecond: number, begin: () => Promise<number>): Promise<number[]> {
  const all: Promise<number>[] = [];
  const began = performance.now();
  while (performance.now() - began < PACED_MS) {
    while (all.length < ((performance.now() - began) / 1_000) * perSecond) all.push(begin());
    await delay(1);
  }
  return Promise.all(all);
}
