import type { TokenSource } from '../../../shared/connection/settings.ts';
import type { Agent } from '../agent.ts';
import type { HttpRoute } from '../http.ts';
import type { IdTokenRequest } from '../oidc.ts';
import { RenewedToken } from '../renewedToken.ts';
import type { EntraApplication } from './application.ts';
import type { TokenExchange } from './tokenExchange.ts';

/** The access tokens of an application of Microsoft Entra, each given for an ID token of the run. */
export function accessTokens(
  application: EntraApplication,
  route: HttpRoute,
  request: IdTokenRequest,
  agent: Agent,
): TokenSource {
  let exchange: TokenExchange | undefined;
  return new RenewedToken(agent, 'access token', async (signal, onFault) => {
    // Loaded by the steps that use it.
    exchange ??= new (await import('./tokenExchange.ts')).TokenExchange(application, route, request, agent);
    return exchange.obtain(signal, onFault);
  });
}
