import { reasonOf } from '../errors.ts';
import { isObject } from '../text/json.ts';
import { nearestOf } from '../text/nearest.ts';
import { keywordMeant } from './misspeltKeywords.ts';
import { shorten, type Contract } from './contract.ts';
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
  /** All that {@link isKeyword} is true of. */
  readonly keywords: readonly string[];
  /** The formats that are checked. */
  readonly formats: ReadonlySet<string>;
  /** Whether a `$schema` names this draft. */
  isDeclaredBy(schema: unknown): boolean;
  /** Why a value isn't a schema of this draft, with JSON pointers that start at `pointer`; undefined when it is one. */
  reasonAgainst(schema: JsonObject | boolean, pointer: string): string | undefined;
}

/** Schemas compiled on their own because something refers to them, keyed by the text of those `$ref`s. */
export class LinkedSchemas {
  readonly #ids = new Map<unknown, string>();
  readonly #schemas = new Map<string, unknown>();

  /** The text of a `$ref` that means this very schema. */
  idOf(schema: unknown): string {
    const id = this.#ids.get(schema) ?? `contract:/${this.#ids.size}`;
    this.#ids.set(schema, id);
    this.#schemas.set(id, schema);
    return id;
  }

  at(id: unknown): unknown {
    return this.#schemas.get(String(id));
  }

  entries(): Iterable<[id: string, schema: unknown]> {
    return this.#schemas.entries();
  }
}

/** A root schema with its references resolved. */
export interface Linked {
  /** The root's is the first. They have no identifiers, plain references only, and no unknown keyword. */
  readonly schemas: LinkedSchemas;
  /**
   * Those files read, as they are linked. A file has several if its dynamic references mean different schemas on different
   * paths to it.
   */
  readonly copies: readonly { readonly file: SchemaFile; readonly schema: JsonObject | boolean }[];
  /** Schemas with `unevaluatedProperties` or `unevaluatedItems`. */
  readonly asking: readonly JsonObject[];
  /** All files reached, the root first. */
  readonly files: readonly SchemaFile[];
  readonly warnings: Contract['warnings'];
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
const IDENTIFIERS = new Set(['$schema', '$id', '$anchor', '$dynamicAnchor', '$recursiveAnchor']);
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
  /** Schemas by the anchors that a dynamic reference looks for; `$recursiveAnchor` has the empty name. */
  readonly dynamicAnchors: Map<string, JsonObject>;
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

/** What a reference means: a schema, in its resource. */
interface Meaning {
  readonly resource: Resource;
  readonly schema: JsonObject | boolean;
}

interface Target extends Meaning {
  /** For a dynamic reference that starts at an anchor of its kind: the anchor's name. */
  readonly dynamicName?: string;
}

/** By dynamic anchor, the outermost resource entered that has it. Only for names that several resources have. */
type Scope = ReadonlyMap<string, Resource>;

/** A file as it is to be read within a dynamic scope. */
interface Copy {
  readonly file: SchemaFile;
  readonly schema: JsonObject | boolean;
  readonly scope: Scope;
  /** The copy's part for a part of the file. */
  readonly partOf: (part: JsonObject) => JsonObject;
}

/** A file's text as it was parsed, and what stands in it. */
interface FileParts {
  readonly parsed: JsonObject | boolean;
  readonly schemas: JsonObject[];
  readonly references: (readonly [Reference, Target])[];
}

/** Longest format name that someone could have misspelt, in characters. */
const LONGEST_FORMAT = 50;
/** Names that are compared with the keywords: a schema may have any number. */
const MOST_NAMES = 200;

/** Limit for copies that dynamic references need besides the first of each file: characters of their texts, plus some for each. */
const MAX_COPIED = 10_000_000;
const COPY_COST = 10_000;

/**
 * Follows all references from a root schema, and makes copies of the files reached that need no further resolution:
 * Ajv gives some keywords a meaning of its own, misses some references and anchors, and knows files by one URI only.
 *
 * @throws TaskError InvalidSchema
 */
export async function linkSchemas(files: SchemaFolder, root: SchemaFile, dialect: Dialect): Promise<Linked> {
  return await new Linker(files, root, dialect).link();
}

class Linker {
  readonly #files = new Map<SchemaFile, FileParts>();
  readonly #copies = new Map<string, Copy>();
  readonly #linked = new LinkedSchemas();
  readonly #asking: JsonObject[] = [];
  readonly #settled: (readonly [JsonObject, Reference])[] = [];
  readonly #resources = new Map<string, Resource>();
  /** Each schema with the resource it belongs to. */
  readonly #schemas = new Map<JsonObject, Resource>();
  /** Keys that a JSON pointer goes through: kept even where they are unknown keywords. */
  readonly #steps = new Map<JsonObject, Set<string>>();
  readonly #references: Reference[] = [];
  /** Dynamic anchors that several resources have: which one a reference means depends on the path to it. */
  #unsettled: ReadonlySet<string> = new Set();
  #copied = 0;
  /** One warning each, about the first place. */
  readonly #unknownFormats = new Map<string, Contract['warnings'][number]>();
  /** Names that are no keywords, each with its first place, and the keyword that was probably meant. */
  readonly #misspelt = new Map<string, Place & { readonly schema: JsonObject; readonly meant: string | undefined }>();

  constructor(
    private readonly files: SchemaFolder,
    private readonly root: SchemaFile,
    private readonly dialect: Dialect,
  ) {}

  async link(): Promise<Linked> {
    this.#addFile(this.root);
    for (const reference of this.#references) await this.#resolve(reference); // grows while it is read
    this.#unsettled = this.#unsettledNames();
    const [root] = this.#resources.values();
    if (root !== undefined) this.#linkTo({ resource: root, schema: root.schema }, new Map());
    for (const copy of this.#copies.values()) this.#settle(copy); // grows, too
    this.#refuseCircles();
    return {
      schemas: this.#linked,
      copies: [...this.#copies.values()],
      asking: this.#asking,
      files: [...this.#files.keys()],
      warnings: [...this.#unknownFormats.values(), ...this.#misspeltKeywords()],
    };
  }

  #addFile(file: SchemaFile): Resource {
    const parsed = JSON.parse(file.text) as JsonObject | boolean;
    const resource = this.#addResource(file.uri, file, '', parsed);
    this.#resources.set(file.url, resource);
    this.#files.set(file, { parsed, schemas: [], references: [] });
    this.#visitValid(parsed, resource, '');
    return resource;
  }

  #partsOf(file: SchemaFile): FileParts {
    const parts = this.#files.get(file);
    if (parts === undefined) throw new Error(`${file.path} was not added`);
    return parts;
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
      const place = pointer === '' ? '' : ` at ${pointer}`;
      throw invalid(
        `The schema file "${resource.file.path}" is not a valid ${this.dialect.draft} schema${place}: ${reason}`,
      );
    }
    this.#visit(schema, resource, pointer);
  }

  #visit(schema: unknown, around: Resource, pointer: string): void {
    if (!isObject(schema) || this.#schemas.has(schema)) return;
    const { file } = around;
    this.#requireDraft(schema, file, pointer);
    const resource = this.#identify(schema, around, pointer);
    this.#schemas.set(schema, resource);
    this.#partsOf(file).schemas.push(schema);

    for (const keyword of REFERENCES) {
      const text = schema[keyword];
      if (typeof text === 'string' && this.#isKeyword(schema, keyword)) {
        this.#references.push({ keyword, text, holder: schema, resource, pointer: `${pointer}/${keyword}` });
      }
    }
    const { format, pattern } = schema;
    if (typeof format === 'string' && this.#isKeyword(schema, 'format') && !this.dialect.formats.has(format)) {
      this.#noteUnknown(format, file, `${pointer}/format`);
    }
    if (typeof pattern === 'string' && this.#isKeyword(schema, 'pattern')) {
      requireRegExp(pattern, file, `${pointer}/pattern`);
    }
    for (const [keyword, value] of Object.entries(schema)) {
      if (!this.#isKeyword(schema, keyword)) {
        this.#noteName(keyword, schema, resource, pointer);
        continue;
      }
      const at = `${pointer}/${keyword}`;
      if (BY_NAME.has(keyword) && isObject(value)) {
        if (Object.hasOwn(value, '__proto__') && keyword === 'properties') matchProto(schema, value);
        else if (Object.hasOwn(value, '__proto__')) {
          throw invalid(`The schema file "${file.path}" uses the name "__proto__" at ${at}, which cannot be checked`);
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

  /** From draft 2019-09 on an unknown format says something and checks nothing (JSON Schema validation, 7.2.3). */
  #noteUnknown(format: string, file: SchemaFile, at: string): void {
    const problem = `The schema file "${file.path}" has at ${at} the format "${shorten(format)}", which is unknown`;
    const [nearest] = format.length > LONGEST_FORMAT ? [] : (nearestOf(format, [...this.dialect.formats]) ?? []);
    const known = nearest === undefined ? '' : `The nearest known one is "${nearest}"; `;
    const remedy = `${known}docs/contracts.md lists all of them.`;
    if (this.dialect.draft === 'draft-07') throw invalid(problem, `Draft-07 allows only known formats. ${remedy}`);
    if (this.#unknownFormats.has(format)) return;
    this.#unknownFormats.set(format, { problem: `${problem}, so it isn't checked`, remedy });
  }

  #noteName(name: string, schema: JsonObject, resource: Resource, pointer: string): void {
    if (this.dialect.isKeyword(name) || resource.file.isBuiltIn === true) return;
    if (this.#misspelt.size === MOST_NAMES || this.#misspelt.has(name)) return;
    const meant = keywordMeant(name, schema[name], this.dialect.keywords);
    this.#misspelt.set(name, { schema, resource, pointer: `${pointer}/${escapeToken(name)}`, meant });
  }

  /** JSON Schema allows any name beside its keywords, so a misspelt one checks nothing. */
  #misspeltKeywords(): Contract['warnings'] {
    return [...this.#misspelt].flatMap(([name, { schema, resource, pointer, meant }]) => {
      // What a reference leads through is meant.
      if (meant === undefined || this.#steps.get(schema)?.has(name) === true) return [];
      const problem = `The schema file "${resource.file.path}" has at ${pointer} "${name}", which is no keyword, so it checks nothing`;
      return [{ problem, remedy: `Did you mean "${meant}"?` }];
    });
  }

  /** Notes the schema's `$id` and anchors. Returns the resource it belongs to. */
  #identify(schema: JsonObject, around: Resource, pointer: string): Resource {
    let resource = around;
    const id = schema.$id;
    if (typeof id === 'string' && pointer !== '' && this.#isKeyword(schema, '$id') && !id.startsWith('#')) {
      const uri = resolveUri(id, around.uri)?.uri;
      if (uri === undefined)
        throw invalid(`The schema file "${around.file.path}" has an invalid URI at ${pointer}/$id`);
      resource = this.#addResource(uri, around.file, pointer, schema);
    }
    const anchor = this.dialect.draft === 'draft-07' ? /^#(.*)$/s.exec(String(id))?.[1] : schema.$anchor;
    if (typeof anchor === 'string') resource.anchors.set(anchor, pointer);
    const { $dynamicAnchor, $recursiveAnchor } = schema;
    if (typeof $dynamicAnchor === 'string' && this.dialect.isKeyword('$dynamicAnchor')) {
      resource.anchors.set($dynamicAnchor, pointer);
      resource.dynamicAnchors.set($dynamicAnchor, schema);
    }
    const isRoot = pointer === resource.pointer;
    if ($recursiveAnchor === true && isRoot && this.dialect.isKeyword('$recursiveAnchor')) {
      resource.dynamicAnchors.set('', schema);
    }
    return resource;
  }

  async #resolve(reference: Reference): Promise<void> {
    const { keyword, text } = reference;
    const resolved = resolveUri(text, reference.resource.uri);
    if (!resolved) {
      throw invalid(`${describe(reference)} is relative, but the $id around it cannot be its base`);
    }
    let resource = this.#resources.get(resolved.uri);
    if (!resource) {
      const file = await this.files.openUri(resolved.uri, describe(reference));
      resource = this.#files.has(file) ? this.#resources.get(file.url) : this.#addFile(file);
      if (!resource) throw new Error(`no resource for ${file.url}`);
      this.#resources.set(resolved.uri, resource);
    }
    const fragment = decodeFragment(resolved.fragment);
    const pointer = fragment === undefined ? undefined : pointerOf(fragment, resource);
    const schema = pointer === undefined ? undefined : this.#schemaAt(resource.file, pointer);
    if (fragment === undefined || pointer === undefined || schema === undefined) {
      throw invalid(
        `${describe(reference)} points to a schema that "${resource.file.path}" does not have`,
        'Correct the part after #.',
      );
    }
    if (isObject(schema) && !this.#schemas.has(schema)) this.#visitValid(schema, resource, pointer);

    // The target may lie in a resource inside the one that the URI begins with.
    const inner = isObject(schema) ? this.#schemas.get(schema) : undefined;
    const target = { resource: inner ?? resource, schema };
    const name = keyword === '$recursiveRef' ? '' : fragment;
    const isDynamic = keyword !== '$ref' && resource.dynamicAnchors.get(name) === schema;
    const means = isDynamic ? { ...target, dynamicName: name } : target;
    this.#partsOf(reference.resource.file).references.push([reference, means]);
  }

  #schemaAt(file: SchemaFile, pointer: string): JsonObject | boolean | undefined {
    let at: unknown = this.#partsOf(file).parsed;
    for (const token of pointer.split('/').slice(1).map(unescapeToken)) {
      if (Array.isArray(at) && /^(0|[1-9]\d*)$/.test(token)) at = at[Number(token)];
      else if (isObject(at) && Object.hasOwn(at, token)) {
        this.#steps.set(at, (this.#steps.get(at) ?? new Set()).add(token));
        at = at[token];
      } else return undefined;
    }
    return typeof at === 'boolean' || isObject(at) ? at : undefined;
  }

  #unsettledNames(): Set<string> {
    const resources = [...new Set(this.#resources.values())];
    const isUnsettled = (name: string) => resources.filter(({ dynamicAnchors }) => dynamicAnchors.has(name)).length > 1;
    const targets = [...this.#files.values()].flatMap(({ references }) => references.map(([, target]) => target));
    const names = new Set(targets.flatMap(({ dynamicName }) => (dynamicName === undefined ? [] : [dynamicName])));
    return new Set([...names].filter(isUnsettled));
  }

  /** The dynamic scope after a resource is entered (JSON Schema core, 7.1): what was entered first stays the outermost. */
  #entered(resource: Resource, scope: Scope): Scope {
    if (this.#unsettled.size === 0) return scope;
    const added = [...resource.dynamicAnchors.keys()].filter((name) => this.#unsettled.has(name) && !scope.has(name));
    return added.length === 0 ? scope : new Map([...scope, ...added.map((name) => [name, resource] as const)]);
  }

  /** Whether a resource adds nothing to a scope: only then is it ever read in the copy of its file for that scope. */
  #isReadIn(resource: Resource, scope: Scope): boolean {
    return this.#entered(resource, scope) === scope;
  }

  /** The reference to a target from within a scope. Makes the copy that it leads to, if it's the first. */
  #linkTo({ resource, schema }: Meaning, from: Scope): string {
    const scope = this.#entered(resource, from);
    const entries = [...scope].map(([name, { uri }]) => [name, uri]);
    const key = JSON.stringify([resource.file.path, entries.sort()]);
    const copy = this.#copies.get(key) ?? this.#copy(resource.file, scope);
    this.#copies.set(key, copy);
    return this.#linked.idOf(isObject(schema) ? copy.partOf(schema) : schema);
  }

  #copy(file: SchemaFile, scope: Scope): Copy {
    const original = this.#partsOf(file).parsed;
    // Nearly always there's one copy of each file, and it may be the parsed file itself.
    if (this.#unsettled.size === 0) return { file, scope, schema: original, partOf: (part) => part };
    this.#copied += file.text.length + COPY_COST;
    if (this.#copied > MAX_COPIED) {
      throw invalid(
        `The dynamic references in "${file.path}" resolve to different schemas along too many paths`,
        'Use $ref, or give fewer resources the same dynamic anchors.',
      );
    }
    const parts = new Map<JsonObject, JsonObject>();
    const schema = cloned(original, parts) as JsonObject | boolean;
    return { file, scope, schema, partOf: (part) => parts.get(part) ?? part };
  }

  /** Makes a copy's references absolute and plain, and takes away what nothing needs. */
  #settle({ file, scope, partOf }: Copy): void {
    const { schemas, references } = this.#partsOf(file);
    for (const schema of schemas) {
      const part = partOf(schema);
      this.#prune(schema, part);
      if ('unevaluatedProperties' in part || 'unevaluatedItems' in part) this.#asking.push(part);
      const resource = this.#schemas.get(schema);
      if (resource?.schema !== schema || resource.pointer === '' || this.#isReadIn(resource, scope)) continue;
      // It adds to the scope, so it's read in the copy for that scope.
      for (const key of Object.keys(part)) Reflect.deleteProperty(part, key);
      part.$ref = this.#linkTo({ resource, schema }, scope);
    }
    for (const [reference, target] of references) {
      const { holder, keyword, resource } = reference;
      if (!this.#isReadIn(resource, scope)) continue;
      const part = partOf(holder);
      const link = this.#linkTo(this.#meant(target, scope), scope);
      this.#settled.push([part, reference]);
      if (keyword === '$ref') part.$ref = link;
      else {
        Reflect.deleteProperty(part, keyword);
        if (!('$ref' in part)) part.$ref = link;
        else part.allOf = [...((part.allOf as unknown[] | undefined) ?? []), { $ref: link }];
      }
    }
  }

  /** What a reference means within a dynamic scope (JSON Schema core, 8.2.3.2). */
  #meant(target: Target, scope: Scope): Meaning {
    const outermost = target.dynamicName === undefined ? undefined : scope.get(target.dynamicName);
    const schema = outermost?.dynamicAnchors.get(target.dynamicName ?? '');
    return outermost === undefined || schema === undefined ? target : { resource: outermost, schema };
  }

  #refuseCircles(): void {
    const good = new Set<unknown>();
    for (const [part, reference] of this.#settled) {
      const way = new Set<unknown>();
      for (let at: unknown = part; isObject(at) && '$ref' in at && !good.has(at); at = this.#linked.at(at.$ref)) {
        if (way.has(at)) throw invalid(`${describe(reference)} leads to itself`, 'Point it at the schema you mean.');
        way.add(at);
      }
      for (const at of way) good.add(at);
    }
  }

  #prune(schema: JsonObject, part: JsonObject): void {
    for (const key of Object.keys(part)) {
      const isNeeded = !IDENTIFIERS.has(key) && this.#isKeyword(schema, key);
      if (!isNeeded && !this.#steps.get(schema)?.has(key)) Reflect.deleteProperty(part, key);
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
      `The schema file "${file.path}" declares ${JSON.stringify(declared)} at ${pointer}/$schema, but the root schema "${this.root.path}" is ${this.dialect.draft}`,
      'Write all files of a contract in one draft.',
    );
  }
}

/** Makes a pattern find the property that Ajv leaves out. */
function matchProto(schema: JsonObject, properties: JsonObject): void {
  const patterns = (schema.patternProperties as JsonObject | undefined) ?? {};
  let pattern = '^__proto__$';
  while (Object.hasOwn(patterns, pattern)) pattern = `(?:${pattern})`;
  schema.patternProperties = { ...patterns, [pattern]: properties['__proto__'] };
}

/** A copy of a JSON value that notes for each object which one it became. */
function cloned(value: unknown, parts: Map<JsonObject, JsonObject>): unknown {
  if (Array.isArray(value)) return value.map((item) => cloned(item, parts));
  if (!isObject(value)) return value;
  const clone = Object.fromEntries(Object.entries(value).map(([name, member]) => [name, cloned(member, parts)]));
  parts.set(value, clone);
  return clone;
}

function describe({ text, resource, pointer }: Reference): string {
  return `The reference "${text}" in "${resource.file.path}" at ${pointer}`;
}

/** Ajv finds a bad expression only when it compiles it, and doesn't say where it is. */
function requireRegExp(expression: string, file: SchemaFile, pointer: string): void {
  try {
    new RegExp(expression, 'u');
  } catch (error) {
    throw invalid(
      `The schema file "${file.path}" has an invalid regular expression at ${pointer}: ${reasonOf(error)}`,
      'Write it in ECMAScript syntax with the flag u, which, for example, allows \\- only inside [ ].',
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
