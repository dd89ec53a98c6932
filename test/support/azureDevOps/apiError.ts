import type { OutgoingHttpHeaders } from 'node:http';
import type { Answer } from './standInServer.ts';

export interface ApiErrorOptions {
  /** Where the exception lives, without its name. */
  readonly space?: string;
  readonly headers?: OutgoingHttpHeaders;
  /** A byte order mark begins the body. */
  readonly byteOrderMark?: boolean;
}

/** An error as every REST area of Azure DevOps writes it; `typeKey` is what callers may rely on, the message isn't. */
export function apiError(
  status: number,
  typeKey: string,
  message: string,
  { space = 'Microsoft.TeamFoundation.Framework.Server', headers = {}, byteOrderMark = false }: ApiErrorOptions = {},
): Answer {
  const body = {
    $id: '1',
    innerException: null,
    message,
    typeName: `${space}.${typeKey}, ${space}`,
    typeKey,
    errorCode: 0,
    eventId: 3000,
  };
  return {
    status,
    headers: { 'Content-Type': 'application/json; charset=utf-8', ...headers },
    body: `${byteOrderMark ? '\uFEFF' : ''}${JSON.stringify(body)}`,
  };
}
