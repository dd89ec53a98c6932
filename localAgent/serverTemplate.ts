/** A request of a server task, as its task.json has it: templates. */
export interface CallTemplate {
  readonly EndpointUrl: string;
  readonly Method: string;
  /** JSON once it's rendered. */
  readonly Headers?: string;
  readonly Body?: string;
}

/** How Azure DevOps itself does a task, without an agent. */
export interface HttpRequestHandler {
  readonly Execute: CallTemplate;
  readonly Cancel?: CallTemplate;
  readonly Events?: {
    readonly TaskCompleted?: { /** `hh:mm:ss`, with days and a point before it. */ readonly Timeout: string };
  };
}

/** What the templates are filled with. */
export interface TemplateScope {
  /** The inputs that have a value, by name. */
  readonly inputs: ReadonlyMap<string, string>;
  /** The value of a variable; templates know those of the system. */
  readonly variable: (name: string) => string | undefined;
  /** The fields of the service connection: `url`, and those of its form. */
  readonly endpoint: Readonly<Record<string, string>>;
}

/** A request to send. */
export interface RenderedCall {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const PLACE = /\$\((?<name>[\w.]+)\)|\{\{\{\s*(?<raw>[\w.]+)\s*\}\}\}|\{\{\s*(?<escaped>[\w.]+)\s*\}\}/g;
/** Mustache's blocks and helpers. */
const BLOCK = /\{\{\{?\s*[#/^!>&]/;
const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * Fills a template as Azure DevOps documents it: `$(name)` with an input or a system variable, and `{{endpoint.field}}` as
 * Mustache does, so that HTML is escaped where there are two braces and not where there are three. Nothing else is escaped. A
 * `$(name)` without a value stays as it is; what was put in is not looked at again.
 * @throws Error for Mustache's blocks, which no task here has
 */
export function renderTemplate(template: string, { inputs, variable, endpoint }: TemplateScope): string {
  if (BLOCK.test(template)) throw new Error('Not supported in the template of a task: blocks of Mustache.');
  const named = new Map([...inputs].map(([name, value]) => [name.toLowerCase(), value]));
  const fieldOf = (name: string): string | undefined => /^endpoint\.(?<field>.+)$/i.exec(name)?.groups?.['field'];
  const endpointValue = (name: string): string => endpoint[fieldOf(name) ?? ''] ?? '';
  return template.replace(PLACE, (place, ...found) => {
    const { name, raw, escaped } = found.at(-1) as Readonly<Record<string, string | undefined>>;
    if (raw !== undefined) return endpointValue(raw);
    if (escaped !== undefined) return endpointValue(escaped).replace(/[&<>"']/g, (one) => ESCAPES[one] ?? one);
    const key = (name ?? '').toLowerCase();
    const value = key === 'endpoint.url' ? endpoint['url'] : named.get(key);
    return value ?? (key.startsWith('system.') ? variable(key) : undefined) ?? place;
  });
}

/**
 * Renders a request of a server task.
 * @throws Error when the headers are no JSON object of texts, be it for a quote in a value
 */
export function renderCall(template: CallTemplate, scope: TemplateScope): RenderedCall {
  const headers = renderTemplate(template.Headers ?? '{}', scope);
  return {
    url: renderTemplate(template.EndpointUrl, scope),
    method: template.Method,
    headers: parseHeaders(headers),
    body: renderTemplate(template.Body ?? '', scope),
  };
}

/** The message shows nothing of the headers: a token is among them. */
function parseHeaders(text: string): Record<string, string> {
  try {
    const headers: unknown = JSON.parse(text);
    if (typeof headers === 'object' && headers !== null) {
      const pairs = Object.entries(headers);
      if (pairs.every((pair): pair is [string, string] => typeof pair[1] === 'string'))
        return Object.fromEntries(pairs);
    }
  } catch {
    // Said below.
  }
  throw new Error('The headers of the request are no JSON object of texts once their values are put in.');
}
