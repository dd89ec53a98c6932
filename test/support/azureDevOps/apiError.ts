import type { OutgoingHttpHeaders } from 'node:http';
import type { Answer } from './standInServer.ts';

export interface ApiErrorOptions {
  /** Where the exception lives, without its name. */
  readonly space?: string;
  /** The library it comes from; default: named like the space. */
  readonly assembly?: string;
  /** What an exception has besides a message. */
  readonly customProperties?: Readonly<Record<string, unknown>>;
  readonly headers?: OutgoingHttpHeaders;
  /** A byte order mark begins the body. */
  readonly byteOrderMark?: boolean;
}

/** An error as every REST area of Azure DevOps writes it; `typeKey` is what callers may rely on, the message isn't. */
export function apiError(status: number, typeKey: string, message: string, options: ApiErrorOptions = {}): Answer {
  const { space = 'Microsoft.TeamFoundation.Framework.Server', assembly = space, headers = {} } = options;
  const body = {
    $id: '1',
    innerException: null,
    message,
    typeName: `${space}.${typeKey}, ${assembly}`,
    typeKey,
    errorCode: 0,
    eventId: 3000,
    customProperties: options.customProperties,
  };
  return {
    status,
    headers: { 'Content-Type': 'application/json; charset=utf-8', ...headers },
    body: `${options.byteOrderMark === true ? '\uFEFF' : ''}${JSON.stringify(body)}`,
  };
}
