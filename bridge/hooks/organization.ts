/**
 * A test for URLs of an organization: equal by origin and first part of the path, ignoring case. Both of Azure DevOps'
 * forms name the same: `https://dev.azure.com/contoso/` and `https://contoso.visualstudio.com/`.
 */
export function organizationTest(organization: string): (url: unknown) => boolean {
  const own = organizationKey(organization);
  // Nearly all lookups are for the same text.
  let last: unknown = organization;
  let isOurs = own !== undefined;
  return (url) => {
    if (url !== last) {
      isOurs = own !== undefined && typeof url === 'string' && organizationKey(url) === own;
      last = url;
    }
    return isOurs;
  };
}

/** The part that all URLs of an organization share; undefined for anything but a URL. */
export function organizationKey(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined;
  const { origin, pathname } = new URL(url);
  const legacy = /^https:\/\/([^./]+)\.visualstudio\.com$/.exec(origin)?.[1];
  if (legacy !== undefined) return `https://dev.azure.com/${legacy}`;
  return `${origin}/${pathname.split('/')[1] ?? ''}`.toLowerCase();
}
