import { Writable } from 'node:stream';
import { format } from 'node:util';
import './quietTaskLib.ts';
import * as tl from 'azure-pipelines-task-lib/task.js';
import type { Agent, ServiceConnection } from './agent.ts';
import { safeText } from '../../shared/text/safeText.ts';

/**
 * The real agent, by way of azure-pipelines-task-lib. Whatever is logged goes through the neutraliser here, which masks
 * secrets as well, so that no caller can forget it; commands go through task-lib, which escapes their values.
 */
export function azureAgent(): Agent {
  const isDebug = /^true$/i.test(quietly(() => tl.getVariable('System.Debug')) ?? '');
  const debug = (text: string) => {
    if (isDebug) tl.command('task.debug', {}, safeText(text));
  };
  divertLibraryOutput(debug);
  const inputs = new Map<string, string | undefined>();
  return {
    input: (name) => {
      // task-lib reopens its vault, with a file and a hash, on every call.
      if (!inputs.has(name)) inputs.set(name, nonEmpty(quietly(() => tl.getInput(name))));
      return inputs.get(name);
    },
    variable: (name) => nonEmpty(quietly(() => tl.getVariable(name))),
    isSecretVariable: (name) =>
      quietly(() => tl.getVariables()).some((variable) => variable.secret && keyOf(variable.name) === keyOf(name)),
    secretVariables: () =>
      quietly(() => tl.getVariables()).flatMap(({ name, value, secret }) =>
        secret && nonEmpty(value) !== undefined ? [{ name, value }] : [],
      ),
    now: () => Date.now(),
    serviceConnection: (id) => quietly(() => serviceConnection(id)),
    maskSecret: (secret) => tl.setSecret(secret),
    setOutput: (name, value) => tl.command('task.setvariable', { variable: name, isOutput: 'true' }, value),
    info: (text) => {
      process.stdout.write(`${safeText(text)}\n`);
    },
    debug,
    warning: (text) => tl.command('task.logissue', { type: 'warning' }, safeText(text)),
    progress: (percent, text) => tl.command('task.setprogress', { value: String(percent) }, safeText(text)),
    complete: (result, message) => {
      const text = safeText(message);
      if (result === 'Failed') tl.command('task.logissue', { type: 'error' }, text);
      // Written as a command because task-lib spells `Cancelled` in a way the agent can't parse.
      tl.command('task.complete', { result }, text);
    },
  };
}

/**
 * Libraries write to the console, and Node its warnings to stderr, where the agent looks for commands as well; the NATS
 * library prints the server's bytes when it can't read them.
 */
function divertLibraryOutput(debug: (text: string) => void): void {
  for (const method of ['debug', 'error', 'info', 'log', 'trace', 'warn'] as const) {
    console[method] = (...values: unknown[]) => debug(format(...values));
  }
  process.removeAllListeners('warning');
  process.on('warning', ({ message }) => debug(message));
}

const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });

/** task-lib writes whatever it reads to the debug log, secrets of the service connection included. */
function quietly<Value>(read: () => Value): Value {
  tl.setStdStream(nowhere);
  try {
    return read();
  } finally {
    tl.setStdStream(process.stdout);
  }
}

/** Its readers are called later, one by one. */
function serviceConnection(id: string): ServiceConnection | undefined {
  const url = tl.getEndpointUrl(id, true);
  const scheme = tl.getEndpointAuthorizationScheme(id, true);
  if (url === undefined || scheme === undefined) return undefined;
  return {
    url,
    scheme,
    parameter: (name) => nonEmpty(quietly(() => tl.getEndpointAuthorizationParameter(id, name, true))),
    data: (name) => nonEmpty(quietly(() => tl.getEndpointDataParameter(id, name, true))),
  };
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === '' ? undefined : text;
}

/** Variable names are case-insensitive, and an environment writes `.` and space as `_`. */
function keyOf(variableName: string): string {
  return variableName.replace(/[. ]/g, '_').toUpperCase();
}
