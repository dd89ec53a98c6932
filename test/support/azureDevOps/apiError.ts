import type { OutgoingHttpHeaders } from 'node:http';
import type { Answer } from './standInServer.ts';

export interface ApiErrorOptions {
  /** The exception's namespace. */
  readonly space?: string;
  /** The library it comes from; default: the namespace. */
  readonly assembly?: string;
  /** What an exception has besides a message. */
  readonly customProperties?: Readonly<Record<string, unknown>>;
  readonly headers?: OutgoingHttpHeaders;
  /** The body starts with a byte order mark. */
  readonly byteOrderMark?: boolean;
}

/** An error in the form of all Azure DevOps REST areas. Callers may rely on `typeKey`, but not on the message. */
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
