import { Ajv2020 } from 'ajv/dist/2020.js';
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { StepRun } from '../../../localAgent/index.ts';
import { ROOT } from '../../../scripts/build/manifest.ts';

export type Json = Record<string, unknown>;
export type TaskKind = 'publish' | 'wait';

/** The test of receipts checks the schemas themselves: to do so in each file takes longer than to use them. */
export const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true, validateSchema: false });

/** The published schema of a task's receipts. */
export const RECEIPT_SCHEMAS = { publish: schemaOf('publish'), wait: schemaOf('wait') };

function schemaOf(task: TaskKind): Json {
  const file = path.join(ROOT, 'docs', 'receipts', `${task}-receipt.v1.schema.json`);
  return JSON.parse(readFileSync(file, 'utf8')) as Json;
}

/** What keeps a receipt from fitting the schema of its task; null when it fits. */
export function problemsOfReceipt(receipt: unknown, task: TaskKind): typeof ajv.errors {
  ajv.validate(RECEIPT_SCHEMAS[task], receipt);
  return ajv.errors ?? null;
}

/** The receipt of a step that has left one fits its schema, and says the error with which the step failed. */
export function assertReceipt(step: StepRun, task: TaskKind): void {
  const file = step.fileOf('receiptFile');
  if (!existsSync(file)) return;
  const receipt = JSON.parse(readFileSync(file, 'utf8')) as { readonly result: { readonly error: string | null } };
  assert.deepEqual(problemsOfReceipt(receipt, task), null, JSON.stringify(receipt, null, 1));
  const { error } = receipt.result;
  if (step.result === 'Failed') assert.ok(step.errors.join('\n').includes(`${error}: `), step.logText);
  if (error === null) assert.notEqual(step.result, 'Failed', step.logText);
}
