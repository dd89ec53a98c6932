import { randomUUID } from 'node:crypto';
import type { SecretMasker } from './secretMasker.ts';
import { environmentName } from './variables.ts';

/** A service connection of the project. */
export interface Connection {
  /** Default: `NatsServer`. */
  readonly type?: 'NatsServer' | 'NatsBridge';
  /** A GUID; a random one when absent. */
  readonly id?: string;
  readonly url: string;
  readonly scheme: string;
  /** Authorization parameters, masked as the agent masks them. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** Never masked. */
  readonly data?: Readonly<Record<string, string>>;
  /** For a bridge: the URL at which it finds a run's plan, on a loopback address and with a closing slash. */
  readonly organization?: string;
}

/** The service connections of a job, by name. */
export class Connections {
  readonly #all: readonly (Connection & { readonly id: string; readonly name: string })[];

  constructor(connections: Readonly<Record<string, Connection>>, masker: SecretMasker) {
    this.#all = Object.entries(connections).map(([name, connection]) => ({ id: randomUUID(), ...connection, name }));
    for (const { parameters = {} } of this.#all) {
      for (const [name, value] of Object.entries(parameters)) masker.addParameter(name, value);
    }
  }

  /**
   * The ids of connections given by name or id, as the service puts them into a step's inputs.
   * @param names one, or several with commas between
   * @throws Error for a missing one, since the service refuses such a pipeline
   */
  ids(names: string): string[] {
    const wanted = names.split(',').map((name) => name.trim().toLowerCase());
    return wanted.filter(Boolean).map((key) => {
      const found = this.#all.find(({ id, name }) => id.toLowerCase() === key || name.toLowerCase() === key);
      if (!found) throw new Error(`The step references service connection ${key} which could not be found.`);
      return found.id;
    });
  }

  /** The connection with an id. Throws an Error when there is none. */
  get(id: string): Connection & { readonly name: string } {
    const found = this.#all.find((connection) => connection.id === id);
    if (!found) throw new Error('The step names no service connection.');
    return found;
  }

  /** The environment that shows a task these connections and no others. */
  environment(ids: readonly string[]): Record<string, string> {
    const env: Record<string, string> = {};
    for (const connection of this.#all.filter(({ id }) => ids.includes(id))) {
      const { id, data = {} } = connection;
      Object.assign(env, authorizationEnvironment(id, connection));
      env[`ENDPOINT_DATA_${id}`] = JSON.stringify(data);
      for (const [name, value] of Object.entries(data)) env[`ENDPOINT_DATA_${id}_${environmentName(name)}`] = value;
    }
    return env;
  }
}

/** The environment of the connection every task has: the job's own, to the service, by the job's token. */
export function jobConnectionEnvironment(url: string, token: string): Record<string, string> {
  return authorizationEnvironment('SYSTEMVSSCONNECTION', { url, scheme: 'OAuth', parameters: { AccessToken: token } });
}

function authorizationEnvironment(key: string, { url, scheme, parameters = {} }: Connection): Record<string, string> {
  const env: Record<string, string> = {
    [`ENDPOINT_URL_${key}`]: url,
    [`ENDPOINT_AUTH_${key}`]: JSON.stringify({ parameters, scheme }),
    [`ENDPOINT_AUTH_SCHEME_${key}`]: scheme,
  };
  for (const [name, value] of Object.entries(parameters))
    env[`ENDPOINT_AUTH_PARAMETER_${key}_${environmentName(name)}`] = value;
  return env;
}
