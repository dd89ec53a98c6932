import { parseArgs } from 'node:util';
import { reasonOf } from '../shared/errors.ts';
import { overlap, subjectProblem } from '../shared/subject.ts';
import { probablyMeant } from '../shared/text/nearest.ts';
import { quoted, safeText } from '../shared/text/safeText.ts';
import type { CalloutCommand } from './commands/callout.ts';
import type { DeadLettersCommand } from './commands/deadLetters.ts';
import type { HooksCommand } from './commands/hooks.ts';
import type { RoutesCommand } from './commands/routes.ts';
import type { StreamOrder } from './jetStream/needs.ts';

export const HELP = `Event Bridge for NATS: turns service hooks into events, and starts pipelines and ends waits on events.

Usage: nats-event-bridge COMMAND [options] --config FILE

Commands:
  run                   Serve until SIGTERM or SIGINT
  check [--offline]     Find out what is wrong, and how to fix it; --offline looks at files only, and
                        a secret that isn't here is a warning
  setup [--apply]       Print the streams, buckets and permissions that this configuration needs;
                        --apply creates what is missing and never changes what is there
    --create-stream NAME=SUBJECT[,SUBJECT]
                        A stream of your own to create as well, as for a route or wait; may be repeated
  hooks plan [--json]   Print what apply would do to the service hook subscriptions of hooks.events
  hooks apply [--rotate] [--reason TEXT] [--json]
                        Create, repair and remove them, so that they are as hooks.events has them;
                        --rotate has all of them sign in with the first of hooks.passwordFiles
  hooks check [--json]  Print their status and last deliveries, and what is wrong with them
  hooks remove [--reason TEXT] [--json]
                        Remove all subscriptions that post to this bridge
  routes list           List the routes: mode, pause, pending events, the oldest one, the last decision
  routes pause NAME [--reason TEXT]
  routes resume NAME [--reason TEXT]
                        Have all replicas stop or go on to start runs for a route
  routes try NAME --event FILE|STREAM:SEQ
                        Print what a route would decide, and the parameters; starts nothing
  routes replay NAME --from SEQ --to SEQ --reason TEXT
                        Judge stored events again, by all checks but the age, and start their runs
  why ID [--data] [--json]
                        Print what led to an event or run, and what came of it: ID is an event's id, a
                        message's id, STREAM:sequence or a run's id; --data prints the event's data as well,
                        of a run that of the event that started it
  deadLetters list      List what could not be done
  deadLetters show N    Print a dead letter with its original bytes
  deadLetters replay N [--reason TEXT]
  deadLetters replay --route NAME --reason TEXT
                        Judge again, by all checks but the age: one letter, or all of a
                        route (of hooks: of a reason)
  callout try --token-file FILE
                        Print what a token would get from the callout, by which rule, and why no other
  callout keys FOLDER   Write new keys for a callout into a folder; needs no configuration

Options:
  --config FILE         The configuration, in YAML; otherwise the variable BRIDGE_CONFIG names it
  --help                Print this
  --version             Print the version

Exit codes: 0 when all is well; 2 for a bad command line, and of run for a bad configuration; 1 otherwise.
`;

/** What the command line asks for. */
export type Command =
  | { readonly kind: 'help' | 'version' }
  | { readonly kind: 'run'; readonly config: string }
  | { readonly kind: 'check'; readonly config: string; readonly offline: boolean }
  | {
      readonly kind: 'setup';
      readonly config: string;
      readonly apply: boolean;
      readonly streams: readonly StreamOrder[];
    }
  | { readonly kind: 'hooks'; readonly config: string; readonly action: HooksCommand }
  | { readonly kind: 'routes'; readonly config: string; readonly action: RoutesCommand }
  | {
      readonly kind: 'why';
      readonly config: string;
      readonly id: string;
      readonly json: boolean;
      readonly data: boolean;
    }
  | { readonly kind: 'deadLetters'; readonly config: string; readonly action: DeadLettersCommand }
  | { readonly kind: 'callout'; readonly config: string; readonly action: CalloutCommand };

/** A command line that can't be understood: a sentence. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const OPTIONS = {
  config: { type: 'string' },
  help: { type: 'boolean', default: false },
  version: { type: 'boolean', default: false },
  offline: { type: 'boolean', default: false },
  apply: { type: 'boolean', default: false },
  'create-stream': { type: 'string', multiple: true },
  json: { type: 'boolean', default: false },
  data: { type: 'boolean', default: false },
  rotate: { type: 'boolean', default: false },
  route: { type: 'string' },
  reason: { type: 'string' },
  event: { type: 'string' },
  from: { type: 'string' },
  to: { type: 'string' },
  'token-file': { type: 'string' },
} as const;

/** Each command's own options. */
const OF_COMMAND: Readonly<Record<string, readonly string[]>> = {
  run: [],
  check: ['offline'],
  setup: ['apply', 'create-stream'],
  hooks: ['rotate', 'reason', 'json'],
  why: ['json', 'data'],
  routes: ['reason', 'event', 'from', 'to'],
  deadLetters: ['route', 'reason'],
  callout: ['token-file'],
};

/**
 * Reads a command line.
 *
 * @throws UsageError
 */
export function readArguments(given: readonly string[], env: Readonly<Record<string, string | undefined>>): Command {
  const { values, positionals } = parse(given);
  if (values.help) return { kind: 'help' };
  if (values.version) return { kind: 'version' };
  const [name, ...more] = positionals;
  if (name === undefined) throw new UsageError('There is no command.');
  const options = Object.hasOwn(OF_COMMAND, name) ? OF_COMMAND[name] : undefined;
  if (options === undefined) throw new UsageError(`There is no command ${JSON.stringify(name)}.`);
  for (const option of Object.values(OF_COMMAND).flat())
    if (values[option as keyof typeof values] && !options.includes(option))
      throw new UsageError(`${name} takes no option --${option}.`);
  const action = name === 'deadLetters' ? readAction(more, values.route, values.reason) : undefined;
  const routesAction = name === 'routes' ? readRoutesAction(more, values) : undefined;
  const hooksAction = name === 'hooks' ? readHooksAction(more, values) : undefined;
  const calloutAction = name === 'callout' ? readCalloutAction(more, values['token-file']) : undefined;
  const streams = readStreams(values['create-stream'] ?? []);
  const id = name === 'why' ? more.shift() : undefined;
  if (name === 'why' && !id)
    throw new UsageError('Write why ID, with the id of an event, a message or a run, or STREAM:sequence.');
  if ([action, routesAction, hooksAction, calloutAction].every((one) => one === undefined) && more[0] !== undefined)
    throw new UsageError(`${name} takes no argument ${JSON.stringify(more[0])}.`);
  if (calloutAction?.kind === 'keys') return { kind: 'callout', config: '', action: calloutAction };
  const config = values.config ?? env['BRIDGE_CONFIG'];
  if (!config) throw new UsageError('There is no configuration: give --config FILE, or set BRIDGE_CONFIG.');
  if (action !== undefined) return { kind: 'deadLetters', config, action };
  if (calloutAction !== undefined) return { kind: 'callout', config, action: calloutAction };
  if (hooksAction !== undefined) return { kind: 'hooks', config, action: hooksAction };
  if (routesAction !== undefined) return { kind: 'routes', config, action: routesAction };
  if (id !== undefined) return { kind: 'why', config, id, json: values.json, data: values.data };
  if (name === 'check') return { kind: 'check', config, offline: values.offline };
  if (name === 'setup') return { kind: 'setup', config, apply: values.apply, streams };
  return { kind: 'run', config };
}

/** Streams that setup creates besides its own: `CI=ci.>`, one per option. */
function readStreams(given: readonly string[]): StreamOrder[] {
  const orders = given.map((text) => {
    const [, name = '', list = ''] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
    const about = `--create-stream ${quoted(text)}`;
    if (name === '' || list === '') throw new UsageError(`${about}: write NAME=SUBJECT[,SUBJECT], such as 'CI=ci.>'.`);
    if (!/^[^\s.*>/\\\p{C}]{1,255}$/u.test(name))
      throw new UsageError(`${about}: ${quoted(name)} isn't a valid name of a stream.`);
    const subjects = list.split(',');
    for (const subject of subjects) {
      const problem = subjectProblem(subject, 'pattern');
      if (problem !== undefined) throw new UsageError(`${about}: the subject ${quoted(subject)} ${problem}.`);
    }
    for (const [index, subject] of subjects.entries()) {
      const other = subjects.slice(0, index).find((one) => overlap(one, subject));
      if (other !== undefined)
        throw new UsageError(`${about}: the subjects ${quoted(other)} and ${quoted(subject)} overlap; leave one out.`);
    }
    return { name, subjects };
  });
  for (const [index, { name }] of orders.entries())
    if (orders.slice(0, index).some((other) => other.name === name))
      throw new UsageError(
        `--create-stream ${name}: it is given twice. Give all its subjects in one, separated by commas.`,
      );
  return orders;
}

function readAction(
  [action, number, ...more]: readonly string[],
  route: string | undefined,
  reason: string | undefined,
): DeadLettersCommand {
  const sequence = more.length === 0 && /^[1-9]\d{0,15}$/.test(number ?? '') ? Number(number) : undefined;
  if (action === 'replay') {
    if (sequence !== undefined && route === undefined)
      return { kind: 'replay', letters: { sequence }, reason: reason ?? '' };
    if (number === undefined && route && reason) return { kind: 'replay', letters: { route }, reason };
    if (number === undefined && route) throw lacking('deadLetters replay --route', { '--reason TEXT': reason });
    throw new UsageError('Write deadLetters replay N, or deadLetters replay --route NAME --reason TEXT.');
  }
  if (route !== undefined || reason !== undefined) throw new UsageError('--route and --reason are for replay.');
  if (action === 'list' && number === undefined) return { kind: 'list' };
  if (action === 'show' && sequence !== undefined) return { kind: 'show', sequence };
  throw new UsageError('Write deadLetters list, deadLetters show N with a number of the list, or deadLetters replay.');
}

function readRoutesAction(
  [action, name, ...more]: readonly string[],
  { reason = '', event, from, to }: Readonly<Partial<Record<'reason' | 'event' | 'from' | 'to', string>>>,
): RoutesCommand {
  const isRange = from !== undefined || to !== undefined;
  const isPlain = event === undefined && !isRange && more.length === 0;
  if (action === 'list' && name === undefined && isPlain && reason === '') return { kind: 'list' };
  if ((action === 'pause' || action === 'resume') && isPlain) {
    if (name) return { kind: action, name, reason };
    throw lacking(`routes ${action}`, { NAME: name });
  }
  if (action === 'try' && !isRange && reason === '' && more.length === 0) {
    if (name && event) return { kind: 'try', name, event };
    throw lacking('routes try', { NAME: name, '--event FILE|STREAM:SEQ': event });
  }
  if (action === 'replay' && event === undefined && more.length === 0) {
    if (!name || from === undefined || to === undefined || !reason)
      throw lacking('routes replay', { NAME: name, '--from SEQ': from, '--to SEQ': to, '--reason TEXT': reason });
    const [first, last] = [sequenceIn('from', from), sequenceIn('to', to)];
    if (first > last) throw new UsageError(`--from ${first} is after --to ${last}.`);
    return { kind: 'replay', name, from: first, to: last, reason };
  }
  const form = ROUTES_FORMS.find((one) => one.split(' ')[1] === action);
  throw new UsageError(`Write ${form ?? `${ROUTES_FORMS.slice(0, -1).join(', ')}, or ${ROUTES_FORMS.at(-1)}`}.`);
}

const ROUTES_FORMS = [
  'routes list',
  'routes pause NAME [--reason TEXT]',
  'routes resume NAME [--reason TEXT]',
  'routes try NAME --event FILE|STREAM:SEQ',
  'routes replay NAME --from SEQ --to SEQ --reason TEXT',
];

/** Says which arguments are missing, by how the help writes them. */
function lacking(command: string, given: Readonly<Record<string, string | undefined>>): UsageError {
  const missing = Object.entries(given).flatMap(([argument, value]) => (value ? [] : [argument]));
  return new UsageError(`${command} lacks ${missing.join(', ').replace(/, (?=[^,]*$)/, ' and ')}.`);
}

function readHooksAction(
  [action, ...more]: readonly string[],
  { rotate, json, reason }: { readonly rotate: boolean; readonly json: boolean; readonly reason?: string },
): HooksCommand {
  const isOrder = action === 'apply' || action === 'remove';
  if (more.length === 0 && (action === 'apply' || !rotate) && (isOrder || reason === undefined)) {
    if (action === 'plan' || action === 'check') return { kind: action, json };
    if (action === 'apply') return { kind: action, rotate, reason: reason ?? '', json };
    if (action === 'remove') return { kind: action, reason: reason ?? '', json };
  }
  throw new UsageError(
    'Write hooks plan, hooks apply [--rotate] [--reason TEXT], hooks check, or hooks remove [--reason TEXT].',
  );
}

function readCalloutAction(
  [action, folder, ...more]: readonly string[],
  tokenFile: string | undefined,
): CalloutCommand {
  if (action === 'try' && tokenFile && folder === undefined) return { kind: 'try', tokenFile };
  if (action === 'keys' && folder && more.length === 0 && tokenFile === undefined) return { kind: 'keys', folder };
  throw new UsageError('Write callout try --token-file FILE, or callout keys FOLDER.');
}

function sequenceIn(option: string, text: string): number {
  if (/^[1-9]\d{0,15}$/.test(text)) return Number(text);
  throw new UsageError(`--${option} ${quoted(text)} isn't a sequence of a stream: write a whole number from 1.`);
}

function parse(given: readonly string[]) {
  const { tokens } = parseArgs({
    args: [...given],
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: OPTIONS,
  });
  const unknown = tokens.find((token) => token.kind === 'option' && !Object.hasOwn(OPTIONS, token.name));
  if (unknown?.kind === 'option') {
    const meant = probablyMeant(unknown.name, Object.keys(OPTIONS));
    throw new UsageError(
      `There is no option ${safeText(unknown.rawName)}.${meant === undefined ? '' : ` Did you mean --${meant}?`}`,
    );
  }
  try {
    return parseArgs({ args: [...given], allowPositionals: true, options: OPTIONS });
  } catch (error) {
    throw new UsageError(reasonOf(error));
  }
}
