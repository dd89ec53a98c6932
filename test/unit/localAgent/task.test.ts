import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { zipSync } from 'fflate';
import { LocalAgent, nodeBinary, unpackVsix } from '../../../localAgent/index.ts';
import type { LocalAgentOptions, StepRun, TaskRequest } from '../../../localAgent/index.ts';
import type { TaskDefinition } from '../../../localAgent/taskDefinition.ts';
import { throwawayExtension } from '../../support/agent/throwawayExtension.ts';

const PRINT_ENVIRONMENT = 'console.log("ENV" + JSON.stringify(process.env)); console.log("CWD" + process.cwd());';
const CONNECTION = {
  id: '11111111-2222-3333-4444-555555555555',
  url: 'nats://127.0.0.1:4222',
  scheme: 'Token',
  parameters: { apitoken: 's3cret-token' },
  data: { servers: '', 'Inbox Prefix': 'inbox' },
};

/** Runs the program as a task, on an agent of its own. */
function run(
  program: string,
  request: Partial<TaskRequest> = {},
  { parts, ...options }: LocalAgentOptions & { parts?: Partial<TaskDefinition> } = {},
): Promise<StepRun> {
  return new LocalAgent({ extension: throwawayExtension(program, parts), ...options }).runTask({
    task: 'Sample@1',
    ...request,
  });
}

function print(...lines: string[]): string {
  return lines.map((line) => `console.log(${JSON.stringify(line)});`).join('\n');
}

function environmentOf({ rawStdout }: StepRun): Record<string, string> {
  return JSON.parse(/^ENV(.*)$/m.exec(rawStdout)![1]!) as Record<string, string>;
}

function outcomes({ commands }: StepRun): string[] {
  return commands.map(({ area, event, outcome }) => `${area}.${event} ${outcome}`);
}

it('a task can wait for a debugger', async () => {
  const cancel = new AbortController();
  const step = await run(
    print('never'),
    { name: 'slow', onLine: ({ text }) => text.startsWith('Debugger listening on ws://127.0.0.1:') && cancel.abort() },
    { inspect: { step: 'slow', port: 0 }, signal: cancel.signal },
  );
  assert.equal(step.result, 'Canceled', step.logText);
  assert.equal(step.rawStdout, '');
});

describe('what a task gets from the agent', () => {
  const parts: Partial<TaskDefinition> = {
    inputs: [
      { name: 'natsConnection', type: 'connectedService:NatsServer', aliases: ['connection'] },
      { name: 'subject', type: 'string' },
      { name: 'timeout', type: 'string', defaultValue: ' 30s ' },
      { name: 'payloadFile', type: 'filePath' },
      { name: 'schemaFile', type: 'filePath' },
    ],
  };

  it('are its inputs: defaults, trimmed, macros expanded, aliases and file paths resolved', async () => {
    const agent = new LocalAgent({
      extension: throwawayExtension(PRINT_ENVIRONMENT, parts),
      variables: { who: 'ada' },
    });
    const env = environmentOf(
      await agent.runTask({
        task: 'Sample@1',
        inputs: { Subject: '  orders.$(who).$(unknown) ', payloadFile: 'a/b.json' },
      }),
    );
    assert.equal(env['INPUT_SUBJECT'], 'orders.ada.$(unknown)');
    assert.equal(env['INPUT_TIMEOUT'], '30s');
    assert.equal(env['INPUT_PAYLOADFILE'], path.join(agent.folders.sources, 'a', 'b.json'));
    assert.equal(env['INPUT_SCHEMAFILE'], agent.folders.sources);
    assert.equal(env['INPUT_NATSCONNECTION'], '');
  });

  it('is the service connection it names, by input name or alias, and no other', async () => {
    const connections = {
      nats: CONNECTION,
      other: { url: 'nats://other', scheme: 'None', parameters: { credentials: 'hush' } },
    };
    const step = await run(PRINT_ENVIRONMENT, { inputs: { connection: 'NATS' } }, { parts, connections });
    const env = environmentOf(step);
    const { id } = CONNECTION;
    assert.equal(env['INPUT_NATSCONNECTION'], id);
    assert.equal(env[`ENDPOINT_URL_${id}`], 'nats://127.0.0.1:4222');
    assert.equal(env[`ENDPOINT_AUTH_SCHEME_${id}`], 'Token');
    assert.equal(env[`ENDPOINT_AUTH_${id}`], '{"parameters":{"apitoken":"s3cret-token"},"scheme":"Token"}');
    assert.equal(env[`ENDPOINT_AUTH_PARAMETER_${id}_APITOKEN`], 's3cret-token');
    assert.equal(env[`ENDPOINT_DATA_${id}`], '{"servers":"","Inbox Prefix":"inbox"}');
    assert.equal(env[`ENDPOINT_DATA_${id}_INBOX_PREFIX`], 'inbox');
    assert.deepEqual(
      Object.keys(env).filter((name) => name.startsWith('ENDPOINT_URL_')),
      [`ENDPOINT_URL_${id}`, 'ENDPOINT_URL_SYSTEMVSSCONNECTION'],
    );
    assert.equal(env['ENDPOINT_AUTH_PARAMETER_SYSTEMVSSCONNECTION_ACCESSTOKEN'], env['SECRET_SYSTEM_ACCESSTOKEN']);
    assert.ok(!step.logText.includes('s3cret-token'));
  });

  it('are public and secret variables, the predefined ones and the names of all', async () => {
    const step = await run(
      PRINT_ENVIRONMENT,
      { name: 'send', displayName: 'Send it' },
      {
        variables: { 'my.value': 'x', 'System.TeamProject': 'Mine', 'System.PlanId': undefined },
        secrets: { 'Nats.Seed': 'SUAHUSH' },
      },
    );
    const env = environmentOf(step);
    assert.equal(env['MY_VALUE'], 'x');
    assert.equal(env['SECRET_NATS_SEED'], 'SUAHUSH');
    assert.equal(env['NATS_SEED'], undefined);
    assert.equal(env['SYSTEM_TEAMPROJECT'], 'Mine');
    assert.equal(env['SYSTEM_PLANID'], undefined);
    assert.equal(env['SYSTEM_TASKINSTANCENAME'], 'send');
    assert.equal(env['TASK_DISPLAYNAME'], 'Send it');
    assert.match(env['SYSTEM_PIPELINESTARTTIME']!, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00$/);
    assert.match(env['SYSTEM_TASKINSTANCEID']!, /^[0-9a-f-]{36}$/);
    assert.equal(env['AGENT_JOBSTATUS'], 'Succeeded');
    assert.equal(env['TF_BUILD'], 'True');
    assert.ok((JSON.parse(env['VSTS_PUBLIC_VARIABLES']!) as string[]).includes('my.value'));
    assert.deepEqual(JSON.parse(env['VSTS_SECRET_VARIABLES']!), ['Nats.Seed', 'System.AccessToken']);
    assert.match(step.logText, /"SECRET_NATS_SEED":"\*\*\*"/);
  });

  it("doesn't include the environment of the agent's user, and the working folder is the sources folder", async () => {
    process.env['LOCAL_AGENT_TEST_LEAK'] = 'leak';
    after(() => delete process.env['LOCAL_AGENT_TEST_LEAK']);
    const sources = mkdtempSync(path.join(os.tmpdir(), 'sources-'));
    after(() => {
      rmSync(sources, { recursive: true });
    });
    const step = await run(PRINT_ENVIRONMENT, { env: { MINE: ' $(Build.BuildId) ' } }, { sources });
    assert.equal(environmentOf(step)['LOCAL_AGENT_TEST_LEAK'], undefined);
    assert.equal(environmentOf(step)['MINE'], '4711');
    assert.equal(environmentOf(step)['PATH'], process.env['PATH']);
    assert.match(step.rawStdout, new RegExp(`^CWD${sources}$`, 'm'));
  });

  it('is Node 20 or Node 24, by the handler the agent has', async () => {
    const version = print('v') + 'console.log(process.version)';
    const on20 = await run(version, {}, { nodes: { Node20_1: nodeBinary('20') } });
    const on24 = await run(version, {}, { nodes: { Node20_1: nodeBinary('20'), Node24: nodeBinary('24') } });
    assert.match(on20.rawStdout, /^v20\./m);
    assert.match(on24.rawStdout, /^v24\./m);
    const older = await run(
      version,
      {},
      { agentVersion: '3.232.1', nodes: { Node20_1: nodeBinary('20'), Node24: nodeBinary('24') } },
    );
    assert.match(older.rawStdout, /^v20\./m);
  });

  it('is nothing if the agent has no handler for the task: the step fails', async () => {
    const step = await run('', {}, { parts: { execution: { Node16: { target: 'index.js' } } } });
    assert.equal(step.result, 'Failed');
    assert.equal(step.attempts, 0);
    assert.match(step.errors.join(), /A supported task execution handler was not found/);
  });

  it('is refused for unknown tasks, inputs and connections, and for an agent that is too old', async () => {
    await assert.rejects(run('', { task: 'Sample@2' }), /A task is missing.*Sample@2/);
    await assert.rejects(run('', { inputs: { subjct: 'x' } }, { parts }), /no input "subjct"/);
    await assert.rejects(run('', { inputs: { natsConnection: 'gone' } }, { parts }), /service connection gone/);
    await assert.rejects(run('', {}, { parts: { minimumAgentVersion: '5.0.0' } }), /Agent\.Version/);
  });
});

describe('what a task prints', () => {
  it('is the log: masked, without commands, each line with its time', async () => {
    const step = await run(
      print('hello', '##vso[task.setsecret]opensesame', 'say opensesame', '##[group]kept', '##vso[task.debug]quiet') +
        'process.stderr.write("from stderr");',
    );
    assert.equal(step.result, 'Succeeded');
    const lines = step.log.map(({ text }) => text);
    assert.deepEqual(
      lines.filter((text) => ['hello', 'say ***', '##[group]kept', 'from stderr'].includes(text)).sort(),
      ['##[group]kept', 'from stderr', 'hello', 'say ***'],
    );
    assert.ok(!step.logText.includes('quiet'));
    assert.ok(step.log.every(({ at }) => Math.abs(at - Date.now()) < 60_000));
    assert.deepEqual(step.secretsAdded, ['opensesame']);
    assert.equal(step.rawStderr, 'from stderr');
  });

  it('shows debug lines and processed commands when the job is debugged', async () => {
    const { logText } = await run(
      print('##vso[task.debug]details', '##vso[task.setprogress value=5]half'),
      {},
      { debug: true },
    );
    assert.match(logText, /^##\[debug\]details$/m);
    assert.match(logText, /^##\[debug\]Processed: ##vso\[task\.setprogress value=5\]half$/m);
    assert.ok(!logText.includes('Processed: ##vso[task.debug]'));
  });

  it('runs commands on stderr and after a lone carriage return, too', async () => {
    const step = await run(
      'process.stderr.write("x ##vso[task.setvariable variable=a]1\\n"); process.stdout.write("10%\\r##vso[task.setvariable variable=b]2");',
    );
    assert.deepEqual(step.commands.map(({ data }) => data).sort(), ['1', '2']);
  });

  it('becomes error and warning issues, ten of each kind at most', async () => {
    const step = await run(
      'for (let i = 0; i < 12; i++) console.log(`##vso[task.logissue type=error]problem ${i}%0Asecond line`);' +
        print('##vso[task.issue type=WARNING]careful', '##vso[task.logissue]no type'),
    );
    assert.equal(step.result, 'Succeeded');
    assert.equal(step.errors.length, 10);
    assert.equal(step.errors[0], 'problem 0\nsecond line');
    assert.match(step.logText, /^##\[error\]problem 11\nsecond line$/m);
    assert.deepEqual(step.warnings, ['careful', "Can't create TaskIssue from logging event."]);
  });

  for (const [given, expected] of [
    ['Succeeded', 'Succeeded'],
    ['SucceededWithIssues', 'SucceededWithIssues'],
    ['Failed', 'Failed'],
    ['Canceled', 'Canceled'],
    ['Skipped', 'Skipped'],
  ] as const) {
    it(`ends the step as ${expected}`, async () => {
      assert.equal((await run(print(`##vso[task.complete result=${given};]done`))).result, expected);
    });
  }

  for (const wrong of ['Cancelled', 'succeeded', '']) {
    it(`makes the step fail when it names the unknown result "${wrong}"`, async () => {
      const step = await run(print(`##vso[task.complete result=${wrong};]text`));
      assert.equal(step.result, 'Failed');
      assert.deepEqual(outcomes(step), ['task.complete refused']);
      assert.match(step.errors.join('\n'), /Unable to process command[^]*valid result/);
    });
  }

  it('keeps the worse of two results', async () => {
    const results = (first: string, second: string): Promise<StepRun> =>
      run(print(`##vso[task.complete result=${first}]`, `##vso[task.complete result=${second}]`));
    assert.equal((await results('Failed', 'Succeeded')).result, 'Failed');
    assert.equal((await results('Canceled', 'Failed')).result, 'Canceled');
  });

  it('fails the step when the process exits with an error, whatever it reported before', async () => {
    const step = await run(print('##vso[task.complete result=Succeeded]') + 'process.exitCode = 3;');
    assert.equal(step.result, 'Failed');
    assert.equal(step.exitCode, 3);
    assert.match(step.errors.join(), /Exit code 3/);
    assert.equal((await run('process.exitCode = 3;', { continueOnError: true })).result, 'SucceededWithIssues');
  });

  it("can't run unknown commands: they fail the step in a known area, and are a warning in any other", async () => {
    const stranger = await run(print('##vso[nobody.knows]x', '##vso this is none', '##vso[debug]'));
    assert.equal(stranger.result, 'Succeeded');
    assert.deepEqual(outcomes(stranger), ['nobody.knows ignored']);
    assert.equal(stranger.warnings.length, 3);
    assert.match(stranger.logText, /^##vso this is none$/m);
    const typo = await run(print('##vso[task.setvariabel variable=a]x'));
    assert.equal(typo.result, 'Failed');
    assert.deepEqual(outcomes(typo), ['task.setvariabel refused']);
  });

  it("can't register a secret of several lines", async () => {
    const step = await run(
      print(
        '##vso[task.setsecret]line one%0Aline two',
        '##vso[task.setvariable variable=a;isSecret=true]x%0Dy',
        '##vso[task.setsecret]fine',
      ),
    );
    assert.equal(step.result, 'Failed');
    assert.deepEqual(outcomes(step), ['task.setsecret refused', 'task.setvariable refused', 'task.setsecret executed']);
    assert.deepEqual(step.secretsAdded, ['fine']);
  });

  it('is limited by the restrictions in its task.json', async () => {
    const restrictions = { commands: { mode: 'restricted' }, settableVariables: { allowed: ['verdict', 'event.*'] } };
    const step = await run(
      print(
        '##vso[task.setvariable variable=Verdict]matched',
        '##vso[task.setvariable variable=event.id]7',
        '##vso[task.setvariable variable=NODE_OPTIONS]evil',
        '##vso[task.prependpath]/evil',
        '##vso[task.uploadsummary]/tmp/a.md',
        '##vso[build.addbuildtag]tag',
        '##vso[task.setprogress value=10]x',
      ),
      {},
      { parts: { restrictions } },
    );
    assert.equal(step.result, 'Succeeded');
    assert.deepEqual(outcomes(step), [
      'task.setvariable executed',
      'task.setvariable executed',
      'task.setvariable ignored',
      'task.prependpath ignored',
      'task.uploadsummary ignored',
      'build.addbuildtag ignored',
      'task.setprogress executed',
    ]);
    assert.equal(step.warnings.length, 4);
    assert.match(step.warnings.join(), /'NODE_OPTIONS' has been disabled/);
  });
});

describe('what a step sets', () => {
  it("reaches later steps: variables in the environment, outputs under the step's name", async () => {
    const agent = new LocalAgent({
      extension: throwawayExtension(
        `if (process.env.INPUT_MODE === 'set') {${print(
          '##vso[task.setvariable variable=plain]one',
          '##vso[task.setvariable variable=sequence]42',
          '##vso[task.setvariable variable=other;isOutput=true]two',
          '##vso[task.setvariable variable=hidden;isSecret=true]hush-hush',
          '##vso[task.prependpath]/opt/tool/bin',
        )}} else {${PRINT_ENVIRONMENT}}`,
        {
          inputs: [
            { name: 'mode', type: 'string' },
            { name: 'text', type: 'string' },
          ],
          outputVariables: [{ name: 'sequence' }],
        },
      ),
    });
    const first = await agent.runTask({ task: 'Sample@1', name: 'publish', inputs: { mode: 'set' } });
    assert.deepEqual(
      [...first.outputs],
      [
        ['sequence', '42'],
        ['other', 'two'],
      ],
    );

    const text = '$(publish.sequence) $(plain) $(publish.other) $(hidden) $(sequence)';
    const second = await agent.runTask({ task: 'Sample@1', inputs: { text } });
    const env = environmentOf(second);
    assert.equal(env['INPUT_TEXT'], '42 one two hush-hush $(sequence)');
    assert.equal(env['PUBLISH_SEQUENCE'], '42');
    assert.equal(env['PLAIN'], 'one');
    assert.equal(env['SECRET_HIDDEN'], 'hush-hush');
    assert.equal(env['HIDDEN'], undefined);
    assert.equal(env['PATH'], ['/opt/tool/bin', process.env['PATH']].join(path.delimiter));
    assert.ok(!second.logText.includes('hush-hush'));
    assert.deepEqual(second.warnings, []);

    const third = await agent.runScript({ script: ': "$(publish.sequence)"', env: { A: '$(publish.sequense)' } });
    assert.equal(third.result, 'Succeeded');
    assert.deepEqual(third.warnings, [
      'The text keeps $(publish.sequense) as it is: the step publish set no output sequense. Did you mean $(publish.sequence)?',
    ]);
  });

  it('is expanded again before the next step, so an event can smuggle out a secret variable', async () => {
    const agent = new LocalAgent({
      extension: throwawayExtension(print('##vso[task.setvariable variable=subject;isOutput=true]orders.$(token)')),
      secrets: { token: 'hunter22' },
    });
    await agent.runTask({ task: 'Sample@1', name: 'wait' });
    const next = await agent.runScript({ script: 'echo "$WAIT_SUBJECT $(wait.subject)"' });
    assert.equal(next.rawStdout, ' orders.hunter22\n');
  });

  it('cannot overwrite predefined and read-only variables', async () => {
    const step = await run(
      print(
        '##vso[task.setvariable variable=system.planid]mine',
        '##vso[task.setvariable variable=once;isReadOnly=true]1',
        '##vso[task.setvariable variable=once]2',
      ),
    );
    assert.equal(step.result, 'Failed');
    assert.deepEqual(outcomes(step), [
      'task.setvariable refused',
      'task.setvariable executed',
      'task.setvariable refused',
    ]);
  });
});

describe("a step that doesn't end by itself", { timeout: 30_000 }, () => {
  const waits = { sigint: 200, sigterm: 200, pipes: 200, done: 200 };
  const ready = 'setInterval(() => {}, 1000); console.log("ready");';

  /** Runs the program and cancels the job once it has printed "ready". */
  async function cancelled(program: string, request: Partial<TaskRequest> = {}, patience = waits): Promise<StepRun> {
    const job = new AbortController();
    const onLine = ({ text }: { text: string }): void => {
      if (text === 'ready') job.abort();
    };
    return run(program, { onLine, ...request }, { waits: patience, signal: job.signal });
  }

  it('is cancelled by SIGINT, and the result is Canceled whatever the task reports', async () => {
    const step = await cancelled(
      `process.on('SIGINT', () => { ${print('got SIGINT', '##vso[task.complete result=Failed]stopped')} process.exit(0); }); ${ready}`,
    );
    assert.equal(step.result, 'Canceled');
    assert.equal(step.exitCode, 0);
    assert.match(step.logText, /^got SIGINT$/m);
  });

  it('is sent SIGTERM when it ignores SIGINT', async () => {
    const step = await cancelled(
      `process.on('SIGINT', () => {}); process.on('SIGTERM', () => { console.log('got SIGTERM'); process.exit(0); }); ${ready}`,
    );
    assert.equal(step.result, 'Canceled');
    assert.match(step.logText, /^got SIGTERM$/m);
  });

  it('is killed with its children when it ignores both', async () => {
    // The child holds the output pipe, so that the step cannot end before the child has.
    const ignoring = `process.on('SIGINT', () => {}); process.on('SIGTERM', () => {});`;
    const child = JSON.stringify(`${ignoring} setInterval(() => {}, 1000); console.log('ready');`);
    const step = await cancelled(
      `${ignoring} require('child_process').spawn(process.execPath, ['-e', ${child}], { stdio: 'inherit' });`,
      {},
      { ...waits, pipes: 60_000 },
    );
    assert.equal(step.result, 'Canceled');
    assert.equal(step.exitCode, 137);
    assert.ok(step.durationMs < 10_000);
  });

  it('goes on after the job is cancelled when its condition is always()', async () => {
    const step = await cancelled(
      `process.on('SIGINT', () => console.log('got SIGINT')); console.log('ready'); setTimeout(() => console.log('end'), 300);`,
      {
        condition: 'always()',
      },
    );
    assert.equal(step.result, 'Succeeded');
    assert.ok(!step.logText.includes('got SIGINT'));
    assert.match(step.logText, /^end$/m);
  });

  it('fails when it takes longer than its timeout', async () => {
    const step = await run(ready, { timeoutInMinutes: 0.005 }, { waits });
    assert.equal(step.result, 'Failed');
    assert.match(step.errors.join(), /timed out/);
  });

  it("is over once it reports that it's done, and its later output is dropped", async () => {
    const step = await run(
      `${print('##vso[task.complete result=Succeeded;done=true]')} setInterval(() => console.log('late'), 50);`,
      {},
      { waits },
    );
    assert.equal(step.result, 'Succeeded');
    assert.ok(step.durationMs < 5_000);
  });

  it('is over even if a child process keeps the pipes open', async () => {
    const step = await run(
      `require('child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' }).unref(); console.log('end');`,
      {},
      { waits },
    );
    assert.equal(step.result, 'Succeeded');
    assert.match(step.logText, /^end$/m);
    assert.ok(step.durationMs < 5_000);
  });

  it('skips later steps of a cancelled job, except those that always run', async () => {
    const agent = new LocalAgent({ extension: throwawayExtension(print('ran')), signal: AbortSignal.abort() });
    assert.equal((await agent.runTask({ task: 'Sample@1' })).result, 'Skipped');
    assert.equal((await agent.runTask({ task: 'Sample@1', condition: 'failed()' })).result, 'Skipped');
    assert.equal((await agent.runTask({ task: 'Sample@1', condition: 'always()' })).result, 'Succeeded');
  });
});

describe('a step with retries', () => {
  const countAttempts = `
    const fs = require('fs'); const file = require('path').join(process.env.AGENT_TEMPDIRECTORY, 'attempts');
    const attempt = fs.existsSync(file) ? Number(fs.readFileSync(file)) + 1 : 1; fs.writeFileSync(file, String(attempt));
    console.log('instance ' + process.env.SYSTEM_TASKINSTANCEID);`;
  const delays: number[] = [];
  const waits = {
    retry: (retry: number): number => {
      delays.push(retry);
      return 1;
    },
  };

  it('runs again as the same task instance until it no longer fails', async () => {
    const step = await run(
      `${countAttempts} console.log('##vso[task.complete result=' + (attempt < 3 ? 'Failed' : 'Succeeded') + ']');`,
      { retryCountOnTaskFailure: 5 },
      { waits },
    );
    assert.equal(step.result, 'Succeeded');
    assert.equal(step.attempts, 3);
    assert.deepEqual(delays, [0, 1]);
    assert.equal(new Set(step.rawStdout.match(/^instance .*$/gm)).size, 1);
  });

  it("fails when all attempts fail, and doesn't run again if it only has issues", async () => {
    assert.equal((await run('process.exit(1)', { retryCountOnTaskFailure: 1 }, { waits })).attempts, 2);
    const issues = await run(
      print('##vso[task.complete result=SucceededWithIssues]'),
      { retryCountOnTaskFailure: 1 },
      { waits },
    );
    assert.equal(issues.attempts, 1);
  });
});

describe('a job', () => {
  it("has its steps' status, which conditions can read", async () => {
    const agent = new LocalAgent({ extension: throwawayExtension('process.exit(1)') });
    await agent.runTask({ task: 'Sample@1' });
    assert.equal(agent.jobStatus, 'Failed');
    assert.equal((await agent.runScript({ script: 'true', condition: 'succeeded()' })).result, 'Skipped');
    assert.equal(
      (await agent.runScript({ script: 'echo $AGENT_JOBSTATUS', condition: 'failed()' })).rawStdout,
      'Failed\n',
    );
  });

  it('shows scripts only public variables and mapped secrets', async () => {
    const agent = new LocalAgent({ secrets: { token: 'hunter22' }, variables: { greeting: 'hi' } });
    const step = await agent.runScript({
      script:
        'echo "$GREETING/$(greeting)/$MAPPED/$SECRET_TOKEN/$ENDPOINT_URL_SYSTEMVSSCONNECTION"; echo "##vso[task.setvariable variable=x;isOutput=true]1"; false',
      name: 'shell',
      env: { MAPPED: '$(token)' },
    });
    assert.equal(step.rawStdout.split('\n')[0], 'hi/hi/hunter22//');
    assert.match(step.logText, /^hi\/hi\/\*\*\*\/\/$/m);
    assert.equal(step.result, 'Failed');
    assert.equal(agent.variable('shell.x'), '1');
  });

  it('runs one step at a time', async () => {
    const agent = new LocalAgent();
    const first = agent.runScript({ script: 'true' });
    await assert.rejects(agent.runScript({ script: 'true' }), /one step at a time/);
    assert.equal((await first).result, 'Succeeded');
  });
});

describe('an extension package', () => {
  it('is unpacked outside the repository, once', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'package-'));
    after(() => {
      rmSync(folder, { recursive: true });
    });
    const vsix = path.join(folder, 'sample.vsix');
    const definition = {
      name: 'Sample',
      version: { Major: 1, Minor: 0, Patch: 0 },
      execution: { Node20_1: { target: 'index.js' } },
    };
    const files = { 'Sample/task.json': JSON.stringify(definition), 'Sample/index.js': 'console.log(typeof require)' };
    writeFileSync(
      vsix,
      zipSync(Object.fromEntries(Object.entries(files).map(([name, text]) => [name, Buffer.from(text)]))),
    );

    assert.equal(unpackVsix(vsix), unpackVsix(vsix));
    assert.ok(path.relative(process.cwd(), unpackVsix(vsix)).startsWith('..'));
    const step = await new LocalAgent({ extension: vsix }).runTask({ task: 'Sample@1' });
    assert.equal(step.rawStdout, 'function\n');
  });
});
