/**
 * The baseline of the bridge's benchmark: the same HTTP library, awaiting one publication of the `nats` package per request.
 * Usage: tsx scripts/bench/hookPublish.ts <url> <subject>; prints the port it listens on, and ends with its standard input.
 */
import fastify from 'fastify';
import type { AddressInfo } from 'node:net';
import { connect } from 'nats';

const [url = '', subject = ''] = process.argv.slice(2);
const connection = await connect({ servers: url });
const jetStream = connection.jetstream();
const app = fastify();
app.removeAllContentTypeParsers();
app.addContentTypeParser('*', { parseAs: 'buffer' }, (_, body, done) => done(null, body));
app.post('/hooks', async ({ body }) => {
  const { stream, seq, duplicate } = await jetStream.publish(subject, body as Uint8Array);
  return { stream, sequence: seq, duplicate };
});
await app.listen({ host: '127.0.0.1', port: 0 });
console.log((app.server.address() as AddressInfo).port);
process.stdin.on('end', () => process.exit()).resume();
