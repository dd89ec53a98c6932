import { once } from '../once.ts';
import type { Contract } from './contract.ts';

const compiling = once(() => import('./compile.ts'));

/**
 * Reads a JSON Schema and all files it refers to, and compiles it.
 *
 * @param schemaFile absolute path of the root schema
 * @param options `checkLimitMs`: how long one check may take, in milliseconds
 * @throws TaskError InvalidInput when there is no such file to read; InvalidSchema when it or a file it refers to is no schema
 */
export async function loadContract(schemaFile: string, { checkLimitMs = 1000 } = {}): Promise<Contract> {
  const { compileContract } = await compiling();
  return await compileContract(schemaFile, checkLimitMs);
}

/** Loads all that contracts may take, for a program that outlives its files. */
export async function prepareContracts(): Promise<void> {
  const { unevaluatedModule } = await compiling();
  await unevaluatedModule();
}
