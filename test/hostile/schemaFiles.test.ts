import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { loadContract } from '../../shared/contract/load.ts';
import { TaskError, type ErrorCode } from '../../shared/errors.ts';
import { cases, family, parameters } from '../support/hostile/hostile.ts';
import { LocalAgent, temporaryFolder, unpackVsix } from '../../localAgent/index.ts';
import { assertFailed, publish, sourcesWith } from '../support/agent/scenario.ts';
import { ScriptedServer, SUBJECT } from '../support/nats/scriptedServer.ts';

const { tried } = family('Schemas: files and references');

/** The draft in which an unknown format is more than an annotation. */
const DRAFT_07 = 'http://json-schema.org/draft-07/schema#';
const SECRET = 'hush-4711';

/** The error of loading this file; undefined if there's none. */
async function errorOf(file: string): Promise<TaskError | undefined> {
  return loadContract(file).then(
    () => undefined,
    (error: unknown) => (error instanceof TaskError ? error : assert.fail(String(error))),
  );
}

async function assertRefused(file: string, about: string, ...codes: readonly ErrorCode[]): Promise<void> {
  const error = await errorOf(file);
  tried();
  assert.ok(error !== undefined && codes.includes(error.code), `${about}: ${error?.message ?? 'accepted'}`);
  assert.ok(!error.message.includes(SECRET), error.message);
}

describe('A reference out of the folder is refused, and nothing there is read or requested:', () => {
  const listener = createServer((socket) => socket.destroy());
  let asked = 0;
  listener.on('connection', () => asked++);
  before(() => once(listener.listen(0, '127.0.0.1'), 'listening'));
  after(() => listener.close());

  /** A root schema in a folder with secrets outside it, some of which symbolic links point to. */
  function folder(root: unknown): string {
    const outside = temporaryFolder('outside-');
    const inside = path.join(outside, 'contracts');
    mkdirSync(path.join(inside, 'deeper'), { recursive: true });
    for (const name of ['secret.json', 'x y.json']) {
      writeFileSync(path.join(outside, name), JSON.stringify({ const: SECRET, $defs: { a: { const: SECRET } } }));
    }
    symlinkSync(path.join(outside, 'secret.json'), path.join(inside, 'link.json'));
    symlinkSync(outside, path.join(inside, 'linked'));
    symlinkSync('loop.json', path.join(inside, 'loop.json'));
    writeFileSync(
      path.join(inside, 'root.json'),
      JSON.stringify(root).replaceAll('<outside>', pathToFileURL(outside).href),
    );
    return path.join(inside, 'root.json');
  }

  it('paths, URLs, links and encodings', async () => {
    const port = String((listener.address() as AddressInfo).port);
    const up = '.. %2e%2e %2E. .%2e deeper/../.. deeper/%2e%2e/.. .//.. ..%2f.. ..%5c ..\\ \\..'.split(' ');
    const references = [
      ...up.flatMap((part) => [`${part}/secret.json`, `${part}/secret.json#/$defs/a`, `${part}%2fsecret.json`]),
      ...['link.json', 'link.json#/$defs/a', 'linked/secret.json', 'linked/x%20y.json', 'loop.json', 'linked'],
      ...['<outside>/secret.json', 'file:///etc/hostname', 'file:/etc/hostname', 'file://localhost/etc/hostname'],
      ...['/etc/hostname', '//etc/hostname', 'file://host.example/share/x.json', '\\\\host.example\\share\\x.json'],
      ...['http:', 'https:', 'ftp:', 'ws:', ''].map((scheme) => `${scheme}//127.0.0.1:${port}/secret.json`),
      ...['data:application/json,{}', 'javascript:true', 'node:fs', 'urn:x:y', 'blob:x', 'C:/x.json'],
      ...['.', './', 'deeper', 'deeper/', 'no.json', '%00', 'a%00.json', '%', '%zz', 'http://', 'http://['],
    ];
    for (const $ref of references) {
      for (const root of [
        { $ref },
        { $id: 'https://x.example/a/root.json', properties: { p: { $ref } } },
        { $dynamicRef: $ref },
      ]) {
        await assertRefused(folder(root), JSON.stringify(root), 'InvalidSchema');
      }
    }
    assert.equal(asked, 0);
  });

  it('generated paths', async () => {
    const part = fc.constantFrom(...'.. . %2e%2e %2E%2E deeper linked %5c %2f \\ a ..%2f %252e%252e'.split(' '), '');
    const reference = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => `${parts.join('/')}/secret.json`);
    const references = fc.sample(reference, parameters(cases({ short: 20, long: 4_000 })));
    for (const $ref of references) await assertRefused(folder({ $ref }), $ref, 'InvalidSchema');
    assert.equal(asked, 0);
  });
});

const GOOD = '{"type":"object"}';
const NOT_JSON: readonly (string | Buffer)[] = [
  ...['', ' ', '{', '}', '[1,2', '{"a":1,}', "{'a':1}", '{a:1}', '// x\n{}', '{}{}', 'NaN', '{"a":NaN}', '{"a":01}'],
  ...['{"a":"\u0001"}', '{"a":"\\x"}', '{"a":"\\ud800', 'undefined', '[]', '5', '"text"', 'null'],
  ...['[', '{"a":'].map((open) => open.repeat(100_000)),
  ...['fffe7b007d00', 'feff007b007d', '00', '1f8b0800'].map((bytes) => Buffer.from(bytes, 'hex')),
  ...['c328', 'eda080'].map((bytes) => Buffer.from(`7b2261223a22${bytes}227d`, 'hex')),
];

describe('A file that is not a schema is refused:', () => {
  const write = (content: string | Buffer, name = 'root.json'): string => {
    const folder = temporaryFolder('files-');
    writeFileSync(path.join(folder, name), content);
    return folder;
  };

  it('as the root, and as the target of a reference', async () => {
    for (const content of NOT_JSON) {
      const about = JSON.stringify(content.toString('latin1').slice(0, 60));
      await assertRefused(path.join(write(content), 'root.json'), about, 'InvalidSchema');
      const folder = write(content, 'part.json');
      writeFileSync(path.join(folder, 'root.json'), JSON.stringify({ $ref: 'part.json' }));
      await assertRefused(path.join(folder, 'root.json'), about, 'InvalidSchema');
    }
  });
  it('except one with a byte order mark', async () => {
    assert.equal(await errorOf(path.join(write(`\ufeff${GOOD}`), 'root.json')), undefined);
    tried();
  });
  it('something that is not a file', async () => {
    const folder = write(GOOD);
    symlinkSync('loop', path.join(folder, 'loop'));
    for (const name of ['', '.', 'no.json', 'loop', 'root.json/x', `${'x'.repeat(5_000)}.json`, '\0'])
      await assertRefused(path.join(folder, name), JSON.stringify(name.slice(0, 40)), 'InvalidInput');
  });
  it('a schema with changed bytes, unless it is still a schema', async () => {
    const schema = JSON.stringify({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      $defs: { a: { pattern: '^a$', minimum: 1 } },
      properties: { b: { $ref: '#/$defs/a' }, c: { items: { type: ['string', 'null'] } } },
      required: ['b'],
    });
    const change = fc.record({
      at: fc.nat({ max: schema.length }),
      remove: fc.nat({ max: 5 }),
      insert: fc.oneof(
        fc.uint8Array({ maxLength: 3 }),
        fc.constantFrom('"', '{', '}', '[', ',', '\\', '#', '/', '-1', 'null').map((text) => Buffer.from(text)),
      ),
    });
    for (const { at, remove, insert } of fc.sample(change, parameters(cases({ short: 75, long: 4_000 })))) {
      const bytes = Buffer.from(schema);
      const content = Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + remove)]);
      const error = await errorOf(path.join(write(content), 'root.json'));
      tried();
      assert.ok(
        error === undefined || error.code === 'InvalidSchema',
        `${content.toString()}: ${error?.message ?? ''}`,
      );
    }
  });
});

describe('A step with a bad schema fails before it connects:', { concurrency: 2 }, () => {
  const extension = unpackVsix();
  const command = '##vso[task.complete result=Succeeded]';
  for (const [name, schema, code] of [
    ['a reference out of its folder', { $ref: '../secret.json' }, 'InvalidSchema'],
    ['a reference over HTTP', { $ref: 'http://127.0.0.1:1/x.json' }, 'InvalidSchema'],
    ['not JSON', `{${command}`, 'InvalidSchema'],
    ['a command as a reference', { $ref: `${command}\n${command}` }, 'InvalidSchema'],
    ['a command in a pattern', { pattern: `(${command}` }, 'InvalidSchema'],
    ['a command as a format', { $schema: DRAFT_07, format: `\n${command}` }, 'InvalidSchema'],
    ['a command as its draft', { $schema: command }, 'InvalidSchema'],
    ['a command in the value that the error quotes', { const: `${command}\n` }, 'ContractViolation'],
  ] as const) {
    it(name, async () => {
      await using server = await ScriptedServer.start();
      const agent = new LocalAgent({
        extension,
        debug: true,
        sources: sourcesWith({ 'root.json': schema }),
        connections: { nats: { url: server.url, scheme: 'None' } },
      });
      const step = await publish(agent, { subject: SUBJECT, payload: '{}', schemaFile: 'root.json' });
      tried();
      assertFailed(step, code);
      assert.equal(server.links.length, 0);
      const ends = step.commands.filter(({ event }) => event === 'complete');
      assert.deepEqual(
        ends.map(({ properties }) => properties.get('result')),
        ['Failed'],
      );
      assert.ok(step.commands.every(({ outcome }) => outcome === 'executed'));
    });
  }
});
