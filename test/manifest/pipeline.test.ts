import { Ajv2020 } from 'ajv/dist/2020.js';
import assert from 'node:assert/strict';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { stampTask } from '../../scripts/build/channels.ts';
import { readJson, readTask, ROOT, TASK_NAMES, type PackageManifest } from '../../scripts/build/manifest.ts';

interface Step {
  readonly checkout?: string;
  readonly task?: string;
  readonly script?: string;
  readonly bash?: string;
  readonly download?: string;
  readonly artifact?: string;
  readonly condition?: string;
  readonly inputs?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
}

interface Job {
  readonly job?: string;
  readonly deployment?: string;
  readonly environment?: string;
  readonly pool: { readonly vmImage: string };
  readonly timeoutInMinutes?: number;
  readonly steps?: readonly Step[];
  readonly strategy?: {
    readonly runOnce?: { readonly deploy: { readonly steps: readonly Step[] } };
    readonly matrix?: Readonly<Record<string, { readonly image: string }>>;
  };
}

interface Stage {
  readonly stage: string;
  readonly dependsOn?: string;
  readonly condition?: string;
  readonly jobs: readonly Job[];
}

const project = readJson('package.json') as PackageManifest & { scripts: Record<string, string> };
const { stages } = read('azure-pipelines.yml') as { stages: readonly Stage[] };
const trying = read('azure-pipelines.try.yml') as { trigger: string; pr: string; steps: readonly Step[] };
const jobs = stages.flatMap(({ jobs }) => jobs);
const steps = [...jobs.flatMap(stepsOf), ...trying.steps];

test('the stages run in sequence, and those after the tests only for a tag', () => {
  const order = ['Build', 'Test', 'Dev', 'Try', 'Release'];
  assert.deepEqual(
    stages.map(({ stage }) => stage),
    order,
  );
  for (const [index, { stage, dependsOn, condition }] of stages.entries()) {
    assert.equal(dependsOn, order[index - 1], stage);
    const forTagsOnly = "and(succeeded(), startsWith(variables['Build.SourceBranch'], 'refs/tags/v'))";
    assert.equal(condition, index > 1 ? forTagsOnly : undefined, stage);
  }
});

test('tests run on fixed versions of the Linux, Windows and macOS images', () => {
  const testing = stages[1]!.jobs;
  const images = testing.flatMap(({ pool, strategy }) =>
    strategy?.matrix ? Object.values(strategy.matrix).map(({ image }) => image) : [pool.vmImage],
  );
  assert.deepEqual(
    images.map((image) => image.replace(/-[\d.]+$/, '')),
    ['ubuntu', 'windows', 'macOS'],
  );
  for (const image of [...images, ...jobs.map(({ pool }) => pool.vmImage)]) {
    assert.match(image, /-\d+(\.\d+)?$|^\$\(image\)$/);
  }
});

test('each channel is packed once, in one job, and published unchanged; prod needs an approval', () => {
  const packing = jobs.filter((job) => stepsOf(job).some(({ bash = '' }) => bash.includes('--release')));
  assert.equal(packing.length, 1);
  const kept = stepsOf(packing[0]!).flatMap(({ task, inputs }) =>
    task?.startsWith('PublishPipelineArtifact@') ? [inputs?.['artifact']] : [],
  );
  assert.deepEqual(kept, ['bridge', 'extension-dev', 'extension-prod']);

  const commands = stepsOf(packing[0]!).map(({ bash = '', task = '' }) => bash || task);
  const [sums, first] = [/checksums\.sh write/, /^PublishPipelineArtifact@/].map((what) =>
    commands.findIndex((command) => what.test(command)),
  );
  assert.equal(sums, first! - 1, 'the checksums are written before everything is packed');
  for (const folder of ['bridge', 'dev', 'prod']) assert.match(commands[sums]!, new RegExp(`for .* ?\\b${folder}\\b`));
  const packed = commands.join('\n');
  for (const file of [
    '*.vsix dist/*.cdx.json',
    'nats-event-bridge.cdx.json',
    'image.tar.gz',
    'callout-policy}.schema.json',
  ])
    assert.ok(packed.includes(file), file);

  const publishing = jobs.filter((job) => stepsOf(job).some(({ task }) => task?.startsWith('AzureCLI@')));
  assert.deepEqual(
    publishing.map((job) => {
      const own = stepsOf(job);
      assert.ok(
        !own.some(({ bash = '', script = '' }) => (bash + script).includes('package')),
        'the stage packs something',
      );
      return [
        job.environment,
        own.flatMap(({ download, artifact }) => (download === 'current' ? [artifact] : [])),
        own.flatMap(({ task, inputs = {} }) =>
          task?.startsWith('AzureCLI@')
            ? [[inputs['azureSubscription'], inputs['scriptPath'], inputs['arguments']]]
            : [],
        ),
      ];
    }),
    [
      [
        'marketplace-dev',
        ['extension-dev', 'bridge'],
        [
          ['marketplace-publisher-dev', 'scripts/publish.sh', '$(Pipeline.Workspace)/extension-dev $(shareWith)'],
          [
            'marketplace-publisher-dev',
            'scripts/push-image.sh',
            '$(Pipeline.Workspace)/bridge $(devRegistry) $(Build.SourceBranchName)',
          ],
        ],
      ],
      [
        'marketplace',
        ['extension-prod', 'bridge'],
        [
          ['marketplace-publisher', 'scripts/publish.sh', '$(Pipeline.Workspace)/extension-prod'],
          [
            'marketplace-publisher',
            'scripts/push-image.sh',
            '$(Pipeline.Workspace)/bridge $(registry) $(Build.SourceBranchName)',
          ],
        ],
      ],
    ],
  );
});

test("a job that can sign in runs no package's code except the publishing tool: no install or npm scripts", () => {
  const signingIn = jobs.filter((job) => stepsOf(job).some(canSignIn));
  assert.deepEqual(
    signingIn.map(({ job, deployment }) => job ?? deployment),
    ['PublishDev', 'Installed', 'PublishProd'],
  );
  for (const job of signingIn) {
    const own = stepsOf(job);
    const commands = own.flatMap(({ bash, script }) => bash ?? script ?? []);
    for (const command of commands)
      assert.match(command, /^(npm ci --ignore-scripts --no-audit --no-fund|node scripts\/tryInstalled\.ts)$/);
    const first = own.findIndex(canSignIn);
    assert.ok(
      own.slice(first).every(({ bash, script }) => !/\bnpm\b/.test(bash ?? script ?? '')),
      'a step installs packages too late',
    );
  }
  const withToken = signingIn.find(({ job }) => job === 'Installed');
  assert.doesNotMatch(
    JSON.stringify(withToken),
    /\bnpm\b|\bnpx\b/,
    'the step that holds the token of the job uses packages',
  );
});

test("a script with the job's token imports only Node.js and project files", () => {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const [, from = ''] of readFileSync(file, 'utf8').matchAll(/\b(?:from|import)\s*\(?\s*'([^']+)'/g)) {
      if (from.startsWith('.')) visit(path.join(path.dirname(file), from));
      else assert.match(from, /^node:/, file);
    }
  };
  visit(path.join(ROOT, 'scripts/tryInstalled.ts'));
  assert.ok(seen.size >= 3);
});

test('every downloaded artifact was published by an earlier stage', () => {
  const published = new Set<string>();
  for (const { jobs, stage } of stages) {
    const own = jobs.flatMap(stepsOf);
    const wanted = own.flatMap(({ task, download, artifact, inputs }) =>
      download === 'current' ? [artifact] : task?.startsWith('DownloadPipelineArtifact@') ? [inputs?.['artifact']] : [],
    );
    for (const name of wanted) assert.ok(published.has(name ?? ''), `${stage}: ${name}`);
    for (const { task, inputs } of own)
      if (task?.startsWith('PublishPipelineArtifact@')) published.add(inputs?.['artifact'] ?? '');
  }
  assert.deepEqual([...published].sort(), ['bridge', 'extension-dev', 'extension-prod']);
});

test('docs/maintaining.md names each environment, service connection and variable that the pipeline uses', () => {
  const text = readFileSync(path.join(ROOT, 'docs/maintaining.md'), 'utf8');
  const names = [
    ...jobs.map(({ environment }) => environment),
    ...steps.map(({ inputs }) => inputs?.['azureSubscription']),
    ...steps.flatMap(({ inputs, env }) =>
      [...JSON.stringify([inputs, env]).matchAll(/\$\(([a-z]\w+)\)/g)].map(([, name]) => name),
    ),
  ];
  const own = ['nodeVersion', 'nodeWithTypeScript', 'image', 'server'];
  const wanted = [...new Set(names)].filter((name) => name !== undefined && !own.includes(name));
  assert.ok(wanted.length >= 8, wanted.join());
  for (const name of wanted) assert.ok(text.includes(`\`${name}\``), name);
});

test('every task has a major version, every script that runs exists, and each job has a time limit', () => {
  for (const { task } of steps) if (task !== undefined) assert.match(task, /^[\w-]+@\d+$/);
  const commands = steps.flatMap(({ bash = '', script = '' }) => [bash, script]).join('\n');
  const scripts = [...commands.matchAll(/npm run ([\w:-]+)/g)].map(([, name = '']) => name);
  assert.ok(scripts.length >= 4);
  for (const name of scripts) assert.ok(name in project.scripts, name);
  const files = [...commands.matchAll(/\b(?:test|scripts)\/[\w/.]+|\.ci\/run/g)].map(([file]) => file);
  assert.ok(files.length >= 4);
  for (const file of files) assert.ok(existsSync(path.join(ROOT, file)), file);
  for (const { inputs } of steps) {
    if (inputs?.['scriptPath']) accessSync(path.join(ROOT, inputs['scriptPath']), constants.X_OK);
  }
  for (const job of jobs) assert.ok((job.timeoutInMinutes ?? 0) > 0, job.job ?? job.deployment);
});

test("no step gets a secret, except that the script that needs the job's token gets it", () => {
  const given = steps.flatMap(({ env, script }) =>
    Object.keys(env ?? {}).some((name) => /token|secret|password/i.test(name)) ? [script] : [],
  );
  assert.deepEqual(given, ['node scripts/tryInstalled.ts']);
  const text = readFileSync(path.join(ROOT, 'azure-pipelines.yml'), 'utf8');
  assert.doesNotMatch(text, /persistCredentials|\bPAT\b|AZURE_DEVOPS_EXT_PAT/);
});

test("the installed tasks run with the dev channel's ids, in a pipeline that nothing else starts", () => {
  assert.deepEqual([trying.trigger, trying.pr], ['none', 'none']);
  const tried = trying.steps.flatMap(({ task }) => (task !== undefined && /^[\da-f-]{36}@/.test(task) ? [task] : []));
  assert.deepEqual(
    tried,
    TASK_NAMES.map((name) => {
      const { id, version } = stampTask(readTask(name), project, 'dev');
      return `${id}@${version.Major}`;
    }),
  );
  for (const [index, name] of TASK_NAMES.entries()) {
    const inputs = trying.steps.find(({ task }) => task === tried[index])?.inputs ?? {};
    const known = readTask(name).inputs.map((input) => input.name);
    for (const input of Object.keys(inputs)) assert.ok(known.includes(input), `${name}: ${input}`);
  }
  const { payload = '', schemaFile = '' } = trying.steps.find(({ task }) => task === tried[0])?.inputs ?? {};
  assert.ok(
    new Ajv2020({ validateFormats: false }).validate(
      readJson(schemaFile) as object,
      JSON.parse(payload.replace(/\$\([^)]*\)/g, '42')),
    ),
    'the event breaks its contract',
  );
});

/** Whether a step has a service connection, or the token of the job. */
function canSignIn({ inputs, env }: Step): boolean {
  return /azureSubscription|System\.AccessToken/.test(JSON.stringify([inputs, env]));
}

function stepsOf(job: Job): readonly Step[] {
  return job.steps ?? job.strategy?.runOnce?.deploy.steps ?? [];
}

function read(file: string): unknown {
  return parse(readFileSync(path.join(ROOT, file), 'utf8'));
}
