/**
 * The baseline of the bridge's backlog: reads a stream by a durable consumer, acknowledges each event, and looks at none.
 * Usage: tsx scripts/bench/durable.ts <url> <stream> <durable> <number of events>; prints the milliseconds it took.
 */
import { AckPolicy, connect } from 'nats';

const [url = '', stream = '', durable = '', number = ''] = process.argv.slice(2);
const connection = await connect({ servers: url });
const manager = await connection.jetstreamManager();
await manager.consumers.add(stream, { durable_name: durable, ack_policy: AckPolicy.Explicit, max_ack_pending: 1_000 });
const begin = performance.now();
const consumer = await connection.jetstream().consumers.get(stream, durable);
const messages = await consumer.consume();
let left = Number(number);
for await (const message of messages) {
  message.ack();
  if (--left === 0) break;
}
await connection.flush();
console.log(performance.now() - begin);
await connection.close();
