import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate, setTimeout as delay } from 'node:timers/promises';
import { connect, type ConnectionOptions } from 'nats';
import {
  NatsServer as LocalServer,
  onFreePorts,
  started,
  startOnFreePort,
  TryAgain,
  uniqueName,
  type NatsServerOptions,
} from '../../../localAgent/natsServer.ts';

export { natsServerBinary, type NatsServerOptions, type NatsServerTls } from '../../../localAgent/natsServer.ts';

/** The parts of a server's `/jsz` that tests read. */
interface JetStreamStatus {
  readonly meta_cluster?: {
    readonly leader?: string;
    readonly replicas?: readonly { readonly name: string; readonly offline?: boolean }[];
  };
}

const FORM_MS = 5_000;
const ELECTION_MS = 30_000;

/** Starts a test's own real nats-server; resolves once it accepts connections. */
export function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  return startOnFreePort(NatsServer, options);
}

/** A server that a test can crash, pause, restart and reconfigure. */
export class NatsServer extends LocalServer {
  /** Kills the server, like a crash (SIGKILL); the store stays for `restart`. */
  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  /** Freezes the server: connections stay open and nothing is answered. Resolves when every thread has stopped (Linux). */
  async pause(): Promise<void> {
    this.child?.kill('SIGSTOP');
    while (this.child?.pid && !isStopped(this.child.pid)) await setImmediate();
  }

  resume(): void {
    this.child?.kill('SIGCONT');
  }

  /** Tells the clients to leave; resolves when the server has begun. How long it takes is the server's `lame_duck_*` configuration. */
  async lameDuck(): Promise<void> {
    const from = this.log.length;
    this.child?.kill('SIGUSR2');
    await this.logged(/Entering lame duck mode/, from);
  }

  /** Replaces the `config` option while the server runs. Throws when the server refuses the new configuration. */
  async reload(config: string): Promise<void> {
    this.configure(config);
    const from = this.log.length;
    this.child?.kill('SIGHUP');
    await this.logged(/Reloaded server configuration|Failed to reload/, from);
    if (this.log.includes('Failed to reload', from)) throw this.failure('refused its new configuration');
  }

  /** Names of the other servers it reaches as the leader of a JetStream cluster; undefined if it doesn't lead. */
  async followers(): Promise<string[] | undefined> {
    const address = /Starting http monitor on (\S+)/.exec(this.log)?.[1];
    const { meta_cluster: meta } = (await (await fetch(`http://${address}/jsz`)).json()) as JetStreamStatus;
    if (meta?.leader !== this.name) return undefined;
    return (meta.replicas ?? []).filter(({ offline }) => !offline).map(({ name }) => name);
  }
}

/** How a test cluster is set up; every server gets the same options. */
export interface NatsClusterOptions extends Omit<NatsServerOptions, 'port'> {
  /** How many servers; default 3. */
  readonly size?: number;
}

/** Starts servers that form one JetStream cluster; resolves when streams can be created in it. */
export async function startNatsCluster({ size = 3, ...options }: NatsClusterOptions = {}): Promise<NatsCluster> {
  const clusterName = uniqueName();
  return onFreePorts(2 * size, async (ports) => {
    const routePorts = ports.slice(size);
    const routes = JSON.stringify(routePorts.map((port) => `nats://127.0.0.1:${port}`));
    const cluster = new NatsCluster();
    try {
      for (const [index, routePort] of routePorts.entries()) {
        const config = [
          `cluster { name: ${clusterName}, listen: "127.0.0.1:${routePort}", routes: ${routes} }`,
          'http: "127.0.0.1:-1"',
          options.config ?? '',
        ].join('\n');
        const server = new NatsServer(ports[index]!, { ...options, config }, `${clusterName}-${index + 1}`);
        cluster.servers.push(await started(server));
      }
      if (options.jetStream !== false) await cluster.formed();
    } catch (error) {
      await cluster.stop();
      // Even if all servers run: 2.10.27 never agreed on a leader in 7 of 210 starts on a busy machine.
      throw new TryAgain(error instanceof Error ? error.message : String(error), { cause: error });
    }
    return cluster;
  });
}

/** Servers that form one cluster. */
export class NatsCluster implements AsyncDisposable {
  readonly servers: NatsServer[] = [];

  get urls(): string[] {
    return this.servers.map((server) => server.url);
  }

  /** Resolves when one server leads and reaches all the others, so that a stream finds its replicas; waits up to 5 s. */
  async formed(): Promise<void> {
    const names = this.servers.map((server) => server.name);
    for (const deadline = Date.now() + FORM_MS; Date.now() < deadline;) {
      for (const leader of this.servers) {
        const followers = await leader.followers();
        if (followers && names.every((name) => name === leader.name || followers.includes(name))) return;
      }
      await delay(50);
    }
    throw new Error(`The servers form no cluster within ${FORM_MS / 1000} s. ${this.servers[0]?.logText()}`);
  }

  /** The server that leads a stream; waits for an election up to 30 s. `options` sign in if the cluster requires it. */
  async leaderOf(stream: string, options: ConnectionOptions = {}): Promise<NatsServer> {
    const connection = await connect({ ...options, servers: this.urls });
    try {
      // Without a leader nobody answers; a server that has lost its peers takes 4 to 9 s to call an election.
      const manager = await connection.jetstreamManager({ checkAPI: false, timeout: 500 });
      for (const deadline = Date.now() + ELECTION_MS; Date.now() < deadline;) {
        const info = await manager.streams.info(stream).catch(() => undefined);
        const leader = this.servers.find((server) => server.name === info?.cluster?.leader);
        if (leader) return leader;
        await delay(50);
      }
      throw new Error(`No server leads the stream ${stream} within ${ELECTION_MS / 1000} s.`);
    } finally {
      await connection.close();
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** The stop signal reaches the threads one by one; until then the server may still answer. */
function isStopped(pid: number): boolean {
  const tasks = `/proc/${pid}/task`;
  if (!existsSync(tasks)) return true;
  return readdirSync(tasks).every((task) => /^State:\s+T/m.test(readFileSync(join(tasks, task, 'status'), 'utf8')));
}
