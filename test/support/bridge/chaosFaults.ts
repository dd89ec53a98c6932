import { setTimeout as delay } from 'node:timers/promises';
import type { NatsServer } from '../nats/natsServer.ts';
import type { Admin } from '../nats/testStream.ts';
import type { BridgeProcess } from './bridgeProcess.ts';
import type { Fault } from './chaosPlan.ts';

/** The slot of a replica: a new process takes it over when one has died. */
export interface Seat {
  bridge: BridgeProcess;
  /** Starts the next process. */
  readonly restart: () => Promise<BridgeProcess>;
  /** Called when it is paused; the result is called when it resumes. */
  readonly onFreeze?: () => () => void;
  /** It is dead or paused; further faults leave it alone. */
  isStruck: boolean;
}

export interface ChaosFaultsOptions {
  readonly seats: readonly Seat[];
  readonly servers: readonly NatsServer[];
  readonly admin: Admin;
  /** Records what happens, to find out why a seed fails. */
  readonly tell: (text: string) => void;
}

/** Applies a plan's faults to replicas and servers. */
export class ChaosFaults {
  /** The logs of all processes that have ended. */
  readonly logs: string[] = [];
  readonly #stricken = new Set<NatsServer>();
  readonly #under: Promise<void>[] = [];

  constructor(private readonly options: ChaosFaultsOptions) {}

  /** Starts a fault. */
  strike(fault: Fault): void {
    this.options.tell(JSON.stringify(fault));
    this.#under.push(this.#strike(fault));
  }

  /** Resolves once everything is back; rejects if something doesn't come back. */
  async over(): Promise<void> {
    await Promise.all(this.#under);
  }

  /** Ends all replicas, including those that come back meanwhile. */
  async end(): Promise<void> {
    const { seats } = this.options;
    for (const { bridge } of seats) await bridge[Symbol.asyncDispose]();
    await Promise.allSettled(this.#under);
    for (const { bridge } of seats) await bridge[Symbol.asyncDispose]();
  }

  async #strike(fault: Fault): Promise<void> {
    const { admin, tell } = this.options;
    switch (fault.fault) {
      case 'kill':
      case 'freeze':
        return this.#strikeReplica(fault);
      case 'elect':
        await admin.connection
          .request(`$JS.API.STREAM.LEADER.STEPDOWN.${fault.stream}`, '', { timeout: 2_000 })
          .catch(() => {
            tell(`${fault.stream} has no leader that could step down`);
          });
        return;
      default:
        return this.#strikeServer(fault);
    }
  }

  async #strikeReplica({ fault, replica, ms }: Extract<Fault, { replica: number }>): Promise<void> {
    const seat = this.options.seats[replica];
    if (seat === undefined || seat.isStruck) return;
    seat.isStruck = true;
    if (fault === 'kill') {
      await seat.bridge[Symbol.asyncDispose]();
      this.logs.push(seat.bridge.text);
      await delay(ms);
      seat.bridge = await seat.restart();
    } else {
      const goesOn = seat.onFreeze?.();
      process.kill(seat.bridge.pid, 'SIGSTOP');
      await delay(ms);
      goesOn?.();
      process.kill(seat.bridge.pid, 'SIGCONT');
    }
    this.options.tell(`replica ${replica} is back after ${fault}`);
    seat.isStruck = false;
  }

  /** One at a time: a cluster needs two of its three servers. */
  async #strikeServer({ fault, server: index, ms }: Extract<Fault, { server: number }>): Promise<void> {
    const server = this.options.servers[index];
    if (server === undefined || this.#stricken.size > 0) return;
    this.#stricken.add(server);
    if (fault === 'natsFreeze') await server.pause();
    if (fault === 'natsKill') await server.kill();
    if (fault !== 'natsRestart') await delay(ms);
    if (fault === 'natsFreeze') server.resume();
    else await server.restart();
    this.options.tell(`server ${index} is back after ${fault}`);
    this.#stricken.delete(server);
  }
}
