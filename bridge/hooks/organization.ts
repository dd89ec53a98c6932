/**
 * A test for URLs of an organisation: equal by origin and first part of the path, ignoring case. Both of Azure DevOps'
 * forms name the same: `https://dev.azure.com/contoso/` and `https://contoso.visualstudio.com/`.
 */
export function organizationTest(organization: string): (url: unknown) => boolean {
  const own = keyOf(organization);
  return (url) => own !== undefined && typeof url === 'string' && keyOf(url) === own;
}

function keyOf(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined;
  const { origin, hostname, protocol, pathname } = new URL(url);
  const legacy = protocol === 'https:' ? /^([^.]+)\.visualstudio\.com$/.exec(hostname)?.[1] : undefined;
  if (legacy !== undefined) return `https://dev.azure.com/${legacy}`;
  return `${origin}/${pathname.split('/')[1] ?? ''}`.toLowerCase();
}
