import { isObject } from '../text/json.ts';
import { probablyMeant } from '../text/nearest.ts';

/** Longest name that could be a misspelt keyword, in characters. */
const LONGEST = 24;

const isSchema = (value: unknown) => isObject(value) || typeof value === 'boolean';
const isText = (value: unknown) => typeof value === 'string';
const isNumber = (value: unknown) => typeof value === 'number';

/** Keywords by what they take. The others check nothing, or a reference that misses them is an error anyway. */
const CHECKING: readonly (readonly [keywords: string, takes: (value: unknown) => boolean])[] = [
  ['$ref $dynamicRef $recursiveRef $schema format pattern', isText],
  ['type', (value) => isText(value) || Array.isArray(value)],
  ['enum required allOf anyOf oneOf prefixItems', Array.isArray],
  ['dependencies dependentRequired dependentSchemas patternProperties properties', isObject],
  ['items', (value) => isSchema(value) || Array.isArray(value)],
  ['additionalItems additionalProperties contains else if not propertyNames then', isSchema],
  ['unevaluatedItems unevaluatedProperties', isSchema],
  ['exclusiveMaximum exclusiveMinimum maximum minimum multipleOf', isNumber],
  ['maxContains maxItems maxLength maxProperties minContains minItems minLength minProperties', isNumber],
  ['uniqueItems', (value) => typeof value === 'boolean'],
  ['const', () => true],
];
const TAKES = new Map(CHECKING.flatMap(([keywords, takes]) => keywords.split(' ').map((it) => [it, takes] as const)));

/**
 * The keyword that was probably meant by a name that is none: one that would check something, and that takes such a value.
 * JSON Schema allows any name, so `example` and `form` aren't suspected.
 *
 * @param keywords those of the draft
 */
export function keywordMeant(name: string, value: unknown, keywords: readonly string[]): string | undefined {
  if (name.length > LONGEST || /^x-/i.test(name)) return undefined;
  const letters = lettersOf(name);
  const mostLetters = name.length < 6 ? 1 : name.length < 12 ? 2 : 3;
  const meant =
    keywords.find((keyword) => lettersOf(keyword) === letters) ?? probablyMeant(name, keywords, mostLetters);
  return meant !== undefined && TAKES.get(meant)?.(value) === true ? meant : undefined;
}

/** Two letters that changed places are the most frequent mistake, and two changes. */
function lettersOf(name: string): string {
  return Array.from(name.toLowerCase()).sort().join('');
}
