/**
 * The baseline of the start-up benchmark: what one writes first to publish an event from a task, with the same libraries.
 * It reads the inputs of PublishNatsEvent; its connection has no sign-in.
 */
import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import * as tl from 'azure-pipelines-task-lib/task.js';
import { connect } from 'nats';

async function run(): Promise<void> {
  const ajv = formats.default(new Ajv2020());
  const payload = tl.getInputRequired('payload');
  const schema = JSON.parse(readFileSync(tl.getInputRequired('schemaFile'), 'utf8')) as object;
  if (!ajv.validate(schema, JSON.parse(payload))) throw new Error(ajv.errorsText());
  const connection = await connect({ servers: tl.getEndpointUrlRequired(tl.getInputRequired('natsConnection')) });
  const { stream, seq } = await connection.jetstream().publish(tl.getInputRequired('subject'), payload);
  await connection.close();
  tl.setResult(tl.TaskResult.Succeeded, `Published as ${stream} ${seq}`);
}

run().catch((error: unknown) => {
  tl.setResult(tl.TaskResult.Failed, String(error));
});
