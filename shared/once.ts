/**
 * Wraps a function so that it runs once; later calls return the first result. Meant for `import()`: Node looks for a module's
 * file even when it's loaded, and an update may have removed that file.
 */
export function once<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined;
  return () => (made ??= { value: make() }).value;
}
