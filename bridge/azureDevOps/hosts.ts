/**
 * The base URL of an organization's Azure Artifacts feeds, with closing slash. Azure DevOps Services has them on a host of
 * their own, derived from the organization's; any other server has them on its own host.
 *
 * @param organization its URL, with closing slash
 */
export function feedsUrlOf(organization: string): string {
  const url = new URL(organization);
  if (url.protocol !== 'https:' || url.port !== '') return organization;
  if (url.hostname === 'dev.azure.com') url.hostname = 'feeds.dev.azure.com';
  else url.hostname = url.hostname.replace(/^([^.]+)\.visualstudio\.com$/, '$1.feeds.visualstudio.com');
  return url.href;
}
