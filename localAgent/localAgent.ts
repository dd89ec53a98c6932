import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../shared/errors.ts';
import { AGENT_WAITS, inheritedEnvironment } from './childProcess.ts';
import type { ProcessOptions, Waits } from './childProcess.ts';
import { parseCondition } from './conditions.ts';
import { Connections, jobConnectionEnvironment } from './connections.ts';
import type { Connection } from './connections.ts';
import { authenticationHeaders, packedManifest } from './connectionTypes.ts';
import { LineReader } from './loggingCommands.ts';
import { THIS_MACHINE } from './machine.ts';
import type { Machine } from './machine.ts';
import { stepNameProblem } from './misspelt.ts';
import { misspeltOutputs, unsetInCondition, type WhyUnset } from './misspeltOutputs.ts';
import type { PlanService } from './planService.ts';
import { defuse, predefinedVariables } from './predefinedVariables.ts';
import type { JobFolders } from './predefinedVariables.ts';
import { SecretMasker } from './secretMasker.ts';
import { runServerTask } from './serverTask.ts';
import { isGood, mergeResults, Step } from './step.ts';
import type { CommandRecord, JobState, LogLine, Result } from './step.ts';
import { chooseHandler, compareVersions, describe, findTask, inputsOf } from './taskDefinition.ts';
import type { Handler, InstalledTask, TaskDefinition } from './taskDefinition.ts';
import { environmentName, expandMacros, Variables } from './variables.ts';
import { extensionFolder } from './vsix.ts';

export interface LocalAgentOptions {
  /** Folder of an unpacked extension, or a .vsix file; the one file in `dist/` when absent. */
  readonly extension?: string;
  /** The Node binary for each handler the agent has; the running Node for both when absent. See `nodeBinary`. */
  readonly nodes?: Readonly<Partial<Record<Handler, string>>>;
  readonly agentVersion?: string;
  /** Where tasks run; this machine when absent. Scripts run here. */
  readonly machine?: Machine | undefined;
  /** `System.DefaultWorkingDirectory`; an empty folder of the job's own when absent. */
  readonly sources?: string | undefined;
  /** Variables of the pipeline. They replace predefined ones of the same name; `undefined` removes a predefined one. */
  readonly variables?: Readonly<Record<string, string | undefined>>;
  readonly secrets?: Readonly<Record<string, string>>;
  /** By name, as the `connectedService` inputs name them. */
  readonly connections?: Readonly<Record<string, Connection>>;
  /** `System.Debug`. */
  readonly debug?: boolean;
  /** Cancels the job: the running step too, unless its condition still holds. */
  readonly signal?: AbortSignal;
  readonly waits?: Partial<Waits>;
  /** The task steps of this name or display name wait for a debugger on this port of 127.0.0.1, 0 being a free one. */
  readonly inspect?: { readonly step: string; readonly port: number };
  /** Says why a variable in a step has no value, from what the file tells. */
  readonly whyUnset?: WhyUnset;
  /** Whether a script of the file may set a variable. */
  readonly maySet?: (variable: string) => boolean;
}

interface StepRequest {
  /** How later steps refer to this one: `$(name.variable)`. */
  readonly name?: string;
  readonly displayName?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Without one the step runs whatever came before it, until the job is cancelled. Steps of a pipeline file have `succeeded()`. */
  readonly condition?: string;
  readonly retryCountOnTaskFailure?: number;
  readonly timeoutInMinutes?: number;
  readonly continueOnError?: boolean;
  /** Called once if the step isn't skipped. */
  readonly onStart?: () => void;
  /** Called for each line the moment it is logged. */
  readonly onLine?: (line: LogLine) => void;
}

export interface TaskRequest extends StepRequest {
  /** `name@major` */
  readonly task: string;
  /** By name or alias. */
  readonly inputs?: Readonly<Record<string, string>>;
}

export interface ScriptRequest extends StepRequest {
  /** Run by bash, in `workingDirectory` or the sources folder. */
  readonly script: string;
  readonly workingDirectory?: string;
}

export interface StepRun {
  readonly name: string;
  readonly displayName: string;
  readonly result: Result;
  /** Of the last attempt, 128 + its number when a signal ended it; undefined when nothing was started. */
  readonly exitCode: number | undefined;
  readonly log: readonly LogLine[];
  /** The lines of {@link log} as one text. */
  readonly logText: string;
  /** As printed, before masking, of all attempts. */
  readonly rawStdout: string;
  readonly rawStderr: string;
  readonly commands: readonly CommandRecord[];
  /** Error issues, at most ten. */
  readonly errors: readonly string[];
  /** Warning issues, at most ten. */
  readonly warnings: readonly string[];
  /** Output variables by their name without the step's. */
  readonly outputs: ReadonlyMap<string, string>;
  /** The {@link outputs} as a log shows them: secrets masked. */
  readonly shownOutputs: ReadonlyMap<string, string>;
  readonly secretsAdded: readonly string[];
  /** The path at which this process reaches the file that an output names. */
  readonly fileOf: (output: string) => string;
  /** How often the process was started. */
  readonly attempts: number;
  readonly durationMs: number;
}

interface Launch extends Pick<ProcessOptions, 'file' | 'args' | 'cwd' | 'env'> {
  readonly exitProblem: (code: number) => string;
}

type ProcessEnd = Pick<StepRun, 'attempts' | 'exitCode'>;

const NOT_STARTED: ProcessEnd = { attempts: 0, exitCode: undefined };

const NO_HANDLER =
  'A supported task execution handler was not found. This error usually occurs when the task is not compatible with your current operating system.';

/** Most retries of a step the agent allows. */
const MAX_RETRIES = 10;

/**
 * One job: runs steps one after the other and hands them their environment, carries out their logging commands, masks their logs
 * and keeps the variables they set, as the Azure Pipelines agent does. For a job without an agent, it does what Azure DevOps does
 * itself. Its folders go when the process ends.
 */
export class LocalAgent {
  /** As this process reaches them. */
  readonly folders: JobFolders;
  /** Output variables of the steps so far by `step.variable`. */
  readonly outputs: JobState['outputs'] = new Map();
  readonly #options: LocalAgentOptions;
  readonly #machine: Machine;
  readonly #waits: Waits;
  readonly #agentVersion: string;
  readonly #overrides: ReadonlyMap<string, string | undefined>;
  readonly #connections: Connections;
  readonly #masker = new SecretMasker();
  readonly #variables = new Variables(this.#masker);
  readonly #job: JobState;
  readonly #usedNames = new Set<string>();
  #status: Result = 'Succeeded';
  #stepRunning = false;

  constructor(options: LocalAgentOptions = {}) {
    this.#options = options;
    this.#machine = options.machine ?? THIS_MACHINE;
    this.#waits = { ...AGENT_WAITS, ...options.waits };
    this.#agentVersion = options.agentVersion ?? '4.270.0';
    this.#overrides = new Map(
      Object.entries(options.variables ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
    );
    const work = path.join(this.#machine.newHome(), '_work');
    this.folders = {
      work,
      sources: path.resolve(options.sources ?? path.join(work, '1', 's')),
      temp: path.join(work, '_temp'),
      tools: path.join(work, '_tool'),
    };
    for (const folder of Object.values<string>({ ...this.folders })) mkdirSync(folder, { recursive: true });
    for (const [name, value] of Object.entries(options.variables ?? {})) {
      if (value !== undefined) this.#variables.set(name, value);
    }
    for (const [name, value] of Object.entries(options.secrets ?? {})) this.#setSecret(name, value);
    this.#predefine(predefinedVariables(this.#machineFolders(), this.#agentVersion, this.#machine));
    if (options.debug) this.#predefine({ 'System.Debug': 'true' });
    if (!this.#overrides.has('system.accesstoken') && !this.#variables.get('System.AccessToken')) {
      this.#setSecret('System.AccessToken', `local-job-token-${randomUUID()}`);
    }
    this.#job = {
      masker: this.#masker,
      variables: this.#variables,
      outputs: this.outputs,
      prependedPath: [],
      debug: this.#variables.get('System.Debug')?.value.toLowerCase() === 'true',
    };
    this.#connections = new Connections(options.connections ?? {}, this.#masker);
  }

  /** The result of the job so far. */
  get jobStatus(): Result {
    return this.#options.signal?.aborted ? 'Canceled' : this.#status;
  }

  /** A variable's value as the next step would see it. */
  variable(name: string): string | undefined {
    this.#variables.expandAll();
    return this.#variables.get(name)?.value;
  }

  /**
   * Runs a task of the extension as a step.
   * @throws Error when the service would refuse the step: no such task, input or service connection, or too old an agent
   */
  async runTask(request: TaskRequest): Promise<StepRun> {
    const task = findTask(extensionFolder(this.#options.extension), request.task);
    const { definition } = task;
    const minimum = definition.minimumAgentVersion;
    if (minimum && compareVersions(this.#agentVersion, minimum) < 0) {
      throw new Error(`No agent satisfies the demand of ${request.task}: Agent.Version -gtVersion ${minimum}.`);
    }
    const step = this.#taskStep(definition, request);
    return this.#run(step, request, definition.name, async (cancel) => {
      const launch = this.#launchTask(step, task, request);
      if (launch) return this.#attempts(step, launch, request, cancel);
      step.error(NO_HANDLER);
      step.result = 'Failed';
      return NOT_STARTED;
    });
  }

  /**
   * Runs an agentless task of the extension as a step: the service behind the connection does the work.
   * @param services the plans that receive its callbacks, by the organization of the connection
   * @throws Error when the service would refuse the step: no such task, input or service connection
   */
  async runServerTask(request: TaskRequest, services: ReadonlyMap<string, PlanService>): Promise<StepRun> {
    const extension = extensionFolder(this.#options.extension);
    const task = findTask(extension, request.task);
    const handler = task.definition.execution?.HttpRequest;
    if (!handler) throw new Error(`The task ${request.task} needs an agent.`);
    const step = this.#taskStep(task.definition, request);
    return this.#run(step, request, task.definition.name, async (cancel) => {
      const { inputs, connection } = this.#serverInputs(task, request.inputs ?? {});
      const service = services.get(connection.organization ?? '');
      if (!service)
        throw new Error(`The service connection ${connection.name} has no organization that this run plays.`);
      const value = (name: string): string => this.#variables.get(name)?.value ?? '';
      const record = service.addTask({
        ...{ job: value('System.JobId'), instance: value('System.TaskInstanceId') },
        token: value('System.AccessToken'),
      });
      const ofService = new Map([
        ['system.collectionuri', service.organization],
        ['system.timelineid', service.timeline],
      ]);
      const variable = (name: string) => ofService.get(name.toLowerCase()) ?? this.#variables.get(name)?.value;
      const scope = {
        inputs,
        variable,
        endpoint: { url: connection.url, ...connection.parameters, ...connection.data },
      };
      const authentication = authenticationHeaders(packedManifest(extension), connection, scope);
      await runServerTask(step, { handler, scope, authentication, task: record, cancel });
      return NOT_STARTED;
    });
  }

  /** Runs a script step with bash. Its environment has the public variables; secrets only if `env` maps them. */
  async runScript(request: ScriptRequest): Promise<StepRun> {
    const step = new Step(this.#job, {
      name: this.#stepName(request.name, 'CmdLine'),
      restrictions: undefined,
      outputVariables: [],
      onLine: request.onLine,
    });
    return this.#run(step, request, 'CmdLine', (cancel) =>
      this.#attempts(step, this.#launchScript(request), request, cancel),
    );
  }

  #taskStep({ name, restrictions, outputVariables = [] }: TaskDefinition, request: TaskRequest): Step {
    return new Step(this.#job, {
      name: this.#stepName(request.name, name),
      restrictions,
      outputVariables: outputVariables.map((output) => output.name),
      onLine: request.onLine,
    });
  }

  /** @param work does what the step is for, unless the step is skipped; aborted when the step is cancelled or its time is over */
  async #run(
    step: Step,
    request: TaskRequest | ScriptRequest,
    kind: string,
    work: (cancel: AbortSignal) => Promise<ProcessEnd>,
  ): Promise<StepRun> {
    if (this.#stepRunning) throw new Error('An agent runs one step at a time. Use a second LocalAgent.');
    this.#stepRunning = true;
    const started = Date.now();
    const { name } = step;
    const displayName = request.displayName ?? kind;
    const { signal } = this.#options;
    let ended = NOT_STARTED;

    const condition = request.condition === undefined ? undefined : parseCondition(request.condition);
    const unset = new Set<string>();
    const valueAt = ([, ...path]: readonly string[]): string | undefined => {
      const value = this.#variables.get(path.join('.'))?.value;
      if (value === undefined) unset.add(path.join('.'));
      return value;
    };
    const conditionFails = (): boolean =>
      condition ? !condition({ status: this.jobStatus, valueAt }) : this.jobStatus === 'Canceled';
    const cancel = new AbortController();
    const onJobCancel = (): void => {
      if (!conditionFails()) return;
      step.error('The Operation will be canceled. The next steps may not contain expected logs.');
      cancel.abort(signal?.reason);
    };
    let timeout: NodeJS.Timeout | undefined;

    try {
      for (const warning of this.#variables.expandAll()) step.warn(warning);
      this.#predefine({
        'Agent.JobStatus': this.jobStatus,
        'System.TaskDisplayName': displayName,
        'System.TaskInstanceId': randomUUID(),
        'System.TaskInstanceName': name,
        'Task.DisplayName': displayName,
      });
      const isSkipped = conditionFails();
      for (const warning of this.#unsetInCondition(unset, isSkipped)) step.warn(warning);
      if (isSkipped) {
        step.result = 'Skipped';
      } else {
        signal?.addEventListener('abort', onJobCancel);
        if (request.timeoutInMinutes) timeout = setTimeout(() => cancel.abort(), request.timeoutInMinutes * 60_000);
        step.write(`##[section]Starting: ${displayName}`);
        request.onStart?.();
        for (const warning of this.#misspeltOutputs(request)) step.warn(warning);
        ended = await work(cancel.signal);
        if (cancel.signal.aborted) {
          step.error(signal?.aborted ? 'The operation was canceled.' : 'The task has timed out.');
          step.result = signal?.aborted ? 'Canceled' : 'Failed';
        }
        if (step.commandResult) step.result = mergeResults(step.result, step.commandResult);
        if (step.result === 'Failed' && request.continueOnError) step.result = 'SucceededWithIssues';
        step.result ??= 'Succeeded';
        step.write(`##[section]Finishing: ${displayName}`);
      }
    } finally {
      clearTimeout(timeout);
      signal?.removeEventListener('abort', onJobCancel);
      this.#stepRunning = false;
    }
    const { result } = step;
    if (result === 'Failed' || result === 'SucceededWithIssues') this.#status = mergeResults(this.#status, result);

    return {
      name,
      displayName,
      result,
      ...ended,
      log: step.log,
      logText: step.log.map((line) => line.text).join('\n'),
      rawStdout: Buffer.concat(step.raw.stdout).toString(),
      rawStderr: Buffer.concat(step.raw.stderr).toString(),
      commands: step.commands,
      errors: step.errors,
      warnings: step.warnings,
      outputs: step.outputs,
      shownOutputs: new Map([...step.outputs].map(([key, value]) => [key, this.#masker.mask(value)])),
      secretsAdded: step.secretsAdded,
      fileOf: (output) => this.#machine.localPath(step.outputs.get(output) ?? ''),
      durationMs: Date.now() - started,
    };
  }

  /** Runs the step's process until it has not failed, is out of retries, or is cancelled. */
  async #attempts(
    step: Step,
    launch: Launch,
    { retryCountOnTaskFailure = 0 }: StepRequest,
    cancel: AbortSignal,
  ): Promise<ProcessEnd> {
    const retries = Math.min(retryCountOnTaskFailure, MAX_RETRIES);
    let exitCode: number | undefined;
    const isCancelled = (): boolean => cancel.aborted;
    for (let attempts = 1; ; attempts++) {
      const lastAttempt = attempts > retries;
      let problem: string | undefined;
      try {
        exitCode = await this.#attempt(step, launch, cancel);
        if (exitCode !== 0) problem = launch.exitProblem(exitCode);
      } catch (error) {
        problem = reasonOf(error); // The process could not be started.
      }
      if (isCancelled()) return { attempts, exitCode };
      if (problem !== undefined) {
        if (lastAttempt) {
          step.error(problem);
          step.result = 'Failed';
          return { attempts, exitCode };
        }
        step.warn(`RetryHelper encountered exception, will retry (attempt #: ${attempts} ${problem})`);
      } else {
        if (step.result !== 'Failed' || lastAttempt) return { attempts, exitCode };
        step.result = undefined;
        step.warn(`RetryHelper encountered task failure, will retry (attempt #: ${attempts} out of ${retries})`);
      }
      await delay(this.#waits.retry(attempts - 1), undefined, { signal: cancel }).catch(() => undefined);
      if (isCancelled()) return { attempts, exitCode };
    }
  }

  /** @returns the exit code; 0 also when the task said it was done and its process had to be killed */
  async #attempt(step: Step, { file, args, cwd, env }: Launch, cancel: AbortSignal): Promise<number> {
    const forced = new AbortController();
    let doneTimer: NodeJS.Timeout | undefined;
    step.onDone = () => {
      doneTimer ??= setTimeout(() => {
        forced.abort();
      }, this.#waits.done);
    };
    const readerInto = (raw: Buffer[]): { take: (bytes: Buffer) => void; end: () => void } => {
      const lines = new LineReader((line) => {
        // Once the step is over by force, what its process still prints is dropped.
        if (!forced.signal.aborted) step.takeLine(line);
      });
      return {
        take: (bytes) => {
          raw.push(bytes);
          lines.write(bytes);
        },
        end: () => {
          lines.end();
        },
      };
    };
    const stdout = readerInto(step.raw.stdout);
    const stderr = readerInto(step.raw.stderr);
    try {
      const exitCode = await this.#machine.run({
        file,
        args,
        cwd,
        env,
        onStdout: stdout.take,
        onStderr: stderr.take,
        cancel,
        kill: forced.signal,
        waits: this.#waits,
      });
      stdout.end();
      stderr.end();
      return forced.signal.aborted ? 0 : exitCode;
    } finally {
      clearTimeout(doneTimer);
    }
  }

  /** @returns undefined when the agent has no handler for the task */
  #launchTask(step: Step, task: InstalledTask, request: TaskRequest): Launch | undefined {
    const { definition, folder } = task;
    const nodes = this.#options.nodes ?? { Node24: process.execPath, Node20_1: process.execPath };
    const handler = chooseHandler(definition, this.#agentVersion, nodes);
    describe(definition).forEach((line) => step.write(line));
    if (!handler) return undefined;

    const inputs = this.#inputs(task, request.inputs ?? {});
    const env: Record<string, string> = { ...inheritedEnvironment(), ...this.#stepEnvironment(request) };
    for (const [name, value] of inputs) env[`INPUT_${environmentName(name)}`] = value;
    Object.assign(env, this.#connectionEnvironment(task, inputs), this.#variables.environment(true));
    this.#prependPath(env);
    const target = this.#machine.pathOf(path.join(folder, handler.target));
    const { inspect } = this.#options;
    // The way the agent starts Node for debugging tasks.
    const debugged =
      inspect && [request.name, request.displayName].includes(inspect.step)
        ? [`--inspect-brk=127.0.0.1:${inspect.port}`, '--enable-source-maps']
        : [];
    return {
      file: handler.node,
      args: [...debugged, target],
      cwd: this.#machine.localPath(handler.workingDirectory ?? this.#workingDirectory()),
      env,
      exitProblem: (code) =>
        `Exit code ${code} returned from process: file name '${handler.node}', arguments '"${target}"'.`,
    };
  }

  #launchScript(request: ScriptRequest): Launch {
    const file = path.join(this.folders.temp, `${randomUUID()}.sh`);
    writeFileSync(file, this.#expand(request.script));
    const env: Record<string, string> = {
      ...inheritedEnvironment(),
      ...this.#stepEnvironment(request),
      ...this.#variables.environment(false),
    };
    this.#prependPath(env);
    return {
      file: 'bash',
      args: ['--noprofile', '--norc', file],
      cwd: path.resolve(this.#workingDirectory(), this.#expand(request.workingDirectory ?? '')),
      env,
      exitProblem: (code) => `Bash exited with code '${code}'.`,
    };
  }

  /** Defaults of task.json under the values of the step, trimmed, macros expanded, connections as ids, file paths absolute. */
  #inputs({ definition }: InstalledTask, given: Readonly<Record<string, string>>): Map<string, string> {
    const values = inputsOf(definition, given);
    for (const { name, type } of definition.inputs ?? []) {
      let value = this.#expand((values.get(name) ?? '').trim());
      if (type.startsWith('connectedService:')) value = this.#connections.ids(value).join(',');
      // The agent roots even an empty path, so an optional file input that was left out arrives as the sources folder.
      if (type === 'filePath') value = this.#machine.path.resolve(this.#machineFolders().sources, value);
      values.set(name, value);
    }
    return values;
  }

  /** The inputs that are given or have a default, and the connection that the task is done through. */
  #serverInputs(task: InstalledTask, given: Readonly<Record<string, string>>) {
    const { definition } = task;
    const values = this.#inputs(task, given);
    // An input without a value leaves its placeholder in the templates.
    const inputs = new Map([...values].filter(([, value]) => value !== ''));
    const endpoint = definition.inputs?.find(({ type }) => type.startsWith('connectedService:'))?.name ?? '';
    return { inputs, connection: this.#connections.get(values.get(endpoint) ?? '') };
  }

  #connectionEnvironment({ definition }: InstalledTask, inputs: ReadonlyMap<string, string>): Record<string, string> {
    const named = (definition.inputs ?? []).filter(({ type }) => type.startsWith('connectedService:'));
    const token = this.#variables.get('System.AccessToken')?.value;
    const url = this.#variables.get('System.CollectionUri')?.value;
    return {
      ...this.#connections.environment(named.flatMap(({ name }) => inputs.get(name)?.split(',') ?? [])),
      ...(token && url ? jobConnectionEnvironment(url, token) : {}),
    };
  }

  #stepEnvironment({ env = {} }: StepRequest): Record<string, string> {
    return Object.fromEntries(Object.entries(env).map(([name, value]) => [name.trim(), this.#expand(value.trim())]));
  }

  #prependPath(env: Record<string, string>): void {
    const { prependedPath } = this.#job;
    if (prependedPath.length > 0) env.PATH = [...prependedPath, env.PATH ?? ''].join(path.delimiter);
  }

  /** Macros name variables of the job first, then variables of the agent's own environment. */
  #expand(text: string): string {
    const own = inheritedEnvironment();
    return expandMacros(this.#variables.expand(text), (name) => own[name]);
  }

  /** Warnings of outputs that a step's texts, or the variables in them, name in vain. */
  #misspeltOutputs(request: TaskRequest | ScriptRequest): string[] {
    const valueOf = (variable: string): string | undefined => this.#variables.get(variable)?.value;
    const texts = textsOf(request);
    const used = texts.flatMap((text) => [...text.matchAll(/\$\(([^()]+)\)/g)].map(([, name = '']) => name));
    const values = [...new Set(used)].flatMap((name) => valueOf(name) ?? []);
    const isSet = (variable: string): boolean => valueOf(variable) !== undefined;
    return misspeltOutputs([...texts, ...values], this.outputs.keys(), isSet, this.#options.whyUnset);
  }

  #unsetInCondition(unset: ReadonlySet<string>, isSkipped: boolean): string[] {
    const { whyUnset: whyInFile, maySet } = this.#options;
    return unsetInCondition({
      ...{ unset, known: this.#variables.names(), outputs: this.outputs.keys(), whyInFile, maySet },
      isDecisive: isSkipped && isGood(this.jobStatus),
    });
  }

  #workingDirectory(): string {
    const folder = this.#variables.get('System.DefaultWorkingDirectory')?.value;
    return folder || this.#machineFolders().work;
  }

  /** The folders as steps see them. */
  #machineFolders(): JobFolders {
    const { work, sources, temp, tools } = this.folders;
    const pathOf = (folder: string): string => this.#machine.pathOf(folder);
    return { work: pathOf(work), sources: pathOf(sources), temp: pathOf(temp), tools: pathOf(tools) };
  }

  #setSecret(name: string, value: string): void {
    this.#masker.addVariable(value);
    this.#variables.set(name, value, { secret: true });
  }

  /** Sets variables that steps cannot overwrite, with the values the options have for them, if any. */
  #predefine(variables: Readonly<Record<string, string>>): void {
    for (const [name, usual] of Object.entries(variables)) {
      const key = name.toLowerCase();
      const value = this.#overrides.has(key) ? this.#overrides.get(key) : usual;
      if (value !== undefined) this.#variables.set(name, defuse(name, value), { readOnly: true });
    }
  }

  /** The given name, or as the service names steps: after the task, then with a number. */
  #stepName(given: string | undefined, task: string): string {
    const problem = given === undefined ? undefined : stepNameProblem(given);
    if (problem !== undefined) throw new Error(problem);
    let name = given ?? task;
    for (let count = 1; given === undefined && this.#usedNames.has(name.toLowerCase()); count++)
      name = `${task}${count}`;
    this.#usedNames.add(name.toLowerCase());
    return name;
  }
}

/** What the agent expands in a step. */
function textsOf(request: TaskRequest | ScriptRequest): string[] {
  const { env = {} } = request;
  const own =
    'task' in request ? Object.values(request.inputs ?? {}) : [request.script, request.workingDirectory ?? ''];
  return [...own, ...Object.values(env)];
}
