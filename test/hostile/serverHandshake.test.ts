import { describe, it } from 'node:test';
import { family } from '../support/hostile/hostile.ts';
import { assertEnds, type Code, type HostileCase } from '../support/hostile/hostileSteps.ts';
import { endless, INFO, infoLine, type ScriptedLink } from '../support/nats/scriptedServer.ts';

const { tried } = family('Servers that misbehave: handshake');

const COMMAND = '##vso[task.setvariable variable=PWNED]yes';
const NO_SERVER: readonly Code[] = ['Unreachable'];

/** Sends byte by byte, with a pause after each. */
function drip(link: ScriptedLink, text: string, pauseMs: number): void {
  let at = 0;
  const timer = setInterval(() => {
    if (at < text.length && link.socket.writable) link.socket.write(text.charAt(at++));
    else clearInterval(timer);
  }, pauseMs);
  link.socket.on('close', () => clearInterval(timer));
}

const GREETINGS: readonly HostileCase[] = [
  ...[
    'hello\r\n',
    'INFO\r\n',
    'INFO \r\n',
    'INFO hello\r\n',
    'INFO {"server_id":"x"\r\n',
    'INFO null\r\n',
    'INFO []\r\n',
    'INFO [{"version":"2.10.0"}]\r\n',
    'INFO 5\r\n',
    'INFO "text"\r\n',
    'INFO true\r\n',
    'INFO {}\r\n',
    `INFO ${'['.repeat(50_000)}\r\n`,
    `-ERR '${COMMAND}'\r\n`,
    `${COMMAND}\r\n`,
    'PING\r\n',
    'MSG a 1 2147483647\r\n',
    'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n',
    'SSH-2.0-OpenSSH_9.2p1\r\n',
    '220 mail.example.com ESMTP\r\n',
    '\r\n',
    '\n\n\n',
    '\0\0\0\0\r\n',
  ].map((greeting): HostileCase => [JSON.stringify(greeting.slice(0, 60)), { greeting }, NO_SERVER]),
  ['a TLS alert', { greeting: Buffer.from([0x15, 3, 3, 0, 2, 2, 40]) }, NO_SERVER],
  ['a TLS alert and a line end', { greeting: Buffer.from([0x15, 3, 3, 0, 2, 2, 40, 13, 10]) }, NO_SERVER],
  ['a TLS ServerHello', { greeting: Buffer.from('160303007a0200007603030d0a', 'hex') }, NO_SERVER],
  ['bytes that are no UTF-8', { greeting: Buffer.from('INFO {"version":"\xff\xfe2.10.1"}\r\n', 'latin1') }, NO_SERVER],
  ['silence', { greeting: '' }, NO_SERVER],
  ['half an INFO, then silence', { greeting: infoLine().slice(0, 60) }, NO_SERVER],
  ['an INFO without its line end', { greeting: infoLine().trimEnd() }, NO_SERVER],
  ['an endless INFO', { greeting: '', onLink: (link) => endless(link, `INFO {"x":"${'y'.repeat(65_536)}`) }, NO_SERVER],
  [
    'endless lines of garbage',
    { greeting: '', onLink: (link) => endless(link, `${COMMAND}\r\n`.repeat(999)) },
    NO_SERVER,
  ],
  [
    'an INFO that drips',
    { greeting: '', onLink: (link) => drip(link, infoLine({ x: 'y'.repeat(9_999) }), 2) },
    NO_SERVER,
  ],
  ['INFO twice', { greeting: infoLine() + infoLine() }, ['ok']],
  ['an INFO and garbage', { greeting: `${infoLine()}${COMMAND}\r\n` }, NO_SERVER],
];

/** Values of a wrong type or size for every field of INFO. */
const WRONG_VALUES: readonly unknown[] = [null, true, false, -1, 0, 1.5, 1e308, '', 'x', COMMAND, [], [null], {}, [[]]];

/** Right for a field that is wrong, or that nobody needs. */
const SOME_END: readonly Code[] = ['ok', 'Unreachable', 'TooLarge', 'Unsupported', 'NoStream'];
/** What these say when they are true leads further. */
const MEANT: Readonly<Record<string, readonly Code[]>> = {
  tls_required: ['Unreachable', 'TlsFailure'],
  tls_available: ['Unreachable', 'TlsFailure'],
};
const FIELD_NAMES = [
  ...Object.keys(INFO),
  ...['nonce', 'connect_urls', 'auth_required', 'ldm', 'domain', 'cluster', 'client_ip'],
  ...['tls_required', 'tls_available', 'tls_verify'],
];
const FIELDS = FIELD_NAMES.flatMap((field) =>
  WRONG_VALUES.map((value): HostileCase => [
    `${field} ${JSON.stringify(value)}`,
    { greeting: infoLine({ [field]: value }) },
    (value === true ? MEANT[field] : undefined) ?? SOME_END,
  ]),
);

const CONTENTS: readonly HostileCase[] = [
  ['a huge nonce', { greeting: infoLine({ nonce: 'n'.repeat(200_000) }) }, ['ok', 'Unreachable']],
  ['a huge name', { greeting: infoLine({ server_name: COMMAND.repeat(1_000) }) }, ['ok']],
  ['a huge version', { greeting: infoLine({ version: `2.10.1${'9'.repeat(10_000)}` }) }, ['ok', 'Unreachable']],
  [
    '5,000 other servers',
    { greeting: infoLine({ connect_urls: Array.from({ length: 5_000 }, (_, n) => `10.0.${n >> 8}.${n & 255}:4222`) }) },
    ['ok'],
  ],
  [
    'other servers that are none',
    {
      greeting: infoLine({
        connect_urls: [
          '',
          ':',
          'x',
          '[::1',
          ']:1',
          'a:99999',
          '::::::1',
          'a b:4222',
          `${COMMAND}:1`,
          'nats://x:1',
          '../../x:22',
        ],
      }),
    },
    ['ok'],
  ],
  ['a __proto__', { greeting: infoLine().replace('{', '{"__proto__":{"tls_required":true},"constructor":1,') }, ['ok']],
  ['TLS it does not have, required', { greeting: infoLine({ tls_required: true }) }, ['TlsFailure', 'Unreachable']],
  ['TLS it does not have, offered', { greeting: infoLine({ tls_available: true }) }, ['TlsFailure', 'Unreachable']],
  ['a limit of 0 bytes', { greeting: infoLine({ max_payload: 0 }) }, ['TooLarge', 'Unreachable', 'ok']],
  ['a limit of 20 bytes', { greeting: infoLine({ max_payload: 20 }) }, ['TooLarge', 'ok']],
  // Events have headers, and waits send none.
  ['no headers', { greeting: infoLine({ headers: false }) }, ['Unsupported', 'ok']],
];

/** What a server says in place of its PONG, when the client has signed in. */
const WELCOMES: readonly (readonly [string, string | Buffer, readonly Code[]])[] = [
  ['silence', '', NO_SERVER],
  ['half a PONG', 'PO', NO_SERVER],
  ['garbage', `${COMMAND}\r\n`, NO_SERVER],
  ['binary garbage', Buffer.from(Array.from({ length: 4_096 }, (_, index) => (index * 151) % 256)), NO_SERVER],
  ['a TLS alert', Buffer.from([0x15, 3, 3, 0, 2, 2, 40]), NO_SERVER],
  ['an oversized MSG', 'MSG a 1 2147483647\r\nxxxx', NO_SERVER],
  ['a MSG of 10^30 bytes', `MSG a 1 ${'9'.repeat(30)}\r\nxxxx`, NO_SERVER],
  ['a MSG of -1 bytes', 'MSG a 1 -1\r\n\r\n', NO_SERVER],
  ['an HMSG with longer headers than itself', 'HMSG a 1 200 100\r\nNATS/1.0\r\n\r\n\r\n', NO_SERVER],
  ['an HMSG with headers of -1 bytes', 'HMSG a 1 -1 10\r\nNATS/1.0\r\n\r\n\r\n', NO_SERVER],
  ['an INFO that is no JSON', 'INFO {\r\nPONG\r\n', NO_SERVER],
  ['an INFO that is null', 'INFO null\r\nPONG\r\n', NO_SERVER],
  ['an INFO without anything', 'INFO {}\r\nPONG\r\n', NO_SERVER],
  ['-ERR of no name', '-ERR\r\n', NO_SERVER],
  ['-ERR of an unknown kind', `-ERR '${COMMAND}'\r\n`, NO_SERVER],
  ['-ERR Authorization Violation', "-ERR 'Authorization Violation'\r\n", ['Denied']],
  ['-ERR User Authentication Expired', "-ERR 'User Authentication Expired'\r\n", ['Denied']],
  ['-ERR Account Authentication Expired', "-ERR 'Account Authentication Expired'\r\n", ['Denied']],
  ['-ERR User Authentication Revoked', "-ERR 'User Authentication Revoked'\r\n", ['Denied', 'Unreachable']],
  ['-ERR Authentication Timeout', "-ERR 'Authentication Timeout'\r\n", ['Denied', 'Unreachable']],
  ...[
    'Unknown Protocol Operation',
    'Attempted To Connect To Route Port',
    'Maximum Connections Exceeded',
    'maximum account active connections exceeded',
    'Slow Consumer',
    'Stale Connection',
    'Parser Error',
    'Secure Connection - TLS Required',
    'Invalid Client Protocol',
    'Invalid Publish Subject',
    'Maximum Payload Violation',
    'Maximum Subscriptions Exceeded',
    'No Responders Requires Headers Support',
    'Message Headers Not Supported',
    'Failed Account Registration',
    'Cluster Name Conflict',
    'mqtt requires JetStream',
    'Permissions Violation for Publish to "x"',
    'Permissions Violation',
  ].map((text) => [`-ERR ${text}`, `-ERR '${text}'\r\n`, NO_SERVER] as const),
  ['-ERR maximum control line exceeded', "-ERR 'maximum control line exceeded'\r\n", ['TooLarge', 'Unreachable']],
  ['a PONG too many', 'PONG\r\nPONG\r\nPONG\r\n', ['ok']],
  ['PINGs', `PONG\r\n${'PING\r\n'.repeat(2_000)}`, ['ok']],
  ['+OKs', `${'+OK\r\n'.repeat(2_000)}PONG\r\n`, ['ok']],
  ['messages nobody asked for', `${'MSG a 99 2\r\nhi\r\n'.repeat(2_000)}PONG\r\n`, ['ok']],
];

describe('Servers that misbehave in the handshake end every step in time and with the right code:', () => {
  it('what they greet with', () => assertEnds(GREETINGS, tried));
  it('fields of INFO', () => assertEnds(FIELDS, tried));
  it('contents of INFO', () => assertEnds(CONTENTS, tried));
  it('what they say to a client that signs in, and stay', () =>
    assertEnds(
      WELCOMES.map(([name, says, codes]): HostileCase => [
        name,
        { answer: ({ verb }) => (verb === 'PING' ? says : undefined) },
        codes,
      ]),
      tried,
    ));
  it('what they say to a client that signs in, and leave', () =>
    assertEnds(
      WELCOMES.filter(([, , codes]) => !codes.includes('ok')).map(([name, says, codes]): HostileCase => [
        name,
        {
          answer: ({ verb }, link) => {
            if (verb !== 'PING') return undefined;
            link.send(says);
            link.socket.destroySoon();
            return '';
          },
        },
        codes,
      ]),
      tried,
    ));
});
