import type { Log } from '../../shared/log.ts';

/** Results of a step, spelled as the agent parses them (its `TaskResult` enumeration). */
export type StepResult = 'Succeeded' | 'SucceededWithIssues' | 'Failed' | 'Canceled';

/** A service connection as the agent hands it to the task: URL, scheme, secret parameters and plain data. */
export interface ServiceConnection {
  readonly url: string;
  /** `None`, `Token`, `UsernamePassword` or `Certificate`. */
  readonly scheme: string;
  /** An authorization parameter (masked by the agent as one whole value); undefined when absent or empty. */
  parameter(name: string): string | undefined;
  /** A data field (never masked by the agent); undefined when absent or empty. */
  data(name: string): string | undefined;
}

/**
 * What a task needs from the pipeline agent, and nothing else. It masks secrets in what is logged, and neutralises it;
 * details are shown when `System.Debug` is true.
 */
export interface Agent extends Log {
  /** An input's text, trimmed; undefined when absent or empty. */
  input(name: string): string | undefined;
  /** A variable by its pipeline name (`Build.BuildId`), secret ones included; undefined when absent or empty. */
  variable(name: string): string | undefined;
  /** Whether the variable of this name is a secret one. */
  isSecretVariable(name: string): boolean;
  /** All secret variables of the run that aren't empty. */
  secretVariables(): readonly { readonly name: string; readonly value: string }[];
  /** The service connection an input names; undefined when the step may not use it. */
  serviceConnection(id: string): ServiceConnection | undefined;
  /** The present time, in milliseconds since the epoch. */
  now(): number;
  /** Makes the agent replace this text with `***` in every log from now on. One line of text. */
  maskSecret(secret: string): void;
  /** Sets an output variable of the step. */
  setOutput(name: string, value: string): void;
  /** Shows how far the step is: 0 to 100. */
  progress(percent: number, text: string): void;
  /** Ends the step: the only call that decides its result. `message` becomes the step's error if the result is Failed. */
  complete(result: StepResult, message: string): void;
}
