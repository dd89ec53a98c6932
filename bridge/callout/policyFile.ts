import { readRegularFile } from '../../shared/regularFile.ts';
import { signatureOf, withoutPath, type FileSurroundings } from '../config/secrets.ts';
import { readPolicy, type PolicyFile } from './policy.ts';

const MOST_BYTES = 1_024 * 1_024;

/**
 * Reads a policy file for the first time.
 *
 * @param setting the setting that holds its path
 * @returns what is wrong continues the file, as clauses
 */
export function openPolicy(
  setting: string,
  file: string,
  accounts: readonly string[] | undefined,
  surroundings: FileSurroundings,
): PolicyFile | { readonly problems: readonly string[] } {
  let signature = signatureOf(file);
  const first = read(file, accounts);
  if ('problems' in first) return first;
  let { policy } = first;
  let lookedAt = surroundings.now();
  let isTroubled = false;
  const label = `${setting} (${file})`;
  const lookAgain = (): void => {
    const now = surroundings.now();
    if (Math.abs(now - lookedAt) < surroundings.lookEveryMs) return;
    lookedAt = now;
    const changed = signatureOf(file);
    if (changed === signature) return;
    signature = changed;
    const next = read(file, accounts);
    if ('problems' in next) {
      isTroubled = true;
      const remedy = 'The last good policy stays in use until it is fixed.';
      surroundings.onTrouble(label, { problem: `is not used: ${next.problems.join('; ')}`, remedy }, 'policy');
      return;
    }
    policy = next.policy;
    if (isTroubled) surroundings.onTrouble(label, undefined, 'policy');
    isTroubled = false;
  };
  surroundings.watch({ label, file, look: lookAgain });
  return {
    get current() {
      lookAgain();
      return policy;
    },
  };
}

function read(file: string, accounts: readonly string[] | undefined): ReturnType<typeof readPolicy> {
  try {
    const bytes = readRegularFile(file, MOST_BYTES);
    return bytes === undefined
      ? { problems: [`it is larger than ${MOST_BYTES / 1_024} KiB`] }
      : readPolicy(bytes.toString(), accounts);
  } catch (error) {
    return { problems: [`it can't be read: ${withoutPath(error)}`] };
  }
}
