import { describe, it } from 'node:test';
import { casesOf } from '../support/form.ts';
import { family } from '../support/hostile/hostile.ts';
import { assertEnds, type Code, type HostileCase } from '../support/hostile/hostileSteps.ts';
import { endless, INFO, infoLine, type ScriptedLink } from '../support/nats/scriptedServer.ts';

const { tried } = family('Servers that misbehave: handshake');

const COMMAND = '##vso[task.setvariable variable=PWNED]yes';
const NO_SERVER: readonly Code[] = ['Unreachable'];

/** Sends a text byte by byte, with a pause after each. */
function drip(link: ScriptedLink, text: string, pauseMs: number): void {
  let at = 0;
  const timer = setInterval(() => {
    if (at < text.length && link.socket.writable) link.socket.write(text.charAt(at++));
    else clearInterval(timer);
  }, pauseMs);
  link.socket.on('close', () => clearInterval(timer));
}

const NOT_JSON_OBJECTS = ['hello', '{"server_id":"x"', 'null', '[]', '[{"version":"2.10.0"}]', '5', '"text"', 'true'];
const TLS_ALERT = Buffer.from([0x15, 3, 3, 0, 2, 2, 40]);
const GREETINGS: readonly HostileCase[] = [
  ...[
    ...['', ' ', ' {}', ` ${'['.repeat(50_000)}`, ...NOT_JSON_OBJECTS.map((text) => ` ${text}`)].map(
      (rest) => `INFO${rest}`,
    ),
    ...['hello', `-ERR '${COMMAND}'`, COMMAND, 'PING', 'MSG a 1 2147483647', '', '\n\n', '\0\0\0\0'],
    ...['HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n', 'SSH-2.0-OpenSSH_9.2p1', '220 mail.example.com ESMTP'],
  ].map((line): HostileCase => [JSON.stringify(line.slice(0, 60)), { greeting: `${line}\r\n` }, NO_SERVER]),
  ['a TLS alert', { greeting: TLS_ALERT }, NO_SERVER],
  ['a TLS alert and a line end', { greeting: Buffer.concat([TLS_ALERT, Buffer.from('\r\n')]) }, NO_SERVER],
  ['a TLS ServerHello', { greeting: Buffer.from('160303007a0200007603030d0a', 'hex') }, NO_SERVER],
  ['invalid UTF-8', { greeting: Buffer.from('INFO {"version":"\xff\xfe2.10.1"}\r\n', 'latin1') }, NO_SERVER],
  ['silence', { greeting: '' }, NO_SERVER],
  ['half an INFO, then silence', { greeting: infoLine().slice(0, 60) }, NO_SERVER],
  ['an INFO without its line end', { greeting: infoLine().trimEnd() }, NO_SERVER],
  ...[`INFO {"x":"${'y'.repeat(65_536)}`, `${COMMAND}\r\n`.repeat(999)].map((piece): HostileCase => [
    `endlessly ${piece.slice(0, 9)}`,
    { greeting: '', onLink: (link) => endless(link, piece) },
    NO_SERVER,
  ]),
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

/** Acceptable codes if a field is wrong, or not needed. */
const SOME_END: readonly Code[] = ['ok', 'Unreachable', 'TooLarge', 'Unsupported', 'NoStream'];
/** The codes for fields that have a meaning if they are true. */
const MEANT: Readonly<Record<string, readonly Code[]>> = {
  tls_required: ['Unreachable', 'TlsFailure'],
  tls_available: ['Unreachable', 'TlsFailure'],
};
const FIELD_NAMES = [
  ...Object.keys(INFO),
  ...['nonce', 'connect_urls', 'auth_required', 'ldm', 'domain', 'cluster', 'client_ip'],
  ...['tls_required', 'tls_available', 'tls_verify'],
];
/** In the short form, each field gets a third of the values, in turn. */
const FIELDS = FIELD_NAMES.flatMap((field, number) =>
  casesOf(WRONG_VALUES, (_, index) => index % 3 === number % 3).map((value): HostileCase => [
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
    'invalid other servers',
    {
      greeting: infoLine({
        connect_urls: [...': x [::1 ]:1 a:99999 ::::::1 ../../x:22'.split(' '), '', `${COMMAND}:1`],
      }),
    },
    ['ok'],
  ],
  ['a __proto__', { greeting: infoLine().replace('{', '{"__proto__":{"tls_required":true},"constructor":1,') }, ['ok']],
  ['TLS it does not have, required', { greeting: infoLine({ tls_required: true }) }, ['TlsFailure', 'Unreachable']],
  ['TLS it does not have, offered', { greeting: infoLine({ tls_available: true }) }, ['TlsFailure', 'Unreachable']],
  ['a limit of 0 bytes', { greeting: infoLine({ max_payload: 0 }) }, ['TooLarge', 'Unreachable', 'ok']],
  ['a limit of 20 bytes', { greeting: infoLine({ max_payload: 20 }) }, ['TooLarge', 'ok']],
  // Events need headers; waits send none.
  ['no headers', { greeting: infoLine({ headers: false }) }, ['Unsupported', 'ok']],
];

const REFUSALS_BY_ACCOUNT = [
  'Authorization Violation',
  'User Authentication Expired',
  'Account Authentication Expired',
];
const OTHER_ERRORS = [
  ...['', COMMAND, 'Unknown Protocol Operation', 'Attempted To Connect To Route Port', 'Maximum Connections Exceeded'],
  ...['maximum account active connections exceeded', 'Slow Consumer', 'Stale Connection', 'Parser Error'],
  ...['Secure Connection - TLS Required', 'Invalid Client Protocol', 'Invalid Publish Subject'],
  ...['Maximum Payload Violation', 'Maximum Subscriptions Exceeded', 'No Responders Requires Headers Support'],
  ...['Message Headers Not Supported', 'Failed Account Registration', 'Cluster Name Conflict'],
  ...['mqtt requires JetStream', 'Permissions Violation for Publish to "x"', 'Permissions Violation'],
];

/** What a server says instead of its PONG, after the client has signed in. */
const WELCOMES: readonly (readonly [string | Buffer, readonly Code[]])[] = [
  ...([
    ...['', 'PO', `${COMMAND}\r\n`, TLS_ALERT, Buffer.from(Array.from({ length: 4_096 }, (_, at) => (at * 151) % 256))],
    ...['MSG a 1 2147483647\r\nxxxx', `MSG a 1 ${'9'.repeat(30)}\r\nxxxx`, 'MSG a 1 -1\r\n\r\n'],
    ...['HMSG a 1 200 100', 'HMSG a 1 -1 10'].map((line) => `${line}\r\nNATS/1.0\r\n\r\n\r\n`),
    ...['{', 'null', '{}'].map((info) => `INFO ${info}\r\nPONG\r\n`),
    '-ERR\r\n',
    ...OTHER_ERRORS.map((text) => `-ERR '${text}'\r\n`),
  ].map((says) => [says, NO_SERVER]) as [string | Buffer, readonly Code[]][]),
  ...REFUSALS_BY_ACCOUNT.map((text) => [`-ERR '${text}'\r\n`, ['Denied']] as const),
  ...['User Authentication Revoked', 'Authentication Timeout'].map(
    (text) => [`-ERR '${text}'\r\n`, ['Denied', 'Unreachable']] as const,
  ),
  ["-ERR 'maximum control line exceeded'\r\n", ['TooLarge', 'Unreachable']],
  ['PONG\r\nPONG\r\nPONG\r\n', ['ok']],
  [`PONG\r\n${'PING\r\n'.repeat(2_000)}`, ['ok']],
  [`${'+OK\r\n'.repeat(2_000)}PONG\r\n`, ['ok']],
  [`${'MSG a 99 2\r\nhi\r\n'.repeat(2_000)}PONG\r\n`, ['ok']],
];

/** @param leave whether the server then hangs up */
function welcomes(leave: boolean): HostileCase[] {
  return WELCOMES.filter(([, codes]) => !leave || !codes.includes('ok')).map(([says, codes]) => [
    JSON.stringify(says.toString().slice(0, 60)),
    {
      answer: ({ verb }, link) => {
        if (verb !== 'PING') return undefined;
        link.send(says);
        if (leave) link.socket.destroySoon();
        return '';
      },
    },
    codes,
  ]);
}

describe('Servers that misbehave in the handshake end every step in time with the right code:', () => {
  it('by their greeting', () => assertEnds(GREETINGS, tried));
  it('by a field of INFO', () => assertEnds(FIELDS, tried));
  it('by the content of INFO', () => assertEnds(CONTENTS, tried));
  it('by their response to the sign-in, without hanging up', () => assertEnds(welcomes(false), tried));
  it('by their response to the sign-in, and by hanging up', () => assertEnds(welcomes(true), tried));
});
