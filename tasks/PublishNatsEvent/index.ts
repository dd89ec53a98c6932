import { azureAgent } from '../shared/azureAgent.ts';
import { loadContract } from '../shared/contract.ts';
import { openNatsBus } from '../shared/nats/natsBus.ts';
import { runTask } from '../shared/run.ts';
import { readPublish } from './inputs.ts';
import { prepare, publish, replyProblem } from './publish.ts';
import { progressOf, reportPublished } from './report.ts';

const agent = azureAgent();

void runTask(agent, readPublish, async (step, clock) => {
  const { request, connection, signingKey } = step;
  const contract = request.schemaFile === undefined ? undefined : await loadContract(request.schemaFile);
  const replyContract = request.replySchemaFile === undefined ? undefined : await loadContract(request.replySchemaFile);
  const prepared = await prepare(request, contract, signingKey, clock);
  const bus = await openNatsBus(connection, clock, agent);
  const published = await publish(request, prepared, bus, progressOf(agent, prepared, clock), clock);
  await bus.close();
  const error = published.error ?? (replyContract && published.reply && replyProblem(published.reply, replyContract));
  return reportPublished(agent, step, prepared, { ...published, error }, contract?.digest);
});
