/**
 * The baseline of the batch benchmark: what a user of the `nats` package writes first.
 * Usage: tsx scripts/bench/jsPublish.ts <url> <subject> <file of lines>; prints the milliseconds from the first event to the last acknowledgement.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'nats';

const WINDOW = 1_000;

const [url = '', subject = '', file = ''] = process.argv.slice(2);
const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
const connection = await connect({ servers: url });
const jetStream = connection.jetstream();
const begin = performance.now();
for (let start = 0; start < lines.length; start += WINDOW) {
  await Promise.all(lines.slice(start, start + WINDOW).map((line) => jetStream.publish(subject, line)));
}
console.log(performance.now() - begin);
await connection.close();
