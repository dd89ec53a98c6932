import type { Agent, ServiceConnection, StepResult } from '../../../tasks/agent/agent.ts';
import { safeText } from '../../../shared/text/safeText.ts';
import type { Connection } from '../../../localAgent/connections.ts';
import { environmentName } from '../../../localAgent/variables.ts';

/** What a step is given. */
export interface FakeAgentOptions {
  readonly inputs?: Readonly<Record<string, string>>;
  readonly variables?: Readonly<Record<string, string>>;
  readonly secrets?: Readonly<Record<string, string>>;
  /** By id, as the input of type connectedService has it. */
  readonly connections?: Readonly<Record<string, Connection>>;
  /** Milliseconds since the epoch. */
  readonly now?: number;
}

/** A step with a service connection without sign-in. */
export function connectedAgent(
  inputs: NonNullable<FakeAgentOptions['inputs']>,
  options: FakeAgentOptions = {},
): FakeAgent {
  const nats = { url: 'nats://127.0.0.1', scheme: 'None' };
  return new FakeAgent({
    ...options,
    inputs: { natsConnection: 'nats', ...inputs },
    connections: { nats, ...options.connections },
  });
}

/** An in-memory pipeline agent for tests of readers and reports. It is as strict as the real one. */
export class FakeAgent implements Agent {
  readonly masked = new Set<string>();
  readonly outputs = new Map<string, string>();
  readonly infos: string[] = [];
  readonly debugs: string[] = [];
  readonly warnings: string[] = [];
  /** Percentages. */
  readonly progressed: number[] = [];
  end: { readonly result: StepResult; readonly message: string } | undefined;
  readonly #inputs: ReadonlyMap<string, string>;
  readonly #variables: ReadonlyMap<string, { readonly value: string; readonly secret: boolean }>;
  readonly #connections: Readonly<Record<string, Connection>>;
  readonly #now: number;

  constructor({
    inputs = {},
    variables = {},
    secrets = {},
    connections = {},
    now = Date.now(),
  }: FakeAgentOptions = {}) {
    this.#inputs = keyed(inputs);
    const entries = (values: Readonly<Record<string, string>>, secret: boolean) =>
      [...keyed(values)].map(([name, value]) => [name, { value, secret }] as const);
    this.#variables = new Map([...entries(variables, false), ...entries(secrets, true)]);
    this.#connections = connections;
    this.#now = now;
  }

  input(name: string): string | undefined {
    return nonEmpty(this.#inputs.get(environmentName(name))?.trim());
  }

  variable(name: string): string | undefined {
    return nonEmpty(this.#variables.get(environmentName(name))?.value);
  }

  isSecretVariable(name: string): boolean {
    return this.#variables.get(environmentName(name))?.secret ?? false;
  }

  secretVariables(): { name: string; value: string }[] {
    return [...this.#variables].flatMap(([name, { value, secret }]) =>
      secret && nonEmpty(value) !== undefined ? [{ name, value }] : [],
    );
  }

  serviceConnection(id: string): ServiceConnection | undefined {
    const connection = this.#connections[id];
    if (connection === undefined) return undefined;
    const parameters = keyed(connection.parameters ?? {});
    const data = keyed(connection.data ?? {});
    return {
      url: connection.url,
      scheme: connection.scheme,
      parameter: (name) => nonEmpty(parameters.get(environmentName(name))),
      data: (name) => nonEmpty(data.get(environmentName(name))),
    };
  }

  now(): number {
    return this.#now;
  }

  maskSecret(secret: string): void {
    // As task-lib and the agent do.
    if (/[\r\n]/.test(secret)) throw new Error('Secrets cannot contain multiple lines.');
    if (secret !== '') this.masked.add(secret);
  }

  setOutput(name: string, value: string): void {
    this.outputs.set(name, value);
  }

  info(text: string): void {
    this.infos.push(safeText(text));
  }

  debug(text: string): void {
    this.debugs.push(safeText(text));
  }

  warning(text: string): void {
    this.warnings.push(safeText(text));
  }

  progress(percent: number): void {
    this.progressed.push(percent);
  }

  complete(result: StepResult, message: string): void {
    if (this.end !== undefined) throw new Error('The step has ended already.');
    this.end = { result, message: safeText(message) };
  }
}

/** Names in the form of environment variables. */
function keyed(values: Readonly<Record<string, string>>): Map<string, string> {
  return new Map(Object.entries(values).map(([name, value]) => [environmentName(name), value]));
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === '' ? undefined : text;
}
