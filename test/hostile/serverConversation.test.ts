import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ERROR_CODES } from '../../shared/errors.ts';
import { cases, family, parameters } from '../support/hostile/hostile.ts';
import { assertEnds, STEP_NAMES, type Code, type HostileCase } from '../support/hostile/hostileSteps.ts';
import {
  apiResponse,
  goodAnswer,
  publication,
  STREAM,
  SUBJECT,
  type Command,
  type Script,
  type ScriptedLink,
} from '../support/nats/scriptedServer.ts';

const { tried } = family('Servers that misbehave: publishing and waiting');

const COMMAND = '##vso[task.setvariable variable=PWNED]yes';
const isEvent = (command: Command): boolean => publication(command)?.subject === SUBJECT;
const isPull = (command: Command): boolean => publication(command)?.subject.includes('MSG.NEXT') === true;
const isSub = ({ verb, args }: Command): boolean => verb === 'SUB' && args[0] === SUBJECT;
const isAnything = (command: Command): boolean => isEvent(command) || isPull(command) || isSub(command);

/** How a step may end if its server is cut off or falls silent at any point. */
const GONE: readonly Code[] = ['Unreachable', 'ConnectionLost', 'Timeout'];
/** How a step may end if its server says something else. */
const ANY_BUT_INTERNAL: readonly Code[] = ['ok', ...ERROR_CODES.filter((code) => code !== 'Internal')];

/** Places throughout a conversation and past its end. The long form tries every byte. */
const PLACES_IN_BYTES = Array.from({ length: 800 }, (_, at) => at).filter(
  (at) => at % cases({ short: 24, long: 1 }) === 0,
);

/** A server with this fault. A step may succeed only if the server has said, or received, all the step needs. */
function failing(fault: Partial<Script>): HostileCase {
  let saidAll = false;
  const most = Math.min(fault.cutAfterSent ?? Infinity, fault.silentAfterSent ?? Infinity);
  const script: Script = {
    ...fault,
    answer(command, link) {
      const says = goodAnswer(command, link);
      // The line end after it adds nothing.
      saidAll ||= isAnything(command) && link.sent + says.length - '\r\n'.length <= most;
      return says;
    },
  };
  return [JSON.stringify(fault), script, () => (saidAll ? [...GONE, 'ok'] : GONE)];
}

describe('A link that breaks in the middle ends every step in time with the right code:', { concurrency: 5 }, () => {
  for (const step of STEP_NAMES) {
    for (const [how, fault] of [
      ['after any byte of the server', (at: number) => ({ cutAfterSent: at })],
      ['after any byte of the client', (at: number) => ({ cutAfterReceived: at })],
      ['with silence after any byte of the server', (at: number) => ({ silentAfterSent: at })],
    ] as const) {
      const declared = () =>
        assertEnds(
          PLACES_IN_BYTES.map((at) => failing(fault(at))),
          tried,
          [step],
        );
      it(`${step}, ${how}`, declared);
    }
  }
});

/** Changes to bytes, or pieces, of what a server sends. */
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

describe('A corrupted conversation ends every step in time with an acceptable code:', () => {
  it('mutations of good conversations', () => {
    const scripts = fc.sample(
      fc.array(MUTATION, { minLength: 1, maxLength: 3 }),
      parameters(cases({ short: 40, long: 1_500 })),
    );
    return assertEnds(
      scripts.map((mutations): HostileCase => [JSON.stringify(mutations), mutated(mutations), ANY_BUT_INTERNAL]),
      tried,
    );
  });
});

/** Replaces the JSON reply of JetStream or of the event's receiver. */
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

const NOT_JSON = ['', ' ', 'hello', COMMAND, '{', '{"a":', '\ufeff{}', 'NaN', Buffer.from([0xff, 0xfe, 0])];
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
  // The error codes that the tasks know, and an unknown one.
  ...[10_009, 10_014, 10_023, 10_039, 10_054, 10_059, 10_060, 10_070, 10_071, 10_076, 10_077, 10_093, 10_094, 10_097]
    .concat(10_999)
    .map((err_code) => ({ code: 400, err_code, description: COMMAND })),
  { code: 503, err_code: 10_008, description: 'JetStream system temporarily unavailable' },
];

/** Each replaces every field of a good reply; `undefined` removes it. */
const WRONG: readonly unknown[] = [
  ...[undefined, null, true, -1, 0, 1.5, 1e308, [], [null], ['a b'], {}, { a: [] }],
  ...['', 'x', 'a b', 'a.b', '*', '>', 'x\r\nPUB a 0\r\n\r\n', COMMAND, 'y'.repeat(5_000)],
];

function withWrongFields(good: object): object[] {
  return Object.entries(good).flatMap(([name, value]): object[] => [
    ...WRONG.map((wrong) => ({ ...good, [name]: wrong })),
    ...(typeof value === 'object' && value !== null && !Array.isArray(value)
      ? withWrongFields(value as object).map((part) => ({ ...good, [name]: part }))
      : []),
  ]);
}

describe('Invalid replies end every step in time with an acceptable code:', { concurrency: 5 }, () => {
  for (const [name, operation] of Object.entries(OPERATIONS)) {
    const steps = name === 'event' ? ['publish, jetStream', 'publish, request'] : ['wait, jetStream'];
    const run = (answers: readonly (readonly [string, Script])[]): Promise<void> =>
      assertEnds(
        answers.map(([about, script]): HostileCase => [`${name}: ${about}`, script, ANY_BUT_INTERNAL]),
        tried,
        steps,
      );
    it(`${name}, not a JSON object`, () =>
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

/** Sends these bytes in reply to a command. */
function saying(
  when: (command: Command) => boolean,
  says: (command: Command, link: ScriptedLink) => string | Buffer,
): Script {
  return { answer: (command, link) => (when(command) ? says(command, link) : undefined) };
}

const REMARKS: readonly (string | Buffer)[] = [
  '',
  `${COMMAND}\r\n`,
  Buffer.from(Array.from({ length: 2_000 }, (_, index) => (index * 151 + 7) % 256)),
  Buffer.from([0x15, 3, 3, 0, 2, 2, 40]),
  'MSG',
  ...['1 2147483647', '1 67108865', '1 5', '1 -5'].map((sizes) => `MSG ${SUBJECT} ${sizes}\r\n{}\r\n`),
  `HMSG ${SUBJECT} 1 2147483647 2\r\n{}\r\n`,
  `HMSG ${SUBJECT} 1 12 10\r\nNATS/1.0\r\n\r\n\r\n`,
  `MSG ${'s'.repeat(300_000)} 1 2\r\n{}\r\n`,
  ...['{}', 'null', '[', '{"version":"2.10.1","max_payload":5,"headers":true}'].map((info) => `INFO ${info}\r\n`),
  ...['PING', 'PONG', '+OK'].map((verb) => `${verb}\r\n`.repeat(30_000)),
  ...[
    ...[COMMAND, 'Slow Consumer', 'Stale Connection', 'Maximum Payload Violation', 'maximum subscriptions exceeded'],
    ...['Authorization Violation', 'User Authentication Expired', 'Permissions Violation', 'e'.repeat(200_000)],
    ...['Publish', 'Subscription'].map((what) => `Permissions Violation for ${what} to "${SUBJECT}"`),
    `Permissions Violation for Publish to "${COMMAND}"`,
  ].map((error) => `-ERR '${error}'\r\n`),
  `-ERR ${'e'.repeat(400_000)}`,
];

/** Reply subjects, which state an event's place in the stream. Those of the wait's own consumer start with `own`. */
const placesOf = (own: string): readonly string[] => [
  '',
  'x',
  '$JS.ACK',
  `$JS.ACK.${'9.'.repeat(2_000)}1`,
  ...['CI.other.1.1.1.1.0', 'OTHER.c.1.1.1.1767225600000000000.0'].map((place) => `$JS.ACK.${place}`),
  ...[
    ...['1.1.1.1', '1.1.1..0', '1.0.1.0.0', '1.x.1.y.z', '1.-1.1.-5.0', '1.1.1.-5.0'],
    ...['1.99999999999999999999999.1.1767225600000000000.0', '1.1.99999999999999999999999999.1767225600000000000.0'],
    '1.1.1.99999999999999999999999999999999.0',
  ].map((place) => own + place),
];

describe('A server that says something unexpected ends every step in time with an acceptable code:', () => {
  it('instead of a reply', () =>
    assertEnds(
      REMARKS.map((says): HostileCase => [
        JSON.stringify(says.toString().slice(0, 80)),
        saying(isAnything, () => says),
        ANY_BUT_INTERNAL.filter((code) => code !== 'ok'),
      ]),
      tried,
      STEP_NAMES.filter((step) => step !== 'publish, core'),
    ));
  it('acknowledgements of something else', () =>
    assertEnds(
      ['.99', '.x'].map((other): HostileCase => [
        `acknowledgement ${other}`,
        saying(isEvent, (command, link) => acknowledgement(link, inboxOf(command).replace(/\.\d+$/, other))),
        GONE,
      ]),
      tried,
      ['publish, jetStream'],
    ));
  it('500 copies of an acknowledgement', () => {
    const script = saying(isEvent, (command, link) =>
      Buffer.concat(Array.from({ length: 500 }, () => acknowledgement(link, inboxOf(command)))),
    );
    return assertEnds([['the same again', script, ['ok']]], tried, ['publish, jetStream', 'publish, request']);
  });
  it('events with a wrong place in the stream', () =>
    assertEnds(
      placesOf('').map((_, index): HostileCase => [
        `place ${index}`,
        saying(isPull, (command, link) => {
          const consumer = publication(command)?.subject.split('.').at(-1) ?? '';
          const reply = placesOf(`$JS.ACK.${STREAM}.${consumer}.`)[index] ?? '';
          return link.messageTo(inboxOf(command), '{}', { subject: SUBJECT, reply });
        }),
        ANY_BUT_INTERNAL,
      ]),
      tried,
      ['wait, jetStream'],
    ));
  it('pull requests that keep ending at once', () =>
    assertEnds(
      [
        ...['404 No Messages', '408 Request Timeout', '409 Consumer Deleted', '409 Message Size Exceeds MaxBytes'],
        ...['503', '100 Idle Heartbeat', '999 x', COMMAND],
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

function acknowledgement(link: ScriptedLink, inbox: string): Buffer {
  return link.messageTo(inbox, { stream: STREAM, seq: 1 });
}

function inboxOf(command: Command): string {
  return publication(command)?.reply ?? '';
}
