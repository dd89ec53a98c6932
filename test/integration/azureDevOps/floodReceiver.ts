/** Takes hooks as fast as it can, in a process of its own, and tells on demand which came through how many connections. */
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { text } from 'node:stream/consumers';

const ids = new Set<unknown>();
const connections = new Set<Socket>();

const server = createServer((request, response) => {
  void text(request).then((body) => {
    const { id } = JSON.parse(body) as { id: unknown };
    // Only a sender's posts name a subscription.
    if (request.headers['x-vss-subscriptionid'] !== undefined) {
      connections.add(request.socket);
      ids.add(id);
    }
    response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}');
  });
});
server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port));
process.on('message', () => process.send!({ connections: connections.size, ids: ids.size }));
