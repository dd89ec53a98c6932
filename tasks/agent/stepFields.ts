import { statSync } from 'node:fs';
import path from 'node:path';
import { reasonOf } from '../../shared/errors.ts';
import { Fields, linesOf } from '../../shared/inputs/fields.ts';
import { Problems } from '../../shared/inputs/problems.ts';
import { irregularity } from '../../shared/regularFile.ts';
import { knownSecrets } from '../../shared/text/masker.ts';
import { quoted } from '../../shared/text/safeText.ts';
import type { Agent } from './agent.ts';
import { askForCheckout, askForFile } from './nearFile.ts';

const VARIABLE_NAME = /^[A-Za-z_][\w.-]*$/;
/** An NKey seed or a JWT would pass as a name. */
const SECRET_LIKE_A_NAME = /^(?:S[A-Z][A-Z2-7]{40,}|eyJ[\w-]+\.[\w-]+\.[\w-]*)$/;

/** Reads the inputs of a step, including those that only a step has: paths on its agent, names of its variables. */
export class StepFields extends Fields {
  constructor(private readonly agent: Agent) {
    const source = { text: (name: string) => agent.input(name), warning: (text: string) => agent.warning(text) };
    super(source, new Problems('the inputs of this step'));
  }

  /**
   * The absolute path of a file. Relative paths start at `System.DefaultWorkingDirectory`. The sources folder means "not
   * given", since the classic editors send it for an empty path; any other folder is a problem.
   */
  file(name: string): string | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const file = this.#absolute(text);
    // Messages show the resolved path, which may spell a secret differently.
    const secret = knownSecrets.mask(text) === text ? undefined : path.relative(this.#absolute('.'), file);
    if (secret !== undefined) knownSecrets.add(secret, `what ${name} holds`);
    if (this.#isSourcesFolder(file)) return undefined;
    try {
      const stats = statSync(file, { throwIfNoEntry: false });
      if (stats === undefined && this.expanded(name) !== undefined) {
        // A name beside one with a secret may be nearly the secret.
        const remedy = secret === undefined ? askForFile(file) : undefined;
        this.problem(`${name}: there is no file ${quoted(file)}`, remedy ?? askForCheckout(file, this.#absolute('.')));
      }
      const irregular = stats && irregularity(stats);
      if (stats?.isDirectory() === true)
        this.problem(`${name}: ${quoted(file)} is a folder. Give the path of a file, or leave the input empty`);
      else if (irregular !== undefined) this.problem(`${name}: ${quoted(file)} can't be read: ${irregular}`);
    } catch (error) {
      // A name that is too long, a circle of links, a folder that may not be entered.
      const { code = reasonOf(error) } = error as NodeJS.ErrnoException;
      this.problem(`${name}: ${quoted(file)} isn't the path of a readable file (${code})`);
    }
    return file;
  }

  #absolute(file: string): string {
    return path.resolve(this.agent.variable('System.DefaultWorkingDirectory') ?? '.', file);
  }

  /** A release keeps its artifacts where a build keeps its sources. */
  #isSourcesFolder(file: string): boolean {
    const folders = ['System.DefaultWorkingDirectory', 'Build.SourcesDirectory'].map((name) =>
      this.agent.variable(name),
    );
    return folders.some((folder) => folder !== undefined && comparable(folder) === comparable(file));
  }

  /**
   * The name of a secret variable. A value that does not look like a name may be the secret itself, so it is masked
   * and never shown.
   */
  secretVariableName(name: string): string | undefined {
    const text = this.text(name);
    if (text === undefined || (VARIABLE_NAME.test(text) && !SECRET_LIKE_A_NAME.test(text))) return text;
    knownSecrets.add(text, `what ${name} holds`);
    for (const line of linesOf(text)) this.agent.maskSecret(line);
    this.problem(
      `${name}: holds ${text.length} characters that are not the name of a variable. Give the name of a secret variable, never the secret itself`,
      /^\$\([\w.-]+\)$/.test(text)
        ? 'Write it without $( and ): such a variable is not set, and would put the secret here.'
        : '',
    );
    return undefined;
  }

  /**
   * The secret in the variable that an input names, which `learnSecrets` has masked; undefined when there is none.
   *
   * @param ifAbsent what to do when there is no such variable
   * @param ifPlain what to do when it isn't a secret one
   */
  secret(name: string, ifAbsent = '', ifPlain = 'Mark it as secret.'): string | undefined {
    const variable = this.secretVariableName(name);
    if (variable === undefined) return undefined;
    const secret = this.agent.variable(variable);
    if (secret === undefined) this.problem(`${name}: there is no variable ${quoted(variable)} in this run`, ifAbsent);
    else if (!this.agent.isSecretVariable(variable))
      this.problem(`${name}: the variable ${quoted(variable)} is not a secret one`, ifPlain);
    return secret;
  }

  /**
   * Like {@link unused}, for a file: whether it still exists doesn't matter, and the sources folder means "not given".
   *
   * @returns whether it is given
   */
  unusedFile(name: string, because: string): boolean {
    const text = this.text(name);
    const isGiven = text !== undefined && !this.#isSourcesFolder(this.#absolute(text));
    if (isGiven) this.unused(name, because);
    return isGiven;
  }
}

/** A path without `..` and trailing separators; Windows ignores case. */
function comparable(file: string): string {
  const resolved = path.resolve(file);
  return path.sep === '\\' ? resolved.toLowerCase() : resolved;
}
