import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';
import { TIMING } from '../../../bridge/timing.ts';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { BRIDGE_FILE, ROOT } from '../../../scripts/build/manifest.ts';

/** A wrong guess at its contents fails the test. */
export type Json = ReturnType<typeof JSON.parse>;

export interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly data: Readonly<Record<string, string>>;
  readonly spec: Json;
}

export function deployFile(name: string): string {
  return readFileSync(path.join(ROOT, 'bridge/deploy', name), 'utf8');
}

/** The documents of a Kubernetes file, and the only one of a kind. */
export function readManifests(name: string) {
  // Kubernetes reads YAML 1.1, in which 0440 is octal.
  const all = parseAllDocuments(deployFile(name), { version: '1.1' }).map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS() as Manifest;
  });
  const only = (kind: string): Manifest => {
    const found = all.filter((one) => one.kind === kind);
    assert.equal(found.length, 1, kind);
    return found[0]!;
  };
  return { all, only };
}

/** Runs systemd's checks of a unit: whether it's valid, and how well it's confined. */
export function assertUnit(name: string): void {
  const unit = path.join(temporaryFolder('unit-'), name);
  const text = deployFile(name);
  // systemd checks that the program exists, and Node.js is in a different place on every machine.
  assert.match(text, new RegExp(`^ExecStart=/usr/bin/node /\\S+/${BRIDGE_FILE} run --config \\S+/bridge\\.yml$`, 'm'));
  writeFileSync(unit, text.replace('/usr/bin/node', process.execPath));
  const { status, stderr } = analyze('verify', unit);
  assert.equal(status, 0, stderr);
  // It may report on the machine, too.
  assert.doesNotMatch(stderr, new RegExp(path.basename(name, '.service')));
  const security = analyze('security', '--offline=true', '--threshold=20', unit);
  assert.equal(security.status, 0, security.stdout);
  const stop = Number(/^TimeoutStopSec=(\d+)$/m.exec(text)?.[1]);
  assert.ok(stop >= TIMING.drain / 1_000 + 5);
}

function analyze(...args: readonly string[]) {
  const run = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
  if (run.error)
    throw new Error("There is no systemd-analyze: install Debian's package systemd.", { cause: run.error });
  return run;
}

/** The credentials that a unit loads, and the files that it loads them from, by name. */
export function loadedCredentials(name: string): Map<string, string> {
  const loaded = [...deployFile(name).matchAll(/^LoadCredential=(\S+?):(\S+)$/gm)];
  return new Map(loaded.map(([, credential = '', from = '']) => [credential, from]));
}
