import { azureAgent } from '../shared/azureAgent.ts';
import { loadContract } from '../shared/contract.ts';
import { openNatsBus } from '../shared/nats/natsBus.ts';
import { runTask } from '../shared/run.ts';
import { readPublish } from './inputs.ts';
import { prepareEvent, publishEvent } from './publish.ts';
import { reportPublished, reportUnpublished } from './report.ts';

const agent = azureAgent();

void runTask(agent, readPublish, async (step, clock) => {
  const { request } = step;
  const contract = request.schemaFile === undefined ? undefined : await loadContract(request.schemaFile);
  const event = prepareEvent(request, contract);
  try {
    const bus = await openNatsBus(step.connection, clock, agent);
    const published = await publishEvent(request, event, step.signingKey, bus, clock);
    await bus.close();
    return reportPublished(agent, step, published);
  } catch (error) {
    reportUnpublished(agent, step, event, error);
    throw error;
  }
});
