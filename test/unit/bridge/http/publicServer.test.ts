import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import path from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import { temporaryFolder } from '../../../../localAgent/index.ts';
import { MOST_BODY_BYTES } from '../../../../bridge/http/body.ts';
import { PublicServer } from '../../../../bridge/http/publicServer.ts';
import type { HttpAnswer, HttpRequest, Route } from '../../../../bridge/http/route.ts';
import { TlsFiles } from '../../../../bridge/http/tlsFiles.ts';
import { EventLog } from '../../../../bridge/log.ts';
import { TIMING, type Timing } from '../../../../bridge/timing.ts';
import { rawRequest, slowConnections } from '../../../support/bridge/rawHttp.ts';
import { createAuthority } from '../../../support/nats/certificates.ts';

const UNAUTHORIZED: HttpAnswer = { status: 401, body: { error: { code: 'Unauthorized', message: 'no' } } };

/** A route that refuses strangers, who have the header `x-stranger`. */
function route(handle: (request: HttpRequest) => Promise<HttpAnswer> | HttpAnswer): Route {
  return {
    method: 'POST',
    path: '/hooks',
    authenticate: ({ 'x-stranger': stranger }) => (stranger === undefined ? undefined : UNAUTHORIZED),
    handle: async (request) => handle(request),
  };
}

const ECHO = route(({ body, headers }) => ({
  status: 200,
  body: {
    bytes: body.length,
    text: Buffer.from(body.subarray(0, 50)).toString(),
    type: headers['content-type'] ?? null,
  },
}));

async function startServer(
  t: TestContext,
  {
    timing = {},
    routes = [ECHO],
    tls,
  }: { timing?: Partial<Timing>; routes?: readonly Route[] | undefined; tls?: TlsFiles } = {},
) {
  const lines: string[] = [];
  const server = new PublicServer({
    listen: { host: '127.0.0.1', port: 0 },
    tls,
    timing: { ...TIMING, ...timing },
    log: new EventLog((line) => lines.push(line), Date.now),
    now: Date.now,
  });
  await server.listen();
  t.after(() => server.close());
  server.serve(routes);
  const url = `http://127.0.0.1:${server.port}`;
  return {
    server,
    lines,
    url,
    post: (body: string | Uint8Array, headers: Record<string, string> = {}) =>
      fetch(`${url}/hooks`, { method: 'POST', body, headers }),
  };
}

async function codeOf(response: Response): Promise<string> {
  return ((await response.json()) as { error: { code: string } }).error.code;
}

describe('The public port', () => {
  test("passes on a body's bytes, whatever their content type", async (t) => {
    const { post, url } = await startServer(t);
    for (const type of ['application/json', 'text/plain; charset=x', 'a;b;c', 'application/x-www-form-urlencoded'])
      assert.deepEqual(await (await post('{ not json', { 'content-type': type })).json(), {
        bytes: 10,
        text: '{ not json',
        type,
      });
    const empty = await fetch(`${url}/hooks?why=because`, { method: 'POST' });
    assert.deepEqual(await empty.json(), { bytes: 0, text: '', type: null });
    assert.equal(empty.headers.get('cache-control'), 'no-store');
  });

  test('accepts a body of the largest size, and answers 413 to a larger one, chunked or not', async (t) => {
    const { post, url } = await startServer(t);
    assert.deepEqual(
      ((await (await post(new Uint8Array(MOST_BODY_BYTES))).json()) as { bytes: number }).bytes,
      MOST_BODY_BYTES,
    );
    for (const bytes of [MOST_BODY_BYTES + 1, 12_000_000]) {
      const refused = await post(new Uint8Array(bytes));
      assert.deepEqual([refused.status, await codeOf(refused)], [413, 'TooLarge']);
    }
    let sent = 0;
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        if ((sent += 100_000) > 4_000_000) controller.close();
        else controller.enqueue(new Uint8Array(100_000));
      },
    });
    const chunked = await fetch(`${url}/hooks`, { method: 'POST', body: stream, duplex: 'half' });
    assert.deepEqual([chunked.status, await codeOf(chunked)], [413, 'TooLarge']);
  });

  test('refuses a stranger without waiting for the body', async (t) => {
    const { server, post } = await startServer(t);
    assert.equal((await post('x', { 'x-stranger': '1' })).status, 401);
    assert.equal((await post(new Uint8Array(12_000_000), { 'x-stranger': '1' })).status, 401);
    const head =
      'POST /hooks HTTP/1.1\r\nHost: a\r\nX-Stranger: 1\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n';
    const { status, ms } = await rawRequest(server.port, head);
    assert.equal(status, 401);
    assert.ok(ms < 5_000, `${ms} ms`);
  });

  test('answers in JSON to unknown paths and methods, bad URLs and malformed requests', async (t) => {
    const { server, url } = await startServer(t);
    const cases: readonly (readonly [path: string, method: string, status: number, code: string])[] = [
      ['/', 'GET', 404, 'NotFound'],
      ['/hooks/', 'POST', 404, 'NotFound'],
      ['/HOOKS', 'POST', 404, 'NotFound'],
      ['/hooks', 'GET', 405, 'MethodNotAllowed'],
      ['/hooks', 'DELETE', 405, 'MethodNotAllowed'],
      ['/%ZZ', 'POST', 400, 'BadRequest'],
    ];
    for (const [place, method, status, code] of cases) {
      const response = await fetch(url + place, { method });
      assert.match(response.headers.get('content-type') ?? '', /^application\/json/);
      assert.deepEqual([response.status, await codeOf(response)], [status, code], `${method} ${place}`);
      if (status === 405) assert.equal(response.headers.get('allow'), 'POST');
    }
    const close = 'Host: a\r\nConnection: close\r\n\r\n';
    for (const [text, status] of [
      ['hello\r\n\r\n', 400],
      [`PROPFIND /hooks HTTP/1.1\r\n${close}`, 405],
      [`POST /${'x'.repeat(20_000)} HTTP/1.1\r\n${close}`, 431],
    ] as const) {
      const answer = await rawRequest(server.port, text);
      assert.equal(answer.status, status, text.slice(0, 40));
      assert.match(answer.text, /\r\n\r\n\{"error":\{"code":"\w+","message":"[^"]+"\}\}$/);
    }
  });

  test('answers 503 when a handler fails, and gives the reason only in the log', async (t) => {
    const { post, lines } = await startServer(t, {
      routes: [
        route(() => {
          throw new Error('broken inside');
        }),
      ],
    });
    const response = await post('x');
    assert.deepEqual([response.status, response.headers.get('retry-after')], [503, '2']);
    assert.doesNotMatch(await response.text(), /broken inside/);
    assert.match(lines.join(''), /"level":"error","event":"requestFailed","path":"\/hooks","reason":"broken inside"/);
  });

  test('answers 503 until it has routes, and can swap them between two requests', async (t) => {
    const { server, post } = await startServer(t, { routes: undefined });
    const other = new PublicServer({
      listen: { host: '127.0.0.1', port: 0 },
      tls: undefined,
      timing: TIMING,
      log: new EventLog(() => {}, Date.now),
      now: Date.now,
    });
    await other.listen();
    t.after(() => other.close());
    assert.equal((await fetch(`http://127.0.0.1:${other.port}/hooks`, { method: 'POST' })).status, 503);
    assert.equal((await post('x')).status, 200);
    server.serve([route(() => ({ status: 202, body: {} }))]);
    assert.equal((await post('x')).status, 202);
  });

  test('limits the time for headers and bodies', async (t) => {
    const { server: impatient } = await startServer(t, { timing: { headers: 600 } });
    const { server } = await startServer(t, { timing: { headers: 20_000, body: 400 } });
    const begin = 'POST /hooks HTTP/1.1\r\nHost: a\r\n';
    for (const [port, text, leastMs] of [
      [impatient.port, '', 600],
      [impatient.port, begin, 600],
      [server.port, `${begin}Content-Length: 9\r\n\r\nhalf`, 400],
      [server.port, `${begin}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n`, 400],
    ] as const) {
      const { status, text: answer, ms } = await rawRequest(port, text);
      assert.equal(status, 408, text);
      assert.match(answer, /"code":"Timeout"/);
      assert.ok(ms > leastMs - 50 && ms < leastMs + 5_000, `${ms} ms`);
    }
  });

  test('refuses a body by its Content-Length, before it arrives', async (t) => {
    const { server } = await startServer(t);
    const head = `POST /hooks HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${MOST_BODY_BYTES + 1}\r\n\r\n`;
    const { status, ms } = await rawRequest(server.port, head);
    assert.equal(status, 413);
    assert.ok(ms < 5_000, `${ms} ms`);
  });

  test("ends a stranger's connection that stays open", async (t) => {
    const { server } = await startServer(t, { timing: { headers: 300, body: 300 } });
    const head = 'POST /hooks HTTP/1.1\r\nHost: a\r\nX-Stranger: 1\r\nContent-Length: 1000\r\n\r\nx';
    const { text, ms } = await rawRequest(server.port, head);
    assert.match(text, /^HTTP\/1\.1 401 /);
    assert.ok(ms < 5_000, `${ms} ms`);
  });

  test('finishes requests under way when it drains, and refuses new ones', async (t) => {
    const events = new EventEmitter();
    const slow = route(async () => {
      const finished = once(events, 'finish');
      events.emit('begin');
      await finished;
      return { status: 200, body: { done: true } };
    });
    const { server, post } = await startServer(t, { routes: [slow] });
    const begun = once(events, 'begin');
    const underWay = post('x');
    await begun;
    let isDrained = false;
    const drained = server.drain(AbortSignal.timeout(10_000)).then(() => (isDrained = true));
    const refused = await post('y');
    assert.deepEqual([refused.status, refused.headers.get('connection')], [503, 'close']);
    assert.equal(isDrained, false);
    events.emit('finish');
    await drained;
    assert.deepEqual(await (await underWay).json(), { done: true });
  });

  test('stops waiting for requests under way when the time to drain is over', async (t) => {
    const events = new EventEmitter();
    const endless = route(() => {
      events.emit('begin');
      return new Promise<HttpAnswer>(() => {});
    });
    const { server, post } = await startServer(t, { routes: [endless] });
    const begun = once(events, 'begin');
    void post('x').catch(() => undefined);
    await begun;
    const began = performance.now();
    await server.drain(AbortSignal.timeout(200));
    assert.ok(performance.now() - began < 2_000);
  });
});

test('1,000 connections are served at a time, and the next one when one of them is answered', async (t) => {
  const answers: (() => void)[] = [];
  const held = route(async () => {
    await new Promise<void>((resolve) => answers.push(resolve));
    return { status: 200, body: {} };
  });
  const { server } = await startServer(t, { routes: [held] });
  using waiting = await slowConnections(
    server.port,
    1_001,
    'POST /hooks HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n',
  );
  assert.equal(waiting.number, 1_001);
  const began = async (number: number) => {
    for (const deadline = Date.now() + 20_000; answers.length < number && Date.now() < deadline;) await delay(10);
    return answers.length;
  };
  assert.equal(await began(1_000), 1_000);
  await delay(300);
  assert.equal(answers.length, 1_000);
  answers[0]?.();
  assert.equal(await began(1_001), 1_001);
  for (const answer of answers) answer();
});

test('a request behind 2,000 idle connections is served within ten seconds', async (t) => {
  const { server } = await startServer(t);
  using slow = await slowConnections(server.port, 2_000, 'POST /hooks HTTP/1.1\r\nHost: a\r\nX: ', 500);
  const body = 'POST /hooks HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi';
  assert.equal(slow.number, 2_000);
  const answers = await Promise.all(['127.0.0.1', '127.0.0.2'].map((from) => rawRequest(server.port, body, from)));
  for (const { status, ms } of answers) {
    assert.equal(status, 200);
    assert.ok(ms < 10_000, `${ms} ms`);
  }
});

test('TLS: uses a renewed certificate as soon as its key matches', async (t) => {
  const authority = await createAuthority();
  const folder = temporaryFolder('tls-');
  const files = { certificateFile: path.join(folder, 'cert.pem'), privateKeyFile: path.join(folder, 'key.pem') };
  const [first, second] = await Promise.all([
    authority.server({ names: ['127.0.0.1', 'first.example'] }),
    authority.server({ names: ['127.0.0.1', 'second.example'] }),
  ]);
  writeFileSync(files.certificateFile, first.cert);
  writeFileSync(files.privateKeyFile, first.key);
  const tls = new TlsFiles(files, { now: Date.now, lookEveryMs: 0, onTrouble: () => {}, watch: () => {} });
  const { server } = await startServer(t, { tls });
  const nameOf = () =>
    new Promise<string | undefined>((resolve, reject) => {
      const socket = tlsConnect({ port: server.port, host: '127.0.0.1', ca: authority.cert }, () => {
        resolve(socket.getPeerCertificate().subjectaltname);
        socket.destroy();
      }).once('error', reject);
    });
  assert.match((await nameOf()) ?? '', /first\.example/);
  writeFileSync(files.certificateFile, second.cert);
  assert.match((await nameOf()) ?? '', /first\.example/);
  writeFileSync(files.privateKeyFile, second.key);
  assert.match((await nameOf()) ?? '', /second\.example/);

  const answer = await new Promise<string>((resolve, reject) => {
    const request = httpsRequest({
      port: server.port,
      host: '127.0.0.1',
      path: '/hooks',
      method: 'POST',
      ca: authority.cert,
    });
    request.once('error', reject).once('response', (response) => {
      response.once('data', (bytes: Buffer) => resolve(bytes.toString()));
    });
    request.end('over TLS');
  });
  assert.match(answer, /"text":"over TLS"/);
});
