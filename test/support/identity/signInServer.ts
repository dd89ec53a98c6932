import { setTimeout as delay } from 'node:timers/promises';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryFolder } from '../../../localAgent/index.ts';
import {
  policyFor,
  startCallout,
  type Callout,
  type CalloutOptions,
  type Client,
  type PolicyEntry,
} from '../bridge/calloutBridge.ts';
import type { GenerateKeyPairResult } from 'jose';
import { createAuthority, type Authority } from '../nats/certificates.ts';
import { rsaPair, startTokenIssuer, type TokenIssuer } from './tokenIssuer.ts';

const ADMIN = { sub: 'sc://my-organisation/platform/admin', account: 'CI', publish: ['>'], subscribe: ['>'] };
/** The projects with a stream `CI_<project>`, as in the example's policy. */
const PROJECTS = ['shop', 'bank'];

/**
 * A NATS server with TLS whose auth callout a bridge answers, in its own process and with TLS to the issuers. Several
 * worlds of issuers may share it.
 */
export class SignInServer implements AsyncDisposable {
  readonly #entries: PolicyEntry[];

  static async start(options: Pick<CalloutOptions, 'mode' | 'line'> = {}): Promise<SignInServer> {
    const made = await createAuthority();
    const [certificate, pair] = await Promise.all([made.server(), rsaPair()]);
    // One for all servers here, since each takes long to make.
    const authority: Authority = { ...made, server: () => Promise.resolve(certificate) };
    const caFile = path.join(temporaryFolder('issuers-'), 'ca.pem');
    writeFileSync(caFile, authority.cert);
    const platform = await startTokenIssuer({ certificate, pair });
    try {
      const policy = policyFor(platform, { azureDevOps: [ADMIN] });
      const callout = await startCallout({ ...options, policy, more: `  caFile: ${caFile}\n` });
      const admin = await callout.connect(await platform.connection(ADMIN.sub));
      const manager = await admin.jetstreamManager();
      for (const project of PROJECTS)
        await manager.streams.add({ name: `CI_${project}`, subjects: [`ci.${project}.>`] });
      return new SignInServer(authority, pair, caFile, callout, policy.issuers, platform, admin);
    } catch (error) {
      await platform.stop();
      throw error;
    }
  }

  private constructor(
    /** The authority of the issuers' certificates. */
    readonly authority: Authority,
    /** The first signing key of the Azure DevOps stand-ins. */
    readonly pair: GenerateKeyPairResult,
    /** Its certificate. */
    readonly caFile: string,
    readonly callout: Callout,
    entries: readonly PolicyEntry[],
    private readonly platform: TokenIssuer,
    private readonly admin: Client,
  ) {
    this.#entries = [...entries];
  }

  /** The URL of a step's service connection. */
  get url(): string {
    return this.callout.server.url.replace('nats:', 'tls:');
  }

  /** Adds issuers to the policy; resolves once the bridge knows them. */
  async trust(entries: readonly PolicyEntry[]): Promise<void> {
    this.#entries.push(...entries);
    this.callout.writePolicy({ issuers: this.#entries });
    const { responder } = this.callout;
    await responder.until('status page with the issuers', async () => {
      // The bridge checks the file once per second.
      await delay(100);
      const { text } = await responder.admin('/');
      return entries.every(({ issuer }) => text.includes(issuer)) || undefined;
    });
  }

  /** Publishes as an administrator does. */
  async publish(subject: string, payload: string): Promise<void> {
    await this.admin.jetstream().publish(subject, payload);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.admin.close();
    await this.callout[Symbol.asyncDispose]();
    await this.platform.stop();
  }
}
