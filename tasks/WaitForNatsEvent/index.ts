import { azureAgent } from '../agent/azureAgent.ts';
import { describeWarnings } from '../../shared/contract/contract.ts';
import { loadContract } from '../../shared/contract/load.ts';
import { openNatsBus } from '../../shared/nats/natsBus.ts';
import { runTask } from '../agent/run.ts';
import { readWait } from './inputs.ts';
import { reportOutcome } from './report.ts';
import { eventSource } from './source.ts';
import { waitForEvent } from '../../shared/waiting/wait.ts';

const agent = azureAgent();

void runTask(agent, readWait, async (step, clock) => {
  const { request, connection } = step;
  const contract = request.schemaFile === undefined ? undefined : await loadContract(request.schemaFile);
  for (const text of describeWarnings(contract)) agent.warning(text);
  const source = eventSource(request, () => openNatsBus(connection, clock, agent), clock.signal);
  return reportOutcome(agent, step, await waitForEvent(request, contract, source, clock, agent), clock);
});
