import { randomFillSync } from 'node:crypto';

/** In place of Web Crypto, of which the NATS library takes random bytes only; see scripts/build/build.ts. */
export const randomness = { getRandomValues: randomFillSync };
