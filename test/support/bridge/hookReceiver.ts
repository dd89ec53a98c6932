import assert from 'node:assert/strict';
import { DeadLetters } from '../../../bridge/audit/deadLetters.ts';
import { Decisions } from '../../../bridge/audit/decisions.ts';
import type { JudgeOptions } from '../../../bridge/hooks/judgeHook.ts';
import { organizationTest } from '../../../bridge/hooks/organization.ts';
import { Projects } from '../../../bridge/hooks/projects.ts';
import { hookRoute } from '../../../bridge/hooks/receive.ts';
import { projectPassword } from '../../../bridge/hooks/signIn.ts';
import type { HttpAnswer, HttpRequest } from '../../../bridge/http/route.ts';
import type { HookEventSettings } from '../../../bridge/settings.ts';
import { ORGANIZATION, SHOP } from './hookPosts.ts';
import { headersOf, MemoryBucket, MemoryLog, MemoryPublisher, textOf } from './memoryNats.ts';

/** The only secret that the receiver knows. */
export const SECRET = 'the secret';
const BUILDS: readonly HookEventSettings[] = [{ event: 'build.complete', project: 'Shop', inputs: {} }];

/** Deviations from the default: builds of the project Shop, signed in for it. */
export interface Given {
  readonly events?: readonly HookEventSettings[];
  readonly sharedSecret?: boolean;
  readonly askName?: (id: string) => Promise<string | undefined>;
}

/** `POST /hooks` with an in-memory NATS. */
export class Receiver {
  readonly publisher = new MemoryPublisher();
  readonly bucket = new MemoryBucket();
  readonly log = new MemoryLog();
  readonly counted: string[] = [];
  readonly lastReceived = new Map<string, number>();
  readonly decisions: Decisions;
  /** The dependencies that judge hooks. */
  readonly judging: JudgeOptions;
  readonly route;
  isLinkUp = true;
  now = Date.UTC(2026, 10, 28, 12);

  constructor({ events = BUILDS, sharedSecret = false, askName = () => Promise.resolve(undefined) }: Given = {}) {
    const { publisher, log } = this;
    const now = () => this.now;
    const common = { publisher, now, log };
    this.judging = {
      ...{ ...common, ...ORGANIZATION, isOurs: organizationTest(ORGANIZATION.organization) },
      hooks: {
        ...{ stream: 'AZDO', subjectPrefix: 'azdo', user: 'hooks', sharedSecret, events },
        passwords: [{ label: 'a secret', value: SECRET }],
        silenceAlarmMs: 86_400_000,
        identity: undefined,
        feeds: [],
      },
      signingKey: () => undefined,
      projects: new Projects({ bucket: this.bucket, askName, log, now }),
    };
    this.decisions = new Decisions({
      ...common,
      ...{ subjectPrefix: 'bridge.decisions', stream: 'BRIDGE_AUDIT', version: '1', replica: 'r' },
      signingKey: () => undefined,
    });
    this.route = hookRoute({
      ...this.judging,
      log,
      isLinkUp: () => this.isLinkUp,
      decisions: this.decisions,
      deadLetters: new DeadLetters({
        ...common,
        subjectPrefix: 'bridge.dead',
        stream: 'BRIDGE_DEAD',
        metrics: { deadLetter: () => {} },
      }),
      metrics: {
        received: (event, outcome) => void this.counted.push(`${event} ${outcome}`),
        lastReceived: (event, seconds) => void this.lastReceived.set(event, seconds),
      },
    });
  }

  /** Posts a body as a project's subscriptions do, or with other headers. */
  async post(body: Uint8Array, headers: HttpRequest['headers'] = signedIn(SHOP.id)): Promise<HttpAnswer> {
    const refused = this.route.authenticate(headers);
    return refused ?? this.route.handle({ headers, body, signal: new AbortController().signal });
  }

  /** Posts something that must become a dead letter with this reason; resolves with the letter. */
  async refuses(reason: string, body: Uint8Array, headers?: HttpRequest['headers']) {
    const before = this.publisher.on('bridge.dead.').length;
    const events = this.publisher.on('azdo.').length;
    const answer = await this.post(body, headers);
    const letters = this.publisher.on('bridge.dead.');
    const letter = letters.at(-1)!;
    assert.equal(letters.length, before + 1);
    assert.equal(letter.subject, `bridge.dead.hooks.${reason}`);
    assert.deepEqual(answer, { status: 200, body: { deadLetter: this.publisher.stored.indexOf(letter) + 1 } });
    assert.equal(textOf(letter), Buffer.from(body).toString());
    assert.equal(headersOf(letter)['Bridge-Reason'], reason);
    assert.equal(this.publisher.on('azdo.').length, events);
    return { letter, headers: headersOf(letter) };
  }
}

/** The headers of a post with these credentials. */
export function basic(user: string, password: string) {
  return {
    authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
    'content-type': 'application/json; charset=utf-8',
    'x-vss-activityid': 'activity-1',
    'x-vss-subscriptionid': 'subscription-1',
    'x-other': 'not kept',
  };
}

/** The headers of a post by a project's subscriptions. */
export function signedIn(projectId: string) {
  return basic(`hooks.${projectId}`, projectPassword(SECRET, projectId));
}
