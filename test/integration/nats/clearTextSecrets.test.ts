import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Authentication } from '../../../shared/connection/settings.ts';
import { parseCredentials } from '../../../shared/connection/credentials.ts';
import { openNatsBus } from '../../../shared/nats/natsBus.ts';
import { createNKey, createOperatorMode } from '../../support/nats/natsAccounts.ts';
import { settingsFor, Step } from '../../support/nats/openBus.ts';
import { infoLine, ScriptedServer, type Script } from '../../support/nats/scriptedServer.ts';

const jwt = parseCredentials(await (await createOperatorMode()).creds());
const nkey = parseCredentials(createNKey().seed);
assert.ok(!('problem' in jwt) && jwt.kind === 'jwt' && !('problem' in nkey));

/** With what the warning calls it; undefined where nothing is sent that another could use. */
const SIGN_INS: readonly (readonly [string, Authentication, string | undefined])[] = [
  ['a password', { kind: 'userPassword', username: 'pipelines', password: 'canary' }, 'password'],
  ['a token', { kind: 'token', token: 'canary' }, 'token'],
  ['a JWT without a key', { ...jwt, key: undefined }, 'JWT'],
  ['a JWT with a key', jwt, undefined],
  ['an NKey', nkey, undefined],
  ['nothing', { kind: 'none' }, undefined],
];

const greeting = infoLine({ nonce: 'nonce' });
const SERVERS: Readonly<Record<string, Script>> = {
  'lets it in': { greeting },
  'refuses it': {
    greeting,
    answer: ({ verb }) => (verb === 'CONNECT' ? "-ERR 'Authorization Violation'\r\n" : undefined),
  },
  'closes the connection': {
    greeting,
    answer: ({ verb }, link) => {
      if (verb === 'CONNECT') link.socket.destroy();
      return undefined;
    },
  },
  'claims in a second INFO that there is TLS': {
    greeting,
    answer: ({ verb }) => (verb === 'CONNECT' ? infoLine({ tls_required: true }) : undefined),
  },
  'says nothing more': { greeting, answer: () => '' },
};

describe('A step that sends a secret in clear text warns once, whatever the server does', () => {
  for (const [secret, authentication, called] of SIGN_INS) {
    for (const [does, script] of Object.entries(SERVERS)) {
      it(`${secret}, to a server that ${does}`, async () => {
        await using server = await ScriptedServer.start(script);
        const step = new Step(1_000);
        const settings = settingsFor([server.url], { authentication });
        await openNatsBus(settings, step.clock, step.log).then(
          (bus) => bus.close(),
          () => {},
        );
        step.cancel();
        const address = server.url.slice('nats://'.length);
        const warning = `warning The ${called} was sent to ${address} without TLS, where anyone on the way can read it. Turn TLS on in the server and use tls:// in the service connection.`;
        assert.deepEqual(
          step.lines.filter((line) => line.startsWith('warning')),
          called === undefined ? [] : [warning],
        );
      });
    }
  }

  it('and reports the link as unencrypted, even if the server claims otherwise', async () => {
    await using server = await ScriptedServer.start(SERVERS['claims in a second INFO that there is TLS']);
    const step = new Step();
    await (await openNatsBus(settingsFor([server.url]), step.clock, step.log)).close();
    step.cancel();
    assert.match(step.lines.join('\n'), /^info connected .* tls=false$/m);
  });
});
