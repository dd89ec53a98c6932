import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TaskCommand } from 'azure-pipelines-task-lib/taskcommand.js';
import fc from 'fast-check';
import { parameters } from '../../support/hostile/hostile.ts';
import { hostileText } from '../../support/hostile/hostileText.ts';
import { kindOfCommand, LineReader, maySetVariable, parseLoggingCommand } from '../../../localAgent/loggingCommands.ts';

function parse(line: string): { name: string; properties: Record<string, string>; data: string } | undefined {
  const command = parseLoggingCommand(line);
  return (
    command && {
      name: `${command.area}.${command.event}`,
      properties: Object.fromEntries(command.properties),
      data: command.data,
    }
  );
}

function linesOf(...chunks: (string | Uint8Array)[]): string[] {
  const lines: string[] = [];
  const reader = new LineReader((line) => lines.push(line));
  for (const chunk of chunks) reader.write(Buffer.from(chunk as string));
  reader.end();
  return lines;
}

describe('a logging command', () => {
  it('is read with its properties and data', () => {
    assert.deepEqual(parse('##vso[task.setvariable variable=a;isOutput=true;]some value'), {
      name: 'task.setvariable',
      properties: { variable: 'a', isoutput: 'true' },
      data: 'some value',
    });
  });

  it('is found in the middle of a printed line', () => {
    assert.equal(parse('{"payload":"##vso[task.setvariable variable=x]evil"}')?.data, 'evil"}');
  });

  it('hides a second command in its data', () => {
    assert.deepEqual(parse('##vso[task.debug]##vso[task.setvariable variable=x]evil'), {
      name: 'task.debug',
      properties: {},
      data: '##vso[task.setvariable variable=x]evil',
    });
  });

  it('starts only at the first prefix of a line', () => {
    assert.equal(parse('##vso[nothing]##vso[task.setvariable variable=x]evil'), undefined);
    assert.equal(parse('##vso[##vso[task.debug]x')?.name, '##vso[task.debug');
    assert.equal(parse('##vso##vso[task.debug]x')?.name, 'task.debug');
  });

  it('may follow a bracket earlier on the line', () => {
    assert.deepEqual(parse('a] b] ##vso[task.debug]x]y'), { name: 'task.debug', properties: {}, data: 'x]y' });
  });

  it('has its area and event before the first space', () => {
    assert.deepEqual(parse('##vso[task.debug  a.b=c d;e=f ]x'), {
      name: 'task.debug',
      properties: { ' a.b': 'c d', e: 'f ' },
      data: 'x',
    });
    assert.equal(parse('##vso[.task..debug.]x')?.name, 'task.debug');
    assert.equal(parse('##vso[task;x.debug;y]x')?.name, 'task;x.debug;y');
  });

  it('ignores the case of properties, and takes the last value of duplicates', () => {
    assert.deepEqual(parse('##vso[task.setvariable Variable=a;VARIABLE=b]')?.properties, { variable: 'b' });
  });

  it('has the rest of its line as data, which may be empty', () => {
    assert.equal(parse('##vso[task.debug]')?.data, '');
    assert.equal(parse('##vso[task.debug] \t x ')?.data, ' \t x ');
    assert.deepEqual(
      linesOf('##vso[task.debug]a\r##vso[task.debug]b').map((line) => parse(line)?.data),
      ['a', 'b'],
    );
    assert.deepEqual(
      linesOf('##vso[task.debug]a\u0085b\u2028c\u2029d\ve\f').map((line) => parse(line)?.data),
      ['a\u0085b\u2028c\u2029d\ve\f'],
    );
  });

  it('ends at the first bracket, even inside a property', () => {
    assert.deepEqual(parse('##vso[task.setvariable variable=a]b;isOutput=true]c'), {
      name: 'task.setvariable',
      properties: { variable: 'a' },
      data: 'b;isOutput=true]c',
    });
  });

  for (const [escaped, text] of [
    ['%3B', ';'],
    ['%0D', '\r'],
    ['%0A', '\n'],
    ['%5D', ']'],
    ['%AZP25', '%'],
    ['%3b%0d%0a%5d%azp25', '%3b%0d%0a%5d%azp25'],
    ['%25 %250A %20 %', '%25 %250A %20 %'],
    ['%AZP253B%AZP250D%AZP250A%AZP255D', '%3B%0D%0A%5D'],
    ['%AZP25AZP25', '%AZP25'],
    ['%%0A%%AZP25', '%\n%%'],
    ['%0%0AA', '%0\nA'],
  ] as const) {
    it(`unescapes ${escaped} to ${JSON.stringify(text)}, in properties and data`, () => {
      const command = parse(`##vso[task.setvariable variable=${escaped}]${escaped}`);
      assert.equal(command?.properties['variable'], text);
      assert.equal(command.data, text);
    });
  }

  it('keeps escapes in the names of its area, event and properties', () => {
    assert.deepEqual(parse('##vso[ta%3Bsk.de%5Dbug a%3D=b]x'), {
      name: 'ta%3Bsk.de%5Dbug',
      properties: { 'a%3d': 'b' },
      data: 'x',
    });
  });

  it('is read as task-lib wrote it, whatever its values', () => {
    fc.assert(
      // An equals sign at the start of a value is lost, as the next test shows.
      fc.property(
        hostileText.map((text) => `x${text}`),
        hostileText,
        (property, data) => {
          const line = String(new TaskCommand('task.setvariable', { variable: property }, data));
          assert.equal(linesOf(`${line}\n`).length, 1);
          const [read = ''] = linesOf(`${line}\n`);
          assert.deepEqual(parse(read), {
            name: 'task.setvariable',
            properties: { variable: property.toWellFormed() },
            data: data.toWellFormed(),
          });
        },
      ),
      parameters(2_000),
    );
  });

  it('keeps equals signs in a property, and drops a property without a value', () => {
    assert.deepEqual(parse('##vso[task.setvariable variable=a=b=;empty=;alone;=lead=c]')?.properties, {
      variable: 'a=b=',
      lead: 'c',
    });
  });

  for (const line of [
    'no command',
    '##vso[task.debug never closed',
    '##vso[debug]one part',
    '##vso[a.b.c]three parts',
    '##vso[ task.debug]a space first',
    '##VSO[task.debug]the prefix in capitals',
    '##vso []',
    '##[error]formatting only',
    '##[debug]formatting only',
    '##vso [task.debug]a space before the bracket',
    '##vso\u200b[task.debug]something unseen in the prefix',
    '# #vso[task.debug]a space in the prefix',
    '##vso[task/debug]no dot',
    '##vso[task.]no event',
    '##vso[.debug]no area',
    '',
  ]) {
    it(`is not: ${line}`, () => {
      assert.equal(parse(line), undefined);
    });
  }

  it('is recognised in any case', () => {
    const kind = (line: string, restricted: boolean): string => kindOfCommand(parseLoggingCommand(line)!, restricted);
    assert.equal(kind('##vso[Task.SetVariable variable=a]', true), 'allowed');
    assert.equal(kind('##vso[task.uploadsummary]/a.md', true), 'restricted');
    assert.equal(kind('##vso[task.uploadsummary]/a.md', false), 'allowed');
    assert.equal(kind('##vso[BUILD.addbuildtag]a', true), 'restricted');
    assert.equal(kind('##vso[task.nothing]', false), 'unknownEvent');
    assert.equal(kind('##vso[nobody.knows]', false), 'unknownArea');
    assert.equal(kind('##vso[task.constructor]', false), 'unknownEvent');
    assert.equal(kind('##vso[constructor.name]', false), 'unknownArea');
  });
});

describe('the output of a task', () => {
  it('is split at LF, CR and CRLF', () => {
    assert.deepEqual(linesOf('a\nb\r\nc\rd\n\ne'), ['a', 'b', 'c', 'd', '', 'e']);
  });

  it('is split the same, wherever a chunk ends', () => {
    const text = 'a\r\nb\rü\n\n##vso[task.debug]x€\r\r\nend';
    const bytes = Buffer.from(text);
    const whole = linesOf(bytes);
    assert.deepEqual(whole, ['a', 'b', 'ü', '', '##vso[task.debug]x€', '', 'end']);
    for (let cut = 1; cut < bytes.length; cut++)
      assert.deepEqual(linesOf(bytes.subarray(0, cut), bytes.subarray(cut)), whole);
    assert.deepEqual(linesOf(...[...bytes].map((byte) => Uint8Array.of(byte))), whole);
  });
});

describe('the bytes of a task', () => {
  it('are read as UTF-8 across chunks, and invalid ones never become part of a command', () => {
    assert.deepEqual(linesOf(Uint8Array.of(0x61, 0xff, 0x62, 0x0a, 0xc3), Uint8Array.of(0xa9)), ['a\ufffdb', 'é']);
    const overlong = Buffer.concat([Buffer.from([0xc0, 0xa3, 0xc0, 0xa3]), Buffer.from('vso[task.debug]x')]);
    assert.equal(parse(linesOf(overlong)[0] ?? ''), undefined);
  });
});

describe('settable variables', () => {
  it('are unlimited without a list, and none are allowed by an empty one', () => {
    assert.equal(maySetVariable('any', undefined), true);
    assert.equal(maySetVariable('any', []), false);
  });

  it('match names and patterns in any case', () => {
    const allowed = ['verdict', 'event.*'];
    assert.equal(maySetVariable('VERDICT', allowed), true);
    assert.equal(maySetVariable('Event.orderId', allowed), true);
    assert.equal(maySetVariable('eventXorderId', allowed), false);
    assert.equal(maySetVariable('verdict2', allowed), false);
    assert.equal(maySetVariable('PATH', allowed), false);
  });

  it('are an error if they have a pattern that this agent does not support', () => {
    assert.throws(() => maySetVariable('a', ['{a,b}']), /pattern not supported/);
  });
});
