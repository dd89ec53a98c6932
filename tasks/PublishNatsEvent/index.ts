import { azureAgent } from '../agent/azureAgent.ts';
import { describeWarnings } from '../../shared/contract/contract.ts';
import { loadContract } from '../../shared/contract/load.ts';
import { openNatsBus } from '../../shared/nats/natsBus.ts';
import type { Clock } from '../../shared/clock.ts';
import { runTask } from '../agent/run.ts';
import { readPublish, type PublishStep } from './inputs.ts';
import { prepare, publish, replyProblem } from './publish.ts';
import { progressOf, reportPublished, reportUnsent, warnOfPayload } from './report.ts';

const agent = azureAgent();

void runTask(agent, readPublish, async (step, clock) => {
  const { bus, prepared, replyContract } = await makeReady(step, clock).catch((error: unknown) =>
    reportUnsent(agent, step, error, clock),
  );
  const published = await publish(step.request, prepared, bus, progressOf(agent, prepared, clock), clock);
  const { reply } = published;
  const problem = replyContract && reply && (await replyProblem(reply, replyContract, clock));
  await bus.close();
  const error = published.error ?? problem;
  return reportPublished(agent, step, prepared, { ...published, error }, clock);
});

/** Everything that can fail before anything is sent. */
async function makeReady(step: PublishStep, clock: Clock) {
  const { request, connection, signingKey } = step;
  const contract = request.schemaFile === undefined ? undefined : await loadContract(request.schemaFile);
  const replyContract = request.replySchemaFile === undefined ? undefined : await loadContract(request.replySchemaFile);
  for (const text of [contract, replyContract].flatMap(describeWarnings)) agent.warning(text);
  const prepared = await prepare(request, contract, signingKey, clock);
  warnOfPayload(agent, step, prepared);
  return { bus: await openNatsBus(connection, clock, agent), prepared, replyContract };
}
