import { checkClientCertificate } from '../../shared/connection/certificate.ts';
import { shown } from './shown.ts';
import type { HostAndPort, HttpSettings } from '../settings.ts';
import { readSecretFile } from './secrets.ts';
import type { Section } from './section.ts';
import { readUrl } from './urls.ts';

/** Reads `http`. */
export function readHttp(section: Section): HttpSettings {
  const listen = readHostAndPort(section, 'listen', 8080);
  const admin = readHostAndPort(section, 'admin', 9090);
  if (listen.port !== 0 && listen.host === admin.host && listen.port === admin.port)
    section.note('admin', 'is the same as listen', 'Give each a port of its own.');
  return { listen, admin, publicUrl: readUrl(section, 'publicUrl')?.href, tls: readTls(section) };
}

function readHostAndPort(section: Section, name: string, otherwise: number): HostAndPort {
  const text = section.text(name);
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text ?? '') ?? [];
  const port = Number(digits ?? otherwise);
  if (port > 65_535) section.note(name, `${shown(text ?? '')} has a port above 65535`);
  return { host: bracketed ?? plain ?? '127.0.0.1', port };
}

function readTls(section: Section): HttpSettings['tls'] {
  const certificateFile = section.file('certificateFile');
  const privateKeyFile = section.file('privateKeyFile');
  if (certificateFile === undefined && privateKeyFile === undefined) return undefined;
  if (certificateFile === undefined || privateKeyFile === undefined) {
    const [given, missing] =
      certificateFile === undefined ? ['privateKeyFile', 'certificateFile'] : ['certificateFile', 'privateKeyFile'];
    section.note(given, `needs ${missing}`, `Add http.${missing}.`);
    return undefined;
  }
  const [certificate, privateKey] = (['certificateFile', 'privateKeyFile'] as const).map((name) => {
    const [given, file] = [section.text(name) ?? '', section.file(name) ?? ''];
    if (section.isElsewhere([name], given, file)) return undefined;
    const text = readSecretFile(file);
    if (typeof text === 'string') return text;
    section.note(name, `${shown(given)} ${text.problem}`, text.remedy);
    return undefined;
  });
  if (privateKey !== undefined)
    section.surroundings.secretFile(
      [...section.path, 'privateKeyFile'],
      section.text('privateKeyFile') ?? '',
      privateKeyFile,
    );
  if (certificate === undefined || privateKey === undefined) return undefined;
  const { problems, expiresSoon } = checkClientCertificate({ certificate, privateKey }, section.surroundings.now());
  for (const { problem, remedy } of problems)
    section.note('certificateFile', `can't be used: its ${problem.replace(/^client /, '')}`, remedy);
  if (expiresSoon !== undefined) section.warn('certificateFile', `expires on ${expiresSoon}`, 'Renew it.');
  return { certificateFile, privateKeyFile };
}
