import { checkClientCertificate } from '../../shared/connection/certificate.ts';
import { RereadFile, type FileSurroundings } from '../config/secrets.ts';
import type { HttpSettings } from '../settings.ts';

export interface TlsPair {
  readonly cert: string;
  readonly key: string;
}

/** The certificate and key of a port, read again when they change. */
export class TlsFiles {
  readonly #certificate: RereadFile<string>;
  readonly #privateKey: RereadFile<string>;
  #last: TlsPair;

  /** @throws Error when a file can't be read; the configuration has been checked before, so it has just gone. */
  constructor(
    { certificateFile, privateKeyFile }: NonNullable<HttpSettings['tls']>,
    private readonly surroundings: FileSurroundings,
  ) {
    this.#certificate = this.#open(certificateFile, 'http.certificateFile');
    this.#privateKey = this.#open(privateKeyFile, 'http.privateKeyFile');
    this.#last = this.#now();
  }

  /** The newest pair that belongs together. */
  current(): TlsPair {
    const now = this.#now();
    const isNew = now.cert !== this.#last.cert || now.key !== this.#last.key;
    // They are replaced one after the other: in between, they don't match.
    if (isNew && isUsable(now, this.surroundings.now())) this.#last = now;
    return this.#last;
  }

  #now(): TlsPair {
    return { cert: this.#certificate.value, key: this.#privateKey.value };
  }

  #open(file: string, label: string): RereadFile<string> {
    const opened = RereadFile.open<string>(file, `${label} (${file})`, (value) => ({ value }), this.surroundings);
    if ('problem' in opened) throw new Error(`${label}: ${file} ${opened.problem}.`);
    return opened;
  }
}

function isUsable({ cert, key }: TlsPair, now: number): boolean {
  return checkClientCertificate({ certificate: cert, privateKey: key }, now).problems.length === 0;
}
