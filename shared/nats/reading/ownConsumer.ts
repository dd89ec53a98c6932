import { randomBytes } from 'node:crypto';
import type { ConsumerConfig, ConsumerStart } from '../jetStreamApi.ts';

const NANOSECONDS = 1e6;
/** Few, since the name comes with every message and reading its bytes is a part of reading a backlog. */
const NAME_BYTES = 9;

/**
 * A consumer for one reader: ephemeral, in memory, with a random name, acknowledging nothing.
 *
 * @param inactiveMs the server removes it when nobody has pulled from it for this many milliseconds
 */
export function ownConsumer(inactiveMs: number): Omit<ConsumerConfig, keyof ConsumerStart> {
  return {
    name: `azp-${randomBytes(NAME_BYTES).toString('base64url')}`,
    ack_policy: 'none',
    replay_policy: 'instant',
    mem_storage: true,
    num_replicas: 1,
    inactive_threshold: inactiveMs * NANOSECONDS,
  };
}
