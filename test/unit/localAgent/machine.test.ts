import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { LocalAgent, type Machine, THIS_MACHINE } from '../../../localAgent/index.ts';
import { throwawayExtension } from '../../support/agent/throwawayExtension.ts';

test("a task on another machine gets that machine's paths", async () => {
  let ran: Parameters<Machine['run']>[0] | undefined;
  const machine: Machine = {
    ...THIS_MACHINE,
    os: 'Windows_NT',
    path: path.win32,
    pathOf: (local) => `Z:${local.replaceAll('/', '\\')}`,
    localPath: (file) => file.replace('Z:', '').replaceAll('\\', '/'),
    run: (options) => {
      ran = options;
      options.onStdout(Buffer.from('##vso[task.setvariable variable=eventFile;isOutput=true]Z:\\a\\b.json'));
      return Promise.resolve(0);
    },
  };
  const extension = throwawayExtension('', { inputs: [{ name: 'payloadFile', type: 'filePath' }] });
  const agent = new LocalAgent({ extension, machine });
  const step = await agent.runTask({ task: 'Sample@1', inputs: { payloadFile: 'a/..\\b.json' } });

  const { sources, temp } = agent.folders;
  const expected = {
    AGENT_OS: 'Windows_NT',
    AGENT_TEMPDIRECTORY: machine.pathOf(temp),
    BUILD_ARTIFACTSTAGINGDIRECTORY: machine.pathOf(path.join(path.dirname(sources), 'a')),
    BUILD_SOURCESDIRECTORY: machine.pathOf(sources),
    INPUT_PAYLOADFILE: machine.pathOf(path.join(sources, 'b.json')),
  };
  assert.deepEqual(Object.fromEntries(Object.keys(expected).map((name) => [name, ran?.env[name]])), expected);
  assert.deepEqual(ran?.args, [machine.pathOf(path.join(extension, 'Sample', 'index.js'))]);
  assert.equal(ran.cwd, sources);
  assert.equal(step.fileOf('eventFile'), '/a/b.json');
});
