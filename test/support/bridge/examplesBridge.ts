import { randomBytes } from 'node:crypto';
import { cpSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import { runPipelineFile, temporaryFolder } from '../../../localAgent/index.ts';
import type { PipelineFileOptions, PipelineRun } from '../../../localAgent/index.ts';
import { StreamServer } from '../../../localAgent/streamServer.ts';
import { ROOT } from '../../../scripts/build/manifest.ts';
import type { Decision } from '../../../bridge/audit/decisions.ts';
import { AzureDevOps } from '../azureDevOps/azureDevOps.ts';
import type { RunResult, StartedRun } from '../azureDevOps/builds.ts';
import { hookBodies } from '../azureDevOps/hookBodies.ts';
import { HookSender, type HookReport, type HookSubscription } from '../azureDevOps/hookSender.ts';
import type { Pipeline } from '../azureDevOps/pipelines.ts';
import type { ParameterDeclaration } from '../azureDevOps/templateParameters.ts';
import { freePort } from '../freePort.ts';
import { createNKey } from '../nats/natsAccounts.ts';
import { BridgeProcess, runBridge, runBridgeOn, type BridgeOptions, type CommandRun } from './bridgeProcess.ts';
import { passwordOf, SECRET } from './hooksOverHttp.ts';

const EXAMPLES = path.join(ROOT, 'examples');
/** The pipelines of `examples/bridge.yml` by their names, with their files. */
const PIPELINES = {
  'build-web': 'start-from-event-publisher.yml',
  'deploy-web': 'start-from-event.yml',
  'announce-build': 'announce-build.yml',
  'release-web': 'approval-signal-agentless.yml',
  'shop-build': undefined,
} as const;

export type ExamplePipeline = keyof typeof PIPELINES;

/** The parts of a decision that tests check. */
export type RouteDecision = Pick<Decision, 'decision' | 'reason' | 'event' | 'followed' | 'schemaDigest'>;

/** The parts of a configuration that tests replace. */
interface Configuration {
  readonly contracts: Readonly<Record<string, string>>;
  readonly runs: readonly { readonly name: ExamplePipeline; pipeline: { id: number }; trustedKeys?: string[] }[];
}

/**
 * The surroundings of `examples/bridge.yml`: a NATS server with the stream CI, an Azure DevOps organization with its
 * pipelines, and the packed bridge. Only addresses, sign-ins, ids and the trusted key differ, and the bridge accepts
 * waits of the runs here.
 */
export class ExamplesBridge implements AsyncDisposable {
  readonly #pipelines: Readonly<Record<ExamplePipeline, Pipeline>>;
  readonly #key = createNKey();
  readonly #token: string;
  /** The token of the service connection to the bridge. */
  readonly #waitsToken = randomBytes(32).toString('hex');
  readonly #sealingKey = randomBytes(32).toString('base64');
  readonly #sender = new HookSender();
  #bridge: BridgeProcess | undefined;

  private constructor(
    readonly nats: StreamServer,
    readonly azure: AzureDevOps,
    /** Where the bridge asks about a run's agentless jobs. */
    private readonly organization: string,
  ) {
    this.#token = azure.signIn.addPat({ name: 'Event Bridge' });
    this.#pipelines = Object.fromEntries(
      Object.entries(PIPELINES).map(([name, file]) => [
        name,
        azure.pipelines.declare({ name, parameters: file === undefined ? [] : parametersOf(file) }),
      ]),
    ) as Record<ExamplePipeline, Pipeline>;
  }

  /** Starts everything; resolves once the bridge accepts hooks and events. */
  static async start(): Promise<ExamplesBridge> {
    // As much as the bridge asks for.
    const nats = await StreamServer.start('CI', 'ci.>', { maxPayload: 3 * 1024 * 1024 });
    const organization = `http://127.0.0.1:${await freePort()}/contoso/`;
    const scene = new ExamplesBridge(nats, await AzureDevOps.start(), organization);
    try {
      await (await nats.client.jetstreamManager()).streams.add({ name: 'RELEASE', subjects: ['release.>'] });
      const yaml = scene.#configuration();
      const { status, stderr } = await runBridge(['setup', '--apply'], yaml, scene.#options);
      if (status !== 0) throw new Error(`setup --apply: ${stderr}`);
      scene.#bridge = await BridgeProcess.start(yaml, scene.#options);
      await scene.bridge.ready(200);
      return scene;
    } catch (error) {
      await scene[Symbol.asyncDispose]();
      throw error;
    }
  }

  get bridge(): BridgeProcess {
    if (this.#bridge === undefined) throw new Error('The bridge is not up.');
    return this.#bridge;
  }

  /** Runs a command of the bridge to its end. */
  command(...args: readonly string[]): Promise<CommandRun> {
    return runBridgeOn(this.bridge.file, args, this.#options);
  }

  /** Queues a pipeline, as a person does in the browser. */
  queue(name: ExamplePipeline): StartedRun {
    const { azure } = this;
    const identity = azure.signIn.identify(`Basic ${Buffer.from(`:${azure.pat}`).toString('base64')}`);
    if (typeof identity === 'string') throw new Error(`The token of the stand-in is ${identity}.`);
    const pipeline = this.#pipelines[name];
    const ref = pipeline.defaultBranch;
    return azure.builds.start({ pipeline, parameters: {}, ref, identity, receivedAt: Date.now() });
  }

  /** The run that the bridge has requested for an event, once there is one. */
  async started(eventId: string): Promise<StartedRun> {
    return this.bridge.until(`run for the event ${eventId}`, () =>
      this.azure.runs.find(({ parameters }) => parameters['natsEventId'] === eventId),
    );
  }

  /** Executes a run on the local agent with the packed tasks, and reports its result to Azure DevOps. */
  async carryOut(run: StartedRun, options: Partial<PipelineFileOptions> = {}): Promise<PipelineRun> {
    const file = PIPELINES[run.pipeline.name as ExamplePipeline];
    if (file === undefined) throw new Error(`The pipeline ${run.pipeline.name} has no file.`);
    const { azure } = this;
    // A copy, since the pipelines write files.
    const sources = temporaryFolder('examples-');
    cpSync(EXAMPLES, sources, { recursive: true });
    const result = await runPipelineFile(path.join(sources, file), {
      sources,
      parameters: run.parameters,
      connections: {
        'nats-ci': { url: this.nats.url, scheme: 'None' },
        'nats-bridge': {
          ...{ type: 'NatsBridge', url: this.bridge.publicUrl, scheme: 'Token', organization: this.organization },
          parameters: { apitoken: this.#waitsToken },
        },
      },
      secrets: { imageSigningSeed: this.#key.seed },
      variables: {
        'Build.BuildId': String(run.id),
        'Build.BuildNumber': run.name,
        'Build.DefinitionName': run.pipeline.name,
        'Build.RequestedFor': run.identity.name,
        'Build.SourceVersion': run.commit,
        'System.CollectionUri': azure.url,
        'System.DefinitionId': String(run.pipeline.id),
        'System.TeamProject': run.project.name,
      },
      ...options,
    });
    azure.builds.move(run, 'completed', result.result === 'Succeeded' ? 'succeeded' : 'failed');
    return result;
  }

  /** Posts the end of a run to the bridge, as a service hook subscription of its project does. */
  async postEnd(run: StartedRun, result: RunResult | undefined = run.result): Promise<HookReport> {
    const { organization } = this.azure;
    const { project, pipeline } = run;
    const seed = run.id;
    const body = hookBodies({ seed, organization, project, pipeline }).buildCompleted({
      ...{ buildId: run.id, branch: run.ref, commit: run.commit, templateParameters: run.parameters },
      ...(result !== undefined && { result }),
    });
    return this.#subscription(project.id).send(body);
  }

  /** A route's decision on an event of a stream, once there is one. */
  async decisionOn(route: string, stream: string, sequence: number): Promise<RouteDecision> {
    const { streams } = await this.nats.client.jetstreamManager();
    return this.bridge.until(`decision of ${route} on ${stream}:${sequence}`, async () => {
      const subject = `bridge.decisions.runs.${route}`;
      const last = await streams.getMessage('BRIDGE_AUDIT', { last_by_subj: subject }).catch(() => undefined);
      const decision = last?.json<RouteDecision>();
      const place = decision?.event?.place;
      return place?.stream === stream && place.sequence === sequence ? decision : undefined;
    });
  }

  #subscription(projectId: string): HookSubscription {
    return this.#sender.subscribe({
      url: `${this.bridge.publicUrl}/hooks`,
      basicAuthUsername: `hooks.${projectId}`,
      basicAuthPassword: passwordOf(projectId),
      ...{ messagesToSend: 'none', detailedMessagesToSend: 'none' },
    });
  }

  #configuration(): string {
    const example = exampleConfiguration();
    for (const route of example.runs) {
      route.pipeline.id = this.#pipelines[route.name].id;
      if (route.trustedKeys !== undefined) route.trustedKeys = [this.#key.publicKey];
    }
    return stringify({
      ...example,
      nats: { servers: [this.nats.url] },
      azureDevOps: { organization: this.azure.url, identity: { kind: 'pat', patFile: 'pat' } },
      http: { listen: '127.0.0.1:0', admin: '127.0.0.1:0' },
      waits: {
        ...{ organizations: [this.organization], tokenFiles: ['waits-token'], sealingKeyFiles: ['sealing-key'] },
        rules: [{ projects: ['*'], pipelines: ['release-web'], subjects: ['release.shop.>'] }],
      },
    });
  }

  get #options(): BridgeOptions {
    const contracts = Object.values(exampleConfiguration().contracts).map((file) => [file, exampleText(file)]);
    const secrets = { 'hook-secret': SECRET, pat: this.#token, 'waits-token': this.#waitsToken };
    return { files: { ...Object.fromEntries(contracts), ...secrets, 'sealing-key': this.#sealingKey } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sender.stop();
    await this.#bridge?.[Symbol.asyncDispose]();
    await this.azure.stop();
    await this.nats[Symbol.asyncDispose]();
  }
}

function exampleText(file: string): string {
  return readFileSync(path.join(EXAMPLES, file), 'utf8');
}

function exampleConfiguration(): Configuration {
  return parse(exampleText('bridge.yml')) as Configuration;
}

/** The parameters that a pipeline's file declares. */
function parametersOf(file: string): readonly ParameterDeclaration[] {
  return (parse(exampleText(file)) as { parameters?: readonly ParameterDeclaration[] }).parameters ?? [];
}
