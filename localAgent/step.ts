import { kindOfCommand, maySetVariable, parseLoggingCommand, unescapeCommand } from './loggingCommands.ts';
import type { LoggingCommand } from './loggingCommands.ts';
import type { SecretMasker } from './secretMasker.ts';
import type { TaskDefinition } from './taskDefinition.ts';
import type { Variables } from './variables.ts';

/** The agent's `TaskResult`, from best to worst as it merges them. */
export const RESULTS = ['Succeeded', 'SucceededWithIssues', 'Failed', 'Canceled', 'Skipped', 'Abandoned'] as const;
export type Result = (typeof RESULTS)[number];

/** Whether the default condition, `succeeded()`, holds after it. */
export function isGood(result: Result): boolean {
  return result === 'Succeeded' || result === 'SucceededWithIssues';
}

/** The worse of two results; Canceled, Skipped and Abandoned stay (the agent's `TaskResultUtil.MergeTaskResults`). */
export function mergeResults(current: Result | undefined, coming: Result): Result {
  if (!current || RESULTS.indexOf(current) > RESULTS.indexOf('Failed')) return current ?? coming;
  return RESULTS.indexOf(coming) >= RESULTS.indexOf(current) ? coming : current;
}

/** One line of the log as the user sees it, secrets masked. */
export interface LogLine {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly text: string;
}

/** What the agent did with a logging command it found. */
export interface CommandRecord extends LoggingCommand {
  /** `refused` makes the step fail; `ignored` is a warning only. */
  readonly outcome: 'executed' | 'ignored' | 'refused';
  /** Why it was not executed; empty when it was. */
  readonly why: string;
}

/** Issues of one kind the agent keeps for a step; further ones are in the log only. */
const KEPT_ISSUES = 10;

class Refusal extends Error {}

/** What a step has in common with the other steps of its job. */
export interface JobState {
  readonly masker: SecretMasker;
  readonly variables: Variables;
  /** Output variables of the job's steps by `step.variable`. */
  readonly outputs: Map<string, { readonly value: string; readonly secret: boolean }>;
  /** Folders put in front of PATH, the latest first. */
  readonly prependedPath: string[];
  readonly debug: boolean;
}

export interface StepOptions {
  /** The name other steps refer to this one by. */
  readonly name: string;
  readonly restrictions: TaskDefinition['restrictions'];
  /** Variables that are outputs even when the task does not say `isOutput`. */
  readonly outputVariables: readonly string[];
  readonly onLine: ((line: LogLine) => void) | undefined;
}

/** A running step: takes the lines its process prints, and carries out the logging commands in them. */
export class Step {
  readonly log: LogLine[] = [];
  readonly commands: CommandRecord[] = [];
  readonly errors: string[] = [];
  readonly warnings: string[] = [];
  readonly outputs = new Map<string, string>();
  readonly secretsAdded: string[] = [];
  readonly #job: JobState;
  readonly #options: StepOptions;
  /** Standard output and standard error as they came, of all attempts. */
  readonly raw = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  /** What the task reported, or how its process ended. */
  result: Result | undefined;
  /** Failed once a command could not be processed; a retry does not reset it. */
  commandResult: Result | undefined;
  /** Called when the task says it is done while its process may still run. */
  onDone: () => void = () => {};

  constructor(job: JobState, options: StepOptions) {
    this.#job = job;
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  /** A line of stdout or stderr. */
  takeLine(line: string): void {
    const command = parseLoggingCommand(line);
    if (!command) {
      if (line.includes('##vso'))
        this.warn(`'${line}' contains logging command keyword '##vso', but it's not a legal command.`);
      this.write(line);
      return;
    }
    const commandName = `##vso[${command.area}.${command.event}]`;
    const kind = kindOfCommand(command, this.#options.restrictions?.commands?.mode?.toLowerCase() === 'restricted');
    if (kind === 'unknownArea') {
      this.#ignore(command, `Can't find command extension for ${commandName}.`);
    } else if (kind === 'restricted') {
      this.#ignore(command, `${commandName} is not allowed in this step due to policy restrictions.`);
    } else {
      try {
        if (kind === 'unknownEvent') throw new Refusal(`${commandName} is not a recognized command.`);
        const ignoredWhy = this.#execute(command);
        if (ignoredWhy) this.#ignore(command, ignoredWhy);
        else this.commands.push({ ...command, outcome: 'executed', why: '' });
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        this.error(`Unable to process command '${line}' successfully.`);
        this.error(error.message);
        this.commandResult = 'Failed';
        this.commands.push({ ...command, outcome: 'refused', why: error.message });
      }
      // Unescaped, since only so is a secret with a percent sign found and masked.
      if (commandName.toLowerCase() !== '##vso[task.debug]') this.debug(`Processed: ${unescapeCommand(line)}`);
    }
  }

  write(text: string): void {
    for (const line of this.#job.masker.mask(text).split(/\r\n|\n|\r/)) {
      const entry = { at: Date.now(), text: line };
      this.log.push(entry);
      this.#options.onLine?.(entry);
    }
  }

  debug(text: string): void {
    if (this.#job.debug) this.write(`##[debug]${text}`);
  }

  error(text: string): void {
    this.write(`##[error]${text}`);
    if (this.errors.length < KEPT_ISSUES) this.errors.push(this.#job.masker.mask(text));
  }

  warn(text: string): void {
    this.write(`##[warning]${text}`);
    if (this.warnings.length < KEPT_ISSUES) this.warnings.push(this.#job.masker.mask(text));
  }

  /** Sets an output variable, by its name without the step's. */
  setOutput(name: string, value: string, secret: boolean, readOnly = true): void {
    const reference = `${this.#options.name}.${name}`;
    this.#job.variables.set(reference, value, { secret, readOnly });
    this.#job.outputs.set(reference, { value, secret });
    this.outputs.set(name, value);
  }

  #ignore(command: LoggingCommand, why: string): void {
    this.warn(why);
    this.commands.push({ ...command, outcome: 'ignored', why });
  }

  /** @returns why a policy kept the command from taking effect; undefined when it took effect */
  #execute(command: LoggingCommand): string | undefined {
    if (command.area.toLowerCase() !== 'task') return undefined; // Build, artifact and the like have no effect on a local run.
    switch (command.event.toLowerCase()) {
      case 'setvariable':
        return this.#setVariable(command);
      case 'setsecret':
        this.#addSecret(command.data);
        return undefined;
      case 'logissue':
      case 'issue':
        this.#logIssue(command);
        return undefined;
      case 'complete':
        this.#complete(command);
        return undefined;
      case 'debug':
        this.debug(command.data);
        return undefined;
      case 'prependpath':
        return this.#prependPath(command);
      case 'settaskvariable':
        if (!command.properties.get('variable'))
          throw new Refusal('Required field "variable" is missing in ##vso[task.settaskvariable] command.');
        return undefined; // Only a task's own pre-job and post-job steps see it, and ours have none.
      default:
        return undefined; // Progress, details, attachments and endpoints are seen in the record of commands only.
    }
  }

  #setVariable({ properties, data }: LoggingCommand): string | undefined {
    const name = properties.get('variable');
    if (!name) throw new Refusal("Required field 'variable' is missing in ##vso[task.setvariable] command.");
    const { variables } = this.#job;
    if (variables.get(name)?.readOnly) throw new Refusal(`Overwriting readonly variable '${name}' is not permitted.`);
    const secret = isTrue(properties.get('issecret'));
    if (secret) this.#addSecret(data);
    if (!maySetVariable(name, this.#options.restrictions?.settableVariables?.allowed)) {
      return `Setting variable '${name}' has been disabled by the task or build definition.`;
    }
    const isOutput = isTrue(properties.get('isoutput'));
    const readOnly = isOutput || isTrue(properties.get('isreadonly'));
    const declared = this.#options.outputVariables.some((output) => output.toLowerCase() === name.toLowerCase());
    if (!isOutput && !declared) {
      variables.set(name, data, { secret, readOnly });
      return undefined;
    }
    this.setOutput(name, data, secret, readOnly);
    return undefined;
  }

  #addSecret(value: string): void {
    if (!value) return;
    if (/[\r\n]/.test(value)) throw new Refusal('Secrets cannot contain multiple lines.');
    this.#job.masker.add(value);
    this.secretsAdded.push(value);
  }

  #logIssue({ properties, data }: LoggingCommand): void {
    const type = properties.get('type');
    if (type === undefined) this.warn("Can't create TaskIssue from logging event.");
    else if (type.toLowerCase() === 'error') this.error(data);
    else if (type.toLowerCase() === 'warning') this.warn(data);
    else throw new Refusal(`issue type ${type} is not an expected issue type.`);
  }

  #complete({ properties }: LoggingCommand): void {
    // The agent parses the name with its case: "succeeded" and "Cancelled" are not results.
    const result = RESULTS.find((known) => known === properties.get('result'));
    if (!result) throw new Refusal('Command does not have a valid result value.');
    this.result = mergeResults(this.result, result);
    if (isTrue(properties.get('done'))) this.onDone();
  }

  #prependPath({ data }: LoggingCommand): string | undefined {
    if (!maySetVariable('PATH', this.#options.restrictions?.settableVariables?.allowed)) {
      return "Setting variable 'PATH' has been disabled by the task or build definition.";
    }
    if (!data) throw new Refusal("'prependpath' has to be specified.");
    const { prependedPath } = this.#job;
    prependedPath.splice(0, prependedPath.length, data, ...prependedPath.filter((folder) => folder !== data));
    return undefined;
  }
}

function isTrue(value: string | undefined): boolean {
  return value?.trim().toLowerCase() === 'true';
}
