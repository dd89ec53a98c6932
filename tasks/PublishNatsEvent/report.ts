import type { Agent } from '../shared/agent.ts';
import { TaskError } from '../shared/errors.ts';
import { isoTime, logLine, setOutputs, writeJsonFile } from '../shared/report.ts';
import type { StepEnd } from '../shared/run.ts';
import type { PublishStep } from './inputs.ts';
import { sha256, type PreparedEvent, type Published } from './publish.ts';

/** Every output of the task, so that one without a value does not compile. */
type Output =
  | 'messageId'
  | 'subject'
  | 'correlationId'
  | 'traceparent'
  | 'stream'
  | 'sequence'
  | 'duplicate'
  | 'count'
  | 'schemaDigest'
  | 'receiptFile';

/** Says what was published: log line, outputs, receipt and the end of the step. */
export function reportPublished(agent: Agent, step: PublishStep, published: Published): StepEnd {
  const { request } = step;
  const { event, ack } = published;
  agent.info(
    logLine('published', {
      subject: request.subject,
      messageId: event.messageId,
      correlationId: request.correlationId,
      stream: ack?.stream,
      sequence: ack?.sequence,
      duplicate: ack?.duplicate,
      bytes: event.payload.length,
      confirmedAfterMs: published.confirmedAt - published.sentAt,
      schema: event.schemaDigest,
      traceparent: request.traceparent,
    }),
  );
  const duplicate = ack?.duplicate === true;
  const place = ack === undefined ? '' : ` as ${ack.stream} ${String(ack.sequence)}`;
  if (duplicate) {
    agent.warning(
      `The stream ${ack.stream} already holds an event with the message id "${event.messageId}", at sequence ${String(ack.sequence)}; nothing was stored this time.`,
    );
  }
  setAll(
    agent,
    step,
    event,
    published,
    writeJsonFile(agent, 'nats-publish-receipt', receipt(step, event, published, undefined)),
  );
  return {
    result: 'Succeeded',
    message: duplicate ? `Already published${place}` : `Published to ${request.subject}${place}`,
  };
}

/** Leaves evidence of an event that could not be published. */
export function reportUnpublished(agent: Agent, step: PublishStep, event: PreparedEvent, error: unknown): void {
  setAll(
    agent,
    step,
    event,
    undefined,
    writeJsonFile(agent, 'nats-publish-receipt', receipt(step, event, undefined, error)),
  );
}

function setAll(
  agent: Agent,
  { request }: PublishStep,
  event: PreparedEvent,
  published: Published | undefined,
  receiptFile: string,
): void {
  const outputs: Record<Output, string> = {
    messageId: event.messageId,
    subject: request.subject,
    correlationId: request.correlationId,
    traceparent: request.traceparent,
    stream: published?.ack?.stream ?? '',
    sequence: published?.ack === undefined ? '' : String(published.ack.sequence),
    duplicate: String(published?.ack?.duplicate ?? false),
    count: published === undefined ? '0' : '1',
    schemaDigest: event.schemaDigest ?? '',
    receiptFile,
  };
  setOutputs(agent, outputs);
}

function receipt(
  { request, connection }: PublishStep,
  event: PreparedEvent,
  published: Published | undefined,
  error: unknown,
): unknown {
  return {
    receiptVersion: 1,
    task: 'PublishNatsEvent',
    who: { ...request.run.owner, ...request.run.step },
    where: {
      servers: connection.servers.map(({ host, port }) => `${host}:${String(port)}`),
      delivery: request.delivery,
      subject: request.subject,
      stream: published?.ack?.stream ?? null,
      sequence: published?.ack?.sequence ?? null,
    },
    what: {
      messageId: event.messageId,
      envelope: request.envelope,
      source: event.attributes.source,
      type: event.attributes.type,
      correlationId: request.correlationId,
      traceparent: request.traceparent,
      payloadBytes: event.payload.length,
      payloadSha256: sha256(event.payload),
      schemaFile: request.schemaFile ?? null,
      schemaDigest: event.schemaDigest ?? null,
    },
    when: { sentAt: isoTime(published?.sentAt) || null, confirmedAt: isoTime(published?.confirmedAt) || null },
    result: {
      published: published !== undefined,
      duplicate: published?.ack?.duplicate ?? null,
      count: published === undefined ? 0 : 1,
      error: error === undefined ? null : error instanceof TaskError ? error.code : 'Internal',
    },
  };
}
