import { once } from 'node:events';
import type { Server } from 'node:http';

/** Closes a server and its connections, also those that wait for an answer. Does nothing where it doesn't listen. */
export async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}
