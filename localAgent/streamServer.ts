import { connect, type NatsConnection } from 'nats';
import { startNatsServer, type NatsServer, type NatsServerOptions } from './natsServer.ts';

/** A nats-server with a stream in files, and a client of it. */
export class StreamServer implements AsyncDisposable {
  private constructor(
    readonly server: NatsServer,
    readonly client: NatsConnection,
  ) {}

  /** Starts a server whose stream of this name captures these subjects. */
  static async start(stream: string, subjects: string, options?: NatsServerOptions): Promise<StreamServer> {
    const server = await startNatsServer(options);
    const client = await connect({ servers: server.url });
    await (await client.jetstreamManager()).streams.add({ name: stream, subjects: [subjects] });
    return new StreamServer(server, client);
  }

  get url(): string {
    return this.server.url;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    await this.server.stop();
  }
}
