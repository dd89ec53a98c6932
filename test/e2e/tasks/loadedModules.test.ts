import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { assertSucceeded, publish, sourcesWith, underEachNode, wait } from '../../support/agent/scenario.ts';

/** What of Node takes milliseconds to load and a step on a plain link to an address does not use. */
const UNUSED = /^NativeModule (tls|dns|perf_hooks|http|https|child_process|zlib|internal\/crypto\/webcrypto)$/;

underEachNode('What a step loads of Node.js', (scene) => {
  it('is only what it uses', async () => {
    const stream = await scene.stream();
    const folder = temporaryFolder('loaded-');
    const [noting, note] = [path.join(folder, 'noting.cjs'), path.join(folder, 'loaded.json')];
    writeFileSync(
      noting,
      `const early = new Set(process.moduleLoadList);
       const { writeFileSync } = require('node:fs');
       process.on('exit', () => {
         const loaded = process.moduleLoadList.filter((module) => !early.has(module));
         writeFileSync(${JSON.stringify(note)}, JSON.stringify(loaded));
       });`,
    );
    const agent = scene.agent({ sources: sourcesWith({ 'any.schema.json': {} }) });
    const subject = stream.subject('a');
    const inputs = { subject, schemaFile: 'any.schema.json' };
    for (const run of [
      () => publish(agent, { ...inputs, payload: '{}' }, { env: { NODE_OPTIONS: `--require=${noting}` } }),
      () => wait(agent, { ...inputs, startFrom: 'all' }, { env: { NODE_OPTIONS: `--require=${noting}` } }),
    ]) {
      assertSucceeded(await run());
      const loaded = JSON.parse(readFileSync(note, 'utf8')) as string[];
      assert.ok(loaded.includes('NativeModule net'), loaded.join('\n'));
      assert.deepEqual(
        loaded.filter((module) => UNUSED.test(module)),
        [],
      );
    }
  });
});
