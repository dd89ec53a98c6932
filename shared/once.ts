/**
 * Makes of a function one that runs at its first call only, and later gives what came of that. For `import()`: Node looks
 * for the file of a module that it has loaded, too, and an update may have taken that away.
 */
export function once<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined;
  return () => (made ??= { value: make() }).value;
}
