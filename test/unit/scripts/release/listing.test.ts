import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listingOf } from '../../../../scripts/release/listing.ts';

const README = [
  'See [Publishing](docs/publish.md#order), [`examples`](examples) and [NATS](https://nats.io).',
  '[Inputs](#inputs) ![a run](images/run.png) ![not packed](docs/plot.png) [![run](images/run.png)](docs/receipts.md)',
  'Code: `[text](file.md)` and ``[a](b.md) ` [c](d.md)``.',
  '```yaml',
  '# [text](file.md)',
  '```',
  'After [it](LICENSE), [mail](mailto:security@example.com).',
].join('\n');

test('without a public repository, links into it become plain text; packed images, URLs and code stay', () => {
  assert.equal(
    listingOf(README, undefined, ['images/run.png']),
    [
      'See Publishing, `examples` and [NATS](https://nats.io).',
      '[Inputs](#inputs) ![a run](images/run.png) not packed ![run](images/run.png)',
      'Code: `[text](file.md)` and ``[a](b.md) ` [c](d.md)``.',
      '```yaml',
      '# [text](file.md)',
      '```',
      'After it, [mail](mailto:security@example.com).',
    ].join('\n'),
  );
});

test('a packed SVG becomes the PNG of the same name, since the Marketplace refuses SVG', () => {
  assert.equal(listingOf('![a map](images/map.svg)', undefined, ['images/map.png']), '![a map](images/map.png)');
  assert.equal(listingOf('[a map](images/map.svg)', undefined, ['images/map.png']), 'a map');
});

test("with a public repository, links and images that aren't packed point there", () => {
  const page = 'https://github.com/owner/name';
  assert.equal(
    listingOf(README, page, ['images/run.png']),
    [
      `See [Publishing](${page}/blob/HEAD/docs/publish.md#order), [\`examples\`](${page}/blob/HEAD/examples) and [NATS](https://nats.io).`,
      `[Inputs](#inputs) ![a run](images/run.png) ![not packed](${page}/raw/HEAD/docs/plot.png) [![run](images/run.png)](${page}/blob/HEAD/docs/receipts.md)`,
      'Code: `[text](file.md)` and ``[a](b.md) ` [c](d.md)``.',
      '```yaml',
      '# [text](file.md)',
      '```',
      `After [it](${page}/blob/HEAD/LICENSE), [mail](mailto:security@example.com).`,
    ].join('\n'),
  );
});
