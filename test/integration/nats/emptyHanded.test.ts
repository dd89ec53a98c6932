import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { permissionsBlock, streamWaitGrants } from '../../../shared/nats/permissions.ts';
import { WaitStep } from '../../support/agent/waitStep.ts';
import { natsServerBinary, startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';
import { openBus } from '../../support/nats/openBus.ts';
import { Admin } from '../../support/nats/testStream.ts';

const ADMIN = { user: 'admin', pass: 'admin' };
const TIME = String.raw`\d{4}-\d\d-\d\dT[\d:.]+Z`;

/** A server where `admin` may do everything, and who gives no name what the permissions allow. */
async function restrictedServer(line: '2.9' | '2.10' | '2.15', permissions: string): Promise<NatsServer> {
  return startNatsServer({
    binary: natsServerBinary(line),
    config: `authorization { users: [{ user: admin, password: admin }, { user: other, password: other, ${permissions} }] }
no_auth_user: other`,
  });
}

// Nearly all of this is waiting, so the suites wait beside each other.
describe('Coming away empty-handed', { concurrency: true }, () => {
  for (const line of ['2.9', '2.10', '2.15'] as const) {
    describe(`a wait on nats-server ${line} that sees nothing`, { concurrency: 4 }, () => {
      let server: NatsServer;
      let admin: Admin;
      before(async () => {
        server = await startNatsServer({ binary: natsServerBinary(line) });
        admin = await Admin.connect([server.url]);
      });
      after(async () => {
        await admin[Symbol.asyncDispose]();
        await server.stop();
      });

      /** The error of a wait whose time is over. */
      async function timedOut(inputs: Record<string, string>): Promise<string> {
        const step = new WaitStep([server.url], { inputs: { timeout: '4s', ...inputs }, keepsTime: true });
        const { verdict, error } = await step.outcome;
        assert.equal(verdict, 'timedOut', step.lines.join('\n'));
        return error!.problem;
      }

      test('says where reading began, and which event came before', async () => {
        const stream = await admin.stream('EARLY');
        await stream.publish('a', 'a1');
        await stream.publish('b', 'b1');
        await stream.publish('a', 'a2');
        const before = new RegExp(
          `No event came at all\\. The stream "EARLY" was read since ${TIME} \\(startFrom: now\\)\\. The last event there is EARLY 3 of ${TIME} on "EARLY\\.a", before this wait's start: without startFrom, it reads from the run's start$`,
        );
        const [now, sequence, time] = await Promise.all([
          timedOut({ subject: 'EARLY.a', startFrom: 'now' }),
          timedOut({ subject: 'EARLY.b', startFrom: 'sequence', startSequence: '2' }),
          timedOut({ subject: 'EARLY.*', startFrom: 'time', startTime: new Date(Date.now() + 60_000).toISOString() }),
        ]);
        assert.match(now, before);
        assert.match(
          sequence,
          /read after sequence 2 \(startFrom: sequence\)\. The last event there is EARLY 2 of .*, before this/,
        );
        assert.match(
          time,
          new RegExp(`read since ${TIME} \\(startFrom\\)\\. The last event there is EARLY 3 of .*, before this`),
        );
        assert.deepEqual(await stream.consumers(), []);
      });

      test('names the last event on several subjects if the server knows it', async () => {
        const stream = await admin.stream('SEVERAL');
        await stream.publish('a', 'a1');
        await stream.publish('b', 'b1');
        await stream.publish('noise', 'noise');
        const told = await timedOut({ subject: 'SEVERAL.a\nSEVERAL.b', startFrom: 'now' });
        if (line === '2.9') assert.match(told, /\(startFrom: now\)$/);
        else assert.match(told, /The last event there is SEVERAL 2 of .* on "SEVERAL\.b", before/);
      });

      test('says that the events have expired, or that nothing was ever stored', async () => {
        const stream = await admin.stream('EXPIRED');
        await admin.stream('NEVER');
        await stream.publish('a', 'a1', 'a2');
        await stream.publish('b', 'b1');
        await admin.manager.streams.purge('EXPIRED', { filter: 'EXPIRED.a' });
        const [expired, never, others] = await Promise.all([
          timedOut({ subject: 'EXPIRED.a', startFrom: 'all' }),
          timedOut({ subject: 'NEVER.a', startFrom: 'now' }),
          timedOut({ subject: 'EXPIRED.c', startFrom: 'lastPerSubject' }),
        ]);
        const gone =
          'It holds no event on these subjects: of the 3 events ever stored in it, 2 have expired or were removed';
        assert.ok(expired.endsWith(`was read from its first event on (startFrom: all). ${gone}`), expired);
        assert.ok(never.endsWith('(startFrom: now). Nothing has ever been stored in it'), never);
        assert.ok(others.endsWith(`(startFrom: lastPerSubject). ${gone}`), others);
      });

      test('names similar subjects, whatever characters they contain', async () => {
        const stream = await admin.stream('NEAR');
        for (const subject of ['shop.image-ready.v1', 'shop.image-ready.v2', 'shop.x.image-ready.v1', 'other'])
          await stream.publish(subject, subject);
        await stream.publish('shop.\u202eimage-ready.v1', 'hostile');
        const [typo, letters] = await Promise.all([
          timedOut({ subject: 'NEAR.shop.image-redy.v1', startFrom: 'all' }),
          timedOut({ subject: 'NEAR.Other', startFrom: 'now' }),
        ]);
        const meant = '"NEAR.shop.image-ready.v1", "NEAR.shop.image-ready.v2", or "NEAR.shop.\u202eimage-ready.v1"';
        assert.ok(
          typo.includes(
            `s. No event came at all. Did you mean ${meant}? The stream "NEAR" holds events there. The stream "NEAR" was read `,
          ),
          typo,
        );
        assert.match(letters, /all\. Did you mean "NEAR\.other"\? .* was read /);
      });

      test('names them while it goes on, as long as there are no events on its own subject', async () => {
        const stream = await admin.stream('AHEAD');
        await using bus = await openBus([server.url]);
        await using reading = await bus.read({ subjects: ['AHEAD.image-readdy'], start: { from: 'now' } });
        // An empty stream doesn't say how many subjects it has.
        assert.deepEqual(await reading.subscription.nearSubjects?.(), []);
        await stream.publish('image-ready', 'a1');
        assert.deepEqual(await reading.subscription.nearSubjects?.(), ['AHEAD.image-ready']);
        await stream.publish('image-readdy', 'a2');
        assert.deepEqual(await reading.subscription.nearSubjects?.(), []);
      });

      test('says the same when it ends because it was idle', async () => {
        const stream = await admin.stream('IDLE');
        await stream.publish('a', 'a1');
        const told = await timedOut({ subject: 'IDLE.a', startFrom: 'now', timeout: '60s', idleTimeout: '4s' });
        assert.match(
          told,
          /^The wait was idle: .*The last event there is IDLE 1 of .*: without startFrom, it reads from the run's start$/,
        );
      });

      test('needs no permissions for that beyond those for waiting', async () => {
        for (const subjects of [['CI.a'], ['CI.a', 'CI.b']]) {
          const filter = subjects.length === 1 ? subjects[0] : undefined;
          const { publish, subscribe } = streamWaitGrants('$JS.API', 'CI', true, filter, '_INBOX');
          const restricted = await restrictedServer(line, permissionsBlock({ publish, subscribe }).join('\n'));
          await using other = await Admin.connect([restricted.url], ADMIN);
          const stream = await other.stream('CI');
          await stream.publish('a', 'a1');
          const step = new WaitStep([restricted.url], {
            inputs: { subject: subjects.join('\n'), stream: 'CI', startFrom: 'now', timeout: '4s' },
            keepsTime: true,
          });
          const { verdict, error } = await step.outcome;
          await restricted.stop();
          assert.equal(verdict, 'timedOut');
          assert.match(error!.problem, /The last event there is CI 1 of/);
          // What removes the consumer of the wait itself is optional, and told to who debugs.
          const lines = step.lines.filter((text) => !text.startsWith('The consumer azp-'));
          assert.ok(lines.length >= step.lines.length - 1, step.lines.join('\n'));
          assert.doesNotMatch(lines.join('\n'), /permission|Denied/i);
        }
      });

      test('ends in time even if the server no longer answers', async () => {
        const own = await startNatsServer({ binary: natsServerBinary(line) });
        await using other = await Admin.connect([own.url]);
        await other.stream('SLOW');
        const startedAt = Date.now();
        const inputs = { subject: 'SLOW.a', startFrom: 'now', timeout: '2s' };
        const step = new WaitStep([own.url], { inputs, keepsTime: true });
        await step.armed();
        await own.pause();
        const { error } = await step.outcome;
        const tookMs = Date.now() - startedAt;
        own.resume();
        await own.stop();
        assert.match(error!.problem, /\(startFrom: now\)$/);
        // The question would be given up after 5 s more, the consumer's removal after 1 s.
        assert.ok(tookMs < 5_000, `${tookMs} ms`);
      });

      if (line !== '2.9')
        test('warns at the start and at the end if the stream stores its subject under another one', async () => {
          const subject_transform = { src: 'old.>', dest: 'new.>' };
          await admin.stream('MOVED', { subjects: ['old.>'], subject_transform });
          await admin.connection.jetstream().publish('old.a', 'a1');
          const step = new WaitStep([server.url], {
            inputs: { subject: 'old.a', startFrom: 'all', timeout: '4s' },
            keepsTime: true,
          });
          const { error } = await step.outcome;
          const moved =
            'The stream "MOVED" stores events on "old.>" as "new.>" (subject transform), where a wait on "old.a" does not see them.';
          assert.ok(step.lines.includes(moved), step.lines.join('\n'));
          assert.ok(error!.problem.includes(moved), error!.problem);
          const seen = new WaitStep([server.url], { inputs: { subject: 'new.a', stream: 'MOVED', startFrom: 'all' } });
          assert.equal((await seen.outcome).verdict, 'matched');
          assert.ok(!seen.lines.includes(moved), 'a wait on the new subject was warned, too');
        });
    });

    describe(`NoStream on nats-server ${line}`, { concurrency: 4 }, () => {
      let server: NatsServer;
      let admin: Admin;
      before(async () => {
        server = await startNatsServer({ binary: natsServerBinary(line) });
        admin = await Admin.connect([server.url]);
        await admin.stream('CI');
        await admin.stream('EVENTS', { subjects: ['domainEvents.*'] });
        await admin.stream('COPY', { mirror: { name: 'CI' } });
        await admin.stream('AGG', { sources: [{ name: 'ELSEWHERE', external: { api: '$JS.hub.API', deliver: '' } }] });
      });
      after(async () => {
        await admin[Symbol.asyncDispose]();
        await server.stop();
      });

      async function remedyOf(inputs: Record<string, string>): Promise<string> {
        const step = new WaitStep([server.url], { inputs: { startFrom: 'now', ...inputs } });
        const { error } = await step.outcome;
        assert.equal(error?.code, 'NoStream');
        return error.message;
      }

      test('gives the command that creates a stream, and names streams that may already hold the events', async () => {
        const told = await remedyOf({ subject: 'deploy.shop.v1' });
        assert.ok(told.includes("(nats stream add DEPLOY --subjects 'deploy.>' --defaults)"), told);
        assert.ok(told.includes('to read it, name it in the input "stream" (stream: AGG).'), told);
        assert.ok(!told.includes('COPY'), told);
        await using open = await openBus([server.url]);
        await assert.rejects(open.publishToStream('deploy.shop.v1'), ({ message }: Error) => {
          assert.ok(message.includes("(nats stream add DEPLOY --subjects 'deploy.>' --defaults)"), message);
          return !message.includes('AGG');
        });
      });

      test('names the stream with similar subjects, and the difference', async () => {
        const letters = await remedyOf({ subject: 'ci.a' });
        assert.ok(
          letters.includes('The stream "CI" captures "CI.>", which differs from the subject in upper and'),
          letters,
        );
        const typing = await remedyOf({ subject: 'domainEvent.built' });
        assert.ok(typing.includes('"EVENTS" captures "domainEvents.*", which differs from the subject in one'), typing);
        const parts = await remedyOf({ subject: 'domainEvents.shop.built' });
        assert.ok(
          parts.includes('"EVENTS" captures "domainEvents.*", which covers 2 parts, and the subject has 3.'),
          parts,
        );
        const short = await remedyOf({ subject: 'CI' });
        assert.ok(short.includes('captures "CI.>", which covers 2 or more parts, and the subject has 1.'), short);
        for (const told of [letters, typing, parts, short]) assert.ok(!told.includes('nats stream add'), told);
      });

      test('names the stream that was probably meant', async () => {
        assert.match(
          await remedyOf({ subject: 'CI.a', stream: 'ci' }),
          /user\. Did you mean "CI"\? Correct the input "stream"/,
        );
        assert.doesNotMatch(await remedyOf({ subject: 'CI.a', stream: 'BUILDS' }), /mean/);
      });

      test("says the same without permission to look further, and doesn't mention permissions", async () => {
        const subscribe = 'subscribe: { allow: ["_INBOX.*.*"] }';
        for (const [publish, inputs, told] of [
          ['$JS.API.STREAM.NAMES', { subject: 'CI.a.b' }, 'The stream "NARROW" captures other subjects of "CI.>".'],
          ['$JS.API.STREAM.INFO.ci', { subject: 'CI.a', stream: 'ci' }, 'There is no stream "ci" in the account'],
        ] as const) {
          const restricted = await restrictedServer(
            line,
            `permissions: { publish: { allow: ["${publish}"] }, ${subscribe} }`,
          );
          await using other = await Admin.connect([restricted.url], ADMIN);
          await other.stream('NARROW', { subjects: ['CI.*'] });
          const step = new WaitStep([restricted.url], { inputs: { startFrom: 'now', ...inputs } });
          const { error } = await step.outcome;
          await restricted.stop();
          assert.equal(error?.code, 'NoStream');
          assert.ok(error.message.includes(told), error.message);
          assert.doesNotMatch([error.message, ...step.lines].join('\n'), /permission|Denied|did you mean/i);
        }
      });
    });

    describe(`a stream of nats-server ${line} that acknowledges nothing`, { concurrency: 4 }, () => {
      test('is named as the cause long before the timeout, and the event is stored', async () => {
        await using server = await startNatsServer({ binary: natsServerBinary(line) });
        await using admin = await Admin.connect([server.url]);
        const stream = await admin.stream('MUTE', { no_ack: true });
        await using open = await openBus([server.url], {}, 20_000);
        await assert.rejects(open.publishToStream('MUTE.a', 'id'), {
          code: 'Timeout',
          problem: /^No acknowledgement came, since the stream "MUTE" gives none \(no_ack\)/,
        });
        assert.equal(await stream.messages(), 1);
      });

      test('is named as a possible cause without permission to look', async () => {
        const publish = (allowed: string) =>
          `permissions: { publish: { allow: [${allowed}] }, subscribe: ["_INBOX.*.*"] }`;
        for (const [allowed, told] of [
          [
            '"MUTE.a", "$JS.API.STREAM.NAMES"',
            /^Timeout: .*the stream "MUTE" did not answer, .*or that acknowledges nothing \(no_ack\)/,
          ],
          [
            '"MUTE.a"',
            /^NoStream: Nobody has answered .* or its stream has no leader or acknowledges nothing \(no_ack\)/,
          ],
        ] as const) {
          const server = await restrictedServer(line, publish(allowed));
          await using admin = await Admin.connect([server.url], ADMIN);
          await admin.stream('MUTE', { no_ack: true });
          await using open = await openBus([server.url], {}, allowed.includes('$') ? 8_000 : 60_000);
          await assert.rejects(open.publishToStream('MUTE.a', 'id'), { message: told });
          await server.stop();
        }
      });
    });
  }
});

test('a stream on ">" that answers in place of JetStream is named as the cause', async () => {
  await using server = await startNatsServer({ binary: natsServerBinary('2.9') });
  await using admin = await Admin.connect([server.url]);
  await admin.stream('ALL', { subjects: ['>'] });
  for (let round = 0; round < 5; round++) {
    const step = new WaitStep([server.url], { inputs: { subject: 'ci.a', startFrom: 'now' } });
    const { error } = await step.outcome;
    assert.match(
      error!.message,
      /^Unsupported: The stream "ALL" captures the requests to JetStream itself and answers in its place/,
    );
  }
});
