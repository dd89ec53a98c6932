import { Ajv2020 } from 'ajv/dist/2020.js';
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { StepRun } from '../../../localAgent/index.ts';
import { ROOT } from '../../../scripts/build/manifest.ts';

export type Json = Record<string, unknown>;
export type TaskKind = 'publish' | 'wait';

/** The receipts test checks the schemas themselves; doing so in each file would take longer than using them. */
export const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true, validateSchema: false });

/** The published schema of a task's receipts. */
export const RECEIPT_SCHEMAS = { publish: schemaOf('publish'), wait: schemaOf('wait') };

function schemaOf(task: TaskKind): Json {
  const file = path.join(ROOT, 'docs', 'receipts', `${task}-receipt.v1.schema.json`);
  return JSON.parse(readFileSync(file, 'utf8')) as Json;
}

/** Why a receipt doesn't match its task's schema; null if it does. */
export function problemsOfReceipt(receipt: unknown, task: TaskKind): typeof ajv.errors {
  ajv.validate(RECEIPT_SCHEMAS[task], receipt);
  return ajv.errors ?? null;
}

/** Asserts that a step's receipt, if it left one, matches its schema and states the error of a failed step. */
export function assertReceipt(step: StepRun, task: TaskKind): void {
  const file = step.fileOf('receiptFile');
  if (!existsSync(file)) return;
  const receipt = JSON.parse(readFileSync(file, 'utf8')) as { readonly result: { readonly error: string | null } };
  assert.deepEqual(problemsOfReceipt(receipt, task), null, JSON.stringify(receipt, null, 1));
  const { error } = receipt.result;
  if (step.result === 'Failed') assert.ok(step.errors.join('\n').includes(`${error}: `), step.logText);
  if (error === null) assert.notEqual(step.result, 'Failed', step.logText);
}
