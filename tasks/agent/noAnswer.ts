import { reasonOf, type Problem } from '../../shared/errors.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { ProxyRefusal } from './http.ts';

/** Why {@link sendText} got no answer from a server, made harmless, and what to do about it. */
export function noAnswer(error: unknown, { host }: URL, limitMs: number, timedOut: boolean): Required<Problem> {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (error instanceof ProxyRefusal) {
    const isFault = error.status === 429 || error.status >= 500;
    return {
      code: isFault ? 'Unreachable' : 'Denied',
      problem: safeText(error.message),
      remedy:
        error.status === 407
          ? "Give the agent the proxy's user name and password (--proxyusername, --proxypassword)."
          : `Check that the proxy lets this agent reach ${host}, or name it in the agent's bypass list.`,
    };
  }
  if (/CERT|SELF_SIGNED|UNABLE_TO_|^ERR_(TLS|SSL|OSSL)_|HOSTNAME_MISMATCH/.test(code)) {
    return {
      code: 'TlsFailure',
      problem: `the certificate of ${host} is not trusted (${code})`,
      remedy: 'Give the agent the authority that signed it (--sslcacert, Agent.CAInfo).',
    };
  }
  return {
    code: 'Unreachable',
    problem: timedOut
      ? `${host} did not answer within ${limitMs / 1_000} s`
      : `${host} cannot be reached (${safeText(code || reasonOf(error), 200)})`,
    remedy: 'Check that this agent can reach it, through its proxy if it has one.',
  };
}
