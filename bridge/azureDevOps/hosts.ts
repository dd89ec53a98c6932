/**
 * Where Azure Artifacts' feeds of an organization are, with closing slash. Azure DevOps Services has them at a host of
 * their own, which follows from the organization's; any other server has them at its own.
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
