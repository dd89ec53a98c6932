import { describe, it } from 'node:test';
import fc from 'fast-check';
import { cases, family, parameters } from '../support/hostile/hostile.ts';
import { assertEnds, type Code, type HostileCase } from '../support/hostile/hostileSteps.ts';
import {
  apiResponse,
  publication,
  STREAM,
  SUBJECT,
  type Command,
  type Script,
  type ScriptedLink,
} from '../support/nats/scriptedServer.ts';

const { tried } = family('Servers that misbehave: publishing and waiting');

const COMMAND = '##vso[task.setvariable variable=PWNED]yes';
/** How a step may end whose server is cut off or says nothing more, wherever that is. */
const GONE: readonly Code[] = ['Unreachable', 'ConnectionLost', 'Timeout'];
/** How a step may end in spite of, or because of, a server that says something else. */
const ANY_BUT_INTERNAL: readonly Code[] = [
  ...GONE,
  ...(['ok', 'NoStream', 'TooLarge', 'TlsFailure', 'Denied', 'NoResponders', 'Conflict', 'StreamRefused'] as const),
  ...(['Unsupported', 'ContractViolation', 'InvalidInput', 'Incomplete'] as const),
];

/**
 * Bytes that a good server sends to each kind of step on each link before the step can have what it wants, and receives. A
 * wait needs fewer on its second link, where it knows the stream.
 */
const LENGTHS: Readonly<Record<string, { readonly sent: number; readonly received: number }>> = {
  'publish, jetStream': { sent: 245, received: 280 },
  'publish, core': { sent: 190, received: 205 },
  'publish, request': { sent: 270, received: 290 },
  'wait, jetStream': { sent: 450, received: 450 },
  'wait, core': { sent: 210, received: 175 },
};

/** So many bytes later the step may have it or not. */
const BEYOND = 350;
/** Every so many bytes one case: the long form tries each byte. */
const STRIDE = cases({ short: 6, long: 1 });

function everyByte(length: number, step: string, how: (at: number) => Script): HostileCase[] {
  const start = STRIDE === 1 ? 0 : step.length % STRIDE;
  const count = Math.ceil((length + BEYOND - start) / STRIDE);
  const places = Array.from({ length: count }, (_, index) => start + index * STRIDE);
  return places.map((at): HostileCase => [
    `${Object.keys(how(at)).join()} ${at}`,
    how(at),
    at < length ? GONE : [...GONE, 'ok'],
  ]);
}

describe('A link that ends in the middle ends every step in time and with the right code:', { concurrency: 5 }, () => {
  for (const [step, { sent, received }] of Object.entries(LENGTHS)) {
    it(`${step}, after any byte of the server`, () =>
      assertEnds(
        everyByte(sent, step, (at) => ({ cutAfterSent: at })),
        tried,
        [step],
      ));
    it(`${step}, after any byte of the client`, () =>
      assertEnds(
        everyByte(received, step, (at) => ({ cutAfterReceived: at })),
        tried,
        [step],
      ));
    it(`${step}, with silence after any byte of the server`, () =>
      assertEnds(
        everyByte(sent, step, (at) => ({ silentAfterSent: at })),
        tried,
        [step],
      ));
  }
});

/** Changes of single bytes, and of pieces, of what a server sends. */
const MUTATION = fc.record({
  at: fc.integer({ min: 0, max: 850 }),
  remove: fc.nat({ max: 6 }),
  insert: fc.oneof(
    fc.uint8Array({ maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
    fc
      .constantFrom('\r\n', '\n', '"', '{', '}', '0', '-1', '99999999999', ' ', '\0', COMMAND, 'PING\r\n', '-ERR x\r\n')
      .map((text) => Buffer.from(text)),
  ),
});

function mutated(mutations: readonly { at: number; remove: number; insert: Buffer }[]): Script {
  return {
    alter(bytes, offset) {
      let changed = bytes;
      for (const { at, remove, insert } of mutations) {
        const place = at - offset;
        if (place < 0 || place >= bytes.length) continue;
        changed = Buffer.concat([changed.subarray(0, place), insert, changed.subarray(place + remove)]);
      }
      return changed;
    },
  };
}

describe('A server whose words are changed on the way ends every step in time and with a right code:', () => {
  it('mutations of good conversations', () => {
    const scripts = fc.sample(
      fc.array(MUTATION, { minLength: 1, maxLength: 3 }),
      parameters(cases({ short: 80, long: 1_500 })),
    );
    return assertEnds(
      scripts.map((mutations): HostileCase => [JSON.stringify(mutations), mutated(mutations), ANY_BUT_INTERNAL]),
      tried,
    );
  });
});

/** Replaces what JetStream, or whoever takes the event, answers in JSON. */
function answering(operation: RegExp, payload: (good: object) => unknown, headers = ''): Script {
  return {
    answer(command, link) {
      const published = publication(command);
      if (published === undefined || published.reply === '' || !operation.test(published.subject)) return undefined;
      return link.messageTo(published.reply, payload(apiResponse(published)), { headers });
    },
  };
}

const OPERATIONS = {
  names: /STREAM\.NAMES/,
  info: /STREAM\.INFO/,
  create: /CONSUMER\.CREATE/,
  delete: /CONSUMER\.DELETE/,
  event: /^ci\./,
};

const NOT_JSON: readonly (string | Buffer)[] = [
  '',
  ' ',
  'hello',
  COMMAND,
  '{',
  '{"a":',
  '\ufeff{}',
  'NaN',
  Buffer.from([0xff, 0xfe, 0]),
];
const NOT_AN_OBJECT: readonly unknown[] = [null, true, 0, 1.5, '"text"', [], [[]], [{}]];
const ERRORS: readonly unknown[] = [
  null,
  true,
  0,
  COMMAND,
  [],
  {},
  { code: 'x' },
  { code: 404 },
  { code: 404, err_code: 'x', description: 1 },
  { code: 1e308, err_code: -1, description: COMMAND },
  { code: 500, err_code: 10_000, description: COMMAND.repeat(10_000) },
  ...[
    10_003, 10_008, 10_009, 10_014, 10_023, 10_039, 10_047, 10_054, 10_058, 10_059, 10_060, 10_070, 10_071, 10_076,
    10_077, 10_097, 10_158, 10_167, 10_999,
  ].map((err_code) => ({ code: 400, err_code, description: COMMAND })),
  { code: 503, err_code: 10_008, description: 'JetStream system temporarily unavailable' },
];

/** Every field of a good answer with each of these in its place, and without it. */
const WRONG: readonly unknown[] = [
  undefined,
  null,
  true,
  -1,
  0,
  1.5,
  1e308,
  '',
  'x',
  'a b',
  'a.b',
  '*',
  '>',
  'x\r\nPUB a 0\r\n\r\n',
  COMMAND,
  'y'.repeat(5_000),
  [],
  [null],
  ['a b'],
  {},
  { a: [] },
];

function withWrongFields(good: object): object[] {
  return Object.entries(good).flatMap(([name, value]): object[] => [
    ...WRONG.map((wrong) => ({ ...good, [name]: wrong })),
    ...(typeof value === 'object' && value !== null && !Array.isArray(value)
      ? withWrongFields(value as object).map((part) => ({ ...good, [name]: part }))
      : []),
  ]);
}

describe('Answers that are none end every step in time and with a right code:', { concurrency: 5 }, () => {
  for (const [name, operation] of Object.entries(OPERATIONS)) {
    const steps = name === 'event' ? ['publish, jetStream', 'publish, request'] : ['wait, jetStream'];
    const run = (answers: readonly (readonly [string, Script])[]): Promise<void> =>
      assertEnds(
        answers.map(([about, script]): HostileCase => [`${name}: ${about}`, script, ANY_BUT_INTERNAL]),
        tried,
        steps,
      );
    it(`${name}, not JSON, or JSON of another kind`, () =>
      run(
        [...NOT_JSON, ...NOT_AN_OBJECT].map((payload) => [
          JSON.stringify(payload),
          answering(operation, () => payload),
        ]),
      ));
    it(`${name}, errors`, () =>
      run(ERRORS.map((error) => [JSON.stringify(error).slice(0, 200), answering(operation, () => ({ error }))])));
    it(`${name}, fields`, () => {
      const subject = {
        names: '$JS.API.STREAM.NAMES',
        info: '$JS.API.STREAM.INFO.CI',
        create: '$JS.API.CONSUMER.CREATE.CI',
        delete: '$JS.API.CONSUMER.DELETE.CI',
        event: SUBJECT,
      }[name]!;
      const answers = withWrongFields(apiResponse({ subject, reply: 'x.1' }));
      return run(answers.map((answer) => [JSON.stringify(answer).slice(0, 300), answering(operation, () => answer)]));
    });
    it(`${name}, headers`, () =>
      run(
        [
          'NATS/1.0\r\n\r\n',
          'NATS/1.0 503\r\n\r\n',
          'NATS/1.0 999 x\r\n\r\n',
          'NATS/1.0 -1\r\n\r\n',
          'x',
          '\r\n\r\n',
          `NATS/1.0\r\nA: ${COMMAND}\r\r\n\r\n`,
          'NATS/1.0\r\n:\r\n\r\n',
        ].map((headers) => [JSON.stringify(headers), answering(operation, (good) => good, headers)]),
      ));
  }
});

/** What is sent in answer to a command, as bytes. */
function saying(
  when: (command: Command) => boolean,
  says: (command: Command, link: ScriptedLink) => string | Buffer,
): Script {
  return { answer: (command, link) => (when(command) ? says(command, link) : undefined) };
}

const isEvent = (command: Command): boolean => publication(command)?.subject === SUBJECT;
const isPull = (command: Command): boolean => publication(command)?.subject.includes('MSG.NEXT') === true;
const isSub = ({ verb, args }: Command): boolean => verb === 'SUB' && args[0] === SUBJECT;
const isAnything = (command: Command): boolean => isEvent(command) || isPull(command) || isSub(command);

const REMARKS: readonly (string | Buffer)[] = [
  '',
  `${COMMAND}\r\n`,
  Buffer.from(Array.from({ length: 2_000 }, (_, index) => (index * 151 + 7) % 256)),
  Buffer.from([0x15, 3, 3, 0, 2, 2, 40]),
  'MSG',
  'MSG a 1 2147483647\r\nxxxx',
  `MSG ${SUBJECT} 1 67108865\r\nxxxx`,
  `MSG ${SUBJECT} 1 5\r\n{}\r\n`,
  `MSG ${SUBJECT} 1 -5\r\n{}\r\n`,
  `HMSG ${SUBJECT} 1 2147483647 2\r\n{}\r\n`,
  `HMSG ${SUBJECT} 1 12 10\r\nNATS/1.0\r\n\r\n\r\n`,
  `MSG ${'s'.repeat(300_000)} 1 2\r\n{}\r\n`,
  'INFO {}\r\n',
  'INFO null\r\n',
  'INFO [\r\n',
  'INFO {"version":"2.10.1","max_payload":5,"headers":true}\r\n',
  'PING\r\n'.repeat(30_000),
  'PONG\r\n'.repeat(30_000),
  '+OK\r\n'.repeat(30_000),
  `-ERR '${COMMAND}'\r\n`,
  "-ERR 'Slow Consumer'\r\n",
  "-ERR 'Stale Connection'\r\n",
  "-ERR 'Maximum Payload Violation'\r\n",
  "-ERR 'maximum subscriptions exceeded'\r\n",
  "-ERR 'Authorization Violation'\r\n",
  "-ERR 'User Authentication Expired'\r\n",
  `-ERR 'Permissions Violation for Publish to "${SUBJECT}"'\r\n`,
  `-ERR 'Permissions Violation for Subscription to "${SUBJECT}"'\r\n`,
  `-ERR 'Permissions Violation for Publish to "${COMMAND}"'\r\n`,
  `-ERR 'Permissions Violation'\r\n`,
  `-ERR '${'e'.repeat(200_000)}'\r\n`,
  `-ERR ${'e'.repeat(400_000)}`,
];

/** Reply subjects of events, which say where in the stream they are. */
const PLACES: readonly string[] = [
  '',
  'x',
  '$JS.ACK',
  '$JS.ACK.CI.c.1.1.1.1',
  '$JS.ACK.CI.c.1.-1.1.-5.0',
  '$JS.ACK.CI.c.1.x.1.y.z',
  '$JS.ACK.CI.c.1.99999999999999999999999.1.1767225600000000000.0',
  '$JS.ACK.CI.c.1.1.1.99999999999999999999999999999999.0',
  '$JS.ACK.CI.c.1.1.99999999999999999999999999.1767225600000000000.0',
  '$JS.ACK.CI.c.1.1.1..0',
  '$JS.ACK.CI.c.1.0.1.0.0',
  `$JS.ACK.${'9.'.repeat(2_000)}1`,
];

describe('A server that says something else in the middle ends every step in time and with a right code:', () => {
  it('in place of an answer', () =>
    assertEnds(
      REMARKS.map((says): HostileCase => [
        JSON.stringify(says.toString().slice(0, 80)),
        saying(isAnything, () => says),
        ANY_BUT_INTERNAL.filter((code) => code !== 'ok'),
      ]),
      tried,
      Object.keys(LENGTHS).filter((step) => step !== 'publish, core'),
    ));
  it('acknowledgements of something else, or twice', () =>
    assertEnds(
      [
        saying(isEvent, (command, link) =>
          link.messageTo(inboxOf(command).replace(/\.\d+$/, '.99'), { stream: STREAM, seq: 1 }),
        ),
        saying(isEvent, (command, link) =>
          link.messageTo(inboxOf(command).replace(/\.\d+$/, '.x'), { stream: STREAM, seq: 1 }),
        ),
      ].map((script, index): HostileCase => [`acknowledgement ${index}`, script, GONE]),
      tried,
      ['publish, jetStream'],
    ));
  it('an acknowledgement twice', () =>
    assertEnds(
      [
        [
          'the same twice',
          saying(isEvent, (command, link) =>
            Buffer.concat(
              Array.from({ length: 500 }, () => link.messageTo(inboxOf(command), { stream: STREAM, seq: 1 })),
            ),
          ),
          ['ok'],
        ],
      ],
      tried,
      ['publish, jetStream', 'publish, request'],
    ));
  it('events that say wrongly where they are in the stream', () =>
    assertEnds(
      PLACES.map((reply): HostileCase => [
        JSON.stringify(reply.slice(0, 80)),
        saying(isPull, (command, link) => link.messageTo(inboxOf(command), '{}', { subject: SUBJECT, reply })),
        ANY_BUT_INTERNAL,
      ]),
      tried,
      ['wait, jetStream'],
    ));
  it('ends of pull requests without end', () =>
    assertEnds(
      [
        '404 No Messages',
        '408 Request Timeout',
        '409 Consumer Deleted',
        '409 Message Size Exceeds MaxBytes',
        '503',
        '100 Idle Heartbeat',
        '999 x',
        COMMAND,
      ].map((status): HostileCase => [
        status,
        saying(isPull, (command, link) =>
          link.messageTo(inboxOf(command), '', { headers: `NATS/1.0 ${status}\r\n\r\n` }),
        ),
        GONE,
      ]),
      tried,
      ['wait, jetStream'],
    ));
});

function inboxOf(command: Command): string {
  return publication(command)?.reply ?? '';
}
