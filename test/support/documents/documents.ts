import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import GithubSlugger from 'github-slugger';
import { lexer, walkTokens, type Token, type Tokens } from 'marked';
import { ERROR_CODES } from '../../../shared/errors.ts';
import { AGENTLESS_TASK, readTask, TASK_NAMES } from '../../../scripts/build/manifest.ts';

/** Folders with nothing of the project's own. */
const FOREIGN = new Set(['node_modules', 'dist', '.cache', '.git']);
/** Words in code style that look like error codes but aren't. */
const OTHER_WORDS = new Set<string>([
  ...TASK_NAMES,
  AGENTLESS_TASK,
  ...['Canceled', 'Failed', 'Skipped', 'Succeeded', 'SucceededWithIssues'],
  ...['EdDSA', 'EventSigningSeed', 'NatsCredentials', 'NatsBridge', 'NatsServer', 'NatsServerDev'],
  ...['None', 'Token', 'UsernamePassword', 'Certificate'],
]);

/** A Markdown file of the project. */
export interface MarkdownFile {
  /** The folder that all files are in. */
  readonly root: string;
  /** Relative to the root. */
  readonly file: string;
  readonly text: string;
  readonly tokens: readonly Token[];
}

/** The paths of all files below the root with this ending, relative to it. */
export function filesEndingWith(root: string, ending: string): string[] {
  return readdirSync(root, { withFileTypes: true })
    .flatMap((entry) => {
      if (!entry.isDirectory()) return entry.name.endsWith(ending) ? [entry.name] : [];
      if (FOREIGN.has(entry.name)) return [];
      return filesEndingWith(path.join(root, entry.name), ending).map((file) => path.join(entry.name, file));
    })
    .sort();
}

export function readMarkdown(root: string, file: string): MarkdownFile {
  const text = readFileSync(path.join(root, file), 'utf8');
  const tokens: Token[] = [];
  void walkTokens(lexer(text), (token) => {
    tokens.push(token);
  });
  return { root, file, text, tokens };
}

/** Links and pictures that lead to a missing file or heading. Links to other hosts aren't followed. */
export function brokenLinks(document: MarkdownFile): string[] {
  const { root, file } = document;
  return targetsOf(document).flatMap((href) => {
    if (/^(https?|mailto):/.test(href)) return [];
    const [target = '', anchor] = decodeURI(href).split('#');
    const absolute = target === '' ? path.join(root, file) : path.resolve(root, path.dirname(file), target);
    const relative = path.relative(root, absolute);
    if (relative.startsWith('..') || !existsSync(absolute)) return [`${href}: there is no such file`];
    if (anchor === undefined) return [];
    const known =
      statSync(absolute).isFile() && relative.endsWith('.md') ? anchorsOf(readMarkdown(root, relative)) : [];
    return known.includes(anchor) ? [] : [`${href}: there is no such heading`];
  });
}

/** The targets of its links and pictures, including those in HTML. */
function targetsOf({ tokens }: MarkdownFile): string[] {
  return tokens.flatMap((token) => {
    if (token.type === 'link' || token.type === 'image') return [String(token.href)];
    if (token.type !== 'html') return [];
    return [...token.raw.matchAll(/\b(?:href|src|srcset)="([^"]*)"/g)].map(([, target = '']) => target);
  });
}

/** The files that its links lead to, relative to the root. */
export function linkedFiles(document: MarkdownFile): string[] {
  return targetsOf(document)
    .filter((target) => !/^(#|[a-z]+:)/.test(target))
    .map((target) => path.join(path.dirname(document.file), target.replace(/#.*/, '')));
}

/** The anchors of a file's headings, as GitHub makes them. */
function anchorsOf({ tokens }: MarkdownFile): string[] {
  const slugger = new GithubSlugger();
  return tokens.flatMap((token) => (token.type === 'heading' ? [slugger.slug(plainText(token))] : []));
}

function plainText(token: object): string {
  const { tokens, text = '' } = token as { readonly tokens?: readonly Token[]; readonly text?: string };
  return tokens?.map(plainText).join('') ?? text;
}

/** Commands that aren't in package.json, or scripts that don't exist. */
export function unknownCommands({ root, file, text }: MarkdownFile): string[] {
  let folder = path.dirname(path.join(root, file));
  while (!existsSync(path.join(folder, 'package.json')) && folder !== root) folder = path.dirname(folder);
  const { scripts = {} } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as {
    scripts?: Record<string, string>;
  };
  const npm = [...text.matchAll(/\bnpm (?:run ([\w:-]+)|test\b)/g)].filter(([, name = 'test']) => !(name in scripts));
  const files = [...text.matchAll(/\bbash ([\w./-]+\.sh)\b/g)].filter(
    ([, name = '']) => !existsSync(path.join(root, name)),
  );
  return [...npm, ...files].map(([command]) => `${command}: there is no such command`);
}

/** Error codes and verdicts that do not exist. */
export function unknownWords({ tokens, text }: MarkdownFile): string[] {
  const spans = tokens.flatMap((token) => (token.type === 'codespan' ? [String(token.text)] : []));
  const codes = spans.filter(
    (span) => /^([A-Z][a-z]+)+[A-Z]*$/.test(span) && !isErrorCode(span) && !OTHER_WORDS.has(span),
  );
  const verdicts = [...text.matchAll(/verdict`? ?(?:= ?"|(?:is |of )?`)(\w+)/g)].map(([, verdict = '']) => verdict);
  return [
    ...codes.map((code) => `${code}: there is no such error code`),
    ...verdicts
      .filter((verdict) => !VERDICTS.includes(verdict))
      .map((verdict) => `${verdict}: there is no such verdict`),
  ];
}

function isErrorCode(word: string): boolean {
  return (ERROR_CODES as readonly string[]).includes(word);
}

/** The values of the output `verdict`, as task.json lists them. */
export const VERDICTS: readonly string[] = [
  ...(readTask('WaitForNatsEvent')
    .outputVariables.find(({ name }) => name === 'verdict')
    ?.description.matchAll(/`(\w+)`/g) ?? []),
].map(([, verdict = '']) => verdict);

/** The fenced blocks of YAML. */
export function yamlBlocks({ tokens }: MarkdownFile): string[] {
  return tokens.flatMap((token) =>
    token.type === 'code' && /^ya?ml\b/.test(String(token.lang ?? '')) ? [String(token.text)] : [],
  );
}

/** The first cells of all tables with this first heading: the text in code style, unchanged. */
export function quotedIn(document: MarkdownFile, heading: string): string[] {
  return rowsOf(document, heading).map(([first = '']) => first);
}

/** The rows of all tables with this first heading, without styles. */
export function rowsOf({ tokens }: MarkdownFile, heading: string): string[][] {
  return tokens
    .filter((token): token is Tokens.Table => token.type === 'table')
    .filter(({ header: [first] }) => first?.text === heading)
    .flatMap(({ rows }) => rows.map((cells) => cells.map(plainText)));
}
