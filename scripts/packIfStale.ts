/**
 * Packs as scripts/package.ts does, where the package is older than its sources.
 * Usage: npx tsx scripts/packIfStale.ts
 */
import { packIfStale } from './build/stale.ts';

packIfStale();
