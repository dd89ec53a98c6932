import { TaskError } from '../../shared/errors.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { checkCallout } from '../callout/check.ts';
import { checkAll, checkFiles } from '../check.ts';
import type { Configuration } from '../config/configuration.ts';
import { ConfigurationError } from '../config/configurationError.ts';
import { describeFinding, error, type Finding } from '../finding.ts';
import { NatsCheck } from '../jetStream/check.ts';
import type { BridgeSettings } from '../settings.ts';
import type { World } from '../world.ts';
import { configurationOf, withSession } from './session.ts';

/**
 * Prints every problem once, each with its fix.
 *
 * @returns the exit code: 0 when there are only warnings
 */
export async function check(file: string, isOffline: boolean, world: World): Promise<number> {
  let configuration: Configuration;
  try {
    configuration = configurationOf(file, world, isOffline);
  } catch (thrown) {
    if (!(thrown instanceof ConfigurationError)) throw thrown;
    return tell(
      thrown.problems.map((problem) => `error: ${problem}`),
      thrown.problems.length,
      world,
    );
  }
  const { settings, warnings } = configuration;
  const findings = isOffline ? await checkFiles(settings) : await checkOnline(settings, world);
  const lines = [
    ...warnings.map((text) => `warning: ${text}`),
    ...findings.map((finding) => `${finding.level}: ${describeFinding(finding)}`),
  ];
  return tell(lines, findings.filter(({ level }) => level === 'error').length, world);
}

async function checkOnline(settings: BridgeSettings, world: World): Promise<Finding[]> {
  try {
    return await withSession(settings, world, ({ nats, jetStream, azureDevOps }) =>
      checkAll(
        settings,
        () => new NatsCheck(settings, nats, jetStream).findings(true),
        azureDevOps,
        () => world.now(),
      ),
    );
  } catch (thrown) {
    if (!(thrown instanceof TaskError)) throw thrown;
    const { callout } = settings;
    return [
      ...(await checkFiles(settings)),
      error('NATS', thrown.problem, thrown.remedy),
      ...(callout === undefined ? [] : await checkCallout(callout, settings, () => world.now())),
    ];
  }
}

function tell(lines: readonly string[], errors: number, world: World): number {
  for (const line of lines) world.out(`${safeText(line)}\n`);
  const warnings = lines.length - errors;
  const parts = [
    errors === 0 ? 'No problems' : count(errors, 'problem'),
    ...(warnings > 0 ? [count(warnings, 'warning')] : []),
  ];
  world.err(`${parts.join(', ')}.\n`);
  return errors === 0 ? 0 : 1;
}

function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}
