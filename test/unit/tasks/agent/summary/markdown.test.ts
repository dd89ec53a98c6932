import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  markdownBlock,
  markdownCode,
  markdownTable,
  markdownText,
  markdownTimeline,
} from '../../../../../tasks/agent/summary/markdown.ts';
import { safeText } from '../../../../../shared/text/safeText.ts';

const HOSTILE: Readonly<Record<string, string>> = {
  'a link': '[click](https://evil.example)',
  'a link that closes one of ours': 'x](javascript:alert(1))',
  'a link that closes a code span': '`](javascript:alert(1))`',
  'a reference and its definition': '[x]: https://evil.example "t"',
  'an image': '![x](http://evil.example/pixel.png)',
  'an image in HTML': '<img src=x onerror="alert(1)">',
  'HTML that closes ours': '</code></td><script>alert(1)</script><!--',
  'an autolink': '<https://evil.example>',
  'a bare address': 'see https://evil.example/a?b#c or www.evil.example or evil.shop',
  'a mail address': 'mail a.b@evil.example',
  'mentions of a person and a work item': '@admin @<00000000-0000-0000-0000-000000000001> #1 !2 AB#3',
  'more cells': 'a | b || c \\| d',
  'another row': 'a\n| --- | --- |\r\n| x | y |\rz',
  'a heading and a list': '\n# big\n- item\n1. item\n> quote\n---\n===\n+++',
  'the end of a code block': '\n```\n~~~\n    ```\n',
  'runs of backticks': '` `` ``` ```` x ` y',
  'backticks alone': '```',
  'a backslash at the end': 'a\\',
  'character references': '&lt;img&gt; &#60;b&#62; &#x3c;i&#x3e; &amp;',
  'emphasis, formulas and emoji': '**a** __b__ ~~c~~ ^^d^^ ==e== $f$ $$g$$ :smile: ::: mermaid [[_TOC_]] {{x}}',
  'characters that turn the line': 'a\u202eb\u2066c\u200bd\u0000e\u001b[31mf',
  'a command for the agent': '##vso[task.complete result=Succeeded;]x',
};

for (const [what, text] of Object.entries(HOSTILE)) {
  test(`as prose, ${what} is shown as plain text`, () => {
    const shown = markdownText(text);
    assert.equal(shown.split(/[\r\n]/).length, 1);
    const literal = shown.replace(/&#\d+;/g, '');
    assert.doesNotMatch(literal, /[\\`*_~{}[\]()<>|&#!$^=+\-"']/, shown);
    const resolved = shown.replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)));
    assert.doesNotMatch(
      resolved,
      /:\/|\/\/|www\.\w|\w\.\w|@\w|#\w|:\w/i,
      'an address appears once references are resolved',
    );
    assert.equal(resolved.replaceAll('\u2060', ''), safeText(text), 'the reader sees another text');
  });

  test(`as a value, ${what} stays in its code span`, () => {
    assert.equal(contentOf(markdownCode(text)), safeText(text));
  });

  test(`in a table, ${what} stays in its cell`, () => {
    const rows = markdownTable(['A', 'B'], [[markdownCode(text), markdownText(text)]]).split('\n');
    assert.equal(rows.length, 3);
    for (const row of rows) assert.equal(row.split('|').length, 4, row);
    const [, cell = ''] = rows[2]!.split('|');
    assert.equal(contentOf(cell.trim()), safeText(text).replaceAll('|', '\\u{7c}'));
  });

  test(`in a code block, ${what} does not end it`, () => {
    const lines = markdownBlock(['first', text, text]).split('\n');
    assert.equal(lines.length, 5);
    for (const line of lines.slice(1, -1)) assert.doesNotMatch(line, /`/);
  });
}

test('a value that is empty or blank is a dash, and a long one is cut', () => {
  assert.deepEqual([markdownCode(''), markdownCode('  ')], ['–', '–']);
  assert.ok(markdownCode('x'.repeat(10_000)).length < 300);
  assert.ok(markdownText('.'.repeat(10_000)).length < 20_000);
});

test('plain values read as they are written', () => {
  assert.equal(markdownCode('ci.shop.image-ready.v1'), '`ci.shop.image-ready.v1`');
  assert.equal(markdownCode('data.n > `5`'), '`` data.n > `5` ``');
  assert.equal(markdownText('Nothing was sent. Zoë, 東京: 3 of 4.'), 'Nothing was sent. Zoë, 東京: 3 of 4.');
});

test('a timeline is in chronological order, and counts from the start of the step', () => {
  const began = Date.UTC(2026, 4, 31, 8, 0, 0);
  const moments = [
    { at: began + 1_250, what: 'received' },
    { at: began - 90_001, what: 'published' },
  ];
  assert.equal(
    markdownTimeline(began, moments),
    [
      '```text',
      '2026-05-31T07:58:29.999Z     -90.001 s  published',
      '2026-05-31T08:00:00.000Z      +0.000 s  step began',
      '2026-05-31T08:00:01.250Z      +1.250 s  received',
      '```',
    ].join('\n'),
  );
});

/** What a code span shows (CommonMark 6.1): it ends at the first run of as many backticks as it began with. */
function contentOf(span: string): string {
  const fence = /^`+/.exec(span)?.[0] ?? '';
  const runs = [...span.matchAll(/`+/g)].filter(([run]) => run === fence);
  assert.ok(fence !== '' && runs.length === 2 && runs[1]!.index === span.length - fence.length, `no one span: ${span}`);
  const content = span.slice(fence.length, -fence.length);
  return /^ .*[^ ].* $/.test(content) ? content.slice(1, -1) : content;
}
