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
  return text === undefined ? undefined : urlOf(text, (problem, remedy) => section.note(name, problem, remedy));
}

/** Reads a list of such URLs. */
export function readUrls(section: Section, name: string): { readonly url: URL; readonly index: number }[] {
  return section.texts(name).flatMap((text, index) => {
    const url = urlOf(text, (problem, remedy) => section.noteItem(name, index, problem, remedy));
    return url === undefined ? [] : [{ url, index }];
  });
}

type Note = (problem: string, remedy?: string) => void;

function urlOf(text: string, note: Note): URL | undefined {
  if (text.includes('@')) {
    noteSecret(note);
    return undefined;
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    note(`${shown(text)} is not an https:// URL`);
    return undefined;
  }
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    note(`${shown(text)} is not encrypted`, 'Use https://; only this machine itself may be http://.');
    return undefined;
  }
  return url;
}

/** Notes a URL with a user or password without showing it, even if they keep it from being a URL. */
export function holdsSecret(section: Section, name: string, text: string): boolean {
  if (!text.includes('@')) return false;
  noteSecret((problem, remedy) => section.note(name, problem, remedy));
  return true;
}

function noteSecret(note: Note): void {
  note('holds a user or password', 'Secrets never stand in the configuration.');
}
