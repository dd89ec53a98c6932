import fc from 'fast-check';

export type AnnotatingDraft = '2019-09' | '2020-12';

const NAMES = ['a', 'b', 'ab', 'c'] as const;
const DEFS = ['p', 'q', 'r'] as const;

/** Values small enough that most schemas below evaluate each part of them. */
export const smallValue: fc.Arbitrary<unknown> = fc.letrec((value) => {
  const scalar = fc.constantFrom(0, 1, 's', null, true);
  const member = fc.oneof({ maxDepth: 2, depthSize: 'small' }, scalar, scalar, value('object'), value('list'));
  return {
    object: fc
      .uniqueArray(fc.constantFrom(...NAMES), { maxLength: 4 })
      .chain((names) =>
        fc
          .tuple(...names.map(() => member))
          .map((members) => Object.fromEntries(names.map((it, i) => [it, members[i]]))),
      ),
    list: fc.array(member, { maxLength: 4 }),
    any: fc.oneof({ weight: 3, arbitrary: value('object') }, { weight: 3, arbitrary: value('list') }, scalar),
  };
}).any;

/**
 * Schemas of the keywords that annotate what they evaluate, and of those that use these annotations. Schemas for the
 * same value refer to nothing above them, so that validation ends.
 */
export function annotatingSchema(draft: AnnotatingDraft): fc.Arbitrary<object> {
  const of2020 = draft === '2020-12';
  const dynamic = of2020 ? { $dynamicRef: '#node' } : { $recursiveRef: '#' };
  const { schema } = fc.letrec((tie) => {
    const leaf = fc.constantFrom<unknown>(
      ...[true, false, {}, { type: 'string' }, { type: 'object' }, { type: 'array' }, { const: 0 }],
      ...[{ required: ['a'] }, { required: ['b'] }, { minItems: 2 }, { maxProperties: 1 }, { minProperties: 1 }],
    );
    const part = fc.oneof({ maxDepth: 3, depthSize: 'small' }, leaf, tie('schema'), tie('schema'));
    const child = fc.oneof({ weight: 6, arbitrary: part }, fc.constantFrom({ $ref: '#' }, dynamic));
    const parts = fc.array(part, { minLength: 1, maxLength: 3 });
    const byName = (value: fc.Arbitrary<unknown>) => fc.dictionary(fc.constantFrom(...NAMES), value, { maxKeys: 3 });
    const asking = fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, child);
    const ofLists: Record<string, fc.Arbitrary<unknown>> = of2020
      ? {
          prefixItems: fc.array(child, { minLength: 1, maxLength: 2 }),
          items: child,
          // Not in 2019-09, where it evaluates nothing: the validator to compare with treats it as in 2020-12.
          contains: child,
          minContains: fc.constantFrom(0, 1, 2),
          maxContains: fc.constantFrom(1, 2),
        }
      : { items: fc.oneof(fc.array(child, { minLength: 1, maxLength: 2 }), child), additionalItems: child };
    const keywords: Record<string, fc.Arbitrary<unknown>> = {
      ...ofLists,
      unevaluatedItems: asking,
      properties: byName(child),
      patternProperties: fc.dictionary(fc.constantFrom('^a', 'b$'), child, { minKeys: 1, maxKeys: 2 }),
      additionalProperties: child,
      dependentSchemas: byName(part),
      unevaluatedProperties: asking,
      propertyNames: fc.constantFrom<unknown>(true, { maxLength: 1 }),
      $ref: fc.constantFrom(...DEFS.map((name) => `#/$defs/${name}`)),
      allOf: parts,
      anyOf: parts,
      oneOf: parts,
      not: part,
      if: part,
      then: part,
      else: part,
    };
    // A few of them, and in every other schema one that uses annotations.
    const names = fc.tuple(
      fc.shuffledSubarray(Object.keys(keywords), { maxLength: 4 }),
      fc.subarray(['unevaluatedItems', 'unevaluatedProperties']),
    );
    return {
      schema: names.chain(([some, asked]) =>
        fc.record(Object.fromEntries([...some, ...asked].map((name) => [name, keywords[name] ?? fc.constant(true)]))),
      ),
    };
  }) as { schema: fc.Arbitrary<Record<string, unknown>> };
  const anchor = of2020 ? { $dynamicAnchor: 'node' } : { $recursiveAnchor: true };
  return fc.tuple(schema, schema, schema, schema).map(([root, p, q, r]) => {
    const $defs = { p: withoutRefs(p, ['q', 'r']), q: withoutRefs(q, ['r']), r: withoutRefs(r, []) };
    return { ...root, ...anchor, $defs };
  });
}

/** A schema in `$defs` that refers only to later ones. */
function withoutRefs(schema: unknown, allowed: readonly string[]): unknown {
  if (Array.isArray(schema)) return schema.map((part) => withoutRefs(part, allowed));
  if (typeof schema !== 'object' || schema === null) return schema;
  const members = Object.entries(schema).filter(
    ([name, value]) => name !== '$ref' || value === '#' || allowed.some((def) => value === `#/$defs/${def}`),
  );
  return Object.fromEntries(members.map(([name, value]) => [name, withoutRefs(value, allowed)]));
}
