import { createHmac } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { AzureDevOps } from '../azureDevOps/azureDevOps.ts';
import type { Project } from '../azureDevOps/projects.ts';
import type { RecordedRequest } from '../azureDevOps/standInServer.ts';
import type { StoredSubscription } from '../azureDevOps/subscriptions.ts';
import { startNatsServer } from '../nats/natsServer.ts';
import { Admin } from '../nats/testStream.ts';
import { runBridgeOn, type CommandRun } from './bridgeProcess.ts';
import { runHere, setUpOn } from './commandsHere.ts';
import { configurationFile } from './configurationFile.ts';

export const [OLD_SECRET, NEW_SECRET] = ['the-first-secret-of-hooks', 'the-second-secret-of-hooks'];

export interface SceneOptions {
  /** `hooks.events`, in YAML. */
  readonly events: string;
  readonly projects?: readonly Project[];
  /** More lines of `hooks`. */
  readonly hooks?: string;
  /** Default: a URL where nothing listens. */
  readonly publicUrl?: string;
}

/** A row of a command's table, by heading. */
export type Row = Readonly<Record<string, string>>;

/** An organization, a NATS server and a configuration that accepts hooks. */
export class HookCommandScene implements AsyncDisposable {
  /** The output of all commands. */
  printed = '';

  private constructor(
    readonly azure: AzureDevOps,
    readonly nats: Awaited<ReturnType<typeof startNatsServer>>,
    readonly file: string,
    readonly url: string,
  ) {}

  static async open({
    events,
    projects,
    hooks = '',
    publicUrl = 'https://bridge.example.com/',
  }: SceneOptions): Promise<HookCommandScene> {
    const [nats, azure] = await Promise.all([
      startNatsServer(),
      AzureDevOps.start(projects === undefined ? {} : { projects }),
    ]);
    const yaml = `nats: { servers: ["${nats.url}"] }
azureDevOps: { organization: "${azure.url}", identity: { kind: pat, patFile: pat } }
http: { listen: "127.0.0.1:0", admin: "127.0.0.1:0", publicUrl: "${publicUrl}" }
timing: { firstPause: 20ms }
hooks:
  passwordFiles: [secret, other]
  events: ${events}
${hooks}`;
    const files = { pat: azure.pat, secret: OLD_SECRET, other: OLD_SECRET };
    const file = configurationFile(yaml, files);
    const scene = new HookCommandScene(azure, nats, file, new URL('hooks', publicUrl).href);
    await setUpOn(file);
    return scene;
  }

  /** Writes the configuration, or a file next to it. */
  write(name: string, text: string): void {
    writeFileSync(path.join(path.dirname(this.file), name), text);
  }

  /** The configuration. */
  get yaml(): string {
    return readFileSync(this.file, 'utf8');
  }

  /** Writes the configuration with one part replaced. */
  replace(part: string, by: string): void {
    if (!this.yaml.includes(part)) throw new Error(`The configuration has no ${part}`);
    this.write('bridge.yml', this.yaml.replace(part, by));
  }

  async command(...args: string[]): Promise<CommandRun & { readonly rows: readonly Row[] }> {
    return this.#told(await runBridgeOn(this.file, ['hooks', ...args]));
  }

  /** The same in this process. */
  async here(...args: string[]): ReturnType<HookCommandScene['command']> {
    return this.#told(await runHere(['hooks', ...args], this.file));
  }

  #told(run: CommandRun) {
    this.printed += run.stdout + run.stderr;
    return { ...run, rows: rowsIn(run.stdout) };
  }

  /** The subscriptions that post to this bridge. */
  get subscriptions(): readonly StoredSubscription[] {
    return [...this.azure.subscriptions.all.values()].filter(
      ({ consumerId, consumerInputs }) => consumerId === 'webHooks' && consumerInputs['url'] === this.url,
    );
  }

  /** The requests to Azure DevOps that change something, after the given number of requests. */
  changes(since = 0): readonly RecordedRequest[] {
    return this.azure.requests.slice(since).filter(({ method }) => method !== 'GET');
  }

  /** The orders in the audit stream. */
  async orders(): Promise<readonly Readonly<Record<string, unknown>>[]> {
    await using admin = await Admin.connect([this.nats.url]);
    const orders = [];
    for (const { subject, data } of await admin.stored('BRIDGE_AUDIT')) {
      const text = Buffer.from(data).toString();
      this.printed += text;
      if (subject.startsWith('bridge.decisions.orders.hooks-'))
        orders.push(JSON.parse(text) as Record<string, unknown>);
    }
    return orders;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.azure.stop();
    await this.nats[Symbol.asyncDispose]();
  }
}

/** The password of a project's subscriptions. */
export function passwordOf(secret: string, projectId: string): string {
  return createHmac('sha256', secret).update(projectId).digest('base64url');
}

function rowsIn(stdout: string): readonly Row[] {
  const [headings = [], ...rows] = stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t'));
  return rows.map((cells) => Object.fromEntries(headings.map((heading, index) => [heading, cells[index] ?? ''])));
}
