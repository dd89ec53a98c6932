import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { TIMING } from '../../../bridge/timing.ts';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { BRIDGE_FILE, ROOT, readJson } from '../../../scripts/build/manifest.ts';
import { readMarkdown, yamlBlocks } from '../../support/documents/documents.ts';
import {
  assertUnit,
  deployFile,
  loadedCredentials,
  readManifests,
  type Json,
} from '../../support/bridge/deployFiles.ts';
import { BridgeProcess, runBridge, type CommandRun } from '../../support/bridge/bridgeProcess.ts';
import { createNKey } from '../../support/nats/natsAccounts.ts';

const { version } = readJson('package.json') as { version: string };
const manifestsText = deployFile('kubernetes.yaml');
const { all: manifests, only: manifest } = readManifests('kubernetes.yaml');
const { spec: pod } = manifest('Deployment').spec.template;
const [container] = pod.containers;
const configuration = manifest('ConfigMap').data['bridge.yml'] ?? '';
const { http, nats, hooks } = parse(configuration) as Readonly<Record<string, Json>>;

const SECRETS: Readonly<Record<string, string>> = {
  'nats.creds': createNKey().seed,
  'hook-secret': 'a secret of the hooks',
  'client-secret': 'a secret of the application',
};
/** The variables that Kubernetes' workload identity sets in each pod. */
const AZURE = {
  AZURE_TENANT_ID: 'tenant',
  AZURE_CLIENT_ID: 'client',
  AZURE_FEDERATED_TOKEN_FILE: path.join(ROOT, 'package.json'),
};

function passes({ status, stdout, stderr }: CommandRun): void {
  assert.deepEqual([status, stdout], [0, ''], stderr);
}

test('the configuration in kubernetes.yaml is valid with only the mounted secrets', async () => {
  const [volume] = pod.volumes;
  const [fromMap, { secret }] = volume.projected.sources;
  assert.equal(fromMap.configMap.name, manifest('ConfigMap').metadata.name);
  const mounted = Object.fromEntries(secret.items.map(({ path: file }: { path: string }) => [file, SECRETS[file]]));
  passes(await runBridge(['check', '--offline'], configuration, { files: mounted, env: AZURE }));

  const [name, ...others] = Object.keys(mounted);
  const lacking = Object.fromEntries(others.map((file) => [file, SECRETS[file] ?? '']));
  const { status, stdout } = await runBridge(['check', '--offline'], configuration, { files: lacking, env: AZURE });
  assert.equal(status, 0);
  assert.match(stdout, new RegExp(`^warning: .*${name}.* isn't here`), `check did not notice that ${name} is missing`);
});

test('kubernetes.yaml mounts each secret that it says to create next to bridge.yml, and uses each', () => {
  const [{ name, mountPath, readOnly }, ...more] = container.volumeMounts;
  assert.deepEqual([more, readOnly, pod.volumes.length], [[], true, 1]);
  assert.equal(pod.volumes[0].name, name);
  const [, { secret }] = pod.volumes[0].projected.sources;
  const mounted = secret.items.map(({ key, path: file }: { key: string; path: string }) => {
    assert.equal(file, key);
    return key;
  });
  const created = /create secret generic (\S+) (.*)/.exec(manifestsText) ?? [];
  assert.equal(created[1], secret.name);
  assert.deepEqual(
    [...created[2]!.matchAll(/--from-file=(\S+)/g)].map(([, key]) => key),
    mounted,
  );
  assert.deepEqual([nats.credentialsFile, ...hooks.passwordFiles], mounted);
  const env = Object.fromEntries(container.env.map((one: { name: string; value: string }) => [one.name, one.value]));
  assert.deepEqual(env, { BRIDGE_CONFIG: `${mountPath}/bridge.yml` });
  assert.equal(pod.volumes[0].projected.defaultMode, 0o440, 'only the group of fsGroup may read the secrets');
  assert.equal(pod.securityContext.fsGroup, pod.securityContext.runAsGroup);
});

test("the ports and paths in kubernetes.yaml are the program's", async () => {
  const ports = Object.fromEntries(
    container.ports.map(({ name, containerPort }: { name: string; containerPort: number }) => [name, containerPort]),
  );
  assert.deepEqual(
    [http.listen, http.admin],
    [`0.0.0.0:${ports.public}`, `0.0.0.0:${ports.admin}`],
    'the addresses differ from those the program listens on',
  );
  const { ports: service, selector } = manifest('Service').spec;
  assert.deepEqual(
    service.map(({ targetPort }: { targetPort: string }) => targetPort),
    ['public'],
  );
  assert.deepEqual(selector, manifest('Deployment').spec.selector.matchLabels);
  const { ingress, egress, podSelector } = manifest('NetworkPolicy').spec;
  assert.deepEqual(podSelector.matchLabels, selector);
  assert.deepEqual(manifest('PodDisruptionBudget').spec.selector.matchLabels, selector);
  const allowed = ingress.flatMap((rule: Json) => rule.ports.map(({ port }: { port: number }) => port));
  assert.deepEqual(allowed, [ports.public, ports.admin]);
  const natsPort = Number(new URL(nats.servers[0]).port);
  assert.deepEqual(
    egress.flatMap((rule: Json) => rule.ports.map(({ port }: { port: number }) => port)),
    [53, 53, natsPort, 443],
  );
  const [{ http: routing }] = manifest('Ingress').spec.rules;
  assert.equal(new URL(http.publicUrl).host, manifest('Ingress').spec.rules[0].host);

  const probes = [container.livenessProbe.httpGet, container.readinessProbe.httpGet];
  await using bridge = await BridgeProcess.start(
    `nats: { servers: [nats://127.0.0.1:1] }
azureDevOps: { organization: "http://127.0.0.1:1/contoso", identity: { kind: pat, patEnv: PAT } }
http: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }
`,
    { env: { PAT: 'x' }, node: '24' },
  );
  for (const { path: place, port } of [...probes, { path: '/metrics', port: 'admin' }]) {
    assert.equal(port, 'admin', place);
    assert.notEqual((await bridge.admin(place)).status, 404, place);
  }
  assert.equal((await bridge.admin('/health')).status, 404, 'the private server answers on a path that does not exist');
  assert.deepEqual(
    routing.paths.map((one: { path: string }) => one.path),
    ['/hooks'],
  );
});

test('a pod in kubernetes.yaml has more time to stop than the bridge takes', () => {
  const needed = Number(container.lifecycle.preStop.sleep.seconds) + TIMING.drain / 1_000;
  assert.ok(pod.terminationGracePeriodSeconds >= needed + 5, `${needed}`);
});

test('kubernetes.yaml meets the "restricted" standard, and keeps a pod while a node is drained', () => {
  const { replicas, strategy } = manifest('Deployment').spec;
  const { minAvailable } = manifest('PodDisruptionBudget').spec;
  assert.ok(replicas > minAvailable && minAvailable > 0);
  assert.equal(strategy.rollingUpdate.maxUnavailable, 0);
  assert.equal(pod.securityContext.runAsNonRoot, true);
  assert.deepEqual(pod.securityContext.seccompProfile, { type: 'RuntimeDefault' });
  assert.deepEqual(container.securityContext, {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  });
  const { metadata } = manifest('Deployment').spec.template;
  assert.equal(metadata.labels['azure.workload.identity/use'], 'true');
  assert.equal(pod.serviceAccountName, manifest('ServiceAccount').metadata.name);
  const namespace = manifest('Namespace').metadata.name;
  for (const { kind, metadata: its } of manifests)
    if (kind !== 'Namespace') assert.equal(its.namespace, namespace, kind);
});

test('the image runs the bundle as an unprivileged user, with the configuration that kubernetes.yaml mounts', () => {
  const dockerfile = deployFile('Dockerfile');
  const stages = dockerfile.split(/^(?=FROM )/m).slice(1);
  assert.deepEqual(
    stages.map((stage) => /^FROM (\S+)/.exec(stage)?.[1]),
    ['node:24-trixie-slim', 'scratch', 'gcr.io/distroless/nodejs24-debian13:nonroot'],
  );
  const [, bundle = '', image = ''] = stages;
  assert.match(bundle, /^COPY --from=build \/project\/dist\/bridge \/$/m);
  assert.match(image, /^COPY --from=bundle \/ \/app\/$/m);
  assert.match(image, new RegExp(`^ENTRYPOINT \\["/nodejs/bin/node", "/app/${BRIDGE_FILE}"\\]$`, 'm'));
  assert.match(image, /^CMD \["run"\]$/m);
  assert.deepEqual(container.args, ['run']);
  const { runAsUser, runAsGroup } = pod.securityContext;
  assert.match(image, new RegExp(`^USER ${runAsUser}:${runAsGroup}$`, 'm'));
  assert.match(image, new RegExp(`^ENV BRIDGE_CONFIG=${container.env[0].value}$`, 'm'));
  assert.match(image, new RegExp(`^EXPOSE ${http.listen.split(':')[1]} ${http.admin.split(':')[1]}$`, 'm'));
  assert.match(stages[0]!, /^RUN npm ci --ignore-scripts /m);
  for (const [where, text] of [
    ['Dockerfile', dockerfile],
    ['kubernetes.yaml', manifestsText],
    ['kubernetes-callout.yaml', deployFile('kubernetes-callout.yaml')],
    ['operating.md', readMarkdown(ROOT, 'docs/bridge/operating.md').text],
  ] as const) {
    const versions = [...text.matchAll(/\bnats-event-bridge[:-](\d+\.\d+\.\d+)/g)].map(([, found]) => found);
    assert.deepEqual([...new Set(versions)], [version], `${where} has the version of package.json`);
  }
});

test('systemd accepts the unit, which has few rights', () => {
  assertUnit('nats-event-bridge.service');
});

test("the unit's configuration is valid with only the credentials that the unit loads", async () => {
  const loaded = loadedCredentials('nats-event-bridge.service');
  const folder = temporaryFolder('credentials-');
  for (const [name, from] of loaded) {
    assert.equal(path.posix.basename(from), name);
    writeFileSync(path.join(folder, name), SECRETS[name] ?? assert.fail(name));
  }
  const place = '/run/credentials/nats-event-bridge.service';
  const page = readMarkdown(ROOT, 'docs/bridge/operating.md');
  const [yaml = '', ...others] = yamlBlocks(page).filter((block) => block.includes(place));
  assert.deepEqual(others, []);
  for (const name of loaded.keys()) assert.ok(yaml.includes(`${place}/${name}`), name);
  passes(await runBridge(['check', '--offline'], yaml.replaceAll(place, folder)));
});
