const LONGEST = 72;

/** What a first line begins with that tells what was done instead of what to do, after an area such as `Wait:`. */
const PAST = /^(?:[\w ./-]+: )?(?:added|changed|deleted|fixed|improved|made|moved|removed|renamed|updated)\b/i;

/** What is wrong with the message of a commit; empty when nothing is. CONTRIBUTING.md has the rules. */
export function messageProblems(message: string): string[] {
  const [subject = '', ...body] = message.trim().split('\n');
  return [
    ...(subject.length > LONGEST ? [`the first line has ${subject.length} characters, over ${LONGEST}`] : []),
    ...(subject.endsWith('.') ? ['the first line ends with a full stop'] : []),
    ...(/^\p{Lu}/u.test(subject) ? [] : ['the first line begins in lower case']),
    ...(PAST.test(subject) ? ["the first line isn't in the imperative"] : []),
    ...(body.join('').trim() === '' ? ['no body says why'] : []),
  ];
}
