import type { Connection } from '../../../localAgent/connections.ts';
import type { ConnectionSettings } from '../../../shared/connection/settings.ts';
import { readConnection } from '../../../tasks/agent/serviceConnection.ts';
import { StepFields } from '../../../tasks/agent/stepFields.ts';
import { FakeAgent, type FakeAgentOptions } from './fakeAgent.ts';
import { JOB_TOKEN } from './tokenEndpoint.ts';

/** The id of the service connection of an {@link oidcAgent}. */
export const CONNECTION_ID = '5a0c3e4b-7c55-4f58-8a5d-9a1f0f6f1c11';

/** A job with a step whose service connection asks for OIDC. */
export interface OidcJob extends Pick<FakeAgentOptions, 'inputs' | 'variables' | 'secrets'> {
  /** Where the job asks for its ID token: `System.OidcRequestUri`. */
  readonly requestUri?: string;
  /** The bearer token that the token endpoint accepts; empty: the job has none. */
  readonly jobToken?: string;
  /** Replaces parts of the service connection. */
  readonly connection?: Partial<Connection>;
}

/** The fake agent's clock stands still, but tokens age. */
class AgingAgent extends FakeAgent {
  override now(): number {
    return Date.now();
  }
}

export function oidcAgent({ requestUri, jobToken = JOB_TOKEN, connection, ...job }: OidcJob = {}): FakeAgent {
  const ofJob = { url: 'https://dev.azure.com/contoso/', scheme: 'OAuth', parameters: { AccessToken: jobToken } };
  return new AgingAgent({
    ...job,
    inputs: { natsConnection: CONNECTION_ID, ...job.inputs },
    variables: { ...(requestUri !== undefined && { 'System.OidcRequestUri': requestUri }), ...job.variables },
    connections: {
      [CONNECTION_ID]: { url: 'tls://nats.example', scheme: 'None', data: { oidc: 'true' }, ...connection },
      ...(jobToken !== '' && { SYSTEMVSSCONNECTION: ofJob }),
    },
  });
}

/** What a step reads from its service connection; throws its problems. */
export function readSettings(agent: FakeAgent): ConnectionSettings {
  const fields = new StepFields(agent);
  const settings = readConnection(agent, fields, 'publishSubjects', []);
  fields.problems.done();
  return settings;
}
