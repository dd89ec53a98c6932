import { existsSync } from 'node:fs';
import type { Contract } from '../../shared/contract/contract.ts';
import { loadContract } from '../../shared/contract/load.ts';
import { TaskError } from '../../shared/errors.ts';
import { quoted } from '../../shared/text/safeText.ts';
import { describeFinding, error, warning, type Finding } from '../finding.ts';
import type { BridgeSettings } from '../settings.ts';
import type { Configuration } from './configuration.ts';
import { ConfigurationError } from './configurationError.ts';

export type Contracts = Readonly<Record<string, Contract>>;

const PATH_REMEDY = 'Give the path of a JSON Schema file; a relative path starts at the folder of the configuration.';

/** Reads and compiles the contracts, with what is wrong with them. */
export async function readContracts({ contracts }: Pick<BridgeSettings, 'contracts'>): Promise<{
  readonly contracts: Contracts;
  readonly findings: readonly Finding[];
}> {
  const findings: Finding[] = [];
  const read: Record<string, Contract> = {};
  for (const [name, file] of Object.entries(contracts)) {
    try {
      read[name] = await loadContract(file);
    } catch (thrown) {
      if (!(thrown instanceof TaskError)) throw thrown;
      const remedy = thrown.code === 'InvalidInput' ? PATH_REMEDY : thrown.remedy;
      const problem = existsSync(file) ? thrown.problem : `there is no file ${quoted(file)}`;
      findings.push(error(`contracts.${name}`, problem, remedy));
    }
  }
  return { contracts: read, findings };
}

/** Warnings for the authors of contracts. */
export function warningsOf(contracts: Contracts): Finding[] {
  return Object.entries(contracts).flatMap(([name, { warnings }]) =>
    warnings.map(({ problem, remedy }) => warning(`contracts.${name}`, problem, remedy)),
  );
}

/**
 * The contracts of a valid configuration.
 *
 * @throws ConfigurationError
 */
export async function loadContracts({ settings, signature }: Configuration): Promise<Contracts> {
  const { contracts, findings } = await readContracts(settings);
  if (findings.length > 0) throw new ConfigurationError(findings.map(describeFinding), signature);
  return contracts;
}
