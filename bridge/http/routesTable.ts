import { age, mark, table, text, type Tone } from './html.ts';

/** A route on the status page. Times in milliseconds since the epoch; texts may come from anywhere. */
export interface RouteStatus {
  readonly name: string;
  readonly mode: 'on' | 'preview' | 'off';
  readonly stream: string;
  readonly subjects: readonly string[];
  readonly pause: { readonly by: string; readonly reason: string; readonly at: number } | undefined;
  /** Why this replica gets no events of it, or why none would with this user. */
  readonly down?: string | undefined;
  /** Why its state isn't known: a sentence without a full stop. */
  readonly trouble: string | undefined;
  /** Its backlog; undefined when unknown. */
  readonly waiting:
    | {
        readonly events: number;
        readonly oldest: OldestEvent | undefined;
        /** Why the oldest one isn't known: a sentence without a full stop. */
        readonly oldestTrouble?: string;
      }
    | undefined;
  /** The last ones, newest first. */
  readonly decisions: readonly RouteDecision[];
  /** Why they aren't known: a sentence without a full stop. */
  readonly decisionsTrouble: string | undefined;
}

export interface OldestEvent {
  /** As `why` takes it: `CI:42`. */
  readonly place: string;
  readonly at: number;
  /** The last attempt that failed. */
  readonly failure: { readonly attempt: number; readonly reason: string; readonly at: number } | undefined;
}

export interface RouteDecision {
  readonly at: number;
  readonly decision: string;
  readonly reason: string;
  /** As `why` takes it; empty where it is about several. */
  readonly place: string;
  readonly run: string | undefined;
}

type State = 'down' | 'failing' | 'refusing' | 'paused' | 'unknown' | 'behind' | 'preview' | 'ok' | 'off';

/** By urgency. */
const TONES: Readonly<Record<State, Tone>> = {
  down: 'bad',
  failing: 'bad',
  unknown: 'bad',
  paused: 'warn',
  refusing: 'warn',
  behind: 'warn',
  preview: 'dim',
  ok: 'good',
  off: 'dim',
};
/** An event older than this is stuck on something. */
const BEHIND_MS = 60_000;
/** How a dead letter's reason begins when the event is to blame, not the pipeline or Azure DevOps. */
const BAD_EVENT = /^(invalid|untrusted|unsafeValue|loop)\b/;
const SHOWN = 3;

function isDead({ decision }: RouteDecision): boolean {
  return decision === 'deadLetter';
}

function stateOf({ mode, pause, down, trouble, waiting, decisions }: RouteStatus, now: number): State {
  if (mode === 'off') return 'off';
  if (pause !== undefined) return 'paused';
  if (down !== undefined) return 'down';
  const last = lastOutcome(decisions);
  const isLastDead = last !== undefined && isDead(last);
  const oldest = waiting?.oldest;
  if (oldest?.failure !== undefined || (isLastDead && !BAD_EVENT.test(last.reason))) return 'failing';
  if (trouble !== undefined) return 'unknown';
  if (isLastDead) return 'refusing';
  if (oldest !== undefined && now - oldest.at > BEHIND_MS) return 'behind';
  return mode === 'preview' ? 'preview' : 'ok';
}

/** The outcome of the last event that mattered. */
function lastOutcome(decisions: readonly RouteDecision[]): RouteDecision | undefined {
  return decisions.find(({ decision }) => !['notMatching', 'duplicate', 'paused'].includes(decision));
}

/** Why a route is in its state, in a sentence: HTML. */
function whyOf({ pause, down, trouble, waiting, decisions }: RouteStatus, state: State, now: number): string {
  const last = lastOutcome(decisions);
  const oldest = waiting?.oldest;
  const ago = (at: number) => `<span class="dim">${age(now - at)} ago</span>`;
  if (state === 'paused' && pause !== undefined)
    return `paused by ${text(pause.by, 100)}: ${text(pause.reason)} ${ago(pause.at)}`;
  if (state === 'down' && down !== undefined) return text(down);
  if (state === 'failing' && oldest?.failure !== undefined) {
    const { attempt, reason, at } = oldest.failure;
    return `${text(reason)} <span class="dim">attempt ${attempt}, ${age(now - at)} ago</span>`;
  }
  if (['failing', 'refusing'].includes(state) && last !== undefined)
    return `${text(last.reason || last.decision)} ${ago(last.at)}`;
  if (state === 'unknown' && trouble !== undefined) return text(trouble);
  if (state === 'behind') return 'Its oldest event waits, and no attempt has failed.';
  return '';
}

const isUrgent = (state: State) => ['down', 'failing', 'refusing', 'unknown', 'paused', 'behind'].includes(state);

/** What needs attention, one line each: HTML. */
export function routeAlarms(routes: readonly RouteStatus[], now: number): readonly string[] {
  return sorted(routes, now)
    .filter(({ state }) => isUrgent(state))
    .map(({ route, state }) => `Route ${mark(route.name, TONES[state])}${alarmOf(state)}: ${whyOf(route, state, now)}`);
}

function alarmOf(state: State): string {
  if (state === 'paused') return '';
  if (state === 'unknown') return ' can&#39;t be looked at';
  if (state === 'refusing') return ' refused its last event';
  return state === 'failing' ? ' fails' : ` is ${state}`;
}

export function routesTable(routes: readonly RouteStatus[], now: number): string {
  const rows = sorted(routes, now).map(({ route, state }) => [
    `<strong>${text(route.name)}</strong><br><span class="dim">${text(route.subjects.join(', '), 200)} in ${text(route.stream)}</span>`,
    mark(state, TONES[state]),
    waitingOf(route, now),
    [whyOf(route, state, now), decisionsOf(route, now)].filter(Boolean).join('<br>'),
  ]);
  return table(
    ['Route', { heading: 'State', isShort: true }, { heading: 'Waiting', isShort: true }, 'Last decisions'],
    rows,
  );
}

function sorted(routes: readonly RouteStatus[], now: number): { route: RouteStatus; state: State }[] {
  const urgency = Object.keys(TONES);
  return routes
    .map((route) => ({ route, state: stateOf(route, now) }))
    .sort((one, next) => urgency.indexOf(one.state) - urgency.indexOf(next.state));
}

function waitingOf({ waiting, mode }: RouteStatus, now: number): string {
  if (mode === 'off') return '';
  if (waiting === undefined) return '<span class="dim">unknown</span>';
  const { events, oldest, oldestTrouble } = waiting;
  if (events === 0) return '<span class="dim">nothing</span>';
  const count = `${events.toLocaleString('en')} event${events === 1 ? '' : 's'}`;
  if (oldestTrouble !== undefined) return `${count}<br><span class="dim">age unknown: ${text(oldestTrouble)}</span>`;
  if (oldest === undefined) return count;
  return `${count}<br>oldest ${age(now - oldest.at)} <span class="dim">${text(oldest.place, 100)}</span>`;
}

function decisionsOf({ decisions, decisionsTrouble }: RouteStatus, now: number): string {
  if (decisionsTrouble !== undefined) return `<span class="dim">Unknown: ${text(decisionsTrouble)}</span>`;
  const items = decisions.slice(0, SHOWN).map((one) => {
    const { at, decision, reason, place, run } = one;
    const details = [place, run === undefined ? '' : `run ${run}`, reason].filter(Boolean).join(', ');
    return `<li>${mark(decision, isDead(one) ? 'bad' : 'dim')} ${age(now - at)} ago <span class="dim">${text(details, 200)}</span></li>`;
  });
  return items.length === 0 ? '' : `<ul>${items.join('')}</ul>`;
}
