import { isIP } from 'node:net';
import { shown } from './shown.ts';
import type { Section } from './section.ts';

/** Whether a host of a URL is this machine. */
export function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '');
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** Reads an https URL, or an http one on this machine; undefined where none is given, or a bad one, which is noted. */
export function readUrl(section: Section, name: string): URL | undefined {
  const text = section.text(name);
  if (text === undefined) return undefined;
  if (holdsSecret(section, name, text)) return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    section.note(name, `${shown(text)} is not an https:// URL`);
    return undefined;
  }
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    section.note(name, `${shown(text)} is not encrypted`, 'Use https://; only this machine itself may be http://.');
    return undefined;
  }
  return url;
}

/** Notes a URL with a user or password, which is not shown, also where it is no URL because of them. */
export function holdsSecret(section: Section, name: string, text: string): boolean {
  if (!text.includes('@')) return false;
  section.note(name, 'holds a user or password', 'Secrets never stand in the configuration.');
  return true;
}
