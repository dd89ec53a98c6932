import { randomFillSync } from 'node:crypto';

/** Replaces Web Crypto, which the NATS library uses for random bytes only; see scripts/build/build.ts. */
export const randomness = { getRandomValues: randomFillSync };
