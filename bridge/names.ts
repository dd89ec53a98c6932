/** Names of what a bridge keeps in NATS, distinct from those of other bridges in the account. */
export interface Names {
  /** A stream, bucket or durable consumer: `BRIDGE_AUDIT`, or `blue_BRIDGE_AUDIT` for the instance `blue`. */
  of(name: string): string;
  /** A subject: `bridge.dead.>`, or `blue.bridge.dead.>`. */
  subject(subject: string): string;
}

/** @param instance empty for the only bridge of an account */
export function namesOf(instance: string): Names {
  return {
    of: (name) => (instance === '' ? name : `${instance}_${name}`),
    subject: (subject) => (instance === '' ? subject : `${instance}.${subject}`),
  };
}

/** The streams and buckets that a bridge keeps, without the instance. */
export const BRIDGE_AUDIT = 'BRIDGE_AUDIT';
export const BRIDGE_DEAD = 'BRIDGE_DEAD';
export const BRIDGE_PROJECTS = 'BRIDGE_PROJECTS';
export const BRIDGE_INTENTS = 'BRIDGE_INTENTS';
export const BRIDGE_WAITS = 'BRIDGE_WAITS';
