import fc from 'fast-check';
import { SEED } from './hostile.ts';

/** Agent commands that would change the job, and lines that the agent would format or hide. */
const COMMANDS = [
  '##vso[task.complete result=Succeeded;done=true]gone',
  '##vso[task.complete result=Failed]',
  '##vso[task.setvariable variable=PATH]/tmp/evil',
  '##vso[task.setvariable variable=verdict;isOutput=true]matched',
  '##vso[task.setvariable variable=messageId;isOutput=true;isSecret=true]x',
  '##vso[task.prependpath]/tmp/evil',
  '##vso[task.setsecret]e',
  '##vso[task.logissue type=error]fake',
  '##vso[task.uploadsummary]/etc/passwd',
  '##vso[task.setendpoint id=0;field=url]nats://evil',
  '##vso[task.debug]x',
  '##vso[build.updatebuildnumber]evil',
  '##vso[artifact.upload artifactname=x]/etc/passwd',
  '##[error]fake',
  '##[group]hidden',
  '##[section]Finishing: PublishNatsEvent',
] as const;

/** Characters that are invisible, that .NET's culture-sensitive comparisons skip, or that reverse a line. */
const UNSEEN = [
  ...['\0', '\u0001', '\b', '\u001b', '\u007f', '\u0080', '\u009b', '\u00ad', '\u034f', '\u0591', '\u0488', '\u061c'],
  ...['\u115f', '\u17b4', '\u180e', '\u200b', '\u200d', '\u200e', '\u202e', '\u2060', '\u2066', '\u2069', '\u3164'],
  ...['\ufe0f', '\ufeff', '\uffa0', '\ufff9', '\ufffe', '\ud800', '\udfff', '\u{1bca0}', '\u{e0001}', '\u{e0041}'],
];
const BREAKS = ['\n', '\r', '\r\n', '\n\r', '\v', '\f', '\u0085', '\u2028', '\u2029'];
const ESCAPED = ['%0A', '%0D', '%0a', '%3B', '%5D', '%25', '%AZP25', '%AZP250A', '%23%23vso%5B', '\\u0023\\u0023vso['];
const LOOK_ALIKES = ['＃＃vso[', '##vso［', '##ｖｓｏ[', '##v\u0455\u043e[', '##v\u017fo[', '#\u20e3#vso[', '﹟﹟vso['];
/** Text that the agent or a shell would replace with a secret. */
export const MACROS = [
  '$(System.AccessToken)',
  '$(TopSecret)',
  '$($(TopSecret))',
  '$[variables.TopSecret]',
  '${{ x }}',
];

/** fast-check's unit `binary` is equivalent, but prepares a table of all characters: a second in each process. */
export const anyCharacter = fc.nat({ max: 0x10ffff }).map((point) => String.fromCodePoint(point));

const command = fc.constantFrom(...COMMANDS);
const unseen = fc.constantFrom(...UNSEEN);
const lineBreak = fc.constantFrom(...BREAKS);

/** The command with each letter of its marker in either case, and something between them. */
function withMarker(between: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc
    .tuple(command, fc.array(fc.tuple(fc.boolean(), between), { minLength: 6, maxLength: 6 }))
    .map(([text, marks]) =>
      Array.from(text)
        .map((character, index) => {
          const [isUpper, filling] = marks[index] ?? [false, ''];
          return index < 6 ? (isUpper ? character.toUpperCase() : character) + filling : character;
        })
        .join(''),
    );
}

/** Deleting one marker, as a careless neutraliser does, joins the rest into another one. */
const nested = fc
  .tuple(command, fc.constantFrom('##vso[', '##vso', '##', '#', 'vso[', '##_'), fc.nat({ max: 6 }))
  .map(([text, inner, at]) => text.slice(0, at) + inner + text.slice(at));

/** It straddles the place where long texts are cut. */
const acrossTheCut = fc
  .tuple(command, fc.constantFrom(80, 200, 300, 1_500, 4_000), fc.integer({ min: -8, max: 2 }))
  .map(([text, cut, offset]) => 'x'.repeat(cut + offset) + text);

const fragment = fc.oneof(
  { weight: 4, arbitrary: command },
  { weight: 3, arbitrary: withMarker(fc.constant('')) },
  { weight: 3, arbitrary: withMarker(fc.oneof({ weight: 3, arbitrary: fc.constant('') }, unseen)) },
  { weight: 1, arbitrary: withMarker(fc.oneof(fc.constant(''), lineBreak)) },
  { weight: 3, arbitrary: nested },
  { weight: 3, arbitrary: fc.tuple(lineBreak, command).map((parts) => parts.join('')) },
  { weight: 2, arbitrary: fc.constantFrom(...ESCAPED) },
  { weight: 1, arbitrary: fc.constantFrom(...LOOK_ALIKES) },
  { weight: 1, arbitrary: fc.constantFrom(...MACROS) },
  { weight: 2, arbitrary: unseen },
  {
    weight: 1,
    arbitrary: fc.constantFrom('"', "'", '\\', '`', ']', ';', '=', '#', '##', '|', '<!--', '"]', '\t', ' '),
  },
  { weight: 1, arbitrary: fc.string({ unit: anyCharacter, maxLength: 8 }) },
);

/** Text with disguised logging commands. It may contain lone surrogates and any control character. */
export const hostileText: fc.Arbitrary<string> = fc.oneof(
  { weight: 40, arbitrary: fc.array(fragment, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('')) },
  { weight: 1, arbitrary: fc.tuple(acrossTheCut, fragment).map((parts) => parts.join('')) },
);

/** This many texts, the same for the same seed, and different ones for each purpose. */
export function hostileTexts(count: number, purpose: string): string[] {
  const salt = Buffer.from(purpose).reduce((sum, byte) => (Math.imul(sum, 31) + byte) | 0, 0);
  return fc.sample(hostileText, { seed: (SEED + salt) | 0, numRuns: count });
}

/** The text in a form that an environment can hold. */
export function withoutNul(text: string): string {
  return text.replaceAll('\0', '');
}
