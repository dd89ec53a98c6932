import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createConnection, type AddressInfo } from 'node:net';
import { SignJWT } from 'jose';
import { newSeed } from '../../bridge/callout/keys.ts';
import { closeServer } from '../../localAgent/closeServer.ts';
import { natsServerBinary, startNatsServer } from '../../localAgent/natsServer.ts';
import { BenchBridge } from './bridgeProcess.ts';
import { paced, PACED_MS } from './load.ts';
import { median, type Row } from './table.ts';

const PER_SECOND = 200;
const ROUNDS = 3;

export const CALLOUT_TITLE = `Sign-ins: ${PER_SECOND} a second for ${PACED_MS / 1_000} s, each a new connection with an RS256 token in a sealed request, and a server that knows the token itself in turn; server, clients and bridge on one machine.`;

/** How much longer a sign-in takes through the bridge than at a server without a callout. */
export async function measureSignIns(): Promise<Row[]> {
  const issuer = await startIssuer();
  const [account, xkey, user] = (['account', 'curve', 'user'] as const).map((kind) => newSeed(kind, randomBytes(32)));
  const binary = natsServerBinary('2.15');
  await using asking = await startNatsServer({
    binary,
    config: `accounts {
  CI: { jetstream: enabled }
  AUTH: { jetstream: enabled, users: [ { nkey: ${user?.publicKey ?? ''} } ] }
}
authorization {
  timeout: 2
  auth_callout { issuer: ${account?.publicKey ?? ''}, account: AUTH, auth_users: [${user?.publicKey ?? ''}], xkey: ${xkey?.publicKey ?? ''} }
}
`,
  });
  await using knowing = await startNatsServer({
    binary,
    config: `authorization: ${JSON.stringify({ token: issuer.token })}`,
  });
  const rule = {
    sub: 'sc://contoso/*/nats',
    account: 'CI',
    publish: ['ci.{project}.>'],
    subscribe: ['_INBOX.{project}.>'],
  };
  const policy = { issuers: [{ issuer: issuer.url, audience: 'nats', rules: [rule] }] };
  await using bridge = await BenchBridge.start(
    `nats: { servers: ["${asking.url}"], nkeySeedFile: user.nk }
http: { admin: "127.0.0.1:0" }
callout: { accountKeyFile: account.nk, xkeySeedFile: xkey.nk, policyFile: policy.json }
`,
    {
      'user.nk': user?.seed ?? '',
      'account.nk': account?.seed ?? '',
      'xkey.nk': xkey?.seed ?? '',
      'policy.json': JSON.stringify(policy),
    },
  );
  try {
    await untilAnswered(asking.port, issuer.token);
    const above: number[] = [];
    for (let round = 0; round <= ROUNDS; round++) {
      const asked = await paced(PER_SECOND, () => signIn(asking.port, issuer.token));
      const known = await paced(PER_SECOND, () => signIn(knowing.port, issuer.token));
      const figure = median(asked) - median(known);
      // In the first one the code is compiled and the keys are fetched.
      if (round > 0) above.push(figure);
    }
    return [
      {
        what: `sign-in through the callout at ${PER_SECOND} a second, above one without`,
        figure: median(above),
        unit: 'ms',
        required: { atMost: 20 },
      },
      { what: 'peak memory of the callout', figure: bridge.peakMegabytes, unit: 'MB' },
    ];
  } finally {
    await closeServer(issuer.server);
  }
}

/** An issuer with one key, and a token of it. */
async function startIssuer() {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  const keys = [{ ...publicKey.export({ format: 'jwk' }), kid: 'bench', use: 'sig' }];
  const server = createServer((request, response) => {
    const isKeys = request.url === '/keys';
    response.end(JSON.stringify(isKeys ? { keys } : { issuer: url, jwks_uri: `${url}/keys` }));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const token = await new SignJWT({})
    .setProtectedHeader({ alg: 'RS256', kid: 'bench', typ: 'JWT' })
    .setIssuer(url)
    .setAudience('nats')
    .setSubject('sc://contoso/shop/nats')
    .setExpirationTime('1h')
    .sign(privateKey);
  return { server, url, token };
}

/** Waits for the bridge to have its subscription and the issuer's keys. */
async function untilAnswered(port: number, token: string): Promise<void> {
  const until = Date.now() + 20_000;
  while (
    !(await signIn(port, token).then(
      () => true,
      () => false,
    ))
  )
    if (Date.now() > until) throw new Error('The callout does not answer.');
}

/** From the first packet to the server's answer that the client is in; without a library, whose own time would be in it. */
async function signIn(port: number, token: string): Promise<number> {
  const begin = performance.now();
  const socket = createConnection({ port, host: '127.0.0.1', noDelay: true });
  socket.write(
    `CONNECT ${JSON.stringify({ auth_token: token, verbose: false, lang: 'bench', version: '1' })}\r\nPING\r\n`,
  );
  let heard = '';
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      heard += chunk.toString();
      if (heard.includes('PONG\r\n')) return performance.now() - begin;
    }
  } finally {
    socket.destroy();
  }
  throw new Error(`It was not let in: ${heard.slice(-200)}`);
}
