import type { KeyValue } from '../../shared/bus.ts';
import { parseObject } from '../../shared/text/json.ts';

/** The pause of a route that starts nothing until a person says otherwise. */
export interface RoutePause {
  /** Who paused it: a person, or a replica of the bridge. */
  readonly by: string;
  readonly reason: string;
  /** ISO 8601. */
  readonly time: string;
  /** The bucket forgets what isn't written for a week, so it is written again each day. */
  readonly refreshedAt?: string;
}

const DAY_MS = 86_400_000;

/** Pauses of routes, shared by all replicas and commands: `pause.<route>` in BRIDGE_INTENTS. Fails as the bucket does. */
export class RoutePauses {
  /** @param now milliseconds since the epoch */
  constructor(
    private readonly bucket: KeyValue,
    private readonly now: () => number,
  ) {}

  async get(route: string): Promise<RoutePause | undefined> {
    const entry = await this.bucket.get(keyOf(route));
    if (entry === undefined) return undefined;
    const pause = (parseObject(Buffer.from(entry.value).toString()) ?? {}) as unknown as RoutePause;
    const refreshedAt = Date.parse(pause.refreshedAt ?? pause.time);
    if (!(this.now() - refreshedAt < DAY_MS)) {
      const refreshed = { ...pause, refreshedAt: new Date(this.now()).toISOString() };
      await this.bucket.update(keyOf(route), Buffer.from(JSON.stringify(refreshed)), entry.revision);
    }
    return pause;
  }

  /** False when it is already paused. */
  async pause(route: string, by: string, reason: string): Promise<boolean> {
    const pause: RoutePause = { by, reason, time: new Date(this.now()).toISOString() };
    return (await this.bucket.create(keyOf(route), Buffer.from(JSON.stringify(pause)))) !== undefined;
  }

  async resume(route: string): Promise<void> {
    await this.bucket.delete(keyOf(route));
  }
}

/** Why an order for a paused route starts nothing: a clause. */
export function describePause(route: string, { by, reason }: RoutePause): string {
  return `the route ${route} is paused by ${by}${reason === '' ? '' : `: ${reason}`}; resume it first (routes resume ${route})`;
}

function keyOf(route: string): string {
  return `pause.${route}`;
}
