import { createPrivateKey, X509Certificate } from 'node:crypto';
import { reasonOf, type Problem } from '../errors.ts';
import type { ClientCertificate } from './settings.ts';

const SOON_MS = 14 * 24 * 3_600_000;

/**
 * Whether a client certificate can be used with its private key.
 *
 * @param now in milliseconds since the epoch
 * @returns `problems`: all of them, each continuing "its …"; `expiresSoon`: when it expires, in ISO 8601, where it is valid for
 *   less than 14 days
 */
export function checkClientCertificate(
  { certificate, privateKey }: ClientCertificate,
  now: number,
): { readonly problems: readonly Problem[]; readonly expiresSoon?: string } {
  try {
    const parsed = new X509Certificate(certificate);
    const problems: Problem[] = parsed.checkPrivateKey(createPrivateKey(privateKey))
      ? []
      : [{ problem: 'private key does not belong to its certificate' }];
    const expires = new Date(parsed.validTo);
    const time = expires.toISOString();
    if (expires.getTime() > now) return { problems, ...(expires.getTime() - now < SOON_MS && { expiresSoon: time }) };
    problems.push({ problem: `client certificate expired on ${time}`, remedy: 'Renew it.', code: 'TlsFailure' });
    return { problems };
  } catch (error) {
    // The text of an OpenSSL error names the kind of failure and never the key.
    const problem = `client certificate or private key cannot be read (${reasonOf(error)})`;
    return { problems: [{ problem, remedy: 'Both are PEM texts; the key must not be encrypted.' }] };
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----\n?/g;

/**
 * A client certificate with the certificate of its private key first, as TLS has it: some tools write the authority's first.
 * Unchanged where none belongs to the key, or something can't be read.
 */
export function ownCertificateFirst(given: ClientCertificate): ClientCertificate {
  const chain = given.certificate.match(CERTIFICATE) ?? [];
  try {
    const key = createPrivateKey(given.privateKey);
    const own = chain.findIndex((block) => new X509Certificate(block).checkPrivateKey(key));
    if (own <= 0) return given;
    const others = chain.filter((_, index) => index !== own).reverse();
    return { ...given, certificate: [chain[own] ?? '', ...others].join('') };
  } catch {
    return given;
  }
}

/** Whether each block of a PEM text is a certificate, and there is one. */
export function holdsCertificates(pem: string): boolean {
  try {
    for (const block of pem.match(CERTIFICATE) ?? ['']) new X509Certificate(block);
    return true;
  } catch {
    return false;
  }
}
