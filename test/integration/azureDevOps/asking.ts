import type { AzureDevOps } from '../../support/azureDevOps/azureDevOps.ts';
import type { Pipeline } from '../../support/azureDevOps/pipelines.ts';

/** An answer; `json` is undefined when the body is none. */
export type Asked = Awaited<ReturnType<typeof ask>>;

export interface Asking {
  readonly authorization?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
}

export function basic(pat: string): string {
  return `Basic ${Buffer.from(`:${pat}`).toString('base64')}`;
}

/** Asks for a path below the organization, with a good token unless told otherwise; redirects aren't followed. */
export async function ask(azure: AzureDevOps, path: string, asking: Asking = {}) {
  const { authorization = basic(azure.pat), headers, ...init } = asking;
  const url = new URL(path, azure.url);
  const response = await fetch(url, { redirect: 'manual', ...init, headers: { authorization, ...headers } });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: parsed(text) };
}

/** The path of a pipeline's runs. */
export function runsPath({ project, id }: Pipeline, version = '7.1'): string {
  return `${encodeURIComponent(project.name)}/_apis/pipelines/${id}/runs?api-version=${version}`;
}

/** Starts a run, or tries to. */
export function start(azure: AzureDevOps, pipeline: Pipeline, body: unknown = {}, asking: Asking = {}): Promise<Asked> {
  const headers = { 'content-type': 'application/json', ...asking.headers };
  return ask(azure, runsPath(pipeline), { ...asking, method: 'POST', body: JSON.stringify(body), headers });
}

/** Asks for a list of builds of the first project. */
export function list(azure: AzureDevOps, query: Readonly<Record<string, string>> = {}, asking: Asking = {}) {
  const path = `Shop/_apis/build/builds?${new URLSearchParams({ 'api-version': '7.1', ...query }).toString()}`;
  return ask(azure, path, asking);
}

function parsed(text: string) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
