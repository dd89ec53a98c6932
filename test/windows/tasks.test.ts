import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { unpackVsix } from '../../localAgent/index.ts';
import { loadContract } from '../../shared/contract/load.ts';
import type { LocalAgent } from '../../localAgent/index.ts';
import {
  assertFailed,
  assertOutputs,
  assertSucceeded,
  beginWait,
  eventsOf,
  jsonFile,
  publish,
  underEachNode,
  wait,
} from '../support/agent/scenario.ts';
import type { TestStream } from '../support/agent/scenario.ts';
import { Windows } from '../support/windows/windows.ts';

const windows = new Windows();
const tasks = windows.newFolder('tasks-');
cpSync(unpackVsix(), tasks, { recursive: true });

/** Writes files into an agent's sources, anything but text as JSON; returns the folder's Windows path. */
function sourcesOf(agent: LocalAgent, files: Readonly<Record<string, unknown>>): string {
  const { sources } = agent.folders;
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(sources, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  }
  return windows.pathOf(sources);
}

async function payloadsOf(stream: TestStream): Promise<string[]> {
  const last = await stream.lastSequence();
  const stored = Array.from({ length: last }, (_, index) => stream.stored(index + 1));
  return (await Promise.all(stored)).map(({ data }) => Buffer.from(data).toString());
}

underEachNode(
  'A step on Windows',
  (scene) => {
    const agentOn = (options: Parameters<typeof scene.agent>[0] = {}) => scene.agent({ extension: tasks, ...options });

    it('runs on Windows, with an agent that says so', async () => {
      const agent = agentOn();
      assert.match(agent.variable('Agent.TempDirectory') ?? '', /^C:\\agent-\w+\\_work\\_temp$/);
      assert.equal(agent.variable('Agent.OS'), 'Windows_NT');
      let out = '';
      const program = "console.log(process.platform, process.version.split('.')[0], process.cwd())";
      const node = Object.values(scene.nodes ?? {})[0] ?? '';
      const { ended } = windows.start(node, ['-e', program], {
        cwd: agent.folders.sources,
        env: {},
        onStdout: (bytes) => (out += bytes.toString()),
      });
      assert.equal(await ended, 0);
      const major = path.basename(path.dirname(node));
      assert.equal(out.trim(), `win32 v${major} ${windows.pathOf(agent.folders.sources)}`);
    });

    it('publishes the payload of an input and of a file', async () => {
      const stream = await scene.stream();
      const agent = agentOn();
      const text = 'Grüße\r\n\tvon "C:\\Users" %PATH%\r\n';
      const folder = sourcesOf(agent, { 'out/größe.txt': text });
      const subject = stream.subject('sent');
      const inline = await publish(agent, { subject, payload: '{"size":1.50}', headers: 'X-Team: shop\r\nX-Unit: kg' });
      assertSucceeded(inline);
      assertOutputs(inline, { stream: stream.name, sequence: '1', count: '1' });
      const file = { subject, payloadFrom: 'file', contentType: 'text/plain' };
      for (const payloadFile of ['out\\größe.txt', 'out/größe.txt', `${folder}\\out\\größe.txt`])
        assertSucceeded(await publish(agent, { ...file, payloadFile, messageId: randomUUID() }));
      assert.deepEqual(await payloadsOf(stream), ['{"size":1.50}', text, text, text]);
      const { header } = await stream.stored(1);
      assert.deepEqual([header.get('X-Team'), header.get('X-Unit')], ['shop', 'kg']);
    });

    it('sends lines with CRLF like any others, and checks each against the schema', async () => {
      const stream = await scene.stream();
      const agent = agentOn();
      sourcesOf(agent, {
        'lines.ndjson': '{"n":1}\r\n{"n":2}\r\n{"n":3}\n{"n":4}\r\n',
        'bad.ndjson': '{"n":1}\r\n{"n":"two"}\r\n',
        'n.schema.json': { properties: { n: { type: 'integer' } } },
      });
      const inputs = { subject: stream.subject('line'), payloadFrom: 'lines', schemaFile: 'n.schema.json' };
      const step = await publish(agent, { ...inputs, payloadFile: 'lines.ndjson' });
      assertSucceeded(step);
      assertOutputs(step, { count: '4', failedCount: '0' });
      assert.deepEqual(await payloadsOf(stream), ['{"n":1}', '{"n":2}', '{"n":3}', '{"n":4}']);
      const bad = await publish(agent, { ...inputs, payloadFile: 'bad.ndjson' });
      assertFailed(bad, 'ContractViolation', 'line 2', '/n: must be integer');
      assert.equal(await stream.lastSequence(), 4);
    });

    it('finds schemas by any form of Windows path, with the same digest as elsewhere', async () => {
      const stream = await scene.stream();
      const agent = agentOn();
      const folder = sourcesOf(agent, {
        'schemas/order.json': {
          properties: { item: { $ref: 'parts/item.json' }, size: { $ref: 'parts\\deeper\\size.json' } },
        },
        'schemas/parts/item.json': { type: 'string', not: { $ref: '../empty.json#/$defs/empty' } },
        'schemas/parts/deeper/size.json': { type: 'integer' },
        'schemas/empty.json': { $defs: { empty: { const: '' } } },
      });
      const { digest } = await loadContract(path.join(agent.folders.sources, 'schemas', 'order.json'));
      const subject = stream.subject('order');
      const good = '{"item":"bolt","size":8}';
      for (const schemaFile of [
        'schemas\\order.json',
        'schemas/order.json',
        `${folder}\\schemas\\order.json`,
        `${folder.toLowerCase()}/SCHEMAS/Order.json`,
        `\\\\?\\${folder}\\schemas\\order.json`,
      ]) {
        const step = await publish(agent, { subject, payload: good, schemaFile });
        assertSucceeded(step);
        assertOutputs(step, { schemaDigest: digest });
      }
      const wrong = { subject, payload: '{"item":"","size":"8"}', schemaFile: 'schemas\\order.json' };
      assertFailed(
        await publish(agent, wrong),
        'ContractViolation',
        '/item: must NOT be valid',
        '/size: must be integer',
      );
      const waited = await wait(agent, { subject, schemaFile: 'schemas\\order.json', outputs: 'item=data.item' });
      assertSucceeded(waited);
      assertOutputs(waited, { 'event.item': 'bolt' });
    });

    it('follows file: URLs in any case, and says why other references are refused', async () => {
      const agent = agentOn();
      const folder = windows.pathOf(agent.folders.sources);
      const url = `file:///${folder.replaceAll('\\', '/')}/part.json`;
      const schema = ($ref: string) => ({ properties: { n: { $ref } } });
      const references: Readonly<Record<string, string>> = {
        url: url,
        otherCase: url.replace('file:///C:', 'file:///c:').toLowerCase(),
        encoded: url.replace('C:', 'c%3A'),
        path: `${folder}\\part.json`,
        share: '\\\\server\\share\\part.json',
        host: 'file://server/share/part.json',
        drive: 'file:///D:/part.json',
        above: '..\\part.json',
      };
      const files = Object.entries(references).map(([name, $ref]) => [`${name}.json`, schema($ref)] as const);
      sourcesOf(agent, { 'part.json': { type: 'integer' }, ...Object.fromEntries(files) });
      const stream = await scene.stream();
      const tried = (name: string) =>
        publish(agent, { subject: stream.subject('n'), payload: '{"n":"one"}', schemaFile: `${name}.json` });
      for (const name of ['url', 'otherCase', 'encoded'])
        assertFailed(await tried(name), 'ContractViolation', '/n: must be integer');
      const remedy = 'Write it relative to the file that contains it, with slashes';
      assertFailed(await tried('path'), 'InvalidSchema', `"${folder}\\part.json"`, 'is a Windows path', remedy);
      for (const name of ['share', 'host', 'drive', 'above'])
        assertFailed(await tried(name), 'InvalidSchema', references[name]!, `leads outside "${folder}"`);
      assert.equal(await stream.lastSequence(), 0);
    });

    it('reads files by long paths and by \\\\?\\ paths, and names anything that is not a file', async () => {
      const stream = await scene.stream();
      const agent = agentOn();
      const deep = `${'a folder with a long name '.repeat(4).trim()}/`.repeat(3);
      const folder = sourcesOf(agent, { [`${deep}event.json`]: '{"n":1}', 'event.json': '{"n":2}' });
      const long = `${folder}\\${deep.replaceAll('/', '\\')}event.json`;
      assert.ok(long.length > 300);
      const inputs = { subject: stream.subject('file'), payloadFrom: 'file' };
      const sent = [long, `${deep}event.json`, `\\\\?\\${long}`, `\\\\?\\${folder}\\event.json`];
      for (const [index, payloadFile] of sent.entries())
        assertSucceeded(await publish(agent, { ...inputs, payloadFile, messageId: String(index) }));
      assert.deepEqual(await payloadsOf(stream), ['{"n":1}', '{"n":1}', '{"n":1}', '{"n":2}']);

      const asShown = (file: string) => JSON.stringify(file);
      for (const [payloadFile, ...problem] of [
        ['\\\\server\\share\\event.json', 'there is no file', asShown('\\\\server\\share\\event.json')],
        ['D:\\event.json', 'there is no file', asShown('D:\\event.json')],
        ['event.json:stream', 'there is no file', asShown(`${folder}\\event.json:stream`)],
        ['nul', 'there is no file', asShown(`${folder}\\nul`)],
        ['\\\\.\\C:\\', "isn't the path of a readable file", asShown('\\\\.\\C:')],
        ['.\\', 'payloadFile: is required'],
        [
          'a folder with a long name a folder with a long name a folder with a long name a folder with a long name',
          'is a folder',
        ],
      ] as const)
        assertFailed(await publish(agent, { ...inputs, payloadFile }), 'InvalidInput', ...problem);
      assert.equal(await stream.lastSequence(), sent.length);
    });

    it('waits for a later event, and leaves outputs and files', async () => {
      const stream = await scene.stream();
      const agent = agentOn();
      const subject = stream.subject('built');
      const { ended } = await beginWait(agent, {
        subject,
        match: 'data.ok',
        outputs: 'path=data.path\nlines=data.lines',
      });
      const data = { ok: true, path: 'C:\\drop\\web.zip', lines: 'one\r\ntwo %0D%0A ##vso[task.complete]' };
      await stream.put('built', { ok: false });
      await stream.put('built', data);
      const step = await ended;
      assertSucceeded(step);
      assertOutputs(step, { verdict: 'matched', sequence: '2', 'event.path': data.path, 'event.lines': data.lines });
      assert.match(step.outputs.get('eventFile') ?? '', /^C:\\agent-\w+\\_work\\_temp\\nats-events-[\w-]+\.json$/);
      assert.match(
        step.outputs.get('receiptFile') ?? '',
        /^C:\\agent-\w+\\_work\\_temp\\nats-wait-receipt-[\w-]+\.json$/,
      );
      assert.deepEqual(
        eventsOf(step).map((event) => event.data),
        [data],
      );
      const receipt = jsonFile(step, 'receiptFile') as { result: { verdict: string } };
      assert.equal(receipt.result.verdict, 'matched');
      assert.ok(!readFileSync(step.fileOf('eventFile'), 'utf8').includes('\r'));
      assert.equal(await stream.consumers(), 0);
    });

    it('ends at its timeout, and when Ctrl+C cancels it', async () => {
      const stream = await scene.stream();
      const subject = stream.subject('never');
      const late = await wait(agentOn(), { subject, timeout: '4s' });
      assertFailed(late, 'Timeout');
      assertOutputs(late, { verdict: 'timedOut', missing: '1' });

      const cancelling = new AbortController();
      const { ended } = await beginWait(agentOn({ signal: cancelling.signal }), { subject });
      cancelling.abort();
      const cancelled = await ended;
      assert.equal(cancelled.result, 'Canceled', cancelled.logText);
      assertOutputs(cancelled, { verdict: 'cancelled' });
      assert.equal(cancelled.exitCode, 0);
      assert.equal(await stream.consumers(), 0);
    });

    it("masks the run's secrets", async () => {
      const stream = await scene.stream();
      const secret = 'Alfa7\\Bravo8%Charlie9';
      await stream.put('told', { text: `it is ${secret}` });
      const agent = agentOn({ secrets: { ApiKey: secret }, debug: true });
      const step = await wait(agent, { subject: stream.subject('told'), outputs: 'text=data.text' });
      assertSucceeded(step);
      assert.equal(step.shownOutputs.get('event.text'), 'it is ***');
      const refused = await publish(agent, { subject: stream.subject('sent'), payload: `{"key":"${secret}"}` });
      assertFailed(refused, 'InvalidInput', 'the secret variable "ApiKey"');
      for (const { logText } of [step, refused]) assert.ok(!logText.includes('Bravo8'), logText);
    });
  },
  windows,
);
