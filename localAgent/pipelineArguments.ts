import { cpSync, existsSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { subjectProblem } from '../shared/subject.ts';
import { probablyMeant } from '../shared/text/nearest.ts';
import { quoted } from '../shared/text/safeText.ts';
import { type Connection, type PipelineFileOptions, temporaryFolder } from './index.ts';
import { readConnectionFile } from './connectionFile.ts';
import type { OwnStream } from './ownStreams.ts';

const USAGE = `Usage: npm run pipeline -- FILE.yml
  --nats                     start a nats-server for the run: with streams for its subjects, for all connections not given
  --stream NAME=SUBJECT,...  create this stream if the server has none of this name; with --nats, create no others
  --connection NAME=URL      a service connection that needs no secret
  --connection-file FILE     service connections as JSON
  --variable NAME=VALUE      a variable of the run
  --secret NAME=ENV_VAR      a secret variable; its value is that of a variable of the environment
  --parameter NAME=VALUE     a parameter of the file
  --sources FOLDER           the repository of the pipeline (default: the folder of FILE.yml)
  --repository NAME=FOLDER   another repository that the file checks out
  --skip-other-tasks         leave out the steps that only Azure Pipelines itself can run
  --inspect STEP             let a task step wait for a debugger, by its name or display name
  --debug                    set System.Debug
The options that name something can be given several times.`;

export interface PipelineArguments {
  /** The pipeline file. */
  readonly file: string;
  /** The step that waits for a debugger. */
  readonly inspect: string | undefined;
  /** Whether the run gets a server of its own. */
  readonly nats: boolean;
  /** The streams to create. A server of the run's own finds out itself when there are none. */
  readonly streams: readonly OwnStream[];
  readonly options: PipelineFileOptions;
}

/**
 * Reads the command line of `npm run pipeline`.
 * @param from the folder that relative paths start at
 * @throws Error that says what is wrong, and never shows what may be a secret
 */
export function readArguments(args: string[], from: string): PipelineArguments {
  const text = { type: 'string' } as const;
  const texts = { type: 'string', multiple: true, default: [] as string[] } as const;
  const flag = { type: 'boolean', default: false } as const;
  const known = {
    ...{ connection: texts, 'connection-file': texts, variable: texts, secret: texts, parameter: texts },
    ...{ repository: texts, stream: texts, sources: text, inspect: text },
    ...{ 'skip-other-tasks': flag, nats: flag, debug: flag, help: flag },
  };
  refuseTaken(args, Object.keys(known));
  refuseUnknown(args, Object.keys(known));
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: known });
  const existing = (place: string, what: string, kind: 'isFile' | 'isDirectory'): string => {
    const absolute = path.resolve(from, place);
    if (existsSync(absolute) && statSync(absolute)[kind]()) return absolute;
    throw new Error(`${what}: there is no ${kind === 'isFile' ? 'file' : 'folder'} ${absolute}.`);
  };
  const [given] = positionals;
  if (values.help || given === undefined || positionals.length > 1)
    throw new Error(`One pipeline file is needed.\n${USAGE}`);
  const file = existing(given, 'the pipeline file', 'isFile');
  const repositories = Object.entries(pairs(values.repository, 'repository')).map(
    ([name, folder]) => [name, copyOf(existing(folder, '--repository', 'isDirectory'))] as const,
  );
  const files = values['connection-file'].map((name) => existing(name, '--connection-file', 'isFile'));
  const options: PipelineFileOptions = {
    shownFile: given,
    sources: copyOf(existing(values.sources ?? path.dirname(file), '--sources', 'isDirectory')),
    repositories: Object.fromEntries(repositories),
    connections: {
      ...Object.fromEntries(files.flatMap((name) => Object.entries(readConnectionFile(name)))),
      ...plainConnections(values.connection),
    },
    variables: { ...ownVariables(file), ...pairs(values.variable, 'variable') },
    secrets: secretsOf(values.secret),
    parameters: pairs(values.parameter, 'parameter'),
    skipOtherTasks: values['skip-other-tasks'],
    debug: values.debug,
  };
  const { inspect, nats } = values;
  return { file, inspect, nats, streams: streamsOf(values.stream), options };
}

/** Without `--`, npm takes the options for its own and passes them on as variables of the environment. */
function refuseTaken(args: readonly string[], known: readonly string[]): void {
  const taken = known.filter((name) => process.env[`npm_config_${name.replaceAll('-', '_')}`] !== undefined);
  const missing = taken.map((name) => `--${name}`).filter((name) => !args.some((arg) => arg.split('=')[0] === name));
  if (missing.length > 0)
    throw new Error(
      `npm took ${missing.join(', ')} for its own. npm needs -- before the file: npm run pipeline -- FILE.yml ${missing.join(' ')}`,
    );
}

/** For an unknown option, shows only its name: anything typed may be a secret. */
function refuseUnknown(args: readonly string[], known: readonly string[]): void {
  const { tokens } = parseArgs({ args: [...args], strict: false, tokens: true, allowPositionals: true });
  const unknown = tokens.find((token) => token.kind === 'option' && !known.includes(token.name));
  if (unknown?.kind !== 'option') return;
  const meant = probablyMeant(unknown.name, known);
  const remedy = meant === undefined ? `\n${USAGE}` : ` Did you mean --${meant}?`;
  throw new Error(`There is no option ${unknown.rawName}.${remedy}`);
}

function streamsOf(given: readonly string[]): OwnStream[] {
  return Object.entries(pairs(given, 'stream')).map(([name, text]) => {
    const subjects = text.split(',').map((subject) => subject.trim());
    if (!/^[\w-]+$/.test(name)) throw new Error(`--stream: ${quoted(name)} isn't a name of letters, digits, - and _.`);
    for (const subject of subjects) {
      const problem = subjectProblem(subject, 'pattern');
      if (problem !== undefined)
        throw new Error(
          `--stream ${name}: ${quoted(subject)} ${problem}. In a shell, a subject with > needs quotes: --stream '${name}=ci.>'`,
        );
    }
    return { name, subjects };
  });
}

/** Differs per run, so that two runs don't mistake each other's events for their own. */
function ownVariables(file: string): Record<string, string> {
  return {
    'Build.BuildId': String(Math.floor(Date.now() / 1000)),
    'Build.DefinitionName': path.basename(file, path.extname(file)),
    'Build.RequestedFor': os.userInfo().username,
  };
}

/** `NAME=VALUE` of an option. An error shows only the option's name: anything typed may be a secret. */
function pairs(given: readonly string[], option: string): Record<string, string> {
  return Object.fromEntries(
    given.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new Error(`--${option} needs NAME=VALUE.`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

function plainConnections(given: readonly string[]): Record<string, Connection> {
  return Object.fromEntries(
    Object.entries(pairs(given, 'connection')).map(([name, url]) => {
      if (url.includes('@')) throw new Error(`--connection ${name}: put what signs in into a --connection-file.`);
      return [name, { url, scheme: 'None' }];
    }),
  );
}

function secretsOf(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    Object.entries(pairs(given, 'secret')).map(([name, variable]) => {
      const value = process.env[variable];
      if (!value) throw new Error(`--secret ${name}: give the name of a variable of the environment that is set.`);
      return [name, value];
    }),
  );
}

/** A copy, like a fresh checkout, so that steps don't write into the author's folder. It's removed when the run ends. */
function copyOf(folder: string): string {
  const copy = path.join(temporaryFolder('sources-'), path.basename(folder));
  const left = ['.git', 'node_modules'];
  cpSync(folder, copy, { recursive: true, filter: (source) => !left.includes(path.basename(source)) });
  return copy;
}
