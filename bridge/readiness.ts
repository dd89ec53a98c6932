import { NOT_ASKED } from './azureDevOps/client.ts';
import type { JetStream } from './jetStream/api.ts';
import type { Metrics } from './metrics.ts';

/** Whether the bridge can do its work now. */
export interface Readiness {
  /** `degraded`: it takes hooks, but can't call Azure DevOps. */
  readonly status: 'ready' | 'degraded' | 'starting' | 'unavailable' | 'stopping';
  readonly nats: 'up' | 'down';
  /** By name: `ok`, or what is wrong. */
  readonly streams: Readonly<Record<string, string>>;
  /** `ok`, `not asked yet`, or why it can't be called. */
  readonly azureDevOps: string;
  /** `ok`, or `catching up` until all waits are known; absent where none are taken. */
  readonly waits?: string;
}

/** What readiness is based on. */
export interface ReadinessSources {
  /** Undefined until there has been a link. */
  readonly jetStream: JetStream | undefined;
  readonly isLinkUp: boolean;
  /** Names of the streams and buckets' streams that must be there. */
  readonly streams: readonly string[];
  /** Why NATS takes no hooks, by what came of the last one; undefined as far as it does. */
  readonly hooksTrouble: () => Promise<{ readonly stream: string; readonly problem: string } | undefined>;
  /** Why Azure DevOps can't be called, or `not asked yet`; undefined when it can. */
  readonly azureDevOpsTrouble: string | undefined;
  /** Undefined where no waits are taken. */
  readonly areWaitsKnown: boolean | undefined;
  readonly isStopping: boolean;
}

/** Determines readiness, but no faster than it needs to, however often it's asked. */
export class ReadinessProbe {
  #last: Promise<Pick<Readiness, 'nats' | 'streams'>> | undefined;
  #askedAt = 0;
  #found: Pick<Readiness, 'nats' | 'streams'> = { nats: 'down', streams: {} };

  /** @param trustedMs how long an answer stays valid */
  constructor(
    private readonly sources: () => ReadinessSources,
    private readonly metrics: Metrics,
    private readonly now: () => number,
    private readonly trustedMs: number,
  ) {}

  async current(): Promise<Readiness> {
    const { jetStream, azureDevOpsTrouble, areWaitsKnown, isStopping } = this.sources();
    const azureDevOps = azureDevOpsTrouble ?? 'ok';
    // Whoever sends requests here should hear of the stop at once, even while NATS doesn't answer.
    const { nats, streams } = isStopping ? this.#found : await this.#streams();
    const waits = areWaitsKnown === undefined ? {} : { waits: areWaitsKnown ? 'ok' : 'catching up' };
    const areFine = nats === 'up' && areWaitsKnown !== false && Object.values(streams).every((state) => state === 'ok');
    const isInTrouble = azureDevOps !== 'ok' && azureDevOps !== NOT_ASKED;
    const working = areFine ? (isInTrouble ? 'degraded' : 'ready') : 'unavailable';
    const status = this.sources().isStopping ? 'stopping' : jetStream === undefined ? 'starting' : working;
    return { status, nats, streams, azureDevOps, ...waits };
  }

  #streams(): Promise<Pick<Readiness, 'nats' | 'streams'>> {
    const now = this.now();
    if (this.#last === undefined || Math.abs(now - this.#askedAt) >= this.trustedMs) {
      this.#askedAt = now;
      this.#last = this.#look();
    }
    return this.#last;
  }

  async #look(): Promise<Pick<Readiness, 'nats' | 'streams'>> {
    const { jetStream, streams, isLinkUp, hooksTrouble } = this.sources();
    const states = await Promise.all(
      streams.map(async (name): Promise<readonly [name: string, state: string]> => {
        if (jetStream === undefined || !isLinkUp) return [name, 'unknown'];
        const answer = await jetStream.stream(name);
        switch (answer.kind) {
          case 'ok':
            return [name, 'ok'];
          case 'error':
            return [name, answer.description];
          case 'denied':
            return [name, `no permission to ${answer.verb} to ${answer.subject}`];
          case 'off':
            return [name, 'JetStream is not there'];
          case 'silent':
            return [name, 'no answer'];
        }
      }),
    );
    const trouble = isLinkUp ? await hooksTrouble() : undefined;
    const found = Object.fromEntries(states);
    if (trouble !== undefined && found[trouble.stream] === 'ok') found[trouble.stream] = trouble.problem;
    // The link may have gone meanwhile, which is why there was no answer.
    const isUp = this.sources().isLinkUp;
    this.metrics.natsUp.set(isUp ? 1 : 0);
    this.#found = { nats: isUp ? 'up' : 'down', streams: found };
    return this.#found;
  }
}
