import { randomUUID } from 'node:crypto';
import type { Entra, EntraApp } from './entra.ts';
import { json, StandInServer, type Answer, type RecordedRequest } from './standInServer.ts';

/** Where a machine asks for its tokens: the metadata service of virtual machines and pods, or App Service's own. */
export type ManagedIdentityForm = 'imds' | 'appService';

const IMDS_PATH = '/metadata/identity/oauth2/token';
const APP_SERVICE_PATH = '/msi/token';
const VERSIONS = { imds: '2018-02-01', appService: '2019-08-01' };

/** The local endpoint that gives a program tokens without a secret. Plain HTTP, as in Azure. */
export class ManagedIdentity extends StandInServer {
  /** The identity of the machine itself. */
  readonly system: EntraApp;
  readonly #entra: Entra;
  /** App Service page: a value that proves the request comes from the program. */
  readonly #header = randomUUID();
  readonly #cache = new Map<string, string>();

  static async start(entra: Entra): Promise<ManagedIdentity> {
    const identity = new ManagedIdentity(entra);
    await identity.listen();
    return identity;
  }

  private constructor(entra: Entra) {
    super();
    this.#entra = entra;
    this.system = entra.register('machine');
  }

  /** The variables by which a program finds it. */
  environment(form: ManagedIdentityForm): Record<string, string> {
    return form === 'imds'
      ? { AZURE_POD_IDENTITY_AUTHORITY_HOST: this.origin }
      : { IDENTITY_ENDPOINT: `${this.origin}${APP_SERVICE_PATH}`, IDENTITY_HEADER: this.#header };
  }

  protected override async answer(request: RecordedRequest): Promise<Answer> {
    const { method, path, headers, query } = request;
    // Microsoft's library appends a slash to the metadata service's URL.
    const form = [IMDS_PATH, `${IMDS_PATH}/`].includes(path)
      ? 'imds'
      : path === APP_SERVICE_PATH
        ? 'appService'
        : undefined;
    if (form === undefined || method !== 'GET') return { status: 404 };
    if (form === 'imds') {
      // IMDS page: both rules guard against forged requests.
      if (headers['metadata'] !== 'true') return problem('Required metadata header not specified');
      if (headers['x-forwarded-for'] !== undefined) return problem('X-Forwarded-For is not allowed');
    } else if (headers['x-identity-header'] !== this.#header) {
      return json(401, { statusCode: 401, message: 'Unauthorized' });
    }
    if (query.get('api-version') !== VERSIONS[form]) return problem('Invalid or unsupported api-version');
    const resource = query.get('resource');
    if (resource === null) return problem("Required query variable 'resource' is missing");
    const clientId = query.get('client_id');
    const app = clientId === null ? this.system : this.#entra.app(clientId);
    if (app === undefined) return problem('Identity not found');
    const token = await this.#token(app, resource);
    const expiry = Math.floor(this.#entra.expiryOf(token) / 1_000);
    return json(200, {
      ...{ access_token: token, client_id: app.clientId, resource, token_type: 'Bearer' },
      // Numbers as strings, in both forms.
      expires_on: String(expiry),
      ...(form === 'imds' && { expires_in: String(Math.round(expiry - Date.now() / 1_000)) }),
    });
  }

  /** Managed identities page: the machine caches tokens, so another request doesn't return a new one. */
  async #token(app: EntraApp, resource: string): Promise<string> {
    const key = `${app.clientId} ${resource}`;
    const cached = this.#cache.get(key);
    if (cached !== undefined && this.#entra.appOf(cached, resource) !== undefined) return cached;
    const token = await this.#entra.issue(app, resource);
    this.#cache.set(key, token);
    return token;
  }
}

function problem(description: string): Answer {
  return json(400, { error: 'invalid_request', error_description: description });
}
