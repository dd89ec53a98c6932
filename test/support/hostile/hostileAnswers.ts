import fc from 'fast-check';
import { hostileText } from './hostileText.ts';

/** What someone impersonating Azure DevOps may answer. */
export interface HostileAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const STATUSES = [200, 201, 202, 203, 204, 206, 301, 302, 304, 307, 400, 401, 403, 404, 408, 409, 410, 413, 418, 429];
const ERRORS = [500, 502, 503, 504, 599];
const PAUSES = ['', '0', '-1', '0.05', 'abc', 'NaN', '0x10', '١', 'Wed, 21 Oct 1999 07:28:00 GMT', '0,05', '\u00e9'];
const MORE_PAUSES = ['1e9', '99999999999', '9'.repeat(400), 'Fri, 31 Dec 9999 23:59:59 GMT', '86400'];
const LARGE = 3 * 1_024 * 1_024;

/** @param secrets what it has seen of its caller, and may send back */
export function hostileAnswer(secrets: readonly string[], { pausesLong = true } = {}): fc.Arbitrary<HostileAnswer> {
  const text = fc.oneof(
    { weight: 4, arbitrary: hostileText },
    {
      weight: 2,
      arbitrary: fc.tuple(hostileText, fc.constantFrom(...secrets), hostileText).map((parts) => parts.join('')),
    },
    { weight: 1, arbitrary: fc.constantFrom('', 'x'.repeat(20_000), '\0') },
  );
  const value = fc.oneof(text, fc.constantFrom<unknown>(null, true, 0, -1, 1e308, 2 ** 53, 17.5, [], {}, '17', [17]));
  const links = fc.oneof(value, fc.record({ web: fc.oneof(value, fc.record({ href: value })) }, { requiredKeys: [] }));
  const run = fc.record(
    {
      id: fc.oneof(value, fc.nat()),
      url: value,
      _links: links,
      message: value,
      typeKey: value,
      value: fc.oneof(value, fc.array(value)),
    },
    { requiredKeys: [] },
  );
  const builds = fc.record({
    value: fc.array(fc.record({ id: value, templateParameters: fc.oneof(value, fc.dictionary(hostileText, value)) }), {
      maxLength: 4,
    }),
  });
  const body = fc.oneof(
    { weight: 6, arbitrary: run.map((one) => JSON.stringify(one)) },
    { weight: 2, arbitrary: builds.map((one) => JSON.stringify(one)) },
    { weight: 2, arbitrary: text },
    { weight: 2, arbitrary: text.map((inner) => `<!DOCTYPE html><html><body>${inner}</body></html>`) },
    { weight: 1, arbitrary: text.map((inner) => `\ufeff${JSON.stringify({ message: inner })}`) },
    { weight: 1, arbitrary: fc.integer({ min: 1_000, max: 100_000 }).map((depth) => '{"a":'.repeat(depth)) },
    {
      weight: 1,
      arbitrary: fc.integer({ min: 1_000, max: 50_000 }).map((depth) => `${'['.repeat(depth)}${']'.repeat(depth)}`),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom('{"id": 1', '{"id":1,"id":"2"}', '{"__proto__":{"id":7}}', '[]', 'null', '"x"'),
    },
  );
  // Only a few have 3 MB; each costs as much as a hundred others.
  const sized = fc.oneof(
    { weight: 200, arbitrary: body },
    { weight: 1, arbitrary: text.map((inner) => JSON.stringify({ message: inner + 'x'.repeat(LARGE) })) },
  );
  const header = text.map((inner) =>
    inner
      .replace(/[^\t\x20-\x7e\x80-\xff]/g, '')
      .trim()
      .slice(0, 4_000),
  );
  const pause = fc.constantFrom(...PAUSES, ...(pausesLong ? MORE_PAUSES : []));
  return fc.record({
    status: fc.constantFrom(...STATUSES, ...ERRORS),
    headers: fc.record(
      {
        'content-type': header,
        'retry-after': pause.map((inner) => inner.replace(/[^\x20-\xff]/g, '')),
        location: header,
        'x-tfs-serviceerror': header,
      },
      { requiredKeys: [] },
    ),
    body: sized,
  });
}
