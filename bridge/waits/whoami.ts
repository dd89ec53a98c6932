import type { Route } from '../http/route.ts';
import type { WaitsSettings } from '../settings.ts';
import type { Answering } from './answering.ts';
import { bearersOnly } from './taskRoute.ts';

/** `GET /v1/whoami`: Azure DevOps uses it to verify a service connection. */
export function whoamiRoute(
  settings: WaitsSettings,
  version: string,
  answering: Pick<Answering, 'refusedSignIn'>,
): Route {
  const path = '/v1/whoami';
  return {
    method: 'GET',
    path,
    authenticate: bearersOnly(path, settings, answering),
    handle: () => Promise.resolve({ status: 200, body: { name: 'nats-event-bridge', version } }),
  };
}
