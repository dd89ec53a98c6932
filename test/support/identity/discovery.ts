import { get } from 'node:https';
import { json } from 'node:stream/consumers';
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';

/**
 * The keys of an issuer, found through its discovery document over TLS. They are cached, and fetched again when a token
 * names another one.
 *
 * @param metadata the URL of the discovery document
 * @param ca PEM text of its certificate authority
 */
export function discoveredKeys(metadata: string, ca: string): JWTVerifyGetKey {
  let keys: JWTVerifyGetKey | undefined;
  const discover = async () => {
    const { jwks_uri: place } = await readJson<{ jwks_uri: string }>(metadata, ca);
    return createLocalJWKSet(await readJson<JSONWebKeySet>(place, ca));
  };
  return async (header, token) => {
    keys ??= await discover();
    try {
      return await keys(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      keys = await discover();
      return keys(header, token);
    }
  };
}

function readJson<T>(url: string, ca: string): Promise<T> {
  return new Promise((resolve, reject) => {
    get(url, { ca, agent: false }, (answer) => {
      if (answer.statusCode === 200) void json(answer).then((value) => resolve(value as T), reject);
      else reject(new Error(`${url} answered with ${answer.statusCode}.`));
    }).on('error', reject);
  });
}
