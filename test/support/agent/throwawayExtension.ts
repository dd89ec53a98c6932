import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { TaskDefinition } from '../../../localAgent/taskDefinition.ts';
import { temporaryFolder } from '../../../localAgent/index.ts';

/**
 * An extension with one task, `Sample@1`, for trying the agent itself.
 * @param program CommonJS text of its index.js
 * @param parts members of task.json to add or replace
 * @returns the extension's folder
 */
export function throwawayExtension(program: string, parts: Partial<TaskDefinition> = {}): string {
  const folder = temporaryFolder('extension-');
  const task = path.join(folder, 'Sample');
  const definition: TaskDefinition = {
    name: 'Sample',
    version: { Major: 1, Minor: 2, Patch: 3 },
    execution: { Node20_1: { target: 'index.js' }, Node24: { target: 'index.js' } },
    ...parts,
  };
  mkdirSync(task);
  writeFileSync(path.join(task, 'task.json'), JSON.stringify(definition));
  writeFileSync(path.join(task, 'index.js'), program);
  return folder;
}
