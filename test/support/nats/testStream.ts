import { setTimeout as delay } from 'node:timers/promises';
import { connect, type ConsumerInfo, type JetStreamManager, type NatsConnection, type StoredMsg } from 'nats';
import type { StreamConfig } from 'nats';

const CONNECTED_MS = 10_000;
const IN_SYNC_MS = 45_000;

/** The test's own connection to its server: it creates streams, publishes, and checks what is left behind. */
export class Admin implements AsyncDisposable {
  static async connect(urls: readonly string[], options: { user?: string; pass?: string } = {}): Promise<Admin> {
    const connection = await connect({
      ...options,
      noAsyncTraces: true,
      servers: [...urls],
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
    });
    return new Admin(connection, await connection.jetstreamManager({ checkAPI: false, timeout: 10_000 }));
  }

  private constructor(
    readonly connection: NatsConnection,
    readonly manager: JetStreamManager,
  ) {}

  /** Resolves once the connection is up: anything sent over a broken one is lost. */
  async connected(): Promise<void> {
    const deadline = Date.now() + CONNECTED_MS;
    for (;;) {
      try {
        await this.connection.rtt();
        return;
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await delay(50);
      }
    }
  }

  /** Creates a stream that captures `<name>.>`, unless the configuration says otherwise. */
  async stream(name: string, config: Partial<StreamConfig> = {}): Promise<TestStream> {
    await this.connected();
    const subjects = config.mirror || config.sources ? {} : { subjects: [`${name}.>`] };
    for (const deadline = Date.now() + CONNECTED_MS; ;) {
      try {
        await this.manager.streams.add({ name, ...subjects, ...config });
        return new TestStream(this, name);
      } catch (error) {
        // A cluster that elects another leader just after it has formed doesn't see all its members at first.
        if (!(error as Error).message.includes('no suitable peers') || Date.now() > deadline) throw error;
        await delay(100);
      }
    }
  }

  /** Everything in a stream, oldest first. */
  stored(stream: string): Promise<StoredMsg[]> {
    return storedIn(this.manager, stream);
  }

  /** Resolves once the servers answer and all replicas of a stream are up to date. */
  async inSync(stream: string, replicas: number): Promise<void> {
    await this.connected();
    for (const deadline = Date.now() + IN_SYNC_MS; Date.now() < deadline;) {
      const info = await this.manager.streams.info(stream).catch(() => undefined);
      const others = info?.cluster?.replicas ?? [];
      const isWhole = info !== undefined && others.length === replicas - 1;
      if (isWhole && others.every(({ current, offline }) => current && !offline)) return;
      await delay(50);
    }
    throw new Error(`The replicas of ${stream} are not up to date within ${IN_SYNC_MS} ms.`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connection.close();
  }
}

/** Everything in a stream, oldest first, read without a consumer. */
export async function storedIn({ streams }: JetStreamManager, stream: string): Promise<StoredMsg[]> {
  const { first_seq: first, last_seq: last, messages } = (await streams.info(stream)).state;
  if (messages === 0) return [];
  const sequences = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  return Promise.all(sequences.map((seq) => streams.getMessage(stream, { seq })));
}

/** A test's stream. */
export class TestStream {
  constructor(
    readonly admin: Admin,
    readonly name: string,
  ) {}

  /** Publishes one event after the other on `<name>.<token>`; resolves with the sequence of the last one. */
  async publish(token: string, ...payloads: readonly string[]): Promise<number> {
    await this.admin.connected();
    let sequence = 0;
    for (const payload of payloads)
      sequence = (await this.admin.connection.jetstream().publish(`${this.name}.${token}`, payload)).seq;
    return sequence;
  }

  /** Publishes this many events in order; each payload is its number, from 1. */
  async fill(number: number, token: (index: number) => string): Promise<void> {
    const jetStream = this.admin.connection.jetstream();
    for (let index = 1; index <= number;) {
      const window = [];
      for (; index <= number && window.length < 500; index++)
        window.push(jetStream.publish(`${this.name}.${token(index)}`, String(index)));
      await Promise.all(window);
    }
  }

  async consumers(): Promise<ConsumerInfo[]> {
    return this.admin.manager.consumers.list(this.name).next();
  }

  /** Deletes all consumers, as an administrator may. */
  async deleteConsumers(): Promise<void> {
    for (const { name } of await this.consumers()) await this.admin.manager.consumers.delete(this.name, name);
  }

  /** How many messages it holds. */
  async messages(): Promise<number> {
    return (await this.admin.manager.streams.info(this.name)).state.messages;
  }

  async delete(): Promise<void> {
    await this.admin.manager.streams.delete(this.name);
  }
}
