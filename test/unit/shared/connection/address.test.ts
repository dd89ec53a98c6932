import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseServers, schemesProblem } from '../../../../shared/connection/address.ts';
import type { ServerAddress } from '../../../../shared/connection/settings.ts';

for (const [url, host, port, tls] of [
  ['nats://nats.example', 'nats.example', 4222, false],
  ['nats://nats.example/', 'nats.example', 4222, false],
  ['nats://nats.example:4333', 'nats.example', 4333, false],
  ['nats://nats.example:4333/', 'nats.example', 4333, false],
  ['NATS://Nats.Example:80', 'nats.example', 80, false],
  ['http://nats.example', 'nats.example', 4222, false],
  ['http://nats.example:80/', 'nats.example', 80, false],
  ['tls://nats.example', 'nats.example', 4222, true],
  ['nats+tls://nats.example:443', 'nats.example', 443, true],
  ['https://nats.example', 'nats.example', 4222, true],
  ['https://nats.example:443/', 'nats.example', 443, true],
  ['tls://192.0.2.7:4222', '192.0.2.7', 4222, true],
  ['nats://[2001:db8::7]', '2001:db8::7', 4222, false],
  ['tls://[2001:db8::7]:4333', '2001:db8::7', 4333, true],
  ['nats://bücher.example', 'xn--bcher-kva.example', 4222, false],
] as const) {
  test(`the URL ${url} means ${host} port ${port} ${tls ? 'with' : 'without'} mandatory TLS`, () => {
    assert.deepEqual(parseServers([url]), [{ host, port, tls }]);
  });
}

for (const [url, code, problem] of [
  ['nats.example:4222', undefined, /has no scheme\. Write nats:\/\/host:4222/],
  ['ws://nats.example', 'Unsupported', /uses WebSocket \(ws:\/\/\), which isn't supported/],
  ['wss://nats.example:443/nats', 'Unsupported', /uses WebSocket \(wss:\/\/\), which isn't supported/],
  ['amqp://nats.example', undefined, /has the unknown scheme "amqp"/],
  ['nats://ann:s3cret@nats.example', undefined, /^holds a user or password\.$/],
  ['nats://t0ken@nats.example', undefined, /holds a user or password/],
  ['nats://nats.example/js', undefined, /has a path/],
  ['nats://nats.example?tls=true', undefined, /has a path/],
  ['nats://nats.example#x', undefined, /has a path/],
  ['nats://', undefined, /^has no host\. Write nats:\/\/host:4222/],
  ['nats://:4222', undefined, /^has no host\. Write/],
  ['https://', undefined, /^has no host\. Write/],
  ['https:///', undefined, /^has no host\. Write/],
  [':8222', undefined, /^has no host\. Write/],
  ['', undefined, /^has no host\. Write/],
  ['nats://nats.example:70000', undefined, /has no valid host and port\. Write nats:\/\/host:4222/],
  ['nats://nats.example:port', undefined, /has no valid host and port/],
  ['nats://nats.example:0', undefined, /has port 0/],
  ['nats://nats example', undefined, /has no valid host and port/],
  ['nats://na\nts', undefined, /has no valid host and port/],
  ['nats://nats\0', undefined, /has no valid host and port/],
  ['nats://one,two', undefined, /^names more than one server\.$/],
  ['nats://one:4222,nats://two:4222', undefined, /names more than one server/],
] as const) {
  test(`the URL ${url} is refused`, () => {
    const [wrong] = parseServers([url]);
    assert.ok(wrong !== undefined && 'problem' in wrong);
    assert.equal(wrong.code, code);
    const told = [`${wrong.problem}.`, wrong.remedy].filter(Boolean).join(' ');
    assert.match(told, problem);
    assert.doesNotMatch(told, /s3cret|t0ken/);
  });
}

test("a server without a scheme inherits the first one's, and without any it is a problem", () => {
  assert.deepEqual(parseServers(['tls://one', 'two', 'nats://three:4333']), [
    { host: 'one', port: 4222, tls: true },
    { host: 'two', port: 4222, tls: true },
    { host: 'three', port: 4333, tls: false },
  ]);
  const missing = { problem: 'has no scheme', remedy: 'Write nats://host:4222 or tls://host:4222.' };
  assert.deepEqual(parseServers(['one', 'two']), [missing, missing]);
});

test('either all servers of a connection use TLS, or none', () => {
  const server = (tls: boolean): ServerAddress => ({ host: 'one', port: 4222, tls });
  assert.equal(schemesProblem([]), undefined);
  assert.equal(schemesProblem([server(true), server(true)]), undefined);
  assert.equal(schemesProblem([server(true), server(false)])?.problem, 'mix tls:// and nats://');
});
