import * as tl from 'azure-pipelines-task-lib/task.js';
import type { Agent, ServiceConnection, StepResult } from './agent.ts';
import { safeText } from './safeText.ts';

/**
 * The real agent, by way of azure-pipelines-task-lib. Whatever is logged goes through the neutraliser here, so that no
 * caller can forget it; commands go through task-lib, which escapes their values.
 */
export function azureAgent(): Agent {
  return {
    input: (name) => nonEmpty(tl.getInput(name)),
    variable: (name) => nonEmpty(tl.getVariable(name)),
    isSecretVariable: (name) => tl.getVariables().some((variable) => variable.secret && sameVariable(variable.name, name)),
    serviceConnection,
    maskSecret: (secret) => {
      tl.setSecret(secret);
    },
    setOutput: (name, value) => {
      tl.setVariable(name, value, false, true);
    },
    info: (text) => {
      process.stdout.write(`${safeText(text)}\n`);
    },
    debug: (text) => {
      tl.debug(safeText(text));
    },
    warning: (text) => {
      tl.warning(safeText(text));
    },
    complete: (result: StepResult, message) => {
      const text = safeText(message);
      if (result === 'Failed') tl.error(text);
      // Written as a command since task-lib spells its `Cancelled` in a way the agent cannot parse.
      tl.command('task.complete', { result }, text);
    },
  };
}

function serviceConnection(id: string): ServiceConnection | undefined {
  const url = tl.getEndpointUrl(id, true);
  const scheme = tl.getEndpointAuthorizationScheme(id, true);
  if (url === undefined || scheme === undefined) return undefined;
  return {
    url,
    scheme,
    parameter: (name) => nonEmpty(tl.getEndpointAuthorizationParameter(id, name, true)),
    data: (name) => nonEmpty(tl.getEndpointDataParameter(id, name, true)),
  };
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === '' ? undefined : text;
}

/** Variable names are case-insensitive, and an environment writes `.` and space as `_`. */
function sameVariable(one: string, other: string): boolean {
  const key = (name: string) => name.replace(/[. ]/g, '_').toUpperCase();
  return key(one) === key(other);
}
