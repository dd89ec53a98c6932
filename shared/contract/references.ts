import { reasonOf } from '../errors.ts';
import { isObject } from '../text/json.ts';
import {
  invalidSchema as invalid,
  resolveUri,
  sameId,
  type JsonObject,
  type SchemaFile,
  type SchemaFolder,
} from './files.ts';

/** What linking needs to know about the draft all files of a contract are written in. */
export interface Dialect {
  readonly draft: string;
  /** Whether the draft gives this keyword a meaning. */
  isKeyword(name: string): boolean;
  isFormat(name: string): boolean;
  /** Whether a `$schema` names this draft. */
  isDeclaredBy(schema: unknown): boolean;
  /** Why a value is no schema of this draft, with JSON pointers that start at `pointer`; undefined when it is one. */
  reasonAgainst(schema: JsonObject | boolean, pointer: string): string | undefined;
}

/** A schema whose only `$id` is its root's, all of whose references are absolute, and which holds no unknown keyword. */
export interface LinkedSchema {
  readonly file: SchemaFile;
  readonly id: string;
  readonly schema: JsonObject | boolean;
}

/** Keywords that hold schemas: one, a list, or by name. Also the old `items` and `dependencies`, which hold either kind. */
const ONE_OR_LIST = new Set(
  (
    'additionalItems additionalProperties allOf anyOf contains contentSchema else if items not oneOf prefixItems ' +
    'propertyNames then unevaluatedItems unevaluatedProperties'
  ).split(' '),
);
const BY_NAME = new Set(
  '$defs definitions dependencies dependentRequired dependentSchemas patternProperties properties'.split(' '),
);
const REFERENCES = ['$ref', '$dynamicRef', '$recursiveRef'] as const;

/** A part of a file with a URI of its own: the file's root, or a schema in it with an `$id`. */
interface Resource {
  readonly uri: string;
  readonly file: SchemaFile;
  /** JSON pointer in the file. */
  readonly pointer: string;
  readonly schema: JsonObject | boolean;
  /** JSON pointers in the file by anchor. */
  readonly anchors: Map<string, string>;
  /** As {@link anchors}, for the ones a dynamic reference looks for; `$recursiveAnchor` has the empty name. */
  readonly dynamicAnchors: Map<string, string>;
}

/** A place in a file. */
interface Place {
  readonly resource: Resource;
  readonly pointer: string;
}

interface Reference extends Place {
  readonly keyword: (typeof REFERENCES)[number];
  readonly text: string;
  readonly holder: JsonObject;
}

interface Target extends Place {
  readonly fragment: string;
}

/**
 * Follows all references from a root schema, and makes copies of the files reached that need no further resolution:
 * Ajv gives some keywords a meaning of its own, misses some references and anchors, and knows files by one URI only.
 *
 * @returns the root's copy first
 * @throws TaskError InvalidSchema
 */
export async function linkSchemas(files: SchemaFolder, root: SchemaFile, dialect: Dialect): Promise<LinkedSchema[]> {
  return await new Linker(files, root, dialect).link();
}

class Linker {
  readonly #copies = new Map<SchemaFile, LinkedSchema>();
  readonly #resources = new Map<string, Resource>();
  readonly #schemas = new Set<JsonObject>();
  /** Keys that a JSON pointer goes through: kept even where they are unknown keywords. */
  readonly #steps = new Map<JsonObject, Set<string>>();
  readonly #references: Reference[] = [];
  readonly #dynamic: (readonly [Reference, Target])[] = [];
  readonly #enteredInside = new Set<SchemaFile>();
  readonly #keptAnchors = new Set<string>();

  constructor(
    private readonly files: SchemaFolder,
    private readonly root: SchemaFile,
    private readonly dialect: Dialect,
  ) {}

  async link(): Promise<LinkedSchema[]> {
    this.#addFile(this.root);
    for (const reference of this.#references) await this.#resolve(reference); // grows while it is read
    for (const [reference, target] of this.#dynamic) this.#settleDynamic(reference, target);
    for (const schema of this.#schemas) this.#prune(schema);
    return [...this.#copies.values()].map((copy) =>
      isObject(copy.schema) ? { ...copy, schema: { ...copy.schema, $id: copy.id } } : copy,
    );
  }

  #addFile(file: SchemaFile): Resource {
    const copy = JSON.parse(file.text) as JsonObject | boolean;
    const resource = this.#addResource(file.uri, file, '', copy);
    this.#resources.set(file.url, resource);
    this.#copies.set(file, { file, id: `contract:/${this.#copies.size}`, schema: copy });
    this.#visitValid(copy, resource, '');
    return resource;
  }

  #addResource(uri: string, file: SchemaFile, pointer: string, schema: JsonObject | boolean): Resource {
    const known = this.#resources.get(uri);
    if (known) throw sameId(uri, known.file.path, file.path);
    const resource = { uri, file, pointer, schema, anchors: new Map(), dynamicAnchors: new Map() };
    this.#resources.set(uri, resource);
    return resource;
  }

  #visitValid(schema: JsonObject | boolean, resource: Resource, pointer: string): void {
    if (isObject(schema)) {
      this.#requireDraft(schema, resource.file, pointer);
      delete schema.$schema;
    }
    const reason = this.dialect.reasonAgainst(schema, pointer);
    if (reason !== undefined) {
      const what = pointer === '' ? 'is no' : `has at ${pointer} no`;
      throw invalid(`The schema file "${resource.file.path}" ${what} valid ${this.dialect.draft} schema: ${reason}`);
    }
    this.#visit(schema, resource, pointer);
  }

  #visit(schema: unknown, around: Resource, pointer: string): void {
    if (!isObject(schema) || this.#schemas.has(schema)) return;
    this.#schemas.add(schema);
    const { file } = around;
    this.#requireDraft(schema, file, pointer);
    const resource = this.#identify(schema, around, pointer);

    for (const keyword of REFERENCES) {
      const text = schema[keyword];
      if (typeof text === 'string' && this.#isKeyword(schema, keyword)) {
        this.#references.push({ keyword, text, holder: schema, resource, pointer: `${pointer}/${keyword}` });
      }
    }
    const { format, pattern } = schema;
    if (typeof format === 'string' && this.#isKeyword(schema, 'format') && !this.dialect.isFormat(format)) {
      throw invalid(
        `The schema file "${file.path}" has at ${pointer}/format the format "${format}", which is unknown`,
        'Formats are checked, so each must be a known one; docs/contracts.md lists them.',
      );
    }
    if (typeof pattern === 'string' && this.#isKeyword(schema, 'pattern')) {
      requireRegExp(pattern, file, `${pointer}/pattern`);
    }
    for (const [keyword, value] of Object.entries(schema)) {
      if (!this.#isKeyword(schema, keyword)) continue;
      const at = `${pointer}/${keyword}`;
      if (BY_NAME.has(keyword) && isObject(value)) {
        if (Object.hasOwn(value, '__proto__')) {
          throw invalid(`The schema file "${file.path}" has at ${at} the name "__proto__", which cannot be checked`);
        }
        for (const [name, part] of Object.entries(value)) {
          if (keyword === 'patternProperties') requireRegExp(name, file, `${at}/${escapeToken(name)}`);
          this.#visit(part, resource, `${at}/${escapeToken(name)}`);
        }
      } else if (ONE_OR_LIST.has(keyword)) {
        if (Array.isArray(value)) value.forEach((part, index) => this.#visit(part, resource, `${at}/${index}`));
        else this.#visit(value, resource, at);
      }
    }
  }

  /** Notes the schema's `$id` and anchors. Returns the resource it belongs to. */
  #identify(schema: JsonObject, around: Resource, pointer: string): Resource {
    let resource = around;
    const id = schema.$id;
    if (typeof id === 'string' && pointer !== '' && this.#isKeyword(schema, '$id') && !id.startsWith('#')) {
      const uri = resolveUri(id, around.uri)?.uri;
      if (uri === undefined) throw invalid(`The schema file "${around.file.path}" has at ${pointer}/$id no valid URI`);
      resource = this.#addResource(uri, around.file, pointer, schema);
    }
    const anchor = this.dialect.draft === 'draft-07' ? /^#(.*)$/s.exec(String(id))?.[1] : schema.$anchor;
    if (typeof anchor === 'string') resource.anchors.set(anchor, pointer);
    const dynamicAnchor = schema.$recursiveAnchor === true ? '' : schema.$dynamicAnchor;
    if (typeof dynamicAnchor === 'string' && this.dialect.isKeyword('$dynamicAnchor')) {
      resource.anchors.set(dynamicAnchor, pointer);
      resource.dynamicAnchors.set(dynamicAnchor, pointer);
    }
    return resource;
  }

  async #resolve(reference: Reference): Promise<void> {
    const { keyword, text, holder } = reference;
    const resolved = resolveUri(text, reference.resource.uri);
    if (!resolved) {
      throw invalid(`${describe(reference)} is relative, but the $id around it is no base for that`);
    }
    let resource = this.#resources.get(resolved.uri);
    if (!resource) {
      const file = await this.files.openUri(resolved.uri, describe(reference));
      resource = this.#copies.has(file) ? this.#resources.get(file.url) : this.#addFile(file);
      if (!resource) throw new Error(`no resource for ${file.url}`);
      this.#resources.set(resolved.uri, resource);
    }
    const fragment = decodeFragment(resolved.fragment);
    const pointer = fragment === undefined ? undefined : pointerOf(fragment, resource);
    const schema = pointer === undefined ? undefined : this.#schemaAt(resource.file, pointer);
    if (fragment === undefined || pointer === undefined || schema === undefined) {
      throw invalid(
        `${describe(reference)} means a schema that "${resource.file.path}" does not have`,
        'Correct the part after #.',
      );
    }
    if (isObject(schema) && !this.#schemas.has(schema)) this.#visitValid(schema, resource, pointer);

    const target = { resource, pointer, fragment };
    if (pointer !== '' && resource.file !== reference.resource.file) this.#enteredInside.add(resource.file);
    if (keyword === '$ref') holder.$ref = this.#linkTo(target);
    else this.#dynamic.push([reference, target]);
  }

  #schemaAt(file: SchemaFile, pointer: string): JsonObject | boolean | undefined {
    let at: unknown = this.#copies.get(file)?.schema;
    for (const token of pointer.split('/').slice(1).map(unescapeToken)) {
      if (Array.isArray(at) && /^(0|[1-9]\d*)$/.test(token)) at = at[Number(token)];
      else if (isObject(at) && Object.hasOwn(at, token)) {
        this.#steps.set(at, (this.#steps.get(at) ?? new Set()).add(token));
        at = at[token];
      } else return undefined;
    }
    return typeof at === 'boolean' || isObject(at) ? at : undefined;
  }

  /**
   * Makes a dynamic reference a plain one where it can mean one schema only (JSON Schema core, 8.2.3.2).
   * Ajv is right about the others only where each anchor is at the root of a file that is entered at its root.
   */
  #settleDynamic(reference: Reference, target: Target): void {
    const { keyword, text, holder, resource } = reference;
    const name = keyword === '$recursiveRef' ? '' : target.fragment;
    const candidates = [...new Set(this.#resources.values())].filter(({ dynamicAnchors }) => dynamicAnchors.has(name));
    if (!target.resource.dynamicAnchors.has(name) || candidates.length === 1) {
      Reflect.deleteProperty(holder, keyword);
      const link = this.#linkTo(target);
      if (!('$ref' in holder)) holder.$ref = link;
      else holder.allOf = [...((holder.allOf as unknown[] | undefined) ?? []), { $ref: link }];
      return;
    }
    const clear = candidates.every((it) => it.dynamicAnchors.get(name) === '' && !this.#enteredInside.has(it.file));
    if (!clear || !text.startsWith('#') || resource.pointer !== '') {
      throw invalid(
        `${describe(reference)} can mean several schemas, in ${candidates.map((it) => `"${it.file.path}"`).join(', ')}`,
        `Use $ref, or have the anchor at the root of each of these files and refer to them as a whole.`,
      );
    }
    this.#keptAnchors.add(name);
  }

  #linkTo({ resource, pointer }: Target): string {
    return `${this.#copies.get(resource.file)?.id}#${pointer.split('/').map(encodeURIComponent).join('/')}`;
  }

  #prune(schema: JsonObject): void {
    for (const key of Object.keys(schema)) {
      const isAnchor = key === '$dynamicAnchor' || key === '$recursiveAnchor';
      const name = key === '$recursiveAnchor' ? '' : schema[key];
      const isNeeded = isAnchor
        ? typeof name === 'string' && this.#keptAnchors.has(name)
        : key !== '$id' && key !== '$schema' && this.#isKeyword(schema, key);
      if (!isNeeded && !this.#steps.get(schema)?.has(key)) Reflect.deleteProperty(schema, key);
    }
  }

  /** In draft-07 a `$ref` hides all other keywords beside it (8.3). */
  #isKeyword(schema: JsonObject, name: string): boolean {
    const isHidden = this.dialect.draft === 'draft-07' && typeof schema.$ref === 'string';
    return isHidden ? name === '$ref' || name === 'definitions' : this.dialect.isKeyword(name);
  }

  #requireDraft(schema: JsonObject, file: SchemaFile, pointer: string): void {
    const declared = schema.$schema;
    if (declared === undefined || this.dialect.isDeclaredBy(declared)) return;
    throw invalid(
      `The schema file "${file.path}" declares at ${pointer}/$schema ${JSON.stringify(declared)}, but the root schema "${this.root.path}" is ${this.dialect.draft}`,
      'Write all files of a contract in one draft.',
    );
  }
}

function describe({ text, resource, pointer }: Reference): string {
  return `The reference "${text}" in "${resource.file.path}" at ${pointer}`;
}

/** Ajv finds a wrong expression only when it compiles it, and does not say where it is. */
function requireRegExp(expression: string, file: SchemaFile, pointer: string): void {
  try {
    new RegExp(expression, 'u');
  } catch (error) {
    throw invalid(
      `The schema file "${file.path}" has at ${pointer} no valid regular expression: ${reasonOf(error)}`,
      'Write it as ECMAScript with the flag u has it: there, for example, \\- is allowed inside [ ] only.',
    );
  }
}

function decodeFragment(fragment: string): string | undefined {
  try {
    return decodeURIComponent(fragment);
  } catch {
    return undefined;
  }
}

function pointerOf(fragment: string, resource: Resource): string | undefined {
  if (fragment === '') return resource.pointer;
  return fragment.startsWith('/') ? resource.pointer + fragment : resource.anchors.get(fragment);
}

function escapeToken(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}

function unescapeToken(token: string): string {
  return token.replaceAll('~1', '/').replaceAll('~0', '~');
}
