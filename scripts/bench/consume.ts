/**
 * The baseline of the wait benchmark: reads a stream as the `nats` package does, and looks at no event.
 * Usage: tsx scripts/bench/consume.ts <url> <stream> <number of events>; prints the milliseconds it took.
 */
import { AckPolicy, connect } from 'nats';

const WINDOW = 10_000;

const [url = '', stream = '', number = ''] = process.argv.slice(2);
const connection = await connect({ servers: url });
const manager = await connection.jetstreamManager();
const begin = performance.now();
const { name } = await manager.consumers.add(stream, { ack_policy: AckPolicy.None, mem_storage: true });
const consumer = await connection.jetstream().consumers.get(stream, name);
let left = Number(number);
const messages = await consumer.consume({ max_messages: WINDOW });
const events = messages[Symbol.asyncIterator]();
while (left > 0 && (await events.next()).done !== true) left--;
console.log(performance.now() - begin);
messages.stop();
await connection.close();
