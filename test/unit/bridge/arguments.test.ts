import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HELP, readArguments } from '../../../bridge/arguments.ts';

const read = (line: string, env: Record<string, string> = {}) => readArguments(line.split(' ').filter(Boolean), env);

test('reads every command', () => {
  const config = 'b.yml';
  for (const [line, command] of [
    ['run --config b.yml', { kind: 'run', config }],
    ['--config=b.yml check', { kind: 'check', config, offline: false }],
    ['check --offline --config b.yml', { kind: 'check', config, offline: true }],
    ['setup --config b.yml', { kind: 'setup', config, apply: false, streams: [] }],
    ['setup --apply --config b.yml', { kind: 'setup', config, apply: true, streams: [] }],
    [
      'setup --create-stream CI=ci.> --create-stream R=a.*,b.v1 --config b.yml',
      {
        ...{ kind: 'setup', config, apply: false },
        streams: [
          { name: 'CI', subjects: ['ci.>'] },
          { name: 'R', subjects: ['a.*', 'b.v1'] },
        ],
      },
    ],
    ['deadLetters list --config b.yml', { kind: 'deadLetters', config, action: { kind: 'list' } }],
    ['deadLetters show 12 --config b.yml', { kind: 'deadLetters', config, action: { kind: 'show', sequence: 12 } }],
    [
      'deadLetters replay 12 --config b.yml',
      { kind: 'deadLetters', config, action: { kind: 'replay', letters: { sequence: 12 }, reason: '' } },
    ],
    [
      'deadLetters replay --route web --reason fixed --config b.yml',
      { kind: 'deadLetters', config, action: { kind: 'replay', letters: { route: 'web' }, reason: 'fixed' } },
    ],
    ['why e-1 --config b.yml', { kind: 'why', config, id: 'e-1', json: false, data: false }],
    ['why CI:7 --json --data --config b.yml', { kind: 'why', config, id: 'CI:7', json: true, data: true }],
    ['hooks plan --config b.yml', { kind: 'hooks', config, action: { kind: 'plan', json: false } }],
    ['hooks check --json --config b.yml', { kind: 'hooks', config, action: { kind: 'check', json: true } }],
    [
      'hooks apply --config b.yml',
      { kind: 'hooks', config, action: { kind: 'apply', rotate: false, reason: '', json: false } },
    ],
    [
      'hooks apply --rotate --reason new --config b.yml',
      { kind: 'hooks', config, action: { kind: 'apply', rotate: true, reason: 'new', json: false } },
    ],
    [
      'hooks remove --reason moved --config b.yml',
      { kind: 'hooks', config, action: { kind: 'remove', reason: 'moved', json: false } },
    ],
    ['routes list --config b.yml', { kind: 'routes', config, action: { kind: 'list' } }],
    ['routes pause web --config b.yml', { kind: 'routes', config, action: { kind: 'pause', name: 'web', reason: '' } }],
    [
      'routes resume web --reason done --config b.yml',
      { kind: 'routes', config, action: { kind: 'resume', name: 'web', reason: 'done' } },
    ],
    [
      'routes try web --event CI:7 --config b.yml',
      { kind: 'routes', config, action: { kind: 'try', name: 'web', event: 'CI:7' } },
    ],
    [
      'routes replay web --from 3 --to 3 --reason lost --config b.yml',
      { kind: 'routes', config, action: { kind: 'replay', name: 'web', from: 3, to: 3, reason: 'lost' } },
    ],
    ['run --help', { kind: 'help' }],
    ['--version', { kind: 'version' }],
  ] as const)
    assert.deepEqual(read(line), command, line);
});

test("reads the configuration's path from the environment, but prefers the option", () => {
  assert.deepEqual(read('run', { BRIDGE_CONFIG: 'e.yml' }), { kind: 'run', config: 'e.yml' });
  assert.deepEqual(read('run --config b.yml', { BRIDGE_CONFIG: 'e.yml' }), { kind: 'run', config: 'b.yml' });
});

test('refuses a bad command line, and says why', () => {
  for (const [line, message] of [
    ['', /^There is no command\.$/],
    ['fly --config x', /^There is no command "fly"\.$/],
    ['check --ofline --config x', /^There is no option --ofline\. Did you mean --offline\?$/],
    ['check --quickly=yes -c x', /^There is no option --quickly\.$/],
    ['check -c x', /^There is no option -c\.$/],
    ['constructor --config x', /^There is no command "constructor"\.$/],
    ['run', /^There is no configuration: give --config FILE, or set BRIDGE_CONFIG\.$/],
    ['run fast --config x', /^run takes no argument "fast"\.$/],
    ['run --apply --config x', /^run takes no option --apply\.$/],
    ['setup --offline --config x', /^setup takes no option --offline\.$/],
    ['run --create-stream CI=ci.> --config x', /^run takes no option --create-stream\.$/],
    [
      'setup --create-stream CI --config x',
      /^--create-stream "CI": write NAME=SUBJECT\[,SUBJECT\], such as 'CI=ci\.>'\.$/,
    ],
    ['setup --create-stream =ci.> --config x', /^--create-stream "=ci\.>": write NAME=/],
    ['setup --create-stream CI= --config x', /^--create-stream "CI=": write NAME=/],
    ['setup --create-stream C.I=ci.> --config x', /: "C\.I" isn't a valid name of a stream\.$/],
    [
      'setup --create-stream CI=ci.>,>.x --config x',
      /^--create-stream "CI=ci.*": the subject ">\.x" has ">" before its last part\.$/,
    ],
    ['setup --create-stream CI=ci.>, --config x', /: the subject "" is empty\.$/],
    [
      'setup --create-stream CI=ci.>,ci.*.x --config x',
      /: the subjects "ci\.>" and "ci\.\*\.x" overlap; leave one out\.$/,
    ],
    ['setup --create-stream CI=a --create-stream CI=b --config x', /^--create-stream CI: it is given twice\./],
    ['run --conf x', /^There is no option --conf\. Did you mean --config\?$/],
    ['deadLetters --config x', /^Write deadLetters list/],
    ['deadLetters show --config x', /^Write deadLetters list/],
    ['deadLetters show 0 --config x', /^Write deadLetters list/],
    ['deadLetters show 1 2 --config x', /^Write deadLetters list/],
    ['deadLetters show 1 --reason y --config x', /^--route and --reason are for replay\.$/],
    ['deadLetters replay --config x', /^Write deadLetters replay N/],
    ['deadLetters replay --route web --config x', /^deadLetters replay --route lacks --reason TEXT\.$/],
    ['deadLetters replay 1 --route web --reason y --config x', /^Write deadLetters replay N/],
    ['hooks --config x', /^Write hooks plan/],
    ['hooks fix --config x', /^Write hooks plan/],
    ['hooks plan all --config x', /^Write hooks plan/],
    ['hooks plan --reason y --config x', /^Write hooks plan/],
    ['hooks remove --rotate --config x', /^Write hooks plan/],
    ['hooks apply --apply --config x', /^hooks takes no option --apply\.$/],
    ['routes list --rotate --config x', /^routes takes no option --rotate\.$/],
    ['why --config x', /^Write why ID/],
    ['why one two --config x', /^why takes no argument "two"\.$/],
    ['why one --reason y --config x', /^why takes no option --reason\.$/],
    ['run --json --config x', /^run takes no option --json\.$/],
    ['routes --config x', /^Write routes list/],
    ['routes list web --config x', /^Write routes list\.$/],
    ['routes pause --config x', /^routes pause lacks NAME\.$/],
    ['routes pause web api --config x', /^Write routes pause NAME \[--reason TEXT\]\.$/],
    ['routes resume web --event y --config x', /^Write routes resume NAME \[--reason TEXT\]\.$/],
    ['routes try --config x', /^routes try lacks NAME and --event FILE\|STREAM:SEQ\.$/],
    ['routes try web --config x', /^routes try lacks --event FILE\|STREAM:SEQ\.$/],
    ['routes try web --event y --from 1 --config x', /^Write routes try NAME --event FILE\|STREAM:SEQ\.$/],
    ['routes replay web --from 1 --to 2 --config x', /^routes replay lacks --reason TEXT\.$/],
    ['routes replay web --from 2 --to 1 --reason y --config x', /^--from 2 is after --to 1\.$/],
    ['routes replay web --from 0 --to 1 --reason y --config x', /^--from "0" isn't a sequence of a stream: /],
    ['routes replay web --to 1 --config x', /^routes replay lacks --from SEQ and --reason TEXT\.$/],
    ['routes replay --config x', /^routes replay lacks NAME, --from SEQ, --to SEQ and --reason TEXT\.$/],
    ['run --reason y --config x', /^run takes no option --reason\.$/],
  ] as const)
    assert.throws(() => read(line), { name: 'UsageError', message }, line);
});

test('the help fits a terminal', () => {
  for (const line of HELP.split('\n')) assert.ok(line.length <= 110, line);
});
