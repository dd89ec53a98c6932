import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  kindOfCommand,
  LineReader,
  maySetVariable,
  parseLoggingCommand,
} from '../support/localAgent/loggingCommands.ts';

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

  it('hides a second command that stands in its data', () => {
    assert.deepEqual(parse('##vso[task.debug]##vso[task.setvariable variable=x]evil'), {
      name: 'task.debug',
      properties: {},
      data: '##vso[task.setvariable variable=x]evil',
    });
  });

  it('ends at the first bracket, even inside a property', () => {
    assert.deepEqual(parse('##vso[task.setvariable variable=a]b;isOutput=true]c'), {
      name: 'task.setvariable',
      properties: { variable: 'a' },
      data: 'b;isOutput=true]c',
    });
  });

  it('is unescaped in properties and data', () => {
    const escaped = 'a%3Bb%5Dc%0Ad%0De%AZP25';
    const command = parse(`##vso[task.setvariable variable=${escaped}]${escaped}`);
    assert.equal(command?.properties['variable'], 'a;b]c\nd\re%');
    assert.equal(command.data, 'a;b]c\nd\re%');
  });

  it('is unescaped once: an escaped percent sign does not make a new escape, and %25 is no escape', () => {
    assert.equal(parse('##vso[task.debug]%AZP250A %25 %0a')?.data, '%0A %25 %0a');
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
  ]) {
    it(`is not: ${line}`, () => {
      assert.equal(parse(line), undefined);
    });
  }

  it('is known whatever the case of its name', () => {
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
  it('is cut at line feeds, carriage returns and both together', () => {
    assert.deepEqual(linesOf('a\nb\r\nc\rd\n\ne'), ['a', 'b', 'c', 'd', '', 'e']);
  });

  it('is cut the same wherever a chunk ends', () => {
    const text = 'a\r\nb\rü\n\n##vso[task.debug]x€\r\r\nend';
    const bytes = Buffer.from(text);
    const whole = linesOf(bytes);
    assert.deepEqual(whole, ['a', 'b', 'ü', '', '##vso[task.debug]x€', '', 'end']);
    for (let cut = 1; cut < bytes.length; cut++)
      assert.deepEqual(linesOf(bytes.subarray(0, cut), bytes.subarray(cut)), whole);
    assert.deepEqual(linesOf(...[...bytes].map((byte) => Uint8Array.of(byte))), whole);
  });
});

describe('settable variables', () => {
  it('are not limited without a list, and none with an empty one', () => {
    assert.equal(maySetVariable('any', undefined), true);
    assert.equal(maySetVariable('any', []), false);
  });

  it('match names and patterns without case', () => {
    const allowed = ['verdict', 'event.*'];
    assert.equal(maySetVariable('VERDICT', allowed), true);
    assert.equal(maySetVariable('Event.orderId', allowed), true);
    assert.equal(maySetVariable('eventXorderId', allowed), false);
    assert.equal(maySetVariable('verdict2', allowed), false);
    assert.equal(maySetVariable('PATH', allowed), false);
  });

  it('with a pattern this agent cannot read are an error', () => {
    assert.throws(() => maySetVariable('a', ['{a,b}']), /pattern not supported/);
  });
});
