import { promises, realpathSync, statSync, type Stats } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { TaskError, reasonOf, type ErrorCode } from '../errors.ts';
import { irregularity, readRegularFile } from '../regularFile.ts';
import { isObject } from '../text/json.ts';
import { jsonSyntaxProblem } from '../text/jsonSyntax.ts';

/** A JSON object of a schema file: a schema, or any other object in it. */
export type JsonObject = Record<string, unknown>;

/** One schema file, read and parsed. */
export interface SchemaFile {
  /** Its real path (no symbolic link in it). */
  readonly path: string;
  /** Its path relative to the root schema's folder, with `/` between the parts. */
  readonly name: string;
  /** Its own `file:` URL. */
  readonly url: string;
  /** Its absolute URI by `$id`, without fragment; without `$id`, its path resolved against the root's URI. */
  readonly uri: string;
  readonly text: string;
  readonly schema: JsonObject | boolean;
  /** Not a file, but a meta-schema that ships with the product. */
  readonly isBuiltIn?: true;
}

const MAX_FILE_BYTES = 10 * 1024 * 1024;
const MAX_SCANNED_FILES = 2000;
const MAX_SCANNED_ENTRIES = 50_000;
const SKIPPED_FOLDERS = new Set(['node_modules', '.git']);

/** A schema that needs no file, by its absolute URI without fragment. */
export type BuiltIn = (uri: string) => JsonObject | undefined;

/** The root schema's folder: the only place where a contract's files may lie. Nothing outside it is read, and nothing is downloaded. */
export class SchemaFolder {
  readonly #open = new Map<string, SchemaFile>();
  #pathsByUri: Map<string, string[]> | undefined;
  #scanComplete = true;

  /** The root's URI up to its last `/`, which stands for the folder. */
  #base: string;

  private constructor(
    readonly folder: string,
    private readonly builtIn: BuiltIn,
  ) {
    this.#base = this.#url();
  }

  /**
   * Opens the folder of a root schema, with that schema.
   *
   * @param schemaFile absolute path of the root schema; a symbolic link is followed first
   * @param builtIn schemas by URIs that no file has
   * @throws TaskError InvalidInput when there is no such file to read; InvalidSchema when it is not a JSON schema
   */
  static openAt(schemaFile: string, builtIn: BuiltIn): { readonly files: SchemaFolder; readonly root: SchemaFile } {
    let real: string;
    try {
      real = realpathSync.native(schemaFile);
      const irregular = irregularity(statSync(real));
      if (irregular !== undefined) throw new Error(irregular);
    } catch (error) {
      const problem = `The schema file "${schemaFile}" cannot be read: ${reasonOf(error)}`;
      const remedy = 'Give the path of a JSON Schema file; a relative path starts at System.DefaultWorkingDirectory.';
      throw new TaskError('InvalidInput', problem, remedy, { cause: error });
    }
    const files = new SchemaFolder(path.dirname(real), builtIn);
    const root = files.#read(real, 'InvalidInput');
    if (root.uri.includes('/')) files.#base = root.uri.slice(0, root.uri.lastIndexOf('/') + 1);
    return { files, root };
  }

  /**
   * Opens the file that a URI means: the one with this URL or `$id`, otherwise the one at the URI's path
   * relative to the root schema's URI.
   *
   * @param uri absolute, without fragment
   * @param reference how an error names the place that refers to it
   * @throws TaskError InvalidSchema when there is none, more than one, one outside the folder, or one that is not a schema;
   *   InvalidInput when it is a pipe, socket or device
   */
  async openUri(uri: string, reference: string): Promise<SchemaFile> {
    const below = uri.startsWith(this.#base) ? this.#url() + uri.slice(this.#base.length) : '';
    // A URL may spell the path differently from the file's own URL: Windows ignores case.
    const beside = this.#fileAt(below, reference) ?? this.#fileAt(uri, reference);
    const file = beside === undefined ? undefined : this.#read(beside);
    if (file && (file.url === uri || file.uri === uri)) return file;

    this.#pathsByUri ??= await this.#scan();
    const [first, second] = this.#pathsByUri.get(uri) ?? [];
    if (first !== undefined && second !== undefined) throw sameId(uri, first, second);
    if (first !== undefined) return this.#read(first);
    if (file) return file;
    const schema = this.builtIn(uri);
    if (schema) return { path: uri, name: uri, url: uri, uri, text: JSON.stringify(schema), schema, isBuiltIn: true };
    if (uri.startsWith('file:') && !this.#isInside(pathOf(uri))) throw this.#outside(reference);
    if (/^[a-z]:[\\/]/.test(uri))
      throw invalidSchema(
        `${reference} is a Windows path, but a reference must be a URI`,
        'Write it relative to the file that contains it, with slashes, such as "parts/address.json".',
      );
    const incomplete = ` That folder is too large to search for an $id completely: give schemas a folder of their own.`;
    throw invalidSchema(
      `${reference} means <${uri}>, but no schema file under "${this.folder}" has that $id or relative path`,
      `Nothing is downloaded: put the file into the root schema's folder.${this.#scanComplete ? '' : incomplete}`,
    );
  }

  /** The real path of the file in the folder that a URL means; undefined when there is none. */
  #fileAt(url: string, reference: string): string | undefined {
    const candidate = pathOf(url);
    // Checked before the disk is touched: on Windows, merely looking at a network path sends something.
    if (candidate === undefined || !this.#isInside(candidate)) return undefined;
    let real: string;
    let stats: Stats;
    try {
      real = realpathSync.native(candidate);
      stats = statSync(real);
    } catch {
      return undefined;
    }
    if (stats.isDirectory()) return undefined;
    const irregular = irregularity(stats);
    if (irregular !== undefined)
      throw new TaskError('InvalidInput', `${reference} leads to "${candidate}", which can't be read: ${irregular}`);
    if (!this.#isInside(real)) throw this.#outside(reference);
    return real;
  }

  #read(file: string, unreadable: ErrorCode = 'InvalidSchema'): SchemaFile {
    const known = this.#open.get(file);
    if (known) return known;
    const { text, value } = readJson(file, unreadable);
    if (typeof value !== 'boolean' && !isObject(value))
      throw invalidSchema(`The schema file "${file}" is neither an object nor true or false`, 'Write a JSON Schema.');
    const url = pathToFileURL(file).href;
    const name = path.relative(this.folder, file).split(path.sep).join('/');
    const opened = { path: file, name, url, uri: this.#uriOf(value, url), text, schema: value };
    this.#open.set(file, opened);
    return opened;
  }

  /** The files under the folder by their URI, except those that cannot be read or parsed. */
  async #scan(): Promise<Map<string, string[]>> {
    const found = new Map<string, string[]>();
    const folders = [this.folder];
    let files = 0;
    let entries = 0;
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      for (const entry of await promises.readdir(folder, { withFileTypes: true }).catch(() => [])) {
        if (++entries > MAX_SCANNED_ENTRIES || files >= MAX_SCANNED_FILES) {
          this.#scanComplete = false;
          return found;
        }
        const at = path.join(folder, entry.name);
        if (entry.isDirectory() && !SKIPPED_FOLDERS.has(entry.name)) folders.push(at);
        if (!entry.isFile() || !entry.name.toLowerCase().endsWith('.json')) continue;
        files++;
        try {
          const uri = this.#uriOf(readJson(at, 'InvalidSchema').value, pathToFileURL(at).href);
          found.set(uri, [...(found.get(uri) ?? []), at]);
        } catch {
          continue;
        }
      }
    }
    return found;
  }

  #uriOf(schema: unknown, url: string): string {
    const place = this.#base + url.slice(this.#url().length);
    const id = isObject(schema) ? schema.$id : undefined;
    return (typeof id === 'string' ? resolveUri(id, place)?.uri : undefined) ?? place;
  }

  #url(): string {
    return pathToFileURL(this.folder + path.sep).href;
  }

  #isInside(file: string | undefined): boolean {
    if (file === undefined) return false;
    const relative = path.relative(this.folder, file);
    return relative !== '' && relative.split(path.sep)[0] !== '..' && !path.isAbsolute(relative);
  }

  #outside(reference: string): TaskError {
    return invalidSchema(
      `${reference} leads outside "${this.folder}", the root schema's folder`,
      'Keep the root schema and all files it refers to in one folder, or below it.',
    );
  }
}

export function invalidSchema(problem: string, remedy = ''): TaskError {
  return new TaskError('InvalidSchema', problem, remedy);
}

/** The failure when two files claim the same `$id`. */
export function sameId(uri: string, one: string, other: string): TaskError {
  return invalidSchema(
    `The schema files "${one}" and "${other}" have the same $id <${uri}>`,
    'Give each file an $id of its own.',
  );
}

/** The URI that an absolute or relative reference means, in two parts; undefined when it cannot be resolved. */
export function resolveUri(reference: string, base: string): { uri: string; fragment: string } | undefined {
  if (!URL.canParse(reference, base)) return undefined;
  const { href } = new URL(reference, base);
  const end = href.indexOf('#');
  return end < 0 ? { uri: href, fragment: '' } : { uri: href.slice(0, end), fragment: href.slice(end + 1) };
}

/** The path of a `file:` URL; undefined when there can't be one, as for another host or an encoded `/`. */
function pathOf(url: string): string | undefined {
  try {
    return fileURLToPath(url);
  } catch {
    return undefined;
  }
}

function readJson(file: string, unreadable: ErrorCode): { readonly text: string; readonly value: unknown } {
  let bytes: Uint8Array | undefined;
  try {
    bytes = readRegularFile(file, MAX_FILE_BYTES);
    if (bytes === undefined) throw new Error(`it has more than ${MAX_FILE_BYTES} bytes`);
  } catch (error) {
    const problem = `The schema file "${file}" cannot be read: ${reasonOf(error)}`;
    throw new TaskError(unreadable, problem, '', { cause: error });
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw invalidSchema(`The schema file "${file}" is not UTF-8 text`, 'Save it as UTF-8.');
  }
  try {
    return { text, value: JSON.parse(text) as unknown };
  } catch (error) {
    const problem = `The schema file "${file}" is not JSON: ${jsonSyntaxProblem(text)}`;
    throw new TaskError('InvalidSchema', problem, '', { cause: error });
  }
}
