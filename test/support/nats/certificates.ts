import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { SelfsignedOptions } from 'selfsigned';

/** A certificate and its private key, both as PEM text. The key is EC P-256 in PKCS #8. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** A certificate's claims about its owner. */
export interface CertificateOptions {
  /** Host names and IP addresses of a server, e-mail addresses of a client; become subject alternative names. */
  readonly names?: readonly string[];
  /** Its validity ended yesterday. */
  readonly expired?: boolean;
}

/** A test's own certificate authority. Two of them don't trust each other. */
export interface Authority extends Certificate {
  /** A server's certificate; names default to localhost, 127.0.0.1 and ::1. */
  server(options?: CertificateOptions): Promise<Certificate>;
  /** A client certificate with this common name. */
  client(name: string, options?: CertificateOptions): Promise<Certificate>;
}

const DAY_MS = 24 * 60 * 60 * 1000;

export async function createAuthority(): Promise<Authority> {
  // With the same name, a stranger's certificate would be a forgery (another error), not one from an unknown authority.
  const ca = await create(`Test Authority ${randomBytes(8).toString('hex')}`, {}, [
    { name: 'basicConstraints', cA: true, critical: true },
    { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
  ]);
  const issue = (use: 'serverAuth' | 'clientAuth', owner: string, options: CertificateOptions): Promise<Certificate> =>
    create(
      owner,
      options,
      [
        { name: 'basicConstraints', cA: false, critical: true },
        { name: 'keyUsage', digitalSignature: true, critical: true },
        { name: 'extKeyUsage', [use]: true },
        ...(options.names?.length ? [alternativeNames(options.names)] : []),
      ],
      ca,
    );
  return {
    ...ca,
    server: (options = {}) =>
      issue('serverAuth', 'Test Server', { names: ['localhost', '127.0.0.1', '::1'], ...options }),
    client: (owner, options = {}) => issue('clientAuth', owner, options),
  };
}

/** Writes a certificate's two files into a folder, named after `name`; returns what `NatsServerTls` needs. */
export function saveCertificate(
  folder: string,
  name: string,
  certificate: Certificate,
): { certFile: string; keyFile: string } {
  const certFile = join(folder, `${name}.cert.pem`);
  const keyFile = join(folder, `${name}.key.pem`);
  writeFileSync(certFile, certificate.cert);
  writeFileSync(keyFile, certificate.key, { mode: 0o600 });
  return { certFile, keyFile };
}

type Extensions = NonNullable<SelfsignedOptions['extensions']>;

async function create(
  commonName: string,
  { expired = false }: CertificateOptions,
  extensions: Extensions,
  ca?: Certificate,
): Promise<Certificate> {
  // It takes long to load, and few tests that might need a certificate do.
  const { generate } = await import('selfsigned');
  const now = Date.now();
  const made = await generate([{ name: 'commonName', value: commonName }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    notBeforeDate: new Date(now - 2 * DAY_MS),
    notAfterDate: new Date(now + (expired ? -1 : 30) * DAY_MS),
    extensions,
    ...(ca && { ca: { key: ca.key, cert: ca.cert } }),
  });
  return { cert: `${made.cert.trim()}\n`, key: `${made.private.trim()}\n` };
}

function alternativeNames(names: readonly string[]): Extensions[number] {
  return {
    name: 'subjectAltName',
    altNames: names.map((name) => {
      if (isIP(name)) return { type: 7, ip: name };
      return { type: name.includes('@') ? 1 : 2, value: name };
    }),
  };
}
