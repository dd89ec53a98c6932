#!/usr/bin/env node
/**
 * Makes the keys for an auth callout and the configuration of its two sides.
 * Usage: node setup.mjs config|operator <new folder>
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { encodeAccount, encodeOperator, encodeUser, fmtCreds } from 'nats-jwt';
import { createAccount, createCurve, createOperator, createUser } from 'nkeys.js';

const [mode, folder = ''] = parseArgs({ allowPositionals: true }).positionals;
if ((mode !== 'config' && mode !== 'operator') || folder === '') {
  throw new Error('Usage: node setup.mjs config|operator <new folder>');
}
mkdirSync(folder); // an existing folder may hold keys that are in use

/** All a responder has to be allowed. */
const RESPONDER = { pub: { allow: ['$SYS._INBOX.>'], deny: [] }, sub: { allow: ['$SYS.REQ.USER.AUTH'], deny: [] } };
const NOTHING = { allow: [], deny: ['>'] };
const NO_LIMITS = { conn: -1, subs: -1, data: -1, payload: -1, leaf: -1, imports: -1, exports: -1, wildcards: true };
const JETSTREAM = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };

const responder = createUser();
const xkey = createCurve();
save('xkey.nk', xkey.getSeed());
save('policy.json', readFileSync(new URL('policy.json', import.meta.url)));
if (mode === 'config') setUpConfigMode();
else await setUpOperatorMode();

/** The server's own configuration lists accounts and users. */
function setUpConfigMode() {
  const issuer = createAccount();
  save('issuer.nk', issuer.getSeed());
  save('responder.nk', responder.getSeed());
  save(
    'auth-callout.conf',
    `accounts {
  CI { jetstream: enabled }
  AUTH {
    users: [
      {
        nkey: ${responder.getPublicKey()}
        permissions {
          publish: ${JSON.stringify(RESPONDER.pub.allow)}
          subscribe: ${JSON.stringify(RESPONDER.sub.allow)}
        }
      }
    ]
  }
}
authorization {
  timeout: 2 # seconds a client waits for the responder
  auth_callout {
    issuer: ${issuer.getPublicKey()}
    account: AUTH
    auth_users: [${responder.getPublicKey()}]
    xkey: ${xkey.getPublicKey()}
  }
}
max_control_line: 16KB # the client's token is part of one line
`,
  );
  saveResponder({ credentials: 'responder.nk', issuer: { id: issuer.getPublicKey(), key: 'issuer.nk' } });
}

/** JWTs signed by an operator say which accounts there are. */
async function setUpOperatorMode() {
  const operator = createOperator();
  const [system, auth, ci] = [createAccount(), createAccount(), createAccount()];
  const [authSigning, ciSigning] = [createAccount(), createAccount()];
  for (const [name, pair] of Object.entries({ operator, system, auth, ci })) save(`offline/${name}.nk`, pair.getSeed());
  save('auth-signing.nk', authSigning.getSeed());
  save('ci-signing.nk', ciSigning.getSeed());

  const authorization = {
    auth_users: [responder.getPublicKey()],
    allowed_accounts: [ci.getPublicKey()],
    xkey: xkey.getPublicKey(),
  };
  const accountJwts = {
    [system.getPublicKey()]: await encodeAccount('SYS', system, { limits: NO_LIMITS }, { signer: operator }),
    [auth.getPublicKey()]: await encodeAccount(
      'AUTH',
      auth,
      Object.assign({ limits: NO_LIMITS, signing_keys: [authSigning.getPublicKey()] }, { authorization }),
      { signer: operator },
    ),
    [ci.getPublicKey()]: await encodeAccount(
      'CI',
      ci,
      { limits: { ...NO_LIMITS, ...JETSTREAM }, signing_keys: [ciSigning.getPublicKey()] },
      { signer: operator },
    ),
  };
  const sentinel = await encodeUser(
    'sentinel',
    createUser(),
    auth,
    { bearer_token: true, pub: NOTHING, sub: NOTHING },
    { signer: authSigning },
  );
  save('sentinel.jwt', `${sentinel}\n`);
  save(
    'responder.creds',
    fmtCreds(await encodeUser('responder', responder, auth, RESPONDER, { signer: authSigning }), responder),
  );
  save(
    'auth-callout.conf',
    `operator: ${await encodeOperator('operator', operator, { system_account: system.getPublicKey() })}
system_account: ${system.getPublicKey()}
resolver: MEMORY
resolver_preload {
${Object.entries(accountJwts)
  .map(([account, jwt]) => `  ${account}: ${jwt}\n`)
  .join('')}}
default_sentinel: ${sentinel}
authorization { timeout: 2 }
max_control_line: 16KB # the client's token is part of one line
`,
  );
  saveResponder({
    credentials: 'responder.creds',
    issuer: { id: auth.getPublicKey(), key: 'auth-signing.nk' },
    accounts: { CI: { id: ci.getPublicKey(), key: 'ci-signing.nk' } },
  });
}

/** @param {object} own what differs between the modes */
function saveResponder(own) {
  const config = { servers: ['tls://localhost:4222'], ...own, xkey: 'xkey.nk', policy: 'policy.json' };
  save('responder.json', `${JSON.stringify(config, undefined, 2)}\n`);
}

/**
 * @param {string} name
 * @param {string | Uint8Array} content
 */
function save(name, content) {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content, { flag: 'wx', mode: name.endsWith('.conf') || name.endsWith('.json') ? 0o644 : 0o600 });
}
