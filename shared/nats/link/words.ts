import type { ConnectionWords } from '../../connection/settings.ts';

/** The words of a pipeline's step. */
export const STEP_WORDS: ConnectionWords = {
  program: 'this step',
  machine: 'this agent',
  settings: 'the service connection',
  servers: 'the service connection',
  tlsFirst: '"TLS first" in the connection',
  authority: '"CA certificate" of the connection',
  clientCertificate: 'Use the authentication scheme "Client certificate".',
  again: ', and run the step again',
};
