import type { Contract } from './contract.ts';

/**
 * Reads a JSON Schema and all files it refers to, and compiles it.
 *
 * @param schemaFile absolute path of the root schema
 * @param options `checkLimitMs`: how long one check may take, in milliseconds
 * @throws TaskError InvalidInput when there is no such file to read; InvalidSchema when it or a file it refers to is no schema
 */
export async function loadContract(schemaFile: string, { checkLimitMs = 1000 } = {}): Promise<Contract> {
  const { compileContract } = await import('./compile.ts');
  return await compileContract(schemaFile, checkLimitMs);
}
