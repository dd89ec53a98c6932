import { randomBytes } from 'node:crypto';
import type { Connection } from '../../../localAgent/index.ts';
import { StreamServer } from '../../../localAgent/streamServer.ts';
import { freePort } from '../freePort.ts';
import { BridgeProcess, runBridge, type BridgeOptions } from './bridgeProcess.ts';

/** The packed bridge over a NATS server with the streams CI and RELEASE, for agentless jobs of local runs. */
export class LocalWaits implements AsyncDisposable {
  private constructor(
    readonly nats: StreamServer,
    readonly bridge: BridgeProcess,
    /** The service connections `nats-ci` and `nats-bridge`. */
    readonly connections: Readonly<Record<string, Connection>>,
  ) {}

  /** Starts both; resolves once the bridge accepts waits. */
  static async start(): Promise<LocalWaits> {
    const nats = await StreamServer.start('CI', 'ci.>');
    try {
      await (await nats.client.jetstreamManager()).streams.add({ name: 'RELEASE', subjects: ['release.>'] });
      const organization = `http://127.0.0.1:${await freePort()}/local/`;
      const token = randomBytes(32).toString('hex');
      const yaml = waitsOf(nats.url, organization);
      const options: BridgeOptions = {
        files: { 'waits-token': `${token}\n`, 'sealing-key': randomBytes(32).toString('base64'), pat: 'none' },
      };
      const { status, stderr } = await runBridge(['setup', '--apply'], yaml, options);
      if (status !== 0) throw new Error(`setup --apply: ${stderr}`);
      const bridge = await BridgeProcess.start(yaml, options);
      await bridge.ready(200);
      return new LocalWaits(nats, bridge, {
        'nats-ci': { url: nats.url, scheme: 'None' },
        'nats-bridge': {
          ...{ type: 'NatsBridge', url: bridge.publicUrl, scheme: 'Token', organization },
          parameters: { apitoken: token },
        },
      });
    } catch (error) {
      await nats[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bridge[Symbol.asyncDispose]();
    await this.nats[Symbol.asyncDispose]();
  }
}

function waitsOf(nats: string, organization: string): string {
  return `nats: { servers: [${nats}] }
azureDevOps: { organization: '${organization}', identity: { kind: pat, patFile: pat } }
http: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }
waits:
  organizations: ['${organization}']
  tokenFiles: [waits-token]
  sealingKeyFiles: [sealing-key]
  rules: [{ projects: [Orders], pipelines: ['*'], subjects: [ci.shop.>, release.shop.>] }]
`;
}
