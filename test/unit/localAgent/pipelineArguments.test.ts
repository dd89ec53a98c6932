import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { readArguments } from '../../../localAgent/pipelineArguments.ts';
import { temporaryFolder } from '../../../localAgent/index.ts';

describe('the command line of a local run', () => {
  const folder = temporaryFolder('project-');
  writeFileSync(path.join(folder, 'azure-pipelines.yml'), 'steps: []');
  for (const part of ['.git', 'node_modules', 'src']) mkdirSync(path.join(folder, part));

  it('sets the options of a run, with a copy of the sources', () => {
    process.env['ARGUMENTS_TEST'] = 'hush';
    const { file, inspect, options } = readArguments(
      [
        ...['azure-pipelines.yml', '--connection', 'a=nats://h', '--connection', 'b=tls://h:1', '--variable', 'x=1=2'],
        ...[
          '--secret',
          's=ARGUMENTS_TEST',
          '--parameter',
          'p=',
          '--repository',
          'r=src',
          '--inspect',
          'Say it',
          '--debug',
        ],
      ],
      folder,
    );
    assert.equal(file, path.join(folder, 'azure-pipelines.yml'));
    assert.equal(inspect, 'Say it');
    assert.deepEqual(options.connections, {
      a: { url: 'nats://h', scheme: 'None' },
      b: { url: 'tls://h:1', scheme: 'None' },
    });
    const { x, 'Build.BuildId': buildId } = options.variables ?? {};
    assert.equal(x, '1=2');
    assert.match(buildId ?? '', /^\d+$/);
    assert.deepEqual([options.secrets, options.parameters], [{ s: 'hush' }, { p: '' }]);
    assert.deepEqual([options.debug, options.skipOtherTasks], [true, false]);
    assert.notEqual(options.sources, folder);
    assert.deepEqual(readdirSync(options.sources).sort(), ['azure-pipelines.yml', 'src']);
    assert.ok(existsSync(options.repositories!['r']!));
  });

  it('sets the server to start and the streams to create', () => {
    const serverOf = (...args: string[]) => {
      const { nats, streams } = readArguments(['azure-pipelines.yml', ...args], folder);
      return { nats, streams };
    };
    assert.deepEqual(serverOf(), { nats: false, streams: [] });
    assert.deepEqual(serverOf('--nats'), { nats: true, streams: [] });
    const streams = [
      { name: 'CI', subjects: ['ci.>', 'a.*'] },
      { name: 'B', subjects: ['b'] },
    ];
    assert.deepEqual(serverOf('--stream', 'CI=ci.>, a.*', '--stream', 'B=b'), { nats: false, streams });
  });

  it('is refused if npm took the options, which its own -- prevents', () => {
    process.env['npm_config_skip_other_tasks'] = process.env['npm_config_nats'] = 'true';
    try {
      const message =
        'npm took --skip-other-tasks, --nats for its own. npm needs -- before the file: npm run pipeline -- FILE.yml --skip-other-tasks --nats';
      assert.throws(() => readArguments(['azure-pipelines.yml'], folder), { message });
      assert.ok(readArguments(['azure-pipelines.yml', '--nats', '--skip-other-tasks'], folder).nats);
    } finally {
      delete process.env['npm_config_skip_other_tasks'];
      delete process.env['npm_config_nats'];
    }
  });

  for (const [what, args, problem] of [
    ['no file', [], /One pipeline file is needed\.\nUsage: npm run pipeline/],
    ['two files', ['azure-pipelines.yml', 'x.yml'], /One pipeline file is needed/],
    ['a missing file', ['other.yml'], /the pipeline file: there is no file .*other\.yml/],
    ['a missing folder', ['azure-pipelines.yml', '--sources', 'x'], /--sources: there is no folder/],
    ['an unknown option', ['--faster=hunter22'], /There is no option --faster\.\nUsage/],
    [
      'a misspelt option',
      ['--conection', 'a=hunter22'],
      /^There is no option --conection\. Did you mean --connection\?$/,
    ],
    [
      'a stream that lost its > to the shell',
      ['azure-pipelines.yml', '--nats', '--stream', 'CI=a.b,ci.'],
      /^--stream CI: "ci\." has an empty part: .* needs quotes: --stream 'CI=ci\.>'$/,
    ],
    [
      'an invalid name of a stream',
      ['azure-pipelines.yml', '--nats', '--stream', 'a.b=c'],
      /^--stream: "a\.b" isn't a name/,
    ],
    ['a variable without a value', ['azure-pipelines.yml', '--variable', 'hunter22'], /--variable needs NAME=VALUE/],
    ["a secret's value", ['azure-pipelines.yml', '--secret', 's=hunter22'], /--secret s: give the name/],
    ['a password in a URL', ['azure-pipelines.yml', '--connection', 'n=nats://u:hunter22@h'], /n: put what signs in/],
  ] as const) {
    it(`is refused with ${what}`, () => {
      assert.throws(
        () => readArguments([...args], folder),
        ({ message }: Error) => problem.test(message) && !message.includes('hunter22'),
      );
    });
  }
});
