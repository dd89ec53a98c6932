import { Spec, Validation } from '@cyclonedx/cyclonedx-library';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { audited, auditShipped } from '../../scripts/release/audit.ts';
import {
  BRIDGE_FILE,
  BRIDGE_FOLDER,
  readJson,
  ROOT,
  TASK_NAMES,
  type PackageManifest,
} from '../../scripts/build/manifest.ts';
import { sbomOf } from '../../scripts/release/sbom.ts';
import { filesIn } from '../support/filesIn.ts';

const project = readJson('package.json') as PackageManifest & Record<string, Record<string, string>>;
const lock = readJson('package-lock.json') as {
  lockfileVersion: number;
  packages: Record<string, { version?: string; integrity?: string; dev?: boolean; optional?: boolean }>;
};

test('package.json has exact versions only', () => {
  for (const kind of ['dependencies', 'devDependencies', 'optionalDependencies']) {
    for (const [name, version] of Object.entries(project[kind] ?? {})) {
      assert.match(version, /^(npm:[\w@/-]+@)?\d+\.\d+\.\d+$/, `${kind}: ${name}`);
    }
  }
});

test('the lock file holds a SHA-512 of every package', () => {
  assert.equal(lock.lockfileVersion, 3);
  const packages = Object.entries(lock.packages).filter(([folder]) => folder !== '');
  assert.ok(packages.length > 100);
  for (const [folder, { integrity }] of packages) assert.match(integrity ?? '', /^sha512-[\w+/]{86}==$/, folder);
});

test('builds, tests and releases install only what is locked', () => {
  for (const file of ['.ci/run', 'scripts/quickstart.sh', 'azure-pipelines.yml', 'azure-pipelines.try.yml']) {
    const text = readFileSync(path.join(ROOT, file), 'utf8');
    assert.match(text, /\bnpm ci\b/, file);
    assert.doesNotMatch(text, /\bnpm (i|install|add|update|exec)\b|\bnpx (?!--no-install )|\b(yarn|pnpm)\b/, file);
    // Its demo needs one server, which is installed; those of other lines take half a minute to fetch.
    if (file === 'scripts/quickstart.sh') assert.doesNotMatch(text, /nats-servers/);
    // quickstart.sh is for people, who have nothing that a package could steal from a release.
    if (file !== 'scripts/quickstart.sh') assert.doesNotMatch(text, /\bnpm ci\b(?! --ignore-scripts )/, file);
  }
});

const bills = readdirSync(path.join(ROOT, 'dist')).filter((file) => file.endsWith('.cdx.json'));

interface Bill {
  components: { type: string; name: string; purl?: string; hashes: { alg: string; content: string }[] }[];
  dependencies: { ref: string; dependsOn?: string[] }[];
}

const EXTENSION_BILL = bills[0] ?? 'no bill of materials: run npm run package';
const BRIDGE_BILL = 'bridge/sbom.cdx.json';

test('there is a CycloneDX 1.6 bill of materials next to the .vsix and one in the bridge', async () => {
  assert.deepEqual(bills, [`${project.publisher}.nats-event-tasks-${project.version}.cdx.json`]);
  const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6);
  for (const file of [EXTENSION_BILL, BRIDGE_BILL]) {
    assert.equal(await validator.validate(billText(file)), null, file);
    const wrong = billText(file).replace('"alg": "SHA-512"', '"alg": "SHA-7"');
    assert.notEqual(await validator.validate(wrong), null, 'the validator accepts a wrong document');
  }
});

test('the bills of materials list each bundle and every package with code in it', () => {
  const extension = JSON.parse(billText(EXTENSION_BILL)) as Bill;
  const bridge = JSON.parse(billText(BRIDGE_BILL)) as Bill;
  for (const task of TASK_NAMES) {
    const parts = partsOf(extension, `${task}/index.js`, path.join('stage', task, 'index.js'));
    assert.ok(holds(parts, 'nats'), parts.join());
    assert.equal(holds(parts, '@jmespath-community/jmespath'), task === 'WaitForNatsEvent');
  }
  const files = filesIn(BRIDGE_FOLDER).filter((file) => file.endsWith('.mjs'));
  assert.ok(files.includes(BRIDGE_FILE));
  assert.deepEqual(
    bridge.components.filter(({ type }) => type === 'file').map(({ name }) => name),
    files,
  );
  const parts = files.flatMap((file) => partsOf(bridge, file, path.join('bridge', file)));
  for (const name of ['nats', 'fastify', 'undici', '@azure/identity', 'yaml', 'prom-client'])
    assert.ok(holds(parts, name), `${name} in ${parts.join()}`);

  const libraries = [...extension.components, ...bridge.components].filter(({ type }) => type === 'library');
  for (const { purl, hashes } of libraries) {
    const [, name = '', version] = /^pkg:npm\/(.+)@([^@]+)$/.exec(purl ?? '') ?? [];
    const sha512 = Buffer.from(hashes[0]!.content, 'hex').toString('base64');
    const folder = `node_modules/${name.replace('%40', '@')}`;
    // A library of a library may have a version of its own, in a folder further down.
    const locked = Object.entries(lock.packages).filter(
      ([place, { version: is, dev, optional }]) =>
        (place === folder || place.endsWith(`/${folder}`)) && is === version && !dev && !optional,
    );
    assert.ok(locked.length > 0, `${purl} is a dependency of what is shipped`);
    for (const [, { integrity }] of locked)
      assert.deepEqual([hashes[0]!.alg, `sha512-${sha512}`], ['SHA-512', integrity]);
  }
  for (const name of Object.keys(project['dependencies'] ?? {}))
    assert.ok(
      libraries.some(({ purl }) => purl?.startsWith(`pkg:npm/${name.replace('@', '%40')}@`)),
      name,
    );
});

/** The packages that a bill lists of a bundle, whose bytes it is about. */
function partsOf(bill: Bill, name: string, file: string): string[] {
  const bundle = bill.components.find((component) => component.name === name);
  const code = readFileSync(path.join(ROOT, 'dist', file));
  assert.deepEqual(bundle?.hashes, [{ alg: 'SHA-256', content: createHash('sha256').update(code).digest('hex') }]);
  return bill.dependencies.find(({ ref }) => ref === name)?.dependsOn ?? [];
}

function holds(parts: readonly string[], name: string): boolean {
  return parts.some((part) => part.startsWith(`pkg:npm/${name.replace('@', '%40')}@`));
}

test('a bill of materials gets another serial number when its contents change', () => {
  const numberOf = (code: string): string => {
    const bundles = new Map([['some.js', { code: Buffer.from(code), packages: [] }]]);
    return (JSON.parse(sbomOf({ ...project, id: 'x' }, bundles)) as { serialNumber: string }).serialNumber;
  };
  assert.equal(numberOf('a'), numberOf('a'));
  assert.notEqual(numberOf('a'), numberOf('b'));
});

test('npm audit: clean, vulnerable and no answer are distinguished', async (t) => {
  assert.deepEqual(await auditWith(t, 200, {}), { result: 'clean' });
  const advisory = {
    id: 1,
    url: 'https://advisories.example/1',
    title: 'x',
    severity: 'high',
    vulnerable_versions: '*',
  };
  assert.deepEqual(await auditWith(t, 200, { nats: [{ ...advisory, cwe: [], cvss: { score: 0 } }] }), {
    result: 'vulnerable',
    packages: ['nats (high)'],
  });
  const unanswered = await auditWith(t, 405, {});
  assert.equal(unanswered.result, 'unknown');
  assert.match(JSON.stringify(unanswered), /405/);
  // Whoever only tries what they have changed needs no audit.
  assert.equal(audited(unanswered), undefined);
  assert.match(
    audited({ result: 'vulnerable', packages: ['nats (high)'] }) ?? '',
    /nats \(high\)\. It cannot be released/,
  );
});

/** What an audit says that a registry with this answer about advisories is asked for. */
async function auditWith(t: TestContext, status: number, answer: object) {
  const registry = createServer((request, response) => {
    const isAudit = request.method === 'POST' && request.url?.endsWith('/advisories/bulk');
    response.writeHead(isAudit ? status : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(isAudit ? answer : {}));
  }).listen(0, '127.0.0.1');
  t.after(() => registry.close());
  await once(registry, 'listening');
  const { port } = registry.address() as AddressInfo;
  return auditShipped({ ...process.env, npm_config_registry: `http://127.0.0.1:${port}/` });
}

function billText(file: string): string {
  return readFileSync(path.join(ROOT, 'dist', file), 'utf8');
}
