/** What the bridge shows of a story: a signed event that started a deployment, and an unsigned one that did not. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { ROOT } from '../build/manifest.ts';

export interface PicturedBridge {
  /** What the command `why` says of ids. */
  readonly whys: readonly { readonly id: string; readonly text: string }[];
  /** Its status page, as HTML. */
  readonly statusPage: string;
}

/**
 * Plays the story with the packed bridge and tasks in a process of its own; takes about five seconds.
 *
 * @returns also the address of the stand-in for Azure DevOps, with a slash at its end
 */
export function picturedBridge(): PicturedBridge & { readonly organization: string } {
  const story = path.join(ROOT, 'test', 'demo', 'pictured.ts');
  const output = execFileSync(process.execPath, ['--import', 'tsx', story], {
    ...{ cwd: ROOT, encoding: 'utf8', timeout: 90_000 },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(output) as ReturnType<typeof picturedBridge>;
}
