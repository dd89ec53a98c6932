import type { ConnectionSettings } from '../../shared/connection/settings.ts';
import type { Agent } from './agent.ts';
import { maskedJson, writeFile } from './outputs.ts';
import type { PipelineRun } from './pipelineRun.ts';

/** What a receipt contains besides who and on which servers; absent values are null (docs/receipts.md). */
export interface ReceiptParts {
  readonly where: Readonly<Record<string, unknown>>;
  readonly what: Readonly<Record<string, unknown>>;
  /** Times in ISO 8601. */
  readonly when: Readonly<Record<string, string>>;
  readonly result: Readonly<Record<string, unknown>>;
}

const FILES = { PublishNatsEvent: 'nats-publish-receipt', WaitForNatsEvent: 'nats-wait-receipt' };

/**
 * Writes the receipt of a step: evidence as JSON, never a secret, never a payload.
 *
 * @returns the path of the file; empty when it can't be written
 */
export function writeReceipt(
  agent: Agent,
  task: keyof typeof FILES,
  { connection, request }: { readonly connection: ConnectionSettings; readonly request: { readonly run: PipelineRun } },
  { where, what, when, result }: ReceiptParts,
): string {
  const receipt = {
    receiptVersion: 1,
    task,
    who: { ...request.run.owner, ...request.run.step },
    where: { servers: connection.servers.map(({ host, port }) => `${host}:${port}`), ...where },
    what,
    when,
    result,
  };
  return writeFile(agent, FILES[task], 'json', maskedJson(receipt));
}
