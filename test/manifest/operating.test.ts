import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { LIMITED } from '../../bridge/audit/deadLetters.ts';
import { Metrics } from '../../bridge/metrics.ts';
import { ROOT } from '../../scripts/build/manifest.ts';
import { filesEndingWith, quotedIn, readMarkdown } from '../support/documents/documents.ts';

const page = readMarkdown(ROOT, 'docs/bridge/operating.md');

/** The name of every event that the bridge writes into its log. */
const logEvents = new Set(
  filesEndingWith(path.join(ROOT, 'bridge'), '.ts').flatMap((file) => {
    const code = readFileSync(path.join(ROOT, 'bridge', file), 'utf8');
    const call = /\blog(?:\.(?:debug|info|warning|error|texts)|\[level\])\(\s*(?:\w+ \? )?'(\w+)'(?: : '(\w+)')?/g;
    return [...code.matchAll(call)].flatMap(([, event, other]) => [event ?? [], other ?? []].flat());
  }),
);

test('operating.md names each metric of the bridge, and no other', async () => {
  const text = await new Metrics().text();
  const metrics = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name = '']) => name);
  assert.ok(metrics.length >= 10);
  assert.deepEqual(quotedIn(page, 'Metric').sort(), metrics.sort());
});

test('every metric that the other pages name exists', async () => {
  const text = await new Metrics().text();
  for (const file of filesEndingWith(path.join(ROOT, 'docs'), '.md')) {
    for (const [name] of readMarkdown(path.join(ROOT, 'docs'), file).text.matchAll(/\bnats_bridge_\w+/g))
      assert.match(text, new RegExp(`^# TYPE ${name} `, 'm'), `${file}: ${name}`);
  }
});

test('every log event that operating.md names exists', () => {
  const named = quotedIn(page, 'Event in the log').flatMap((cell) => cell.split(', '));
  assert.ok(named.length >= 15);
  for (const event of named) assert.ok(logEvents.has(event), event);
});

test('every log line on that page is one that the bridge could write', () => {
  const lines = page.text.split('\n').filter((line) => line.startsWith('{"time"'));
  assert.ok(lines.length >= 6);
  for (const line of lines) {
    const { time, level, event } = JSON.parse(line) as Record<string, string>;
    assert.match(time ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.match(level ?? '', /^(debug|info|warning|error)$/);
    assert.ok(logEvents.has(event ?? ''), line);
  }
});

test('every log event that is a warning or an error is on that page', () => {
  const named = new Set(quotedIn(page, 'Event in the log').flatMap((cell) => cell.split(', ')));
  const loud = filesEndingWith(path.join(ROOT, 'bridge'), '.ts').flatMap((file) => {
    const code = readFileSync(path.join(ROOT, 'bridge', file), 'utf8');
    return [...code.matchAll(/\blog(?:\.(?:warning|error|texts)|\[level\])\(\s*'(\w+)'/g)].map(
      ([, event = '']) => event,
    );
  });
  assert.deepEqual(
    [...new Set(loud)].filter((event) => !named.has(event)),
    [],
  );
});

test('every other log event is at least mentioned there', () => {
  assert.deepEqual(
    [...logEvents].filter((event) => !page.text.includes(`\`${event}\``) && !page.text.includes(`"event":"${event}"`)),
    [],
  );
});

test('hooks.md names each reason of a dead letter of a hook, and no other', () => {
  const reasons = ['judgeHook.ts', 'feeds/feedReader.ts'].flatMap((file) => {
    const code = readFileSync(path.join(ROOT, 'bridge/hooks', file), 'utf8');
    return [...code.matchAll(/\b(?:refused|#keep)\('(\w+)'/g)].map(([, reason = '']) => reason);
  });
  assert.ok(reasons.length >= 6);
  const named = quotedIn(readMarkdown(ROOT, 'docs/bridge/hooks.md'), 'Reason');
  assert.deepEqual(named.sort(), [...new Set([...reasons, LIMITED])].sort());
});

test('every figure in scaling.md was measured', () => {
  const measured = readMarkdown(ROOT, 'docs/performance.md').text;
  const { text } = readMarkdown(ROOT, 'docs/bridge/scaling.md');
  const rows = text.split('\n').filter((line) => line.startsWith('| '));
  const figures = rows.slice(2).map((row) => (row.split('|')[2] ?? '').trim());
  assert.ok(figures.length >= 5);
  for (const figure of figures) assert.ok(measured.includes(` ${figure} |`), figure);
});

test('docs/bridge/security.md lists every secret of the configuration, and no other', () => {
  const { properties } = JSON.parse(
    readFileSync(path.join(ROOT, 'bridge/config/config.schema.json'), 'utf8'),
  ) as SchemaPart;
  const secrets = secretFilesOf(properties ?? {}, '');
  assert.ok(secrets.length >= 8);
  const { text } = readMarkdown(ROOT, 'docs/bridge/security.md');
  const items = [...text.matchAll(/^- \*\*([^*]*)\*\*$/gm)].map(([, secret = '']) => secret);
  const named = [...items.join(' ').matchAll(/[\w.]+Files?\b/g)].map(([name]) => name);
  assert.deepEqual([...named].sort(), secrets.sort());
});

interface SchemaPart {
  readonly properties?: Readonly<Record<string, SchemaPart>>;
  readonly $ref?: string;
}

/** The settings that name files with secrets: certificates, authorities and policies are none. */
function secretFilesOf(properties: Readonly<Record<string, SchemaPart>>, prefix: string): string[] {
  const { $defs } = JSON.parse(readFileSync(path.join(ROOT, 'bridge/config/config.schema.json'), 'utf8')) as {
    $defs: Readonly<Record<string, SchemaPart>>;
  };
  return Object.entries(properties).flatMap(([name, part]) => {
    const place = `${prefix}${name}`;
    if (/Files?$/.test(name)) return /^(ca|certificate|policy|publisherPolicy)File$/.test(name) ? [] : [place];
    const named = part.$ref === undefined ? undefined : $defs[part.$ref.replace('#/$defs/', '')];
    // Who manages subscriptions signs in as azureDevOps.identity does.
    if (place === 'hooks.identity') return [];
    return secretFilesOf(part.properties ?? named?.properties ?? {}, `${place}.`);
  });
}
