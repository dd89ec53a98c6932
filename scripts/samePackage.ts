/**
 * Fails unless two .vsix files hold the same files, byte by byte: that what was tested is what is published.
 * Usage: npm run same-package -- ONE.vsix OTHER.vsix
 */
import { vsixDigests } from './release/vsixDigests.ts';

const [one, other, ...more] = process.argv.slice(2);
if (one === undefined || other === undefined || more.length > 0) throw new Error('Give two .vsix files.');
const [ours, theirs] = [vsixDigests(one), vsixDigests(other)];
const differing = [...new Set([...Object.keys(ours), ...Object.keys(theirs)])].filter(
  (file) => ours[file] !== theirs[file],
);
if (differing.length > 0) {
  console.error(`${one} and ${other} differ in ${differing.join(', ')}.`);
  process.exitCode = 1;
} else console.log(`${one} and ${other} hold the same ${Object.keys(ours).length} files.`);
