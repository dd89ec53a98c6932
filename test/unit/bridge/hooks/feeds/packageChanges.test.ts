import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { packageEvent, readPage } from '../../../../../bridge/hooks/feeds/packageChanges.ts';
import { hookEvent } from '../../../../../bridge/hooks/hookEvent.ts';
import { Feed } from '../../../../support/azureDevOps/feeds.ts';
import { ORGANIZATION, SHOP } from '../../../../support/bridge/hookPosts.ts';
import { headersOf } from '../../../../support/bridge/memoryNats.ts';

const FEED = ['https://dev.azure.com/contoso/', 'feed-1'];

/** The problem with a page. */
function problemIn(body: unknown, after = 0): string {
  const page = readPage(body, after);
  return typeof page === 'string' ? page : 'nothing';
}

describe('A page of changes', () => {
  const change = (continuationToken: unknown) => ({ packageVersionChange: { continuationToken } });

  test("continues at the response's token, or after its last change", () => {
    const changes = [change(3), change(7)];
    assert.deepEqual(readPage({ packageChanges: changes, nextPackageContinuationToken: 9 }, 2), { changes, next: 9 });
    assert.deepEqual(readPage({ packageChanges: changes }, 2), { changes, next: 7 });
    assert.deepEqual(readPage({ packageChanges: [change('x'), change(7)] }, 2), {
      changes: [change('x'), change(7)],
      next: 7,
    });
  });

  test('without changes stays in its place, whatever its token', () => {
    for (const nextPackageContinuationToken of [undefined, 0, 5, 9_000, 'x', null])
      assert.deepEqual(readPage({ count: 0, packageChanges: [], nextPackageContinuationToken }, 5), {
        changes: [],
        next: 5,
      });
  });

  test("that doesn't advance is refused, or reading it would never end", () => {
    for (const token of [4, 5, 0])
      assert.match(
        problemIn({ packageChanges: [change(token)], nextPackageContinuationToken: token }, 5),
        /doesn't go on from 5$/,
      );
    assert.match(problemIn({ packageChanges: [change(5)] }, 5), /doesn't go on from 5$/);
  });

  test('that is invalid is refused', () => {
    for (const body of [undefined, null, 7, 'x', [], {}, { packageChanges: null }, { packageChanges: { 0: 1 } }])
      assert.equal(readPage(body, 0), "the answer isn't a list of package changes");
    for (const token of ['7', 1.5, -1, 2 ** 53, 1e300, {}])
      assert.match(problemIn({ packageChanges: [1], nextPackageContinuationToken: token }, 0), /whole number$/);
    assert.match(problemIn({ packageChanges: [1, change(2 ** 53)] }, 0), /whole number$/);
  });

  test('may be as long as the longest response', () => {
    const packageChanges = Array.from({ length: 1_000_000 }, () => 1);
    assert.match(problemIn({ packageChanges }, 0), /whole number$/);
  });
});

describe('The event of a change', () => {
  const feed = new Feed('packages', undefined);
  const pushed = feed.push('@shop/web', '1.2.3', { publishDate: '2026-11-28T10:00:00.1234567Z' });

  function messageOf(change: unknown) {
    const parts = packageEvent(change, FEED)!;
    const settings = { subjectPrefix: 'azdo', stream: 'AZDO', ...ORGANIZATION };
    return hookEvent(parts, Buffer.from(JSON.stringify(change)), { ...SHOP, token: 'Shop' }, settings, undefined);
  }

  test('says what was changed, and when', () => {
    const message = messageOf(pushed);
    const { traceparent, 'ce-traceparent': attribute, ...headers } = headersOf(message);
    assert.deepEqual([traceparent?.slice(0, 3), attribute], ['00-', traceparent]);
    assert.equal(message.subject, 'azdo.contoso.Shop.package.changed.v1');
    assert.match(headers['ce-id']!, /^package\.changed\.1\.[0-9a-f]{32}$/);
    assert.deepEqual(headers, {
      'Nats-Msg-Id': headers['ce-id'],
      'Nats-Expected-Stream': 'AZDO',
      'ce-specversion': '1.0',
      'ce-id': headers['ce-id'],
      'ce-source': `https://dev.azure.com/contoso/${SHOP.id}`,
      'ce-type': 'azdo.package.changed.v1',
      'ce-subject': 'packages/@shop/web/1.2.3',
      'ce-time': '2026-11-28T10:00:00.1234567Z',
      'ce-datacontenttype': 'application/json',
      'ce-azporganization': 'contoso',
      'ce-azpproject': 'Shop',
    });
    const deleted = feed.delete(pushed);
    assert.equal(headersOf(messageOf(deleted))['ce-time'], deleted.packageVersionChange.packageVersion['deletedDate']);
  });

  test('has the same id each time it is read, and a different one per change, feed and organization', () => {
    const id = (change: unknown, of = FEED) => packageEvent(change, of)!.id;
    const again = structuredClone(pushed) as { package: Record<string, unknown> };
    again.package['url'] = 'elsewhere';
    assert.equal(id(again), id(pushed));
    const other = feed.push('@shop/web', '1.2.4');
    const updated = feed.update(other);
    const sameToken = { ...other, packageVersionChange: { ...other.packageVersionChange, continuationToken: 1 } };
    const unnamed = { packageVersionChange: { continuationToken: 1 } };
    const ids = [
      ...[id(pushed), id(other), id(updated), id(sameToken), id(unnamed), id({ ...unnamed, x: 1 })],
      ...[id(pushed, ['https://dev.azure.com/contoso/', 'feed-2']), id(pushed, ['https://dev.azure.com/x/', 'feed-1'])],
    ];
    assert.equal(new Set(ids).size, ids.length);
  });

  test('is safe with hostile names', () => {
    const name = `../\r\nNats-Msg-Id: x\u202e${'a'.repeat(5_000)}`;
    const hostile = {
      package: { id: '\r\n', name },
      packageVersionChange: {
        changeType: '\u0000',
        continuationToken: 1,
        packageVersion: { id: 'x'.repeat(10_000), version: '> * .', publishDate: 'yesterday' },
      },
    };
    const message = messageOf(hostile);
    const headers = headersOf(message);
    assert.equal(message.subject, 'azdo.contoso.Shop.package.changed.v1');
    for (const [header, value] of message.headers) assert.match(`${header}: ${value}`, /^[\x20-\x7e]{1,1500}$/);
    assert.equal(headers['ce-time'], undefined);
    assert.match(headers['ce-id']!, /^package\.changed\.1\.[0-9a-f]{32}$/);
  });

  test('does not exist without a token', () => {
    for (const change of [null, 1, 'x', [], {}, { packageVersionChange: [] }, { packageVersionChange: {} }])
      assert.equal(packageEvent(change, FEED), undefined);
  });
});
