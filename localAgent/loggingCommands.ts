/** A logging command as the agent reads it from one line of a task's stdout or stderr. */
export interface LoggingCommand {
  readonly area: string;
  readonly event: string;
  /** Lower-case names: the agent compares them without case. */
  readonly properties: ReadonlyMap<string, string>;
  readonly data: string;
}

const PREFIX = '##vso[';

/** Order matters: `%AZP25` last, so that `%AZP250A` is the text `%0A` and not a line break. */
const ESCAPES = [
  ['%3B', ';'],
  ['%0D', '\r'],
  ['%0A', '\n'],
  ['%5D', ']'],
  ['%AZP25', '%'],
] as const;

/** Text of a logging command as it was before it was escaped. */
export function unescapeCommand(text: string): string {
  return ESCAPES.reduce((unescaped, [token, replacement]) => unescaped.replaceAll(token, replacement), text);
}

/**
 * Reads the first logging command of a line, wherever in the line it stands, by the rules of the agent's `Command.TryParse`:
 * the prefix is case-sensitive, `area.event` ends at the first space, properties are separated by `;`, everything after the
 * first `]` is data.
 * @returns undefined when the line holds no well-formed command, even though it may hold the text `##vso`
 */
export function parseLoggingCommand(line: string): LoggingCommand | undefined {
  const start = line.indexOf(PREFIX);
  const end = start < 0 ? -1 : line.indexOf(']', start);
  if (end < 0) return undefined;

  const info = line.slice(start + PREFIX.length, end);
  const space = info.indexOf(' ');
  const parts = (space < 0 ? info : info.slice(0, space)).split('.').filter(Boolean);
  const [area, event] = parts;
  if (parts.length !== 2 || !area || !event) return undefined;

  const properties = new Map<string, string>();
  for (const pair of space < 0 ? [] : info.slice(space + 1).split(';')) {
    // The agent drops empty entries of the split, so "=a=b" and "a==b" are both a → b and "a=" is nothing.
    const [, name, value] = /^=*([^=]+)=+(.+)$/s.exec(pair) ?? [];
    if (name && value) properties.set(name.toLowerCase(), unescapeCommand(value));
  }
  return { area, event, properties, data: unescapeCommand(line.slice(end + 1)) };
}

/** Commands the agent leaves a task in restricted mode (`CommandRestriction` attributes in the agent). */
const ALLOWED_IN_RESTRICTED_MODE = new Set([
  'task.complete',
  'task.debug',
  'task.issue',
  'task.logdetail',
  'task.logissue',
  'task.prependpath',
  'task.setprogress',
  'task.setsecret',
  'task.settaskvariable',
  'task.setvariable',
  'telemetry.publish',
]);

const KNOWN_COMMANDS = new Set([
  ...ALLOWED_IN_RESTRICTED_MODE,
  'artifact.associate',
  'artifact.upload',
  'build.addbuildtag',
  'build.updatebuildnumber',
  'build.uploadlog',
  'codecoverage.enable',
  'codecoverage.publish',
  'release.updatereleasename',
  'results.publish',
  'task.addattachment',
  'task.setendpoint',
  'task.uploadfile',
  'task.uploadsummary',
]);

const KNOWN_AREAS = new Set([...KNOWN_COMMANDS].map((command) => command.split('.')[0]));

export type CommandKind = 'unknownArea' | 'unknownEvent' | 'restricted' | 'allowed';

/** How the agent handles a command's name, in restricted command mode or without it. */
export function kindOfCommand(command: LoggingCommand, restrictedMode: boolean): CommandKind {
  const area = command.area.toLowerCase();
  const name = `${area}.${command.event.toLowerCase()}`;
  if (!KNOWN_AREAS.has(area)) return 'unknownArea';
  if (!KNOWN_COMMANDS.has(name)) return 'unknownEvent';
  return restrictedMode && !ALLOWED_IN_RESTRICTED_MODE.has(name) ? 'restricted' : 'allowed';
}

/**
 * Whether a task.json's `settableVariables.allowed` lets the task set this variable. Patterns are compared without case;
 * `*` and `?` as minimatch reads them within one path segment, which is all a variable name needs.
 * @param allowed undefined means no limit, an empty list means none
 * @throws Error for a pattern with other minimatch syntax, which is not rebuilt here
 */
export function maySetVariable(name: string, allowed: readonly string[] | undefined): boolean {
  if (!allowed) return true;
  return allowed.some((pattern) => {
    if (/[[\]{}()!#|+@]/.test(pattern)) throw new Error(`settableVariables pattern not supported here: ${pattern}`);
    const source = pattern
      .replace(/[.^$\\]/g, '\\$&')
      .replaceAll('*', '[^/]*')
      .replaceAll('?', '[^/]');
    return new RegExp(`^${source}$`, 'i').test(name);
  });
}

/** Cuts a byte stream into lines as the agent's stream reader does: UTF-8, lines end at `\n`, `\r\n` or a lone `\r`. */
export class LineReader {
  readonly #decoder = new TextDecoder();
  readonly #onLine: (line: string) => void;
  #rest = '';
  #afterCarriageReturn = false;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  write(bytes: Uint8Array): void {
    this.#take(this.#decoder.decode(bytes, { stream: true }));
  }

  /** Hands over a last line that has no line end. */
  end(): void {
    this.#take(this.#decoder.decode());
    if (this.#rest) this.#onLine(this.#rest);
    this.#rest = '';
  }

  #take(text: string): void {
    if (!text) return;
    const fresh = this.#afterCarriageReturn && text.startsWith('\n') ? text.slice(1) : text;
    this.#afterCarriageReturn = text.endsWith('\r');
    const lines = (this.#rest + fresh).split(/\r\n|\n|\r/);
    this.#rest = lines.pop() ?? '';
    lines.forEach(this.#onLine);
  }
}
