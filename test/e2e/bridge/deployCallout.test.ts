import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { TIMING } from '../../../bridge/timing.ts';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { ROOT } from '../../../scripts/build/manifest.ts';
import { BridgeProcess, runBridge, runBundle, type CommandRun } from '../../support/bridge/bridgeProcess.ts';
import { EXAMPLE_POLICY } from '../../support/bridge/calloutBridge.ts';
import {
  assertUnit,
  deployFile,
  loadedCredentials,
  readManifests,
  type Json,
} from '../../support/bridge/deployFiles.ts';
import { readMarkdown, yamlBlocks } from '../../support/documents/documents.ts';

const FILE = 'kubernetes-callout.yaml';
const UNIT = 'nats-event-callout.service';
const { all, only } = readManifests(FILE);
const { metadata, spec: deployment } = only('Deployment');
const { spec: pod } = deployment.template;
const [container] = pod.containers;
const [volume] = pod.volumes;
const configuration = only('ConfigMap').data['bridge.yml'] ?? '';
const { http, nats, callout } = parse(configuration) as Readonly<Record<string, Json>>;

/** The keys that `callout keys` makes, by file. */
const KEYS = ((folder: string) => {
  assert.equal(runBundle(['callout', 'keys', folder]).status, 0);
  const names = ['responder.nk', 'issuer.nk', 'xkey.nk'];
  return Object.fromEntries(names.map((name) => [name, readFileSync(path.join(folder, name), 'utf8')]));
})(path.join(temporaryFolder('callout-'), 'keys'));
const POLICY = readFileSync(EXAMPLE_POLICY, 'utf8');

function passes({ status, stdout, stderr }: CommandRun): void {
  assert.deepEqual([status, stdout], [0, ''], stderr);
}

test('the configuration in the file is valid with only the mounted keys and policy', async () => {
  const [own, policy, { secret }] = volume.projected.sources;
  assert.equal(own.configMap.name, only('ConfigMap').metadata.name);
  const mounted = secret.items.map(({ key, path: file }: { key: string; path: string }) => {
    assert.equal(file, key);
    return key;
  });
  assert.deepEqual(mounted, Object.keys(KEYS));
  assert.deepEqual([nats.nkeySeedFile, callout.accountKeyFile, callout.xkeySeedFile], mounted);
  const files: Record<string, string> = { ...KEYS, [callout.policyFile]: POLICY };
  passes(await runBridge(['check', '--offline'], configuration, { files }));
  for (const lacking of Object.keys(files)) {
    const { status, stdout } = await runBridge(['check', '--offline'], configuration, {
      files: Object.fromEntries(Object.entries(files).filter(([name]) => name !== lacking)),
    });
    assert.equal(status, lacking === callout.policyFile ? 1 : 0, lacking);
    assert.ok(stdout.includes(lacking), stdout);
  }

  // The file and the page say how to create them.
  const page = readMarkdown(ROOT, 'docs/bridge/operating.md').text.replaceAll('\\\n', '');
  for (const text of [deployFile(FILE), page]) {
    const created = (kind: string, name: string) => {
      const [, list = ''] = new RegExp(`--namespace ${metadata.namespace} create ${kind} ${name}\\s+(.*)`).exec(text)!;
      return [...list.matchAll(/--from-file=(\S+)/g)].map(([, file]) => file);
    };
    assert.deepEqual(created('secret generic', secret.name), mounted);
    assert.deepEqual(created('configmap', policy.configMap.name), [callout.policyFile]);
  }
});

test('only monitoring can reach the pods, at the private port, and they can reach only what they need', async () => {
  assert.deepEqual(all.map(({ kind }) => kind).sort(), [
    ...['ConfigMap', 'Deployment', 'Namespace', 'NetworkPolicy', 'PodDisruptionBudget'],
  ]);
  const [{ name, containerPort }, ...more] = container.ports;
  assert.deepEqual([name, more, http], ['admin', [], { admin: `0.0.0.0:${containerPort}` }]);
  const { ingress, egress, podSelector, policyTypes } = only('NetworkPolicy').spec;
  const { matchLabels } = deployment.selector;
  assert.deepEqual(podSelector.matchLabels, matchLabels);
  assert.deepEqual(only('PodDisruptionBudget').spec.selector.matchLabels, matchLabels);
  assert.deepEqual(policyTypes, ['Ingress', 'Egress']);
  assert.deepEqual(ingress, [
    {
      from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }],
      ports: [{ port: containerPort }],
    },
  ]);
  const natsPort = Number(new URL(nats.servers[0]).port);
  assert.deepEqual(
    egress.flatMap((rule: Json) => rule.ports.map(({ port }: { port: number }) => port)),
    [53, 53, natsPort, 443],
  );

  const local = configuration.replace(nats.servers[0], 'nats://127.0.0.1:1').replace(http.admin, '127.0.0.1:0');
  await using bridge = await BridgeProcess.start(local, {
    files: { ...KEYS, [callout.policyFile]: POLICY },
    node: '24',
  });
  const { public: publicPort, admin } = await bridge.logged('listening');
  assert.deepEqual([publicPort, typeof admin], [undefined, 'string']);
  const probes = [container.livenessProbe.httpGet, container.readinessProbe.httpGet];
  for (const { path: place, port } of [...probes, { path: '/metrics', port: 'admin' }]) {
    assert.equal(port, 'admin', place);
    assert.notEqual((await bridge.admin(place)).status, 404, place);
  }
});

test("its pods are separate from the bridge's, with the same security", () => {
  const bridge = readManifests('kubernetes.yaml');
  const { spec: other } = bridge.only('Deployment').spec.template;
  assert.notEqual(metadata.namespace, bridge.only('Deployment').metadata.namespace);
  for (const { kind, metadata: its } of all) if (kind !== 'Namespace') assert.equal(its.namespace, metadata.namespace);
  assert.deepEqual(only('Namespace').metadata, { ...bridge.only('Namespace').metadata, name: metadata.namespace });
  assert.deepEqual(pod.securityContext, other.securityContext);
  assert.deepEqual(container.securityContext, other.containers[0].securityContext);
  assert.deepEqual([pod.automountServiceAccountToken, pod.serviceAccountName], [false, undefined]);
  assert.equal(container.image, other.containers[0].image);
  assert.deepEqual([container.args, container.env], [['run'], other.containers[0].env]);
  const [{ name, mountPath, readOnly }] = container.volumeMounts;
  assert.deepEqual([name, `${mountPath}/bridge.yml`, readOnly], [volume.name, container.env[0].value, true]);
  assert.equal(volume.projected.defaultMode, 0o440);
  assert.ok(pod.terminationGracePeriodSeconds >= TIMING.drain / 1_000 + 5);
  assert.ok(deployment.replicas > only('PodDisruptionBudget').spec.minAvailable);
  assert.equal(deployment.strategy.rollingUpdate.maxUnavailable, 0);
});

test("systemd accepts the callout's unit, which has as few rights as the bridge's", () => {
  assertUnit(UNIT);
  const limits = (name: string) =>
    deployFile(name)
      .split('\n')
      .filter((line) => /^\w+=/.test(line) && !/^(Description|ExecStart|LoadCredential)=/.test(line));
  assert.deepEqual(limits(UNIT), limits('nats-event-bridge.service'));
});

test("the unit's configuration is valid with only a policy and the credentials that the unit loads", async () => {
  const folder = temporaryFolder('credentials-');
  const loaded = loadedCredentials(UNIT);
  assert.deepEqual([...loaded.keys()], Object.keys(KEYS));
  const page = readMarkdown(ROOT, 'docs/bridge/operating.md');
  for (const [name, from] of loaded) {
    assert.equal(path.posix.basename(from), name);
    assert.ok(
      page.text.includes(` callout keys ${path.posix.dirname(from)}\n`),
      'the page makes the keys in another folder',
    );
    writeFileSync(path.join(folder, name), KEYS[name]!);
  }
  const [, own = ''] = /^ExecStart=.* --config (\S+)\/bridge\.yml$/m.exec(deployFile(UNIT)) ?? [];
  mkdirSync(path.join(folder, 'own'));
  writeFileSync(path.join(folder, 'own/policy.json'), POLICY);
  const place = `/run/credentials/${UNIT}`;
  const [yaml = '', ...others] = yamlBlocks(page).filter((block) => block.includes(place));
  assert.deepEqual(others, []);
  passes(
    await runBridge(
      ['check', '--offline'],
      yaml.replaceAll(place, folder).replace(`${own}/policy.json`, path.join(folder, 'own/policy.json')),
    ),
  );
  const ports = yamlBlocks(page).map(
    (block) => (parse(block) as { http?: { admin?: string } } | undefined)?.http?.admin,
  );
  assert.ok(ports.includes('127.0.0.1:9091'), 'the private port is not the default one');
});
