import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { temporaryFolder } from '../../localAgent/index.ts';
import { BRIDGE_FILE, BRIDGE_FOLDER } from '../build/manifest.ts';

const BUNDLE = path.join(BRIDGE_FOLDER, BRIDGE_FILE);

/** Of the clock by which Linux counts processor time. */
const TICKS_PER_SECOND = 100;

/** A packed bridge that serves. */
export class BenchBridge implements AsyncDisposable {
  private constructor(
    private readonly child: ChildProcess,
    /** The URL of its public port, without a path. */
    readonly url: string,
    /** The same of its private one. */
    readonly admin: string,
  ) {}

  /**
   * Sets up what a configuration needs and starts the bridge with it; resolves once it serves.
   *
   * @param files texts of files beside the configuration, by name
   */
  static async start(yaml: string, files: Readonly<Record<string, string>>): Promise<BenchBridge> {
    const folder = temporaryFolder('bench-bridge-');
    const configuration = path.join(folder, 'bridge.yml');
    for (const [name, text] of Object.entries({ ...files, 'bridge.yml': yaml }))
      writeFileSync(path.join(folder, name), text);
    const applied = spawnSync(process.execPath, [BUNDLE, 'setup', '--apply', '--config', configuration]);
    if (applied.status !== 0) throw new Error(applied.stderr.toString());
    const child = spawn(process.execPath, [BUNDLE, 'run', '--config', configuration], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let [url, admin, log] = ['', '', ''];
    for await (const line of createInterface({ input: child.stderr })) {
      log += `${line}\n`;
      const { event, ...addresses } = JSON.parse(line) as { event: string; public?: string; admin?: string };
      if (event === 'listening') [url, admin] = [`http://${addresses.public}`, `http://${addresses.admin}`];
      if (event === 'serving') {
        child.stderr.resume();
        return new BenchBridge(child, url, admin);
      }
    }
    throw new Error(`The bridge doesn't serve:\n${log}`);
  }

  /** In megabytes, until now. */
  get peakMegabytes(): number {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${this.child.pid}/status`, 'utf8'))?.[1]) / 1_024;
  }

  /** What it has computed until now, in seconds of a processor. */
  get processorSeconds(): number {
    const text = readFileSync(`/proc/${this.child.pid}/stat`, 'utf8');
    // Behind the name of the program, which may hold anything.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  /** Ends it like a machine crash. */
  async die(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end('SIGTERM');
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill(signal);
    await once(this.child, 'close');
  }
}
