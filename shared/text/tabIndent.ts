/** What is wrong with a line that {@link tabIndentAt} finds: a clause without the last full stop. */
export const TAB_INDENT = 'this line is indented with a tab. Indent all lines with spaces';

/**
 * Where YAML's parser stumbles over a line because it's indented with a tab, which mostly causes many errors; undefined: nowhere.
 * @param errors of the parser
 */
export function tabIndentAt(
  text: string,
  errors: readonly { readonly code: string; readonly pos: readonly [number, number] }[],
): number | undefined {
  const [first] = errors;
  if (first === undefined) return undefined;
  const [offset] = (errors.find(({ code }) => code === 'TAB_AS_INDENT') ?? first).pos;
  const before = text.slice(text.lastIndexOf('\n', offset - 1) + 1, offset);
  const isTab = before.trim() === '' && `${before}${text[offset] ?? ''}`.includes('\t');
  return isTab ? offset : undefined;
}
