import { onFreePorts } from '../../localAgent/natsServer.ts';

/** A port of 127.0.0.1 that was free a moment ago, for tests that need an address before anything listens there. */
export function freePort(): Promise<number> {
  return onFreePorts(1, ([port = 0]) => Promise.resolve(port));
}
