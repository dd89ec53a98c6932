/** Code, a block or a span of it, keeps what looks like a link in it. */
const CODE_OR_LINK = /(?<!`)(`+)(?!`)[^]*?(?<!`)\1(?!`)|(!?)\[((?:[^[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)/g;

/**
 * The listing page of the Marketplace from README.md. Links into the repository lead to its public address; while it has
 * none, they are plain text. Images stay relative if they are in the package, a drawing as the PNG of its name, since the
 * Marketplace takes no SVG; addresses and anchors stay as they are.
 * @param repository the repository's public address, without a slash at the end
 * @param packed the files of the package
 */
export function listingOf(readme: string, repository: string | undefined, packed: readonly string[]): string {
  return readme.replace(CODE_OR_LINK, (whole, _code, image?: string, text?: string, target?: string) => {
    if (image === undefined || text === undefined || target === undefined) return whole;
    if (/^(#|[a-z][\w+.-]*:)/i.test(target)) return whole;
    const picture = target.replace(/\.svg$/, '.png');
    if (image && packed.includes(picture)) return `![${text}](${picture})`;
    const inner = listingOf(text, repository, packed);
    if (repository === undefined) return inner;
    return `${image}[${inner}](${repository}/${image ? 'raw' : 'blob'}/HEAD/${target})`;
  });
}
