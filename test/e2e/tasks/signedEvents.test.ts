import assert from 'node:assert/strict';
import type { Msg } from 'nats';
import { parseUserSeed } from '../../../shared/nkey.ts';
import { signMessage } from '../../../shared/signing/signature.ts';
import { createNKey } from '../../support/nats/natsAccounts.ts';
import {
  assertSucceeded,
  beginWait,
  countsOf,
  jsonFile,
  natsHeaders,
  publish,
  underEachNode,
  wait,
} from '../../support/agent/scenario.ts';
import type { HeaderFields } from '../../support/agent/scenario.ts';

underEachNode('Signed events', (scene, it) => {
  async function publishSigned(seed: string, inputs: Record<string, string>): Promise<void> {
    const step = await publish(scene.agent({ secrets: { SigningSeed: seed } }), {
      payload: '{"release":42}',
      signingKeyVariable: 'SigningSeed',
      ...inputs,
    });
    assertSucceeded(step);
    assert.ok(!step.logText.includes(seed), 'the log shows the seed');
  }

  for (const envelope of ['binary', 'structured', 'none']) {
    it(`are trusted if a trusted key signed them, in the ${envelope} envelope`, async () => {
      const stream = await scene.stream();
      const { seed, publicKey } = createNKey();
      await publishSigned(seed, { subject: stream.subject('approved.v1'), envelope });
      const step = await wait(scene.agent(), {
        subject: stream.subject('approved.*'),
        trustedKeys: `${createNKey().publicKey}\n${publicKey} ${stream.subject('approved.>')}`,
      });
      assertSucceeded(step);
      const { what } = jsonFile(step, 'receiptFile') as { what: { events: { signedBy: string }[] } };
      assert.equal(what.events[0]?.signedBy, publicKey);
    });
  }

  it('are refused with the reason if unsigned, altered, replayed to another subject or signed with another key', async () => {
    const subject = 'signed.approved';
    const [trusted, other, limited] = [createNKey(), createNKey(), createNKey()];

    /** What a listener on the subject gets of an event that is signed with the seed. */
    async function overheard(seed: string): Promise<{ data: Uint8Array; fields: Record<string, string[]> }> {
      const subscription = scene.client.subscribe(subject, { max: 1 });
      await scene.client.flush();
      await publishSigned(seed, { subject, delivery: 'core' });
      const { value } = (await subscription[Symbol.asyncIterator]().next()) as { value: Msg };
      return { data: value.data, fields: Object.fromEntries(value.headers ?? []) };
    }

    const { data, fields } = await overheard(trusted.seed);
    const { 'Event-Signature': signature, ...unsigned } = fields;
    assert.ok(signature !== undefined);
    const byOther = await overheard(other.seed);
    const byLimited = await overheard(limited.seed);
    const misfit =
      'its signature does not match: the payload, the subject or an attribute was altered, or another key made it';
    const messages: { fields: HeaderFields; data?: Uint8Array; subject?: string; reason: string }[] = [
      { fields: unsigned, reason: 'it is not signed' },
      { fields, data: Buffer.from('{"release":43}'), reason: misfit },
      { fields, subject: 'signed.deployed', reason: misfit },
      { ...byOther, reason: `it is signed with the unknown key ${other.publicKey}` },
      { ...byLimited, reason: `it is signed with key ${limited.publicKey}, which is not trusted for this subject` },
    ];
    const { ended } = await beginWait(scene.agent(), {
      subject: 'signed.>',
      delivery: 'core',
      trustedKeys: `${trusted.publicKey}\n${limited.publicKey} signed.deployed`,
      // A refused event is skipped whatever else is set.
      onInvalid: 'fail',
      failWhen: 'data.release == `43`',
    });
    for (const message of [...messages, { fields, data, subject }]) {
      scene.client.publish(message.subject ?? subject, message.data ?? data, { headers: natsHeaders(message.fields) });
    }
    const step = await ended;
    assertSucceeded(step);
    const reasons = step.log.flatMap(({ text }) => /^untrusted .*reason=(".*")$/.exec(text)?.[1] ?? []);
    assert.deepEqual(
      reasons.map((text) => JSON.parse(text) as string),
      messages.map(({ reason }) => reason),
    );
    assert.deepEqual(countsOf(step), { seen: messages.length + 1, untrusted: messages.length, matched: 1 });
  });

  it('are as old as their signature, even if they are stored much later', async () => {
    const stream = await scene.stream();
    const { seed, publicKey } = createNKey();
    for (const [id, ageMs] of [
      ['hour-old', 3_600_000],
      ['fresh', 0],
    ] as const) {
      const message = {
        subject: stream.subject('approved'),
        headers: [['Nats-Msg-Id', id]] as const,
        payload: Buffer.of(),
      };
      const { headers } = signMessage(message, parseUserSeed(seed), new Date(Date.now() - ageMs));
      await stream.put('approved', '', Object.fromEntries(headers));
    }
    const step = await wait(scene.agent(), {
      subject: stream.subject('approved'),
      trustedKeys: publicKey,
      maxEventAge: '10m',
    });
    assertSucceeded(step);
    assert.equal(step.outputs.get('messageId'), 'fresh');
    assert.deepEqual(countsOf(step), { seen: 2, expired: 1, matched: 1 });
  });
});
